"""Retrievers and rerankers of `cocom.retrieval` in LangChain: what they find, and what stays of it."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_tests.integration_tests import RetrieversIntegrationTests

from cocom import Passage
from cocom.errors import InputError
from cocom.retrieval import BM25Retriever
from cocom.retrieval.hits import Hit, RerankedHit, rerank_hits
from cocom.retrieval.pipeline import RetrievalPipeline
from cocom.retrieval.swappable import SwappableRetriever
from cocom.testing import tiny_cocom
from langchain_cocom import CocomDocumentCompressor, PassageReranker, PassageRetriever

TEXTS = (
    "Voyager 1 was launched in the year 1977.",
    "The Brooklyn Bridge opened in 1883, and its main span is 486 metres long.",
    "Marie Curie was born in Warsaw.",
)


class ByLength:
    """A reranker that finds long passages good."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        self.threads.add(threading.get_ident())
        return rerank_hits(hits, [float(len(hit.passage.text)) for hit in hits], k)


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(page_content=text, id=f"d{i}", metadata={"source": f"{i}.txt"})
        for i, text in enumerate(TEXTS)
    ]


async def test_documents_are_found_with_ids_metadata_and_scores(documents: list[Document]) -> None:
    retriever = PassageRetriever.from_documents(documents, k=2)
    found = retriever.invoke("When was Voyager 1 launched?")
    assert [doc.id for doc in found] == ["d0", "d1"]
    assert found[0].page_content == TEXTS[0]
    scores = [doc.metadata["score"] for doc in found]
    assert [doc.metadata for doc in found] == [
        {"source": "0.txt", "score": scores[0]},
        {"source": "1.txt", "score": scores[1]},
    ]
    assert scores[0] > scores[1] >= 0
    assert all(type(score) is float for score in scores)
    assert "not_implemented" not in dumps(found)
    assert documents[0].metadata == {"source": "0.txt"}
    assert await retriever.ainvoke("When was Voyager 1 launched?") == found
    assert retriever.batch(["When was Voyager 1 launched?"] * 2) == [found, found]
    assert await retriever.abatch(["When was Voyager 1 launched?"]) == [found]
    assert len(retriever.invoke("When?", k=1)) == 1
    assert len(PassageRetriever.from_documents(documents).invoke("When?")) == 3


def test_documents_without_text_are_not_searched(documents: list[Document]) -> None:
    retriever = PassageRetriever.from_documents([*documents, Document(page_content=" ")])
    assert len(retriever.invoke("Voyager", k=9)) == 3
    with pytest.raises(InputError, match="no passages to search"):
        PassageRetriever.from_documents([])


def test_scores_take_the_place_of_nothing(documents: list[Document]) -> None:
    documents[1].metadata["score"] = "good"
    with pytest.raises(InputError, match="document 1 have a 'score' already: choose another score"):
        PassageRetriever.from_documents(documents)
    found = PassageRetriever.from_documents(documents, score_key="bm25").invoke("bridge")
    assert found[0].metadata["score"] == "good"
    assert found[0].metadata["bm25"] > 0
    silent = PassageRetriever.from_documents(documents, score_key=None)
    assert silent.invoke("bridge")[0] == documents[1]
    wrapped = PassageRetriever(retriever=BM25Retriever([Passage("a", "p", {"score": 1})]))
    with pytest.raises(InputError, match="passage p have a 'score' already"):
        wrapped.invoke("a")


def test_any_retriever_of_the_package_may_stand_there() -> None:
    passages = [Passage(text, str(i)) for i, text in enumerate(TEXTS)]
    pipeline = RetrievalPipeline(BM25Retriever(passages), reranker=ByLength(), k=2)
    retriever = PassageRetriever(retriever=pipeline)
    found = retriever.invoke("Where was Marie Curie born?")
    assert [doc.id for doc in found] == ["1", "0"]  # as many as the pipeline keeps
    assert found[0].metadata["score"] == len(TEXTS[1])
    assert found[0].metadata["retrieval_score"] == pytest.approx(0, abs=1)
    assert len(retriever.invoke("Where?", k=1)) == 1
    with pytest.raises(ValueError, match="for documents, call from_documents"):
        PassageRetriever(retriever=passages)


def test_the_index_may_be_swapped_meanwhile(documents: list[Document]) -> None:
    first = BM25Retriever([Passage(TEXTS[0])])
    swappable = SwappableRetriever(first)
    retriever = PassageRetriever(retriever=swappable, k=1)
    assert retriever.invoke("Who?")[0].page_content == TEXTS[0]
    swappable.swap(BM25Retriever([Passage(TEXTS[2], "new")]))
    assert retriever.invoke("Who?")[0].id == "new"


def test_copies_and_json(documents: list[Document]) -> None:
    retriever = PassageRetriever.from_documents(documents, k=2)
    assert copy.deepcopy(retriever).retriever is retriever.retriever
    assert json.loads(retriever.model_dump_json())["k"] == 2
    again = pickle.loads(pickle.dumps(retriever))
    assert again.invoke("Voyager") == retriever.invoke("Voyager")


class Watching(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.seen.append(query)

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.seen.append([doc.id for doc in documents])


def test_callbacks_hear_of_it(documents: list[Document]) -> None:
    watching = Watching()
    retriever = PassageRetriever.from_documents(documents, k=1)
    retriever.invoke("Voyager", {"callbacks": [watching]})
    assert watching.seen == ["Voyager", ["d0"]]


async def test_a_better_order(documents: list[Document]) -> None:
    reranker = PassageReranker(reranker=ByLength(), k=2)
    found = PassageRetriever.from_documents(documents).invoke("Where was Marie Curie born?")
    before = [doc.model_copy(deep=True) for doc in found]
    out = reranker.compress_documents(found, "Where?")
    assert found == before
    assert [doc.id for doc in out] == ["d1", "d0"]
    first = next(doc for doc in found if doc.id == "d1")
    assert out[0].metadata == {**first.metadata, "rerank_score": float(len(TEXTS[1]))}
    assert await reranker.acompress_documents(found, "Where?") == out
    assert reranker.invoke(found, query="Where?") == out
    assert reranker.bind(query="Where?").invoke(found) == out
    assert await reranker.bind(query="Where?").ainvoke(found) == out
    assert reranker.bind(query="Where?").batch([found, []]) == [out, []]
    retriever = ContextualCompressionRetriever(
        base_retriever=PassageRetriever.from_documents(documents), base_compressor=reranker
    )
    assert [doc.id for doc in retriever.invoke("Where was Marie Curie born?")] == ["d1", "d0"]
    assert len(PassageReranker(reranker=ByLength()).invoke(found, query="Where?")) == 3


def test_what_cannot_be_reranked(documents: list[Document]) -> None:
    reranker = PassageReranker(reranker=ByLength())
    for query in (None, " "):
        with pytest.raises(InputError, match="got no question"):
            reranker.compress_documents(documents, query)
    with pytest.raises(InputError, match="document 0 must be a Document, got str"):
        reranker.invoke(["a"], query="Who?")  # type: ignore[list-item]
    out = reranker.invoke(documents, query="Who?")
    with pytest.raises(InputError, match="document 0 have a 'rerank_score' already"):
        reranker.invoke(out, query="Who?")
    compressed = CocomDocumentCompressor(engine=tiny_cocom()).invoke(documents)
    with pytest.raises(InputError, match="rerank before compressing"):
        reranker.invoke(compressed, query="Who?")
    with pytest.raises(ValueError, match="must be a model's name or have rerank"):
        PassageReranker(reranker=3)


def test_a_reranker_of_a_name_is_loaded_once(
    documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str) -> ByLength:
        loaded.append(name)
        return ByLength()

    monkeypatch.setattr("cocom.retrieval.opening.open_reranker", load)
    reranker = PassageReranker(reranker="cross:a/model")
    assert loaded == []
    for _ in range(2):
        assert reranker.invoke(documents, query="Who?")
    assert loaded == ["cross:a/model"]
    again = PassageReranker.model_validate_json(reranker.model_dump_json())
    assert again.reranker == "cross:a/model"
    held = PassageReranker(reranker=ByLength())
    assert copy.deepcopy(held).reranker is held.reranker
    with pytest.raises(ValueError, match="which JSON does not hold"):
        PassageReranker.model_validate_json(held.model_dump_json())


def test_both_before_the_compressor(documents: list[Document]) -> None:
    compressor = CocomDocumentCompressor(engine=tiny_cocom())
    retriever = PassageRetriever.from_documents(documents)
    chain: Runnable[str, list[Document]] = (
        retriever | PassageReranker(reranker=ByLength()).bind(query="Who?") | compressor
    )
    out = chain.invoke("Who?")
    assert [doc.id for doc in out] == ["d1", "d0", "d2"]
    assert {"score", "rerank_score", "source", "cocom"} == set(out[0].metadata)
    restored = [doc.page_content for doc in compressor.restore_documents(out)]
    assert restored == [TEXTS[1], TEXTS[0], TEXTS[2]]


class TestStandard(RetrieversIntegrationTests):
    """LangChain's own tests."""

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return PassageRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        passages = [Passage(f"Passage number {n}.") for n in range(5)]
        return {"retriever": BM25Retriever(passages)}

    @property
    def retriever_query_example(self) -> str:
        return "Which passage is the third?"
