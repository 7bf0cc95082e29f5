"""Every way through LangChain gives the answer that the engine gives when it is called directly.

Each path is built twice: with the compressor and a model of the adapter, and without them around
`Direct`, which looks for the passages' texts in whatever prompt arrives and hands the engine their
embeddings.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, dynamic_prompt
from langchain_classic.chains import ConversationalRetrievalChain, RetrievalQA
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.chains.history_aware_retriever import create_history_aware_retriever
from langchain_classic.chains.retrieval import create_retrieval_chain
from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import create_retriever_tool
from langgraph.checkpoint.memory import InMemorySaver

from cocom import Cocom, Turn
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    CocomLLM,
    CocomRetrievalChain,
    CocomRetriever,
    format_documents,
    question_prompt,
)

# Chains of the classic package, which their users still have.
pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

RATE = 4
MAX_TOKENS = 12
ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


class Direct(BaseChatModel):
    """Calls the engine with context embeddings where a prompt holds a passage's text."""

    engine: Any
    passages: tuple[str, ...]

    @property
    def _llm_type(self) -> str:
        return "direct"

    def get_token_ids(self, text: str) -> list[int]:
        return list(range(len(text.split())))

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        pattern = "(" + "|".join(map(re.escape, self.passages)) + ")"
        turns = []
        for message in messages:
            parts = [part for part in re.split(pattern, str(message.text)) if part]
            content = [
                self.engine.compress([part], rate=RATE)[0] if part in self.passages else part
                for part in parts
            ]
            turns.append(Turn(ROLES[message.type], content))  # type: ignore[arg-type]
        answer = self.engine.chat(turns, max_new_tokens=MAX_TOKENS)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer.text))])


class Passages(BaseRetriever):
    """Finds all passages, whatever is asked."""

    texts: tuple[str, ...]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [
            Document(page_content=text, id=str(i), metadata={"source": f"{i}.txt"})
            for i, text in enumerate(self.texts)
        ]


class Nothing(BaseDocumentCompressor):
    """Leaves documents as they are; stands where the compressor stands in the other chain."""

    def compress_documents(self, documents: Any, query: str, callbacks: Any = None) -> Any:
        return documents


Path = Callable[[Any, BaseRetriever, Any], Runnable[str, Any]]
QA = ChatPromptTemplate.from_messages([("system", "{context}"), ("human", "{input}")])


def lcel(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    found = retriever | RunnableLambda(
        lambda docs: compressor.compress_documents(docs, "the question")
    )
    return (
        {"context": found | format_documents, "input": RunnablePassthrough()}
        | QA
        | llm
        | StrOutputParser()
    )


def human_only(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    """A single string, as users of plain prompts write it: instructions around the references."""
    prompt = PromptTemplate.from_template("Context:\n{context}\n\nAsked: {input}\nSaid:")
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    return (
        {"context": found | format_documents, "input": RunnablePassthrough()}
        | prompt
        | llm
        | StrOutputParser()
    )


def jinja_and_metadata(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    prompt = PromptTemplate.from_template(
        "{% for d in docs %}{{ d.metadata.source }}: {{ d.page_content }}\n{% endfor %}{{ input }}",
        template_format="jinja2",
    )
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    return {"docs": found, "input": RunnablePassthrough()} | prompt | llm | StrOutputParser()


def stuff(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    chain = create_stuff_documents_chain(llm, QA)
    asked: Any = RunnableParallel(context=found, input=RunnablePassthrough())
    return asked | chain


def retrieval(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    chain = create_retrieval_chain(found, create_stuff_documents_chain(llm, QA))
    asked: Any = RunnableLambda(lambda q: {"input": q})
    return asked | chain.pick("answer")


def ensemble(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    """Two retrievers that find the same passages: equal references are recognised as equal."""
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    both = EnsembleRetriever(retrievers=[found, found], weights=[0.5, 0.5])
    return (
        {"context": both | format_documents, "input": RunnablePassthrough()}
        | QA
        | llm
        | StrOutputParser()
    )


def chain_type(kind: str) -> Path:
    first = PromptTemplate.from_template("{context}\n{question}")
    settings: dict[str, Any] = {
        "stuff": {"prompt": first},
        "refine": {
            "question_prompt": PromptTemplate.from_template("{context_str}\n{question}"),
            "refine_prompt": PromptTemplate.from_template(
                "{context_str}\n{question} Not {existing_answer}?"
            ),
        },
        "map_reduce": {
            "question_prompt": first,
            "combine_prompt": PromptTemplate.from_template("{summaries}\n\n{question}"),
        },
    }

    def build(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
        found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
        chain = RetrievalQA.from_chain_type(
            llm, chain_type=kind, retriever=found, chain_type_kwargs=settings[kind]
        )
        return (
            RunnableLambda(lambda q: {"query": q}) | chain | RunnableLambda(lambda r: r["result"])
        )

    return build


def conversational(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    chain = ConversationalRetrievalChain.from_llm(
        llm,
        found,
        condense_question_prompt=PromptTemplate.from_template("{chat_history}\n{question}"),
        combine_docs_chain_kwargs={"prompt": PromptTemplate.from_template("{context}\n{question}")},
    )
    asked: Any = RunnableLambda(
        lambda q: {"question": q, "chat_history": [("Where?", "In New York.")]}
    )
    return asked | chain | RunnableLambda(lambda r: r["answer"])


def history_aware(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    condense = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("chat_history"), ("human", "{input}")]
    )
    answer = ChatPromptTemplate.from_messages(
        [("system", "{context}"), MessagesPlaceholder("chat_history"), ("human", "{input}")]
    )
    chain = create_retrieval_chain(
        create_history_aware_retriever(llm, found, condense),
        create_stuff_documents_chain(llm, answer),
    )
    history = [HumanMessage("Where was Alan Turing born?"), AIMessage("Maida Vale")]
    asked: Any = RunnableLambda(lambda q: {"input": q, "chat_history": history})
    return asked | chain.pick("answer")


def memory(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    """Two questions in one session: the first one's references are in the history of the second."""
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{input}")]
    )
    sessions: dict[str, InMemoryChatMessageHistory] = {}
    chain: Any = RunnableWithMessageHistory(
        prompt | llm,
        lambda session: sessions.setdefault(session, InMemoryChatMessageHistory()),
        input_messages_key="input",
        history_messages_key="history",
    )

    def ask(question: str) -> str:
        config: Any = {"configurable": {"session_id": uuid4().hex}}
        context = format_documents(found.invoke(question))
        first = chain.invoke({"input": f"{context}\n\nWhere was Marie Curie born?"}, config)
        return f"{first.text} / {chain.invoke({'input': question}, config).text}"

    async def aask(question: str) -> str:
        config: Any = {"configurable": {"session_id": uuid4().hex}}
        context = format_documents(await found.ainvoke(question))
        asked = {"input": f"{context}\n\nWhere was Marie Curie born?"}
        first = await chain.ainvoke(asked, config)
        return f"{first.text} / {(await chain.ainvoke({'input': question}, config)).text}"

    return RunnableLambda(ask, aask)


def agent_with_tool(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    """The references arrive as a tool's message, and stay in the thread."""
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
    tool = create_retriever_tool(found, "search", "Searches the documents.")

    class SearchFirst(AgentMiddleware):
        """Calls the tool for every question; the model, which calls none, writes the answer."""

        def plan(self, request: Any) -> AIMessage | None:
            last = request.messages[-1]
            if isinstance(last, ToolMessage):
                return None
            call = {"name": "search", "args": {"query": last.text}, "id": uuid4().hex}
            return AIMessage(content="", tool_calls=[call])

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return self.plan(request) or handler(request.override(tools=[]))

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return self.plan(request) or await handler(request.override(tools=[]))

    agent: Any = create_agent(llm, [tool], middleware=[SearchFirst()], checkpointer=InMemorySaver())
    earlier = "Where was Marie Curie born?"

    def ask(question: str) -> Any:
        config: Any = {"configurable": {"thread_id": uuid4().hex}}
        for text in (earlier, question):
            state = agent.invoke({"messages": [HumanMessage(text)]}, config)
        return state

    async def aask(question: str) -> Any:
        config: Any = {"configurable": {"thread_id": uuid4().hex}}
        for text in (earlier, question):
            state = await agent.ainvoke({"messages": [HumanMessage(text)]}, config)
        return state

    def said(state: Any) -> str:
        return " / ".join(m.text for m in state["messages"] if isinstance(m, AIMessage) and m.text)

    return RunnableLambda(ask, aask) | said


def agent_with_prompt(llm: Any, retriever: BaseRetriever, compressor: Any) -> Runnable[str, Any]:
    """Retrieval in front of every model call: the references are in the system's message."""
    found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)

    @dynamic_prompt
    def context(request: Any) -> str:
        return format_documents(found.invoke(request.state["messages"][-1].text))

    agent: Any = create_agent(llm, tools=[], middleware=[context])

    def ask(question: str) -> Iterator[str]:
        for message, _ in agent.stream(
            {"messages": [HumanMessage(question)]}, stream_mode="messages"
        ):
            yield message.text

    async def aask(question: str) -> AsyncIterator[str]:
        asked = {"messages": [HumanMessage(question)]}
        async for message, _ in agent.astream(asked, stream_mode="messages"):
            yield message.text

    return RunnableLambda(ask, aask)


PATHS: dict[str, Path] = {
    "lcel": lcel,
    "one human message": human_only,
    "jinja2 with metadata": jinja_and_metadata,
    "stuff": stuff,
    "retrieval": retrieval,
    "ensemble": ensemble,
    "RetrievalQA stuff": chain_type("stuff"),
    "RetrievalQA refine": chain_type("refine"),
    "RetrievalQA map_reduce": chain_type("map_reduce"),
    "conversational": conversational,
    "history aware": history_aware,
    "memory": memory,
    "agent with tool": agent_with_tool,
    "agent with prompt": agent_with_prompt,
}
ONE_QUESTION = ("lcel", "stuff", "retrieval", "ensemble", "RetrievalQA stuff", "agent with prompt")


@pytest.fixture(scope="module")
def compressor(cocom_tiny: Cocom) -> CocomDocumentCompressor:
    return CocomDocumentCompressor(engine=cocom_tiny, compression_rate=RATE)


@pytest.fixture(scope="module")
def expected(cocom_tiny: Cocom, passages: tuple[str, ...], questions: Any) -> Any:
    """Answers of each path with the engine called directly, worked out once."""
    known: dict[tuple[str, str], str] = {}
    direct = Direct(engine=cocom_tiny, passages=passages)

    def look_up(path: str, question: str) -> str:
        if (path, question) not in known:
            chain = PATHS[path](direct, Passages(texts=passages), Nothing())
            known[path, question] = chain.invoke(question)
        return known[path, question]

    return look_up


async def answers(chain: Runnable[str, Any], question: str) -> dict[str, str]:
    """What a chain says in every way of calling it."""
    return {
        "invoke": chain.invoke(question),
        "ainvoke": await chain.ainvoke(question),
        "stream": "".join(chain.stream(question)),
        "astream": "".join([piece async for piece in chain.astream(question)]),
        "batch": chain.batch([question, "Who?"])[0],
        "abatch": (await chain.abatch(["Who?", question]))[1],
    }


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_answers_as_the_engine_does(
    path: str,
    cocom_tiny: Cocom,
    passages: tuple[str, ...],
    questions: dict[str, str],
    compressor: CocomDocumentCompressor,
    expected: Callable[[str, str], str],
) -> None:
    llm = ChatCocom(engine=cocom_tiny, max_tokens=MAX_TOKENS)
    chain = PATHS[path](llm, Passages(texts=passages), compressor)
    said = set()
    for question, right in questions.items():
        want = expected(path, question)
        assert await answers(chain, question) == dict.fromkeys(
            ("invoke", "ainvoke", "stream", "astream", "batch", "abatch"), want
        )
        if path in ONE_QUESTION:
            assert want == right
        said.add(want)
    assert len(said) > 1  # the passages are read: otherwise one answer would do


@pytest.mark.parametrize("path", ["lcel", "retrieval", "agent with tool"])
def test_other_passages_change_the_answers(
    path: str, cocom_tiny: Cocom, compressor: CocomDocumentCompressor, questions: dict[str, str]
) -> None:
    llm = ChatCocom(engine=cocom_tiny, max_tokens=MAX_TOKENS)
    others = ("Lisbon is the capital of Portugal.", "The museum closes on Mondays.")
    chain = PATHS[path](llm, Passages(texts=others), compressor)
    for question, right in questions.items():
        assert right not in chain.invoke(question)


async def test_the_model_s_own_prompt_answers_as_the_engine_s_question(
    cocom_tiny: Cocom,
    passages: tuple[str, ...],
    questions: dict[str, str],
    compressor: CocomDocumentCompressor,
) -> None:
    contexts = cocom_tiny.compress(passages, rate=RATE)
    found = CocomRetriever(retriever=Passages(texts=passages), compressor=compressor)
    for llm in (
        ChatCocom(engine=cocom_tiny, max_tokens=MAX_TOKENS),
        ChatCocom(engine=cocom_tiny, max_tokens=MAX_TOKENS, streaming=True),
    ):
        chain = (
            {"context": found | format_documents, "input": RunnablePassthrough()}
            | question_prompt(cocom_tiny)
            | llm
            | StrOutputParser()
        )
        for question in questions:
            want = cocom_tiny.answer(question, contexts, max_new_tokens=MAX_TOKENS).text
            assert set((await answers(chain, question)).values()) == {want}


async def test_the_text_model_answers_as_the_engine_does(
    cocom_tiny: Cocom,
    passages: tuple[str, ...],
    questions: dict[str, str],
    compressor: CocomDocumentCompressor,
) -> None:
    contexts = cocom_tiny.compress(passages, rate=RATE)
    chain = (
        {
            "context": Passages(texts=passages) | compressor | format_documents,
            "q": RunnablePassthrough(),
        }
        | PromptTemplate.from_template("{context}\n\n{q}")
        | CocomLLM(engine=cocom_tiny, max_tokens=MAX_TOKENS)
    )
    for question in questions:
        want = cocom_tiny.answer(question, contexts, max_new_tokens=MAX_TOKENS).text
        assert set((await answers(chain, question)).values()) == {want}


async def test_the_strict_chain_answers_as_the_engine_does(
    cocom_tiny: Cocom, passages: tuple[str, ...], questions: dict[str, str]
) -> None:
    retriever = Passages(texts=passages)
    for as_text in (0, 2):
        chain = CocomRetrievalChain(
            engine=cocom_tiny,
            retriever=retriever,
            compression_rate=RATE,
            as_text=as_text,
            max_tokens=MAX_TOKENS,
        )
        contexts = cocom_tiny.compress(passages[as_text:], rate=RATE)
        for question in questions:
            answer = cocom_tiny.answer(
                question, [*passages[:as_text], *contexts], max_new_tokens=MAX_TOKENS
            )
            assert set((await answers(chain.pick("answer"), question)).values()) == {answer.text}
            assert chain.invoke(question)["context"] == retriever.invoke(question)
