"""The chain says what the engine says that is called directly, by every kind of fusion."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import Runnable, RunnableLambda

from cocom import Cocom
from cocom.errors import InputError
from cocom.generation import Fusion
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    CocomLLM,
    CocomRetrievalChain,
    PassageRetriever,
)

QUESTION = "How long is the main span?"
RATE = 4


@pytest.fixture
def documents(passages: tuple[str, ...]) -> list[Document]:
    found = [
        Document(page_content=text, id=f"d{i}", metadata={"score": 1 - i / 5})
        for i, text in enumerate(passages)
    ]
    return [*found[:2], Document(page_content=" "), *found[2:]]


@pytest.fixture
def retriever(documents: list[Document]) -> Runnable[str, list[Document]]:
    return RunnableLambda(lambda question: documents)


@pytest.mark.parametrize("score_key", [None, "score"])
@pytest.mark.parametrize("fusion", get_args(Fusion))
async def test_answers_are_the_engine_s(
    cocom_tiny: Cocom,
    retriever: Any,
    documents: list[Document],
    passages: tuple[str, ...],
    fusion: Fusion,
    score_key: str | None,
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 12, "fusion": fusion}
    if score_key is not None and fusion != "concat":
        options["scores"] = [d.metadata["score"] for d in documents if d.page_content.strip()]
    want = cocom_tiny.answer(QUESTION, cocom_tiny.compress(passages, rate=RATE), **options)
    chain = CocomRetrievalChain(
        engine=cocom_tiny,
        retriever=retriever,
        compression_rate=RATE,
        max_tokens=12,
        fusion=fusion,
        score_key=score_key,
    )
    results: list[dict[str, Any]] = [
        chain.invoke(QUESTION),
        await chain.ainvoke(QUESTION),
        _joined(list(chain.stream(QUESTION))),
        _joined([part async for part in chain.astream(QUESTION)]),
    ]
    for result in results:
        assert result["answer"] == want.text
        assert result["context"] == documents
        if want.fusion is None:
            assert "fusion" not in result
        else:
            shares = [*want.fusion.shares[:2], 0.0, *want.fusion.shares[2:]]
            assert result["fusion"]["shares"] == pytest.approx(shares, abs=1e-4)
            log_probability = result["fusion"]["log_probability"]
            assert log_probability == pytest.approx(want.fusion.log_probability, abs=1e-3)
            assert json.loads(json.dumps(result["fusion"]))


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    joined = {name: value for part in parts for name, value in part.items()}
    return {**joined, "answer": "".join(part.get("answer", "") for part in parts)}


def test_tokens_come_one_by_one(cocom_tiny: Cocom, retriever: Any) -> None:
    chain = CocomRetrievalChain(engine=cocom_tiny, retriever=retriever, compression_rate=RATE)
    for fusion in get_args(Fusion):
        pieces = [part for part in chain.stream(QUESTION, fusion=fusion) if "answer" in part]
        assert (len(pieces) > 1) == (fusion in ("concat", "rag-token")), fusion


async def test_a_batch_is_answered_as_each_alone(
    cocom_tiny: Cocom, retriever: Any, questions: dict[str, str]
) -> None:
    chain = CocomRetrievalChain(
        engine=cocom_tiny, retriever=retriever, compression_rate=RATE, fusion="rag-token"
    )
    want = [chain.invoke(question)["answer"] for question in questions]
    assert [result["answer"] for result in chain.batch(list(questions))] == want
    assert [result["answer"] for result in await chain.abatch(list(questions))] == want


def test_retrieved_scores_weigh_documents(cocom_tiny: Cocom, documents: list[Document]) -> None:
    plain = [Document(page_content=doc.page_content) for doc in documents]
    chain = CocomRetrievalChain(
        engine=cocom_tiny,
        retriever=PassageRetriever.from_documents(plain, k=2),
        compression_rate=RATE,
        fusion="rag-token",
        score_key="score",
    )
    result = chain.invoke(QUESTION)
    assert result["answer"] == "486 metres"
    assert result["fusion"]["shares"][0] > 0.9


def test_documents_that_were_compressed_are_read_as_they_are(
    cocom_tiny: Cocom, retriever: Any
) -> None:
    settings: dict[str, Any] = {
        "engine": cocom_tiny,
        "compression_rate": RATE,
        "fusion": "rag-token",
        "score_key": "score",
    }
    compressor = CocomDocumentCompressor(engine=cocom_tiny, compression_rate=RATE)
    plain = CocomRetrievalChain(retriever=retriever, **settings).invoke(QUESTION)
    behind = CocomRetrievalChain(retriever=retriever | compressor, **settings).invoke(QUESTION)
    assert behind["answer"] == plain["answer"]
    assert behind["fusion"] == plain["fusion"]


@pytest.mark.parametrize("score", [None, "0.5", True])
def test_a_document_without_a_score(
    cocom_tiny: Cocom, retriever: Any, documents: list[Document], score: Any
) -> None:
    documents[1].metadata["score"] = score
    chain = CocomRetrievalChain(
        engine=cocom_tiny, retriever=retriever, fusion="rag-token", score_key="score"
    )
    with pytest.raises(InputError, match=r"document 1 has .* for a score under 'score'"):
        chain.invoke(QUESTION)
    assert chain.invoke(QUESTION, fusion="concat")["answer"]  # which weighs nothing


def test_scores_of_numpy_are_numbers(
    cocom_tiny: Cocom, retriever: Any, documents: list[Document]
) -> None:
    for doc in documents:
        doc.metadata["score"] = np.float32(0.5)
    chain = CocomRetrievalChain(
        engine=cocom_tiny, retriever=retriever, fusion="rag-token", score_key="score"
    )
    assert chain.invoke(QUESTION)["fusion"]


def test_nothing_found_asks_the_model_alone(cocom_tiny: Cocom) -> None:
    nothing: Runnable[str, list[Document]] = RunnableLambda(lambda question: [])
    chain = CocomRetrievalChain(engine=cocom_tiny, retriever=nothing, fusion="rag-token")
    assert chain.invoke(QUESTION)["fusion"]["shares"] == []


def test_unknown_fusion(cocom_tiny: Cocom, retriever: Any) -> None:
    with pytest.raises(ValueError, match="rag-sequence-fast"):
        CocomRetrievalChain(engine=cocom_tiny, retriever=retriever, fusion="rag")  # type: ignore[arg-type]
    chain = CocomRetrievalChain(engine=cocom_tiny, retriever=retriever)
    with pytest.raises(InputError, match="fusion must be one of"):
        chain.invoke(QUESTION, fusion="rag")


@pytest.mark.parametrize("kind", [ChatCocom, CocomLLM])
def test_a_model_alone_reads_one_prompt(cocom_tiny: Cocom, kind: Any) -> None:
    with pytest.raises(ValueError, match="use CocomRetrievalChain"):
        kind(engine=cocom_tiny, fusion="rag-token")
    with pytest.raises(InputError, match="use CocomRetrievalChain"):
        kind(engine=cocom_tiny).invoke("Who?", fusion="rag-token")
    with pytest.raises(InputError, match="use CocomRetrievalChain"):
        list(kind(engine=cocom_tiny).stream("Who?", fusion="rag-token"))
