"""What a retriever searches, as passages: what is compressed from there is found when a question is asked."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, SummaryIndex, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import HierarchicalNodeParser, get_leaf_nodes
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import (
    AutoMergingRetriever,
    BaseRetriever,
    QueryFusionRetriever,
    TransformRetriever,
)
from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from cocom import Cocom, CocomView, DiskStore, Passage
from cocom.errors import InputError
from cocom.indexing.build import build_index
from cocom.indexing.sources import open_source
from cocom.testing import tiny_cocom
from llamaindex_cocom import CocomNodePostprocessor, CompressedNode, passages_of

TEXTS = (
    "The first passage.",
    "  Blanks around,\r\n\tand in between. \n",
    "[[cocom:8:no reference",
    "Ein Käfer, 一只甲虫 und e\u0301.",
)


@pytest.fixture
def model() -> Cocom:
    return tiny_cocom()


def nodes() -> list[BaseNode]:
    return [
        TextNode(text=text, id_=f"n{i}", metadata={"source": f"{i}.txt"})
        for i, text in enumerate(TEXTS)
    ]


def scored() -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=0.5) for node in nodes()]


def docstore() -> SimpleDocumentStore:
    store = SimpleDocumentStore()
    store.add_documents(nodes())
    return store


def index() -> VectorStoreIndex:
    return VectorStoreIndex(nodes(), embed_model=MockEmbedding(embed_dim=4))


def retriever() -> BaseRetriever:
    return index().as_retriever()


def fusion(*retrievers: BaseRetriever) -> BaseRetriever:
    return QueryFusionRetriever(list(retrievers), llm=MockLLM())


class Same:
    """Leaves queries as they are."""

    def run(self, query: QueryBundle, **given: Any) -> QueryBundle:
        return query


HOLDERS: dict[str, Callable[[], Any]] = {
    "list": nodes,
    "generator": lambda: (node for node in nodes()),
    "found": scored,
    "document store": docstore,
    "storage context": lambda: StorageContext.from_defaults(docstore=docstore()),
    "vector index": index,
    "summary index": lambda: SummaryIndex(nodes()),
    "retriever of a vector index": retriever,
    "retriever of a summary index": lambda: SummaryIndex(nodes()).as_retriever(),
    "one retriever of several": lambda: fusion(retriever()),
    "other queries": lambda: TransformRetriever(retriever(), Same()),  # type: ignore[arg-type]
    "query engine": lambda: RetrieverQueryEngine.from_args(retriever(), llm=MockLLM()),
    "within one another": lambda: fusion(fusion(retriever())),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_the_texts_are_those_of_the_nodes(name: str) -> None:
    assert [passage.text for passage in passages_of(HOLDERS[name]())] == list(TEXTS)


@pytest.mark.parametrize("name", ["list", "found", "document store", "vector index"])
def test_ids_and_metadata_come_along(name: str) -> None:
    assert list(passages_of(HOLDERS[name]())) == [
        Passage(text, f"n{i}", {"source": f"{i}.txt"}) for i, text in enumerate(TEXTS)
    ]


def test_metadata_are_not_part_of_the_text(model: Cocom) -> None:
    """Whatever a node shows to the models, its text alone is compressed."""
    node = TextNode(
        text="Text.", metadata={"title": "Title"}, text_template="{metadata_str}!{content}"
    )
    assert [passage.text for passage in passages_of([node])] == ["Text."]
    (found,) = CocomNodePostprocessor(model).postprocess_nodes([NodeWithScore(node=node)])
    assert isinstance(found.node, CompressedNode)
    assert [passage.text for passage in passages_of([found])] == ["Text."]  # and not its reference


def test_nodes_of_every_kind_have_their_texts() -> None:
    kinds = [Document(text="A document."), ImageNode(text="A picture.", image="")]
    assert [passage.text for passage in passages_of(kinds)] == ["A document.", "A picture."]


def test_nodes_without_text_are_passed_over() -> None:
    blank = [TextNode(text=""), TextNode(text=" \n"), *nodes(), ImageNode(image="")]
    assert [passage.text for passage in passages_of(blank)] == list(TEXTS)


def test_of_several_retrievers_all_nodes_count() -> None:
    other = SummaryIndex([TextNode(text="Only there.")]).as_retriever()
    found = [passage.text for passage in passages_of(fusion(retriever(), other))]
    assert found == [*TEXTS, "Only there."]


def test_parents_that_are_merged_count_too() -> None:
    text = " ".join(f"Sentence number {i}." for i in range(60))
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[128, 32])
    made = parser.get_nodes_from_documents([Document(text=text)])
    storage = StorageContext.from_defaults()
    storage.docstore.add_documents(made)
    leaves = VectorStoreIndex(
        get_leaf_nodes(made), storage_context=storage, embed_model=MockEmbedding(embed_dim=4)
    )
    found_leaves: Any = leaves.as_retriever(similarity_top_k=50)
    merging = AutoMergingRetriever(found_leaves, storage)
    listed = {passage.text for passage in passages_of(merging)}
    found = {n.node.get_content() for n in merging.retrieve("Which?")}
    assert not found <= {node.get_content() for node in get_leaf_nodes(made)}
    assert found <= listed


class Remote(BaseRetriever):
    """Asks somebody else."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise AssertionError("nobody must be asked")


class KeepsTexts(SimpleVectorStore):
    """A vector store with the texts in it, as databases are."""

    stores_text: bool = True


def remote_index() -> VectorStoreIndex:
    return VectorStoreIndex(
        nodes(),
        storage_context=StorageContext.from_defaults(vector_store=KeepsTexts()),
        embed_model=MockEmbedding(embed_dim=4),
    )


@pytest.mark.parametrize(
    ("holder", "kind"),
    [
        (Remote, "Remote"),
        (lambda: fusion(retriever(), Remote()), "Remote"),
        (remote_index, "VectorStoreIndex"),
        (lambda: remote_index().as_retriever(), "VectorStoreIndex"),
        (SimpleDocumentStore, "SimpleDocumentStore"),
        (lambda: nodes()[0], "TextNode"),
        (lambda: "The first passage.", "str"),
        (lambda: {"n0": nodes()[0]}, "dict"),
        (lambda: None, "NoneType"),
    ],
    ids=[
        "remote",
        "one of two remote",
        "texts in the vector store",
        "retriever of such an index",
        "empty document store",
        "node",
        "text",
        "mapping",
        "nothing",
    ],
)
def test_what_cannot_be_listed_is_refused_at_once(holder: Callable[[], Any], kind: str) -> None:
    with pytest.raises(InputError, match=f"nodes of {kind} cannot be .*: give the nodes"):
        passages_of(holder())


def test_what_is_no_node_is_refused() -> None:
    with pytest.raises(InputError, match="node 1 must be a node, got str: give what"):
        list(passages_of([nodes()[0], "The first passage."]))


APPLICATION = """
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.schema import TextNode
from llamaindex_cocom import passages_of

nodes = [TextNode(text=text, metadata={{"title": "Title"}}) for text in {texts!r}]
index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=4))


def passages():
    return passages_of(index)
"""


def test_what_was_indexed_is_not_compressed_when_asked_for(
    model: Cocom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llamaindex_application.py").write_text(
        APPLICATION.format(texts=TEXTS), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    store = DiskStore.create(tmp_path / "store")
    source = open_source("python:llamaindex_application:passages")
    report = build_index(model, store, source, rate=4)
    assert (report.new, report.failed) == (len(TEXTS), 0)

    def fails(*given: Any, **options: Any) -> Any:
        assert not list(given[1]), "a passage was compressed"
        return []

    monkeypatch.setattr(Cocom, "compress", fails)
    view = CocomView(model, store=store)
    postprocessor = CocomNodePostprocessor(view, compression_rate=4)
    searched = import_module("llamaindex_application").index.as_retriever(similarity_top_k=9)
    found = postprocessor.postprocess_nodes(searched.retrieve("Which?"), query_str="Which?")
    assert [isinstance(n.node, CompressedNode) for n in found] == [True] * len(TEXTS)
    assert sorted(n.text for n in found) == sorted(TEXTS)
    with pytest.raises(AssertionError, match="a passage was compressed"):  # the check does check
        postprocessor.postprocess_nodes([NodeWithScore(node=TextNode(text="A new one."))])
    store.close()
