"""Retrievers and rerankers of `cocom.retrieval` in LlamaIndex: what they find, and what stays of it."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import time
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import get_response_synthesizer
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from cocom import Passage
from cocom.errors import InputError
from cocom.retrieval import BM25Retriever
from cocom.retrieval.hits import Hit, RerankedHit, rerank_hits
from cocom.retrieval.pipeline import RetrievalPipeline
from cocom.retrieval.swappable import SwappableRetriever
from cocom.testing import tiny_cocom
from llamaindex_cocom import CocomNodePostprocessor, PassageReranker, PassageRetriever

TEXTS = (
    "Voyager 1 was launched in the year 1977.",
    "The Brooklyn Bridge opened in 1883, and its main span is 486 metres long.",
    "Marie Curie was born in Warsaw.",
)


class ByLength:
    """A reranker that finds long passages good."""

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        return rerank_hits(hits, [float(len(hit.passage.text)) for hit in hits], k)


@pytest.fixture
def nodes() -> list[TextNode]:
    return [
        TextNode(
            text=text,
            id_=f"n{i}",
            metadata={"source": f"{i}.txt"},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{i}")},
        )
        for i, text in enumerate(TEXTS)
    ]


async def test_the_very_nodes_are_found_with_scores(nodes: list[TextNode]) -> None:
    retriever = PassageRetriever.from_nodes(nodes, similarity_top_k=2)
    found = retriever.retrieve("When was Voyager 1 launched?")
    assert found[0].node is nodes[0]
    assert [n.node.node_id for n in found] == ["n0", "n1"]
    scores = [n.score for n in found]
    assert all(type(score) is float for score in scores)
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert await retriever.aretrieve("When was Voyager 1 launched?") == found
    blank = TextNode(text=" ")
    assert len(PassageRetriever.from_nodes([*nodes, blank]).retrieve("Who?")) == 3


def test_unusable_nodes_and_retrievers(nodes: list[TextNode]) -> None:
    with pytest.raises(InputError, match="no passages to search"):
        PassageRetriever.from_nodes([])
    with pytest.raises(InputError, match="two nodes have the id 'n0'"):
        PassageRetriever.from_nodes([*nodes, TextNode(text="another", id_="n0")])
    with pytest.raises(InputError, match="for nodes, call from_nodes"):
        PassageRetriever(nodes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="similarity_top_k must be at least 1, got 0"):
        PassageRetriever.from_nodes(nodes, similarity_top_k=0)


def test_passages_that_were_no_nodes_become_some() -> None:
    passages = [Passage(TEXTS[0], "p", {"page": 3}), Passage(TEXTS[2])]
    retriever = PassageRetriever(BM25Retriever(passages))
    first, second = retriever.retrieve("Voyager")
    assert (first.node.node_id, first.text, first.metadata) == ("p", TEXTS[0], {"page": 3})
    assert first.node.get_content(MetadataMode.LLM) == TEXTS[0]
    again = retriever.retrieve("Voyager")[1]
    assert second.node.node_id == again.node.node_id  # what finds duplicates finds them


def test_the_index_may_be_swapped_meanwhile(nodes: list[TextNode]) -> None:
    swappable = SwappableRetriever(BM25Retriever([Passage(TEXTS[0], "n0", nodes[0].metadata)]))
    retriever = PassageRetriever(swappable, nodes=nodes)
    assert retriever.retrieve("Who?")[0].node is nodes[0]
    swappable.swap(BM25Retriever([Passage("Another text.", "n0")]))
    (found,) = retriever.retrieve("Who?")
    assert (found.node.node_id, found.text) == ("n0", "Another text.")


def test_a_pipeline_keeps_both_scores(nodes: list[TextNode]) -> None:
    passages = [Passage(n.text, n.node_id, n.metadata) for n in nodes]
    pipeline = RetrievalPipeline(BM25Retriever(passages), reranker=ByLength(), k=2)
    found = PassageRetriever(pipeline, nodes=nodes).retrieve("Where was Marie Curie born?")
    assert [n.node.node_id for n in found] == ["n1", "n0"]  # as many as the pipeline keeps
    assert found[0].score == len(TEXTS[1])
    assert isinstance(found[0].metadata["retrieval_score"], float)
    assert "retrieval_score" not in found[0].node.get_content(MetadataMode.LLM)
    assert found[0].node.relationships == nodes[1].relationships
    assert "retrieval_score" not in nodes[1].metadata


async def test_the_event_loop_goes_on() -> None:
    class Slow:
        def retrieve(self, question: str, k: int = 5) -> list[Hit]:
            time.sleep(0.2)
            return [Hit(Passage("a"), 1.0, 1)]

    task = asyncio.ensure_future(PassageRetriever(Slow()).aretrieve("Who?"))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert await task
    assert ticks > 5


def test_callbacks_hear_of_it(nodes: list[TextNode]) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    retriever = PassageRetriever.from_nodes(nodes, callback_manager=CallbackManager([debug]))
    retriever.retrieve("Voyager")
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 1
    copied = copy.deepcopy(PassageRetriever.from_nodes(nodes))
    assert copied.retrieve("Voyager")[0].node == nodes[0]


async def test_a_better_order(nodes: list[TextNode]) -> None:
    found = PassageRetriever.from_nodes(nodes).retrieve("Where was Marie Curie born?")
    before = [n.model_dump() for n in found]
    reranker = PassageReranker(ByLength(), top_n=2)
    out = reranker.postprocess_nodes(found, query_str="Where?")
    assert [n.model_dump() for n in found] == before
    assert [(n.node.node_id, n.score) for n in out] == [
        ("n1", float(len(TEXTS[1]))),
        ("n0", float(len(TEXTS[0]))),
    ]
    first = next(n for n in found if n.node.node_id == "n1")
    assert out[0].metadata == {"source": "1.txt", "retrieval_score": first.score}
    assert "retrieval_score" not in out[0].node.get_content(MetadataMode.LLM)
    assert await reranker.apostprocess_nodes(found, query_str="Where?") == out
    assert reranker.postprocess_nodes([], query_str="Where?") == []
    index = NodeWithScore(node=IndexNode(text="an index node", index_id="inner"))
    (kept,) = reranker.postprocess_nodes([index], query_str="Where?")
    assert isinstance(kept.node, IndexNode)
    assert kept.metadata["retrieval_score"] is None


def test_what_cannot_be_reranked(nodes: list[TextNode]) -> None:
    found = [NodeWithScore(node=n) for n in nodes]
    with pytest.raises(InputError, match="got no question"):
        PassageReranker(ByLength()).postprocess_nodes(found)
    out = PassageReranker(ByLength()).postprocess_nodes(found, query_str="Who?")
    with pytest.raises(InputError, match="have a 'retrieval_score' already"):
        PassageReranker(ByLength()).postprocess_nodes(out, query_str="Who?")
    again = PassageReranker(ByLength(), score_key="first").postprocess_nodes(out, query_str="Who?")
    assert again[0].metadata["first"] == out[0].score
    with pytest.raises(InputError, match="must be a model's name or have rerank"):
        PassageReranker(3)


def test_a_reranker_of_a_name_is_loaded_once(
    nodes: list[TextNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str) -> ByLength:
        loaded.append(name)
        return ByLength()

    monkeypatch.setattr("cocom.retrieval.opening.open_reranker", load)
    reranker = PassageReranker("cross:a/model")
    for _ in range(2):
        assert reranker.postprocess_nodes([NodeWithScore(node=nodes[0])], query_str="Who?")
    assert loaded == ["cross:a/model"]
    again: Any
    for again in (
        PassageReranker.from_json(reranker.to_json()),
        copy.deepcopy(reranker),
        pickle.loads(pickle.dumps(PassageReranker("cross:a/model"))),
    ):
        assert again.reranker == "cross:a/model"
    held = PassageReranker(ByLength())
    assert copy.deepcopy(held).reranker is held.reranker
    assert json.loads(held.to_json())["class_name"] == "PassageReranker"
    with pytest.raises(InputError, match="which JSON does not hold"):
        PassageReranker.from_json(held.to_json())


def test_both_before_the_compressor(nodes: list[TextNode]) -> None:
    engine = RetrieverQueryEngine(
        PassageRetriever.from_nodes(nodes),
        response_synthesizer=get_response_synthesizer(llm=MockLLM()),
        node_postprocessors=[PassageReranker(ByLength()), CocomNodePostprocessor(tiny_cocom())],
    )
    response = engine.query("Who?")
    assert [n.node.node_id for n in response.source_nodes] == ["n1", "n0", "n2"]
    assert [n.text for n in response.source_nodes] == [TEXTS[1], TEXTS[0], TEXTS[2]]
