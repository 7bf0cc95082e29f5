"""The two models beyond the standard tests: what they count, refuse, stream, cache and let through."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableLambda

from cocom import Cocom, CocomConfig, CocomView, PromptTemplate, Turn
from cocom.errors import AnswerTimeoutError, FingerprintError, InputError, PromptTooLongError
from cocom.running.line import Line
from cocom.running.runner import Take
from cocom.testing import tiny_cocom
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    CocomLLM,
    CocomRetrievalChain,
    ExpandContexts,
    format_documents,
    question_prompt,
)
from langchain_cocom.messages import to_speeches

PASSAGES = ("The first passage, of some length.", "And a second one.")


@pytest.fixture
def model() -> Cocom:
    return tiny_cocom()


@pytest.fixture
def context(model: Cocom) -> str:
    documents = [Document(page_content=text) for text in PASSAGES]
    return format_documents(
        CocomDocumentCompressor(engine=model, compression_rate=4).invoke(documents)
    )


def test_usage_counts_the_rows_that_were_read(model: Cocom, context: str) -> None:
    contexts = model.compress(PASSAGES, rate=4)
    answer = model.answer("Who?", contexts, max_new_tokens=5)
    llm = ChatCocom(engine=model, max_tokens=5)
    messages: list[Any] = [("system", context), ("human", "Who?")]
    streamed = AIMessageChunk(content="")
    for chunk in llm.stream(messages):
        streamed += chunk
    for message in (llm.invoke(messages), streamed):
        usage = message.usage_metadata
        assert usage is not None
        assert usage["input_tokens"] == answer.usage.prompt_rows
        assert usage["output_tokens"] == answer.usage.generated_tokens
        assert message.response_metadata["context_rows"] == sum(map(len, contexts))
        assert message.response_metadata["replaced_tokens"] == answer.usage.replaced_tokens
    counted = llm.get_num_tokens_from_messages([SystemMessage(context), HumanMessage("Who?")])
    assert counted == answer.usage.prompt_rows
    slots = sum(map(len, contexts))
    assert llm.get_num_tokens(context) == slots + llm.get_num_tokens("\n\n")
    assert CocomLLM(engine=model).get_num_tokens(context) == llm.get_num_tokens(context)


def test_any_role_may_hold_references(model: Cocom, context: str) -> None:
    contexts = model.compress(PASSAGES, rate=4)
    want = model.answer("Who?", contexts, max_new_tokens=8).text
    llm = ChatCocom(engine=model, max_tokens=8)
    call: Any = {"name": "search", "args": {}, "id": "1"}
    for messages in (
        [SystemMessage(context), HumanMessage("Who?")],
        [HumanMessage(f"{context}\n\nWho?")],
        [HumanMessage([{"type": "text", "text": context}, "\nWho?"])],
        [
            HumanMessage("Who?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(context, tool_call_id="1"),
        ],
        [ChatMessage(role="developer", content=context), ChatMessage(role="user", content="Who?")],
    ):
        assert llm.invoke(messages).text == want
    said = [Turn("user", "Who?"), Turn("assistant", contexts), Turn("user", "Why?")]
    history = [HumanMessage("Who?"), AIMessage(context.replace("\n\n", "")), HumanMessage("Why?")]
    assert llm.invoke(history).text == model.chat(said, max_new_tokens=8).text


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}]),
            "block of type 'image_url'",
        ),
        (HumanMessage([{"type": "text", "text": "a"}, {"type": "audio"}]), "block of type 'audio'"),
        (ChatMessage(role="wizard", content="x"), "role 'wizard'"),
    ],
)
def test_what_is_not_text_is_refused(model: Cocom, message: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"message 1 .*{reason}"):
        ChatCocom(engine=model).invoke([HumanMessage("Hello"), message])


def test_thoughts_and_calls_are_not_said() -> None:
    blocks: Any = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "yes"}]
    assert to_speeches([AIMessage(blocks)]) == [("assistant", "yes")]


def test_settings_reach_the_engine(model: Cocom) -> None:
    fields: Any = {"temperature": 0.9, "top_p": 0.8, "top_k": 20, "seed": 7, "max_tokens": 12}
    want = model.chat("Hello", temperature=0.9, top_p=0.8, top_k=20, seed=7, max_new_tokens=12).text
    assert ChatCocom(engine=model, **fields).invoke("Hello").text == want
    assert CocomLLM(engine=model, **fields).invoke("Hello") == want
    assert ChatCocom(engine=model).invoke("Hello", **fields).text == want
    assert ChatCocom(engine=model).bind(**fields).invoke("Hello").text == want
    long = model.chat("Hello", max_new_tokens=30).text
    stop = long[3:5]
    other_names: Any = {"stop_sequences": [stop], "max_new_tokens": 30}
    for llm in (
        ChatCocom(engine=model, max_tokens=30, stop=[stop]),
        ChatCocom(engine=model, **other_names),
    ):
        assert llm.invoke("Hello").text == long[: long.find(stop)].strip()
        assert llm.invoke("Hello", stop=[]).text == long


@pytest.mark.parametrize("settings", [{"temprature": 0.1}, {"max_token": 3}])
def test_misspelt_settings_are_refused(model: Cocom, settings: Any) -> None:
    for kind in (ChatCocom, CocomLLM):
        with pytest.raises(ValueError, match=next(iter(settings))):
            kind(engine=model, **settings)
        with pytest.raises(InputError, match=f"unknown option '{next(iter(settings))}'"):
            kind(engine=model).invoke("Hello", **settings)


async def test_errors_come_through_every_call(model: Cocom) -> None:
    for llm in (
        ChatCocom(engine=model, max_tokens=100_000),
        CocomLLM(engine=model, max_tokens=100_000),
    ):
        with pytest.raises(PromptTooLongError):
            llm.invoke("Hello")
        with pytest.raises(PromptTooLongError):
            await llm.ainvoke("Hello")
        with pytest.raises(PromptTooLongError):
            list(llm.stream("Hello"))
        with pytest.raises(PromptTooLongError):
            _ = [piece async for piece in llm.astream("Hello")]
        with pytest.raises(PromptTooLongError):
            llm.batch(["Hello", "Hey"])
        with pytest.raises(PromptTooLongError):
            await llm.abatch(["Hello", "Hey"])


async def test_errors_in_the_middle_come_through_streams(
    model: Cocom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model fails with its third token: streams must raise, not hang."""
    model.chat("Hi", max_new_tokens=1)  # the first use tries the model out
    network: Any = model.backbone.model
    real, calls = network.forward, 0

    def fails(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("the cable is loose")
        return real(*given, **named)

    monkeypatch.setattr(network, "forward", fails)
    for llm in (ChatCocom(engine=model, max_tokens=20), CocomLLM(engine=model, max_tokens=20)):
        calls = 0
        with pytest.raises(RuntimeError, match="cable"):
            list(llm.stream("Hello"))
        calls = 0
        with pytest.raises(RuntimeError, match="cable"):
            _ = [piece async for piece in llm.astream("Hello")]


async def test_a_stream_that_is_left_stops_generating(model: Cocom, slow: Any) -> None:
    slowed = slow(model)
    for llm in (ChatCocom(engine=model, max_tokens=2000), CocomLLM(engine=model, max_tokens=2000)):
        for piece in llm.stream("Hello"):
            assert piece
            break
        gc.collect()
        assert slowed.stopped()
        pieces: Any = llm.astream("Hello")
        assert await anext(pieces)
        await pieces.aclose()
        await asyncio.sleep(0.05)  # LangChain leaves closing to the event loop
        assert slowed.stopped()


async def test_a_cancelled_task_stops_generating(model: Cocom, slow: Any) -> None:
    slowed = slow(model)
    llm = ChatCocom(engine=model, max_tokens=2000)

    async def read() -> None:
        async for _ in llm.astream("Hello"):
            pass

    for work in (llm.ainvoke("Hello"), read()):
        task = asyncio.ensure_future(work)
        before = slowed.tokens
        while slowed.tokens < before + 5:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slowed.stopped()


async def test_the_event_loop_goes_on_while_answers_are_written(
    model: Cocom, slow: Any, blocked: Any
) -> None:
    slow(model)
    for kind in (ChatCocom, CocomLLM):
        llm = kind(engine=model, max_tokens=30)
        for work in (
            llm.ainvoke("Hello"),
            llm.abatch(["Hello", "Hey"]),
            collect(llm.astream("Hello")),
        ):
            assert await blocked(work) < 0.5


async def collect(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


def test_an_answer_that_takes_too_long(model: Cocom, slow: Any) -> None:
    slowed = slow(model)
    llm = ChatCocom(engine=model, max_tokens=2000, timeout=0.2)
    with pytest.raises(AnswerTimeoutError, match=r"0\.2 s"):
        llm.invoke("Hello")
    assert slowed.stopped()
    with pytest.raises(TimeoutError):
        list(llm.stream("Hello"))
    assert slowed.stopped()


def test_batches_are_read_together(model: Cocom, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[Any] = [f"Prompt {n}" for n in range(8)]
    alone = [model.chat(prompt, max_new_tokens=8).text for prompt in prompts]
    runner = model.batcher._reader._decoding
    real = runner.run
    sizes: list[int] = []
    most = 0

    def watched(take: Take) -> None:
        def counted(writing: Sequence[Line]) -> Sequence[Line]:
            nonlocal most
            more = take(writing)
            most = max(most, len(writing) + len(more))
            sizes.extend([len(more)] * bool(more))
            return more

        real(counted)

    monkeypatch.setattr(runner, "run", watched)
    assert CocomLLM(engine=model, max_tokens=8).batch(prompts) == alone
    assert most > 4
    assert sum(sizes) == 8
    sizes.clear()
    assert [m.text for m in ChatCocom(engine=model, max_tokens=8).batch(prompts)] == alone
    assert sum(sizes) == 8


def test_a_cache_tells_apart_what_decides_an_answer(model: Cocom) -> None:
    cache = InMemoryCache()
    first = ChatCocom(engine=model, cache=cache, max_tokens=6)
    want = first.invoke("Hello").text
    other = tiny_cocom(seed=1)
    assert len(cache._cache) == 1
    assert first.invoke("Hello").text == want
    assert len(cache._cache) == 1
    for llm in (
        ChatCocom(engine=model, cache=cache, max_tokens=7),
        ChatCocom(engine=model, cache=cache, max_tokens=6, temperature=0.5),
        ChatCocom(engine=model, cache=cache, max_tokens=6, stop=["x"]),
        ChatCocom(engine=CocomView(model, namespace="b"), cache=cache, max_tokens=6),
        ChatCocom(engine=other, cache=cache, max_tokens=6),
    ):
        before = len(cache._cache)
        llm.invoke("Hello")
        assert len(cache._cache) == before + 1


def test_making_a_model_loads_nothing() -> None:
    usual: Any = {"api_key": "x", "max_retries": 2, "timeout": 3.0, "streaming": True}
    started = time.perf_counter()
    for _ in range(10):
        ChatCocom(model="no/such/model", **usual)
    assert time.perf_counter() - started < 0.5


def test_other_tenants_references_stay_text(model: Cocom, caplog: Any) -> None:
    documents = [Document(page_content=text) for text in PASSAGES]
    ours = CocomView(model, namespace="ours", key="k" * 32)
    theirs = CocomView(model, namespace="theirs", key="t" * 32)
    context = format_documents(CocomDocumentCompressor(engine=theirs).invoke(documents))
    message = ChatCocom(engine=ours, max_tokens=4).invoke(f"{context}\nWho?")
    assert message.response_metadata["context_rows"] == 0
    assert "was not made by namespace 'ours'" in caplog.text
    message = ChatCocom(engine=theirs, max_tokens=4).invoke(f"{context}\nWho?")
    assert message.response_metadata["context_rows"] > 0


MISTRAL = (  # refuses a system role, and turns that do not alternate
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [None, MISTRAL])
def test_a_chat_model_s_own_prompt(template: str | None) -> None:
    model = tiny_cocom(CocomConfig(prompt=PromptTemplate.instruct()))
    if template is not None:
        model.backbone.text.tokenizer.chat_template = template
    compressor = CocomDocumentCompressor(engine=model, compression_rate=4)
    context = format_documents(compressor.invoke([Document(page_content=t) for t in PASSAGES]))
    prompt = question_prompt(model, question="asked")
    want = model.answer("Who? {x}", model.compress(PASSAGES, rate=4), max_new_tokens=8)
    llm = ChatCocom(engine=model, max_tokens=8)
    message = (prompt | llm).invoke({"context": context, "asked": "Who? {x}"})
    assert message.text == want.text
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == want.usage.prompt_rows


def test_turns_that_a_chat_template_refuses_are_merged() -> None:
    model = tiny_cocom(CocomConfig(prompt=PromptTemplate.instruct()))
    model.backbone.text.tokenizer.chat_template = MISTRAL
    compressor = CocomDocumentCompressor(engine=model, compression_rate=4)
    context = format_documents(compressor.invoke([Document(page_content=t) for t in PASSAGES]))
    call: Any = {"name": "search", "args": {}, "id": "1"}
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("Who?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(context, tool_call_id="1"),
        AIMessage("Ada."),
        HumanMessage("Why?"),
        HumanMessage("And when?"),
    ]
    contexts = model.compress(PASSAGES, rate=4)
    want = model.chat(
        [
            Turn("user", ["Be brief.\nWho?\n\n", *contexts]),
            Turn("assistant", "Ada."),
            Turn("user", "Why?\n\nAnd when?"),
        ],
        max_new_tokens=8,
    )
    message = ChatCocom(engine=model, max_tokens=8).invoke(messages)
    assert message.text == want.text
    assert message.response_metadata["prompt_rows"] == want.usage.prompt_rows


def test_a_copy_for_another_namespace_reads_that_one(model: Cocom) -> None:
    first = ChatCocom(engine=model, namespace="a")
    assert first.view.namespace == "a"
    second = first.model_copy(update={"namespace": "b"})
    assert (second.view.namespace, first.view.namespace) == ("b", "a")
    first.namespace = "c"
    assert first.view.namespace == "c"


def test_copies_work_with_the_same_model(model: Cocom, context: str) -> None:
    for llm in (
        ChatCocom(engine=model, max_tokens=3),
        ChatCocom(engine=CocomView(model), max_tokens=3),
    ):
        rows = llm.invoke(context).response_metadata["context_rows"]
        assert rows > 0
        for copied in (copy.deepcopy(llm), llm.model_copy(deep=True), llm.model_copy()):
            assert copied.engine is llm.engine
            assert copied.invoke(context).response_metadata["context_rows"] == rows
        with pytest.raises(InputError, match="give it the model's name"):
            pickle.dumps(llm)
    for made in (CocomDocumentCompressor(engine=model), ExpandContexts(engine=model)):
        assert copy.deepcopy(made).engine is model


def test_two_loads_of_a_model_understand_each_other(cocom_tiny: Cocom) -> None:
    other = Cocom.from_pretrained("cocom-tiny")
    compressor = CocomDocumentCompressor(engine=other)
    context = format_documents(compressor.invoke([Document(page_content=PASSAGES[0])]))
    message = ChatCocom(engine=cocom_tiny, max_tokens=3).invoke(context)
    assert message.response_metadata["context_rows"] > 0
    with pytest.raises(FingerprintError):
        ChatCocom(engine=tiny_cocom(), max_tokens=3).invoke(context)


def test_a_single_stop_string(model: Cocom) -> None:
    long = model.chat("Hello", max_new_tokens=30).text
    stop: Any = "QXYZ" + long[5]
    assert ChatCocom(engine=model, max_tokens=30).invoke("Hello", stop=stop).text == long
    assert CocomLLM(engine=model, max_tokens=30, stop=stop).invoke("Hello") == long
    assert CocomLLM(engine=model, max_tokens=30, stop=long[3:5]).invoke("Hello") != long


def test_what_traces_say(model: Cocom, tmp_path: Path) -> None:
    tiny_cocom(seed=1).save_pretrained(tmp_path / "other")
    name, other = f"cocom-{model.fingerprint[:12]}", str(tmp_path / "other")
    for llm in (ChatCocom(engine=model, stop="x"), CocomLLM(engine=model, stop="x")):
        told = llm._get_ls_params()
        assert (told["ls_provider"], told["ls_model_name"], told["ls_stop"]) == (
            "cocom",
            name,
            ["x"],
        )
        assert llm._get_ls_params(model=other)["ls_model_name"] == other
        assert llm._view_for({"model": "cocom-tiny"}).model is not model
    result = CocomLLM(engine=model, max_tokens=2).generate(["Hello"], model=other)
    assert result.llm_output is not None
    assert result.llm_output["model_name"] == other


def test_the_strict_chain_keeps_the_view_s_limits(model: Cocom) -> None:
    documents = [Document(page_content=f"Passage {n}") for n in range(5)]
    for limits, told in (({"max_references": 2}, "holds 5"), ({"max_rows": 9}, "max_rows is 9")):
        chain = CocomRetrievalChain(
            engine=CocomView(model, **limits),  # type: ignore[arg-type]
            retriever=RunnableLambda(lambda question: documents),
        )
        with pytest.raises(PromptTooLongError, match=told):
            chain.invoke("Who?")


@pytest.mark.parametrize(
    "settings", [{"timeout": 0}, {"timeout": -1}, {"timeout": "a"}, {"max_tokens": -1}]
)
def test_values_that_cannot_be(model: Cocom, settings: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ChatCocom(engine=model, **settings)
    with pytest.raises(InputError, match=next(iter(settings)).replace("max_", "max_new_")):
        ChatCocom(engine=model).invoke("Hello", **settings)


def test_none_is_not_given(model: Cocom) -> None:
    llm = ChatCocom(engine=model, max_tokens=4)
    assert llm.invoke("Hello", temperature=None, max_tokens=None).text == llm.invoke("Hello").text


def test_an_extra_that_is_missing_is_named() -> None:
    for package, extra, missing in (
        ("langchain_cocom", "langchain", "langchain_core"),
        ("llamaindex_cocom", "llamaindex", "llama_index.core"),
    ):
        code = (
            "import importlib.util as u\n"
            "real = u.find_spec\n"
            f"u.find_spec = lambda name, *a: None if name == {missing!r} else real(name, *a)\n"
            f"import {package}"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert f"pip install 'cocom[{extra}]'" in done.stderr


def test_another_model_for_one_call_keeps_the_namespace(model: Cocom, tmp_path: Path) -> None:
    tiny_cocom(seed=1).save_pretrained(tmp_path / "other")
    llm = ChatCocom(engine=CocomView(model, namespace="a", key="k" * 32), max_tokens=4)
    other = llm._view_for({"model": str(tmp_path / "other")})
    assert (other.namespace, other.store) == ("a", llm.view.store)
    assert other.model is not model
    assert llm._view_for({"model": llm._model_name()}) is llm.view


def test_prompts_are_told_apart_in_a_cache(model: Cocom) -> None:
    before = ChatCocom(engine=model)._identifying_params
    template = dataclasses.replace(model.config.prompt, user="{passages}Frage: {question}")
    other = tiny_cocom(CocomConfig(prompt=template))
    assert other.fingerprint == model.fingerprint
    assert ChatCocom(engine=other)._identifying_params != before


async def test_the_event_loop_goes_on_while_a_model_is_loaded(
    model: Cocom, monkeypatch: pytest.MonkeyPatch, blocked: Any
) -> None:
    def load(name: str) -> Cocom:
        time.sleep(0.5)
        return model

    monkeypatch.setattr("cocom.opening.loaded", load)
    for call in (
        lambda: ChatCocom(model="slow", max_tokens=2).ainvoke("Hi"),
        lambda: collect(ChatCocom(model="slow", max_tokens=2).astream("Hi")),
        lambda: CocomLLM(model="slow", max_tokens=2).ainvoke("Hi"),
        lambda: collect(CocomLLM(model="slow", max_tokens=2).astream("Hi")),
    ):
        assert await blocked(call()) < 0.5


async def test_beam_searches_stream_as_one_piece(model: Cocom) -> None:
    llm = ChatCocom(engine=model, beams=2, max_tokens=6)
    want = llm.invoke("Hi").text
    assert [chunk.text for chunk in llm.stream("Hi") if chunk.text] == [want]
    assert "".join([chunk.text async for chunk in llm.astream("Hi")]) == want
    events = [event async for event in llm.astream_events("Hi", version="v2")]
    assert events[-1]["event"] == "on_chat_model_end"


async def test_errors_that_are_not_ours_come_as_they_are(
    model: Cocom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the cable is loose")

    monkeypatch.setattr(model.backbone.model, "forward", fails)
    for llm in (ChatCocom(engine=model), CocomLLM(engine=model)):
        with pytest.raises(RuntimeError, match="cable"):
            await llm.abatch(["Hi", "Hey"])


def test_counting_needs_no_limits(model: Cocom, context: str) -> None:
    llm = ChatCocom(engine=CocomView(model, max_rows=5, max_references=1))
    assert (
        llm.get_num_tokens_from_messages([HumanMessage(f"{context} Who? And when, and where?")])
        > 20
    )
    assert llm.get_num_tokens_from_messages([AIMessage("")]) == 0
