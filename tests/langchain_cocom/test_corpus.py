"""What a retriever searches, as passages: what is compressed from there is found when a question is asked."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MergerRetriever,
    MultiQueryRetriever,
    MultiVectorRetriever,
    ParentDocumentRetriever,
)
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.stores import InMemoryByteStore, InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import CharacterTextSplitter

from cocom import Cocom, CocomView, DiskStore, Passage
from cocom.errors import InputError
from cocom.indexing.build import build_index
from cocom.indexing.sources import open_source
from cocom.testing import tiny_cocom
from langchain_cocom import (
    CocomDocumentCompressor,
    CocomRetrievalChain,
    CocomRetriever,
    passages_of,
)

# The package that still holds BM25, TF-IDF and FAISS says that it will move.

DOCUMENTS = (
    Document("The first passage.", id="a", metadata={"source": "a.txt", "page": 1}),
    Document("  Blanks around,\r\n\tand in between. \n", id="b"),
    Document("[[cocom:8:no reference", id="c"),
    Document("Ein Käfer, 一只甲虫 und e\u0301.", id="d"),
)
TEXTS = [document.page_content for document in DOCUMENTS]


@pytest.fixture
def model() -> Cocom:
    return tiny_cocom()


def community(name: str) -> Any:
    """A class of langchain-community, which warns when it is imported."""
    module, _, kind = name.rpartition(".")
    return getattr(import_module(f"langchain_community.{module}"), kind)


def embeddings() -> DeterministicFakeEmbedding:
    return DeterministicFakeEmbedding(size=8)


def vectors() -> InMemoryVectorStore:
    store = InMemoryVectorStore(embeddings())
    store.add_documents(list(DOCUMENTS))
    return store


def documents() -> InMemoryStore:
    store = InMemoryStore()
    store.mset([(document.id or "", document) for document in DOCUMENTS])
    return store


def bm25() -> Any:
    return community("retrievers.bm25.BM25Retriever")(docs=list(DOCUMENTS))


def retriever() -> BaseRetriever:
    return vectors().as_retriever()


def compressing() -> BaseRetriever:
    compressor = CocomDocumentCompressor(engine=tiny_cocom())
    return ContextualCompressionRetriever(base_retriever=retriever(), base_compressor=compressor)


def cocom_retriever() -> BaseRetriever:
    compressor = CocomDocumentCompressor(engine=tiny_cocom())
    return CocomRetriever(retriever=retriever(), compressor=compressor)


HOLDERS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(DOCUMENTS),
    "generator": lambda: (document for document in DOCUMENTS),
    "BM25": bm25,
    "TF-IDF": lambda: community("retrievers.tfidf.TFIDFRetriever").from_documents(DOCUMENTS),
    "vector store in memory": vectors,
    "FAISS": lambda: community("vectorstores.FAISS").from_documents(DOCUMENTS, embeddings()),
    "retriever of a vector store": retriever,
    "document store": documents,
    "one retriever of several": lambda: EnsembleRetriever(retrievers=[bm25()], weights=[1.0]),
    "merger": lambda: MergerRetriever(retrievers=[retriever()]),
    "compressing": compressing,
    "compressed by cocom": cocom_retriever,
    "several queries": lambda: MultiQueryRetriever(
        retriever=retriever(), llm_chain=RunnableLambda(lambda asked: [asked])
    ),
    "chain": lambda: CocomRetrievalChain(engine="cocom-tiny", retriever=retriever()),
    "with a configuration": lambda: retriever().with_config({"tags": ["mine"]}),
    "within one another": lambda: EnsembleRetriever(retrievers=[compressing()], weights=[1.0]),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_the_texts_are_those_of_the_documents(name: str) -> None:
    found = list(passages_of(HOLDERS[name]()))
    assert sorted(passage.text for passage in found) == sorted(TEXTS)


@pytest.mark.parametrize("name", ["list", "BM25", "vector store in memory", "FAISS"])
def test_ids_and_metadata_come_along(name: str) -> None:
    found = {passage.id: passage for passage in passages_of(HOLDERS[name]())}
    assert found == {d.id: Passage(d.page_content, d.id, d.metadata) for d in DOCUMENTS}


def test_a_document_without_an_id_is_a_passage_without_one() -> None:
    assert [p.id for p in passages_of([Document("a"), Document("b", id="")])] == [None, None]


def test_documents_without_text_are_passed_over() -> None:
    blank = [Document(""), Document(" \n"), *DOCUMENTS, Document("\u3000")]
    assert [passage.text for passage in passages_of(blank)] == TEXTS


def test_of_several_retrievers_all_documents_count() -> None:
    other = [Document("Only there.")]
    both = EnsembleRetriever(
        retrievers=[retriever(), community("retrievers.bm25.BM25Retriever")(docs=other)],
        weights=[0.5, 0.5],
    )
    assert [passage.text for passage in passages_of(both)] == [*TEXTS, "Only there."]


def test_parents_count_and_not_their_children() -> None:
    parents = ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(embeddings()),
        docstore=InMemoryStore(),
        child_splitter=CharacterTextSplitter(separator=" ", chunk_size=10, chunk_overlap=0),
    )
    parents.add_documents(list(DOCUMENTS))
    assert len(list(passages_of(parents.vectorstore))) > len(TEXTS)
    assert [passage.text for passage in passages_of(parents)] == TEXTS


def test_parents_kept_as_bytes_are_read() -> None:
    kept: Any = {"byte_store": InMemoryByteStore()}  # of which it makes its docstore
    parents = MultiVectorRetriever(vectorstore=InMemoryVectorStore(embeddings()), **kept)
    parents.docstore.mset([(document.id or "", document) for document in DOCUMENTS])
    assert [passage.text for passage in passages_of(parents)] == TEXTS


def test_more_documents_than_are_read_at_once() -> None:
    store = InMemoryStore()
    store.mset([(str(i), Document(f"Passage {i}.")) for i in range(600)])
    assert [p.text for p in passages_of(store)] == [f"Passage {i}." for i in range(600)]


class Remote(BaseRetriever):
    """Asks somebody else."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise AssertionError("nobody must be asked")


@pytest.mark.parametrize(
    ("holder", "kind"),
    [
        (Remote(), "Remote"),
        (EnsembleRetriever(retrievers=[retriever(), Remote()], weights=[0.5, 0.5]), "Remote"),
        (RunnableLambda(lambda question: list(DOCUMENTS)), "RunnableLambda"),
        (DOCUMENTS[0], "Document"),
        ("The first passage.", "str"),
        ({"a": DOCUMENTS[0]}, "dict"),
        (None, "NoneType"),
    ],
    ids=["remote", "one of two remote", "function", "document", "text", "mapping", "nothing"],
)
def test_what_cannot_be_listed_is_refused_at_once(holder: Any, kind: str) -> None:
    with pytest.raises(InputError, match=f"documents of {kind} cannot be .*: give the documents"):
        passages_of(holder)


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(InputError, match="document 1 must be a Document, got str: give what"):
        list(passages_of([DOCUMENTS[0], "The first passage."]))


APPLICATION = """
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_cocom import passages_of

vectors = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
vectors.add_documents([Document(text) for text in {texts!r}])
retriever = vectors.as_retriever(search_kwargs={{"k": 9}})


def passages():
    return passages_of(retriever)
"""


def test_what_was_indexed_is_not_compressed_when_asked_for(
    model: Cocom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "langchain_application.py").write_text(
        APPLICATION.format(texts=TEXTS), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    store = DiskStore.create(tmp_path / "store")
    source = open_source("python:langchain_application:passages")
    report = build_index(model, store, source, rate=4)
    assert (report.new, report.failed) == (len(TEXTS), 0)

    def fails(*given: Any, **options: Any) -> Any:
        assert not list(given[1]), "a passage was compressed"
        return []

    monkeypatch.setattr(Cocom, "compress", fails)
    view = CocomView(model, store=store)
    compressor = CocomDocumentCompressor(engine=view, compression_rate=4)
    found = import_module("langchain_application").retriever
    compressed = (found | compressor).invoke("Which?")
    assert [document.metadata["cocom"]["compressed"] for document in compressed] == [True] * 4
    restored = compressor.restore_documents(compressed)
    assert sorted(document.page_content for document in restored) == sorted(TEXTS)
    strict = CocomRetrievalChain(engine=view, retriever=found, compression_rate=4, max_tokens=2)
    assert len(strict.invoke("Which?")["context"]) == len(TEXTS)
    with pytest.raises(AssertionError, match="a passage was compressed"):  # the check does check
        compressor.invoke([Document("A new one.")])
    store.close()
