"""Hard methods with the shipped model, behind the adapter: budgets, real texts, and the way back."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from cocom.baselines import LongLLMLingua, recover
from cocom.baselines.result import HardCompression, HardPassage
from langchain_cocom import CocomDocumentCompressor, PassageRetriever, format_documents

QUESTION = "How long is the main span?"


@pytest.fixture
def documents(passages: tuple[str, ...]) -> list[Document]:
    return [Document(page_content=text, id=f"d{i}") for i, text in enumerate(passages)]


@pytest.mark.parametrize("method", ["llmlingua", "longllmlingua"])
@pytest.mark.parametrize("budget", [{"compression_rate": 2}, {"target_tokens": 150}])
def test_the_budget_is_held_as_the_reader_counts(
    documents: list[Document], method: Any, budget: Any
) -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text.encode())

    settings: dict[str, Any] = {"method": method, "count_tokens": count}
    out = CocomDocumentCompressor(**settings, **budget).compress_documents(documents, QUESTION)
    assert out
    assert counted
    total = sum(len(doc.page_content.encode()) for doc in out)
    origin = sum(len(doc.page_content.encode()) for doc in documents)
    assert total <= budget.get("target_tokens", origin // 2)
    note = out[0].metadata["cocom"]
    assert note["together"]["tokens"] == total
    assert note["together"]["passages"] + note["together"]["dropped"] == len(documents)
    assert note["tokens"] == len(out[0].page_content.encode())
    by_id = {doc.id: doc.page_content for doc in documents}
    for doc in out:
        kept = [by_id[doc.id][a:b] for a, b in doc.metadata["cocom"]["spans"]]
        assert "".join(kept).strip() == doc.page_content
    restored = CocomDocumentCompressor(**settings, **budget).restore_documents(out)
    assert {doc.id: doc.page_content for doc in restored}.items() <= by_id.items()


def test_a_compressor_that_is_ready_gives_the_same(
    documents: list[Document], passages: tuple[str, ...]
) -> None:
    method = LongLLMLingua()
    want = method.compress(passages, question=QUESTION, rate=2)
    compressor = CocomDocumentCompressor(method="longllmlingua", scorer=method, compression_rate=2)
    out = compressor.compress_documents(documents, QUESTION)
    assert [doc.page_content for doc in out] == want.texts
    assert [doc.id for doc in out] == [f"d{p.index}" for p in want.passages]


@pytest.mark.parametrize("keep_text", ["store", "metadata"])
def test_what_an_answer_quotes_is_recovered(documents: list[Document], keep_text: Any) -> None:
    text = documents[1].page_content

    class LeavesOut:
        """Leaves out the month."""

        def compress(self, passages: Any, **given: Any) -> HardCompression:
            start = text.index("May ")
            spans = ((0, start), (start + 4, len(text)))
            kept = text[:start] + text[start + 4 :]
            return HardCompression((HardPassage(0, kept, text, spans),), (1,), 9, 8)

    compressor: Any = CocomDocumentCompressor(
        method="longllmlingua", scorer=LeavesOut(), compression_rate=2, keep_text=keep_text
    )
    out = compressor.compress_documents(documents[1:3], QUESTION)
    assert "24 1883" in out[0].page_content
    answer = compressor.recover("It opened on 24 1883.", out)
    assert answer == "It opened on 24 May 1883."
    made = LeavesOut().compress([])
    assert answer == recover(made, "It opened on 24 1883.")
    step = RunnableLambda(lambda said: compressor.recover(said["answer"], said["context"]))
    assert step.invoke({"answer": "on 24 1883", "context": out}) == "on 24 May 1883"
    assert compressor.recover("nothing of it", documents) == "nothing of it"
    assert format_documents(out) == out[0].page_content


def test_the_shipped_classifier_leaves_out_words(documents: list[Document]) -> None:
    compressor = CocomDocumentCompressor(method="llmlingua2", compression_rate=2)
    behind = ContextualCompressionRetriever(
        base_compressor=compressor,
        base_retriever=PassageRetriever.from_documents(documents, "bm25", k=3),
    )
    out = behind.invoke(QUESTION)
    together = out[0].metadata["cocom"]["together"]
    assert 0 < together["tokens"] <= together["origin_tokens"] / 2
    by_id = {doc.id: doc for doc in documents}
    for doc in out:
        assert 0 < len(doc.page_content.split()) < len(by_id[doc.id].page_content.split())
        assert json.loads(json.dumps(doc.metadata)) == doc.metadata
        assert compressor.recover(doc.page_content, out) in by_id[doc.id].page_content
    assert [d.page_content for d in compressor.restore_documents(out)] == [
        by_id[doc.id].page_content for doc in out
    ]
    again = pickle.loads(pickle.dumps(compressor))
    assert again.compress_documents(documents) == compressor.compress_documents(documents)
