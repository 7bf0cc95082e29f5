"""Every way through LlamaIndex gives the answer that the engine gives when it is called directly.

Each path is built twice: with the postprocessor and the adapter's LLM, and without them around `Direct`,
which looks for the passages' texts in whatever prompt arrives and hands the engine their embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core import PromptTemplate, Settings, get_response_synthesizer
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
)
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.llms import CustomLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from cocom import Cocom, Turn
from llamaindex_cocom import (
    CocomLLM,
    CocomNodePostprocessor,
    make_prompt_helper,
    question_prompt,
)

RATE = 4
MAX_TOKENS = 12


class Direct(CustomLLM):
    """Calls the engine with context embeddings where a prompt holds a passage's text."""

    engine: Any
    passages: tuple[str, ...]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=1024, num_output=MAX_TOKENS, is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        pattern = "(" + "|".join(map(re.escape, self.passages)) + ")"
        turns = []
        for message in messages:
            parts = [part for part in re.split(pattern, message.content or "") if part]
            content = [
                self.engine.compress([part], rate=RATE)[0] if part in self.passages else part
                for part in parts
            ]
            turns.append(Turn(message.role.value, content))  # type: ignore[arg-type]
        text = self.engine.chat(turns, max_new_tokens=MAX_TOKENS).text
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        said = self.chat([ChatMessage(role=MessageRole.USER, content=prompt)])
        return CompletionResponse(text=said.message.content or "")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


class Passages(BaseRetriever):
    """Finds all passages, whatever is asked."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=TextNode(text=text, id_=str(i)), score=1.0 - i / 10)
            for i, text in enumerate(self.texts)
        ]


def rows_of(llm: Any) -> PromptHelper:
    """Enough room, so that both chains see all passages at once; counted in rows by the adapter's."""
    if isinstance(llm, CocomLLM):
        return make_prompt_helper(llm)
    return PromptHelper(1024, MAX_TOKENS, 0.0, tokenizer=str.split)


QA = question_prompt("cocom-tiny")
REFINE = ChatPromptTemplate(
    [
        ChatMessage(role=MessageRole.SYSTEM, content="{context_msg}"),
        ChatMessage(role=MessageRole.USER, content="{query_str} Not {existing_answer}?"),
    ]
)
SUMMARY = ChatPromptTemplate(
    [
        ChatMessage(role=MessageRole.SYSTEM, content="{context_str}"),
        ChatMessage(role=MessageRole.USER, content="{query_str}"),
    ]
)

Engine = Callable[..., Any]


def response_mode(mode: ResponseMode, *, default_prompts: bool = False) -> Engine:
    def build(
        llm: Any, retriever: BaseRetriever, postprocessors: list[Any], streaming: bool
    ) -> Any:
        prompts: dict[str, Any] = (
            {}
            if default_prompts
            else {
                "text_qa_template": QA,
                "refine_template": REFINE,
                "summary_template": SUMMARY,
                "simple_template": PromptTemplate("{query_str}"),
            }
        )
        synthesizer = get_response_synthesizer(
            llm=llm,
            prompt_helper=rows_of(llm),
            response_mode=mode,
            streaming=streaming,
            **prompts,
        )
        return RetrieverQueryEngine(retriever, synthesizer, postprocessors)

    return build


def citation(llm: Any, retriever: BaseRetriever, postprocessors: list[Any], streaming: bool) -> Any:
    synthesizer = get_response_synthesizer(
        llm=llm,
        prompt_helper=rows_of(llm),
        text_qa_template=QA,
        refine_template=REFINE,
        streaming=streaming,
    )
    return CitationQueryEngine(
        retriever,
        llm=llm,
        response_synthesizer=synthesizer,
        text_splitter=SentenceSplitter(chunk_size=512, chunk_overlap=0, tokenizer=str.split),
        node_postprocessors=postprocessors,
        metadata_mode=MetadataMode.LLM,
    )


QUERY_ENGINES: dict[str, Engine] = {
    **{
        mode.value: response_mode(mode)
        for mode in (
            ResponseMode.REFINE,
            ResponseMode.COMPACT,
            ResponseMode.SIMPLE_SUMMARIZE,
            ResponseMode.TREE_SUMMARIZE,
            ResponseMode.ACCUMULATE,
            ResponseMode.COMPACT_ACCUMULATE,
        )
    },
    "compact with LlamaIndex's prompts": response_mode(ResponseMode.COMPACT, default_prompts=True),
    "refine with LlamaIndex's prompts": response_mode(ResponseMode.REFINE, default_prompts=True),
    "citation": citation,
}
CANNOT_STREAM = ("accumulate", "compact_accumulate")


def context_chat(llm: Any, retriever: BaseRetriever, postprocessors: list[Any]) -> Any:
    return ContextChatEngine.from_defaults(
        retriever, llm=llm, node_postprocessors=postprocessors, context_template="{context_str}"
    )


def condense_plus_context(llm: Any, retriever: BaseRetriever, postprocessors: list[Any]) -> Any:
    return CondensePlusContextChatEngine.from_defaults(
        retriever, llm=llm, node_postprocessors=postprocessors, context_prompt="{context_str}"
    )


def condense_question(llm: Any, retriever: BaseRetriever, postprocessors: list[Any]) -> Any:
    engine = response_mode(ResponseMode.COMPACT)(llm, retriever, postprocessors, False)
    return CondenseQuestionChatEngine.from_defaults(engine, llm=llm)


CHAT_ENGINES: dict[str, Engine] = {
    "context": context_chat,
    "condense plus context": condense_plus_context,
    "condense question": condense_question,
}
HISTORY = ("Where was Marie Curie born?",)


@pytest.fixture(autouse=True)
def no_default_model(cocom_tiny: Cocom) -> Any:
    """LlamaIndex's default model is a service's; a path that used it would fail on the missing package."""
    llm, tokenizer = Settings._llm, Settings._tokenizer
    Settings.tokenizer = str.split
    yield
    Settings._llm, Settings._tokenizer = llm, tokenizer


@pytest.fixture(scope="module")
def postprocessor(cocom_tiny: Cocom) -> CocomNodePostprocessor:
    return CocomNodePostprocessor(cocom_tiny, compression_rate=RATE)


@pytest.mark.parametrize("name", QUERY_ENGINES)
async def test_every_query_engine_answers_as_the_engine_does(
    name: str,
    cocom_tiny: Cocom,
    passages: tuple[str, ...],
    questions: dict[str, str],
    postprocessor: CocomNodePostprocessor,
) -> None:
    build, retriever = QUERY_ENGINES[name], Passages(passages)
    direct = build(Direct(engine=cocom_tiny, passages=passages), retriever, [], False)
    llm = CocomLLM(cocom_tiny, max_tokens=MAX_TOKENS)
    engine = build(llm, retriever, [postprocessor], False)
    streaming = None if name in CANNOT_STREAM else build(llm, retriever, [postprocessor], True)
    said = set()
    for question, right in questions.items():
        want = str(direct.query(question))
        assert str(engine.query(question)) == want
        assert str(await engine.aquery(question)) == want
        if streaming is not None:
            assert "".join(streaming.query(question).response_gen) == want
            response = await streaming.aquery(question)
            pieces = response.async_response_gen()
            assert "".join([piece async for piece in pieces]) == want
        if name in ("compact", "tree_summarize"):
            assert want == right
        said.add(want)
    assert len(said) > 1  # the passages are read: otherwise one answer would do


@pytest.mark.parametrize("name", CHAT_ENGINES)
async def test_every_chat_engine_answers_as_the_engine_does(
    name: str,
    cocom_tiny: Cocom,
    passages: tuple[str, ...],
    questions: dict[str, str],
    postprocessor: CocomNodePostprocessor,
) -> None:
    """Two turns each, so that the first one's answer is in the history of the second."""
    build, retriever = CHAT_ENGINES[name], Passages(passages)
    llm = CocomLLM(cocom_tiny, max_tokens=MAX_TOKENS)

    def fresh(model: Any, postprocessors: list[Any]) -> Any:
        return build(model, retriever, postprocessors)

    said = set()
    for question in questions:
        turns = (*HISTORY, question)
        direct = fresh(Direct(engine=cocom_tiny, passages=passages), [])
        want = [str(direct.chat(turn)) for turn in turns]
        engine = fresh(llm, [postprocessor])
        assert [str(engine.chat(turn)) for turn in turns] == want
        engine = fresh(llm, [postprocessor])
        assert [str(await engine.achat(turn)) for turn in turns] == want
        if name != "condense question":  # it streams only what its query engine streams
            engine = fresh(llm, [postprocessor])
            assert ["".join(engine.stream_chat(turn).response_gen) for turn in turns] == want
            engine = fresh(llm, [postprocessor])
            got = []
            for turn in turns:
                response = await engine.astream_chat(turn)
                got.append("".join([p async for p in response.async_response_gen()]))
            assert got == want
        said.add(tuple(want))
    assert len(said) > 1


async def test_the_model_s_own_prompt_answers_as_the_engine_s_question(
    cocom_tiny: Cocom,
    passages: tuple[str, ...],
    questions: dict[str, str],
    postprocessor: CocomNodePostprocessor,
) -> None:
    contexts = cocom_tiny.compress(passages, rate=RATE)
    llm = CocomLLM(cocom_tiny, max_tokens=MAX_TOKENS)
    engine = QUERY_ENGINES["compact"](llm, Passages(passages), [postprocessor], False)
    for question in questions:
        want = cocom_tiny.answer(question, contexts, max_new_tokens=MAX_TOKENS).text
        response = engine.query(question)
        assert str(response) == want
        assert [n.node.get_content() for n in response.source_nodes] == list(passages)
        assert str(await engine.aquery(question)) == want


def test_other_passages_change_the_answers(
    cocom_tiny: Cocom, questions: dict[str, str], postprocessor: CocomNodePostprocessor
) -> None:
    others = Passages(("Lisbon is the capital of Portugal.", "The museum closes on Mondays."))
    llm = CocomLLM(cocom_tiny, max_tokens=MAX_TOKENS)
    engine = QUERY_ENGINES["compact"](llm, others, [postprocessor], False)
    for question, right in questions.items():
        assert right not in str(engine.query(question))


async def test_completions_answer_as_chats_do(
    cocom_tiny: Cocom, passages: tuple[str, ...], postprocessor: CocomNodePostprocessor
) -> None:
    llm = CocomLLM(cocom_tiny, max_tokens=MAX_TOKENS)
    nodes = postprocessor.postprocess_nodes(Passages(passages).retrieve("Who?"))
    context = "\n\n".join(n.node.get_content(MetadataMode.LLM) for n in nodes)
    prompt = f"{context}\n\nWhen was Voyager 1 launched?"
    contexts = cocom_tiny.compress(passages, rate=RATE)
    answer = cocom_tiny.answer("When was Voyager 1 launched?", contexts, max_new_tokens=MAX_TOKENS)
    messages = [ChatMessage(role=MessageRole.USER, content=prompt)]
    assert llm.complete(prompt).text == answer.text
    assert (await llm.acomplete(prompt)).text == answer.text
    assert [r.text for r in llm.stream_complete(prompt)][-1] == answer.text
    assert "".join(str(r.delta) for r in llm.stream_complete(prompt)) == answer.text
    pieces = [r async for r in await llm.astream_complete(prompt)]
    assert "".join(str(r.delta) for r in pieces) == pieces[-1].text == answer.text
    assert llm.chat(messages).message.content == answer.text
    assert (await llm.achat(messages)).message.content == answer.text
    assert "".join(str(r.delta) for r in llm.stream_chat(messages)) == answer.text
    chats = [r async for r in await llm.astream_chat(messages)]
    assert chats[-1].message.content == answer.text
    assert chats[-1].additional_kwargs["prompt_tokens"] == answer.usage.prompt_rows
