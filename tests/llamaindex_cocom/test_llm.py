"""The LLM beyond its answers: counting, settings, errors, cancelling, the event loop, many at once."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import PromptTemplate, Settings, get_response_synthesizer
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from cocom import Cocom, CocomConfig, CocomView, Turn
from cocom.config import PromptTemplate as QuestionTemplate
from cocom.errors import (
    AnswerTimeoutError,
    FingerprintError,
    InputError,
    InvalidReferenceError,
    PromptTooLongError,
)
from cocom.testing import tiny_cocom
from llamaindex_cocom import (
    CocomLLM,
    CocomLLMError,
    CocomNodePostprocessor,
    CocomTransform,
    configure_settings,
    make_prompt_helper,
    question_prompt,
)

PASSAGES = ("The first passage, of some length.", "And a second one.")


@pytest.fixture
def model() -> Cocom:
    return tiny_cocom()


@pytest.fixture
def context(model: Cocom) -> str:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in PASSAGES]
    out = CocomNodePostprocessor(model, compression_rate=4).postprocess_nodes(nodes)
    return "\n\n".join(n.node.get_content(MetadataMode.LLM) for n in out)


def said(role: MessageRole, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=text)


def test_any_role_may_hold_references(model: Cocom, context: str) -> None:
    contexts = model.compress(PASSAGES, rate=4)
    want = model.answer("Who?", contexts, max_new_tokens=8)
    llm = CocomLLM(model, max_tokens=8)
    user = MessageRole.USER
    for messages in (
        [said(MessageRole.SYSTEM, context), said(user, "Who?")],
        [said(user, f"{context}\n\nWho?")],
        [said(user, "Who?"), said(MessageRole.ASSISTANT, ""), said(MessageRole.TOOL, context)],
        [ChatMessage(role=user, blocks=[TextBlock(text=context), TextBlock(text="Who?")])],
        [said(MessageRole.DEVELOPER, context), said(user, "Who?")],
    ):
        response = llm.chat(messages)
        assert response.message.content == want.text
        assert response.additional_kwargs["prompt_tokens"] == want.usage.prompt_rows
        assert response.raw["context_rows"] == sum(map(len, contexts))


def test_what_is_not_text_is_refused(model: Cocom) -> None:
    blocks: Any = [TextBlock(text="a"), ImageBlock(url="http://x/y.png")]
    with pytest.raises(InputError, match="message 0 holds a block of type 'image'"):
        CocomLLM(model).chat([ChatMessage(role=MessageRole.USER, blocks=blocks)])


def test_settings_reach_the_engine(model: Cocom) -> None:
    fields: Any = {"temperature": 0.9, "top_p": 0.8, "top_k": 20, "seed": 7, "max_tokens": 12}
    want = model.chat("Hi", temperature=0.9, top_p=0.8, top_k=20, seed=7, max_new_tokens=12).text
    assert CocomLLM(model, **fields).complete("Hi").text == want
    assert CocomLLM(model).complete("Hi", **fields).text == want
    long = model.chat("Hi", max_new_tokens=30).text
    for given in ([long[3:5]], long[3:5]):
        cut = CocomLLM(model, max_tokens=30).complete("Hi", stop=given).text
        assert cut == long[: long.find(long[3:5])].strip()
    with pytest.raises(ValueError, match="temprature"):
        CocomLLM(model, temprature=0.1)
    with pytest.raises(CocomLLMError, match="unknown option 'temprature'"):
        CocomLLM(model).complete("Hi", temprature=0.1)


def test_a_prompt_is_completed_as_it_was_formatted(model: Cocom) -> None:
    llm = CocomLLM(model, max_tokens=5, completion_to_prompt=lambda prompt: f"Asked: {prompt}")
    assert llm.complete("Hi").text == model.chat("Asked: Hi", max_new_tokens=5).text
    assert llm.complete("Hi", formatted=True).text == model.chat("Hi", max_new_tokens=5).text
    assert llm.predict(PromptTemplate("Hi")) == model.chat("Hi", max_new_tokens=5).text


def test_metadata(model: Cocom) -> None:
    metadata = CocomLLM(model, max_tokens=7).metadata
    assert metadata.context_window == 4096
    assert metadata.num_output == 7
    assert metadata.is_chat_model
    assert metadata.model_name == f"cocom-{model.fingerprint[:12]}"
    assert CocomLLM().metadata.model_name == "cocom-tiny"


async def test_errors_come_through_every_call(model: Cocom) -> None:
    llm = CocomLLM(model, max_tokens=100_000)
    messages = [said(MessageRole.USER, "Hi")]
    with pytest.raises(CocomLLMError):
        llm.complete("Hi")
    with pytest.raises(CocomLLMError):
        await llm.acomplete("Hi")
    with pytest.raises(CocomLLMError):
        llm.chat(messages)
    with pytest.raises(CocomLLMError):
        await llm.achat(messages)
    with pytest.raises(CocomLLMError):
        list(llm.stream_chat(messages))
    with pytest.raises(CocomLLMError):
        list(llm.stream_complete("Hi"))
    with pytest.raises(CocomLLMError):
        await llm.astream_chat(messages)
    with pytest.raises(CocomLLMError):
        await llm.astream_complete("Hi")


async def test_errors_in_the_middle_come_through_streams(model: Cocom, slow: Any) -> None:
    slowed = slow(model, fails_at=3)
    llm = CocomLLM(model, max_tokens=20)
    with pytest.raises(RuntimeError, match="cable"):
        list(llm.stream_complete("Hi"))
    slowed.tokens = 0
    with pytest.raises(RuntimeError, match="cable"):
        _ = [piece async for piece in await llm.astream_chat([said(MessageRole.USER, "Hi")])]


async def test_a_stream_that_is_left_stops_generating(model: Cocom, slow: Any) -> None:
    slowed = slow(model)
    llm = CocomLLM(model, max_tokens=2000)
    messages = [said(MessageRole.USER, "Hi")]
    for stream in (llm.stream_complete("Hi"), llm.stream_chat(messages)):
        assert next(stream)
        stream.close()
        assert slowed.stopped()
    for pieces in (await llm.astream_complete("Hi"), await llm.astream_chat(messages)):
        assert await anext(pieces)
        await pieces.aclose()
        gc.collect()
        await asyncio.sleep(0.05)  # LlamaIndex leaves closing to the event loop
        assert slowed.stopped()


async def test_a_cancelled_task_stops_generating(model: Cocom, slow: Any) -> None:
    slowed = slow(model)
    task = asyncio.ensure_future(CocomLLM(model, max_tokens=2000).acomplete("Hi"))
    while slowed.tokens < 5:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slowed.stopped()


async def test_the_event_loop_goes_on(model: Cocom, slow: Any, blocked: Any) -> None:
    slow(model)
    llm = CocomLLM(model, max_tokens=30)
    messages = [said(MessageRole.USER, "Hi")]

    async def streamed() -> list[Any]:
        return [piece async for piece in await llm.astream_chat(messages)]

    for work in (llm.acomplete("Hi"), llm.achat(messages), streamed()):
        assert await blocked(work) < 0.5


def test_an_answer_that_takes_too_long(model: Cocom, slow: Any) -> None:
    slowed = slow(model)
    llm = CocomLLM(model, max_tokens=2000, timeout=0.2)
    with pytest.raises(AnswerTimeoutError, match=r"0\.2 s"):
        llm.complete("Hi")
    with pytest.raises(AnswerTimeoutError, match=r"0\.2 s"):
        list(llm.stream_complete("Hi"))
    assert slowed.stopped()


async def test_many_at_once_answer_as_one_at_a_time(model: Cocom) -> None:
    llm = CocomLLM(model, max_tokens=10)
    prompts = [f"Prompt {n} {'x' * (n % 7)}" for n in range(64)]
    alone = [llm.complete(prompt).text for prompt in prompts]
    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(lambda prompt: llm.complete(prompt).text, prompts)) == alone
    responses = await asyncio.gather(*[llm.acomplete(prompt) for prompt in prompts])
    assert [response.text for response in responses] == alone


def test_prompts_are_packed_by_rows(model: Cocom, context: str) -> None:
    """References are never cut, and count as their slots, whatever the rate."""
    llm = CocomLLM(model, max_tokens=8)
    helper = make_prompt_helper(llm)
    assert helper.chunk_overlap_ratio == 0
    assert helper.context_window == 4096
    references = context.split("\n\n")
    slots = sum(len(c) for c in model.compress(PASSAGES, rate=4))
    many = references * 20
    room = helper._get_available_chunk_size(PromptTemplate("{context_str}"), 1)
    packed = helper.repack(PromptTemplate("{context_str}"), many)
    assert len(packed) == -(-(10 * slots + 20 * 2) // room) == 1
    assert "\n\n".join(packed).split("\n\n") == many
    small = helper.model_copy(update={"context_window": slots + 8 + 5 + 10})
    packed = small.repack(PromptTemplate("{context_str}"), many)
    assert len(packed) > 10
    assert [r for chunk in packed for r in chunk.split("\n\n")] == many


def test_settings_for_everything(model: Cocom, context: str) -> None:
    llm, tokenizer, helper = Settings._llm, Settings._tokenizer, Settings._prompt_helper
    try:
        made = CocomLLM(model)
        configure_settings(made)
        assert Settings.llm is made
        assert len(Settings.tokenizer(context)) == made.view.count_rows(context)
        assert Settings.prompt_helper.chunk_overlap_ratio == 0
    finally:
        Settings._llm, Settings._tokenizer, Settings._prompt_helper = llm, tokenizer, helper


def test_the_token_counter_of_llamaindex_counts_rows(model: Cocom, context: str) -> None:
    llm = CocomLLM(model, max_tokens=5)
    counter = TokenCountingHandler(tokenizer=llm.view.token_ids)
    llm.callback_manager = CallbackManager([counter])
    response = llm.complete(f"{context}\n\nWho?")
    assert counter.prompt_llm_token_count == response.additional_kwargs["prompt_tokens"]


def test_question_prompt_of_a_chat_model() -> None:
    model = tiny_cocom(CocomConfig(prompt=QuestionTemplate.instruct()))
    messages = question_prompt(model).format_messages(context_str="C", query_str="Q {x}")
    assert [m.role for m in messages] == [MessageRole.SYSTEM, MessageRole.USER]
    assert messages[1].content == "Background:\nC\n\nQuestion: Q {x}"
    contexts = model.compress(PASSAGES, rate=4)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in PASSAGES]
    out = CocomNodePostprocessor(model, compression_rate=4).postprocess_nodes(nodes)
    context = "\n\n".join(n.node.get_content(MetadataMode.LLM) for n in out)
    asked = question_prompt(model).format_messages(context_str=context, query_str="Who?")
    want = model.answer("Who?", contexts, max_new_tokens=8)
    response = CocomLLM(model, max_tokens=8).chat(asked)
    assert response.additional_kwargs["prompt_tokens"] == want.usage.prompt_rows
    assert response.message.content == want.text


# --- what a hostile reader found -------------------------------------------------------------------


def synthesizers(llm: CocomLLM, streaming: bool) -> Any:
    for mode in (ResponseMode.COMPACT, ResponseMode.REFINE, ResponseMode.TREE_SUMMARIZE):
        yield get_response_synthesizer(
            llm=llm,
            prompt_helper=make_prompt_helper(llm),
            response_mode=mode,
            streaming=streaming,
            text_qa_template=question_prompt(llm.view),
        )


@pytest.mark.parametrize("streaming", [False, True])
async def test_synthesizers_do_not_swallow_errors(model: Cocom, streaming: bool) -> None:
    """LlamaIndex takes every ValueError for an empty answer."""
    forged = f"[[cocom:5:{'a' * 26}:{'b' * 13}]]"
    nodes = [NodeWithScore(node=TextNode(text=forged))]
    llm = CocomLLM(CocomView(model, invalid="error"), max_tokens=5)
    for synthesizer in synthesizers(llm, streaming):
        with pytest.raises(CocomLLMError, match="was not made by namespace") as caught:
            str(synthesizer.synthesize("Who?", nodes=nodes))
        assert isinstance(caught.value.__cause__, InvalidReferenceError)

        async def whole(synthesizer: Any = synthesizer) -> list[str]:
            response = await synthesizer.asynthesize("Who?", nodes=nodes)
            return [piece async for piece in response.async_response_gen()]

        with pytest.raises(CocomLLMError, match="was not made by namespace"):
            await whole()


def test_components_are_copied_with_their_model(model: Cocom) -> None:
    for made in (
        CocomLLM(CocomView(model, namespace="a")),
        CocomNodePostprocessor(CocomView(model, namespace="a"), as_text=1),
        CocomTransform(CocomView(model, namespace="a")),
    ):
        copied = copy.deepcopy(made)
        assert copied.view.model is model
        assert copied.view.namespace == copied.namespace == "a"
        assert copied.to_dict() == made.to_dict()


def test_components_do_not_change_their_model_on_the_way(model: Cocom) -> None:
    """What LlamaIndex makes again from JSON, or in another process, must not be another model."""
    for made in (CocomLLM(model), CocomNodePostprocessor(model), CocomTransform(model)):
        with pytest.raises(InputError, match="num_workers=None"):
            pickle.dumps(made)
        assert made.model == f"cocom-{model.fingerprint[:12]}"
        values = made.to_dict()
        with pytest.raises(InputError, match="which JSON does not hold"):
            _ = type(made).from_dict(values).view
        with pytest.raises(InputError, match="which are two models"):
            type(made)(model, model="cocom-tiny")
    for named in (CocomLLM(max_tokens=7), CocomNodePostprocessor(as_text=1), CocomTransform()):
        again = pickle.loads(pickle.dumps(named))
        assert again.to_dict() == named.to_dict()
        assert again.view.model is named.view.model
    with pytest.raises(FingerprintError, match="was made for model"):
        CocomTransform(tiny_cocom(seed=1), fingerprint=model.fingerprint)


def test_settings_may_change_later(model: Cocom) -> None:
    postprocessor = CocomNodePostprocessor(model, compression_rate=4)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in PASSAGES]
    postprocessor.as_text = 1
    postprocessor.compression_rate = 16
    first, second = postprocessor.postprocess_nodes(nodes)
    assert first.node.get_content(MetadataMode.LLM) == PASSAGES[0]
    slots = len(model.compress([PASSAGES[1]], rate=16)[0])
    assert second.node.get_content(MetadataMode.LLM).startswith(f"[[cocom:{slots}:")
    llm = CocomLLM(model, namespace="a")
    llm.namespace = "b"
    assert llm.view.namespace == "b"
    llm.model = "cocom-tiny"
    assert llm.view.model is CocomLLM("cocom-tiny").view.model
    assert llm.metadata.model_name == "cocom-tiny"


async def test_the_event_loop_goes_on_while_a_model_is_loaded(
    model: Cocom, monkeypatch: pytest.MonkeyPatch, blocked: Any
) -> None:
    def load(name: str) -> Cocom:
        time.sleep(0.5)
        return model

    monkeypatch.setattr("cocom.opening.loaded", load)
    messages = [said(MessageRole.USER, "Hi")]

    def fresh() -> CocomLLM:
        return CocomLLM(model="slow", max_tokens=2)

    async def streamed(llm: CocomLLM) -> list[Any]:
        return [piece async for piece in await llm.astream_chat(messages)]

    for call in (
        lambda: fresh().acomplete("Hi"),
        lambda: fresh().achat(messages),
        lambda: fresh().apredict(PromptTemplate("Hi")),
        lambda: streamed(fresh()),
    ):
        assert await blocked(call()) < 0.5


def test_a_window_of_positions_is_packed_by_positions() -> None:
    """With uniform positions a reference takes its passage's positions, however few its slots."""
    model = tiny_cocom(CocomConfig(memory_positions="uniform"), max_position_embeddings=400)
    llm = CocomLLM(model, max_tokens=8)
    passages = [f"Passage number {n} says nothing of importance." for n in range(30)]
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in passages]
    out = CocomNodePostprocessor(model, compression_rate=16).postprocess_nodes(nodes)
    texts = [n.node.get_content(MetadataMode.LLM) for n in out]
    assert len(llm.view.position_ids(texts[0])) == len(model.backbone.text.encode_text(passages[0]))
    assert llm.view.count_rows(texts[0]) == 3
    synthesizer = get_response_synthesizer(
        llm=llm,
        prompt_helper=make_prompt_helper(llm),
        response_mode=ResponseMode.TREE_SUMMARIZE,
        summary_template=question_prompt(model),
    )
    assert str(synthesizer.synthesize("Who?", nodes=out))
    with pytest.raises(PromptTooLongError, match="pass fewer passages, or a lower"):
        model.chat([Turn("user", model.compress(passages, rate=16))])
