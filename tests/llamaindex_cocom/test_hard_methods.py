"""Nodes through a hard method: what any language model reads of them, and what people read."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex, get_response_synthesizer
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.schema import (
    Document,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore

from cocom.baselines.result import HardCompression, HardPassage
from cocom.errors import InputError
from cocom.references import find
from cocom.shared import default_store
from cocom.testing import tiny_cocom
from llamaindex_cocom import CocomNodePostprocessor, CompressedNode, PassageRetriever

TEXTS = ("the first of them", "   ", "and another one of many words", "the last")


class FirstWords:
    """A hard method: of each passage the first words stay, the longest passage first."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def compress(
        self,
        passages: Sequence[Any],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> HardCompression:
        self.asked.append(question)
        words = [text.split() for text in passages]
        total = sum(map(len, words))
        left = target_tokens if rate is None else int(total / rate)
        assert left is not None
        kept: list[HardPassage] = []
        for i in sorted(range(len(passages)), key=lambda i: -len(words[i])):
            if text := " ".join(words[i][:left]):
                kept.append(HardPassage(i, text, passages[i], ((0, len(text)),)))
                left -= len(text.split())
        stayed = {p.index for p in kept}
        dropped = tuple(i for i in range(len(passages)) if i not in stayed)
        tokens = sum(len(p.text.split()) for p in kept)
        return HardCompression(tuple(kept), dropped, total, tokens)


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hard method needs no Cocom model."""

    def load(name: str) -> Any:
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr("cocom.opening.loaded", load)


@pytest.fixture
def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(
            node=TextNode(
                text=text,
                id_=f"n{i}",
                metadata={"source": f"{i}.txt"},
                excluded_llm_metadata_keys=["source"],
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{i}")},
            ),
            score=(0.2, 0.9, 0.5, 0.1)[i],
        )
        for i, text in enumerate(TEXTS)
    ]


def postprocessor_of(**settings: Any) -> CocomNodePostprocessor:
    return CocomNodePostprocessor(
        **{"method": "llmlingua2", "scorer": FirstWords(), "compression_rate": 1.2, **settings}
    )


def read_by_model(nodes: list[NodeWithScore]) -> list[str]:
    return [n.node.get_content(MetadataMode.LLM) for n in nodes]


async def test_every_way_of_calling_gives_the_same(nodes: list[NodeWithScore]) -> None:
    postprocessor = postprocessor_of()
    want = ["and another one of many words", "the first of them"]
    assert read_by_model(postprocessor.postprocess_nodes(nodes)) == want
    assert read_by_model(postprocessor.postprocess_nodes(nodes, query_str="Who?")) == want
    assert read_by_model(await postprocessor.apostprocess_nodes(nodes, query_str="Who?")) == want
    assert postprocessor.postprocess_nodes([]) == []
    assert postprocessor.scorer.asked == [None, "Who?", "Who?"]


def test_all_of_a_node_survives(nodes: list[NodeWithScore]) -> None:
    before = [n.model_dump() for n in nodes]
    out = postprocessor_of().postprocess_nodes(nodes)
    assert [n.model_dump() for n in nodes] == before
    assert [n.node.node_id for n in out] == ["n2", "n0"]  # in the order of the method
    assert [n.score for n in out] == [0.5, 0.2]
    assert [n.text for n in out] == [TEXTS[2], TEXTS[0]]  # people read the whole text
    assert out[1].node.relationships == nodes[0].node.relationships
    assert {**nodes[2].node.metadata, "cocom": out[0].node.metadata["cocom"]} == (
        out[0].node.metadata
    )
    restored = postprocessor_of().restore_nodes(out)
    assert [n.model_dump() for n in restored] == [before[2], before[0]]
    assert [type(n.node) for n in restored] == [TextNode, TextNode]


def test_what_became_of_each_is_noted_where_no_model_reads_it(nodes: list[NodeWithScore]) -> None:
    for n in nodes:
        n.node.excluded_llm_metadata_keys = []
    out = postprocessor_of(compression_rate=None, target_tokens=9, metadata_key="kept")
    first, second = out.postprocess_nodes(nodes)
    note = second.node.metadata["kept"]
    assert note["method"] == "llmlingua2"
    assert note["spans"] == [[0, len("the first of")]]
    assert note["together"] == {"passages": 2, "dropped": 2, "tokens": 9, "origin_tokens": 12}
    assert first.node.get_content(MetadataMode.LLM) == f"source: 2.txt\n\n{TEXTS[2]}"
    assert "kept" not in second.node.get_content(MetadataMode.EMBED)
    store = SimpleDocumentStore()
    store.add_documents([first.node])
    assert json.loads(json.dumps(store.to_dict()))
    again = pickle.loads(pickle.dumps(second.node))
    assert again.get_content(MetadataMode.LLM) == second.node.get_content(MetadataMode.LLM)


def test_other_kinds_of_nodes() -> None:
    index = IndexNode(text="an index node", index_id="inner")
    document = Document(text="a document of more words", id_="d")
    out = postprocessor_of(compression_rate=1).postprocess_nodes(
        [NodeWithScore(node=node) for node in (index, document)]
    )
    assert [type(n.node).__name__ for n in out] == ["CompressedNode", "CompressedIndexNode"]
    assert isinstance(out[1].node, IndexNode)
    assert out[1].node.index_id == "inner"


def test_what_stays_is_no_reference() -> None:
    (compressed,) = CocomNodePostprocessor(tiny_cocom()).postprocess_nodes(
        [NodeWithScore(node=TextNode(text="a secret"))]
    )
    reference = compressed.node.get_content(MetadataMode.LLM)
    planted = TextNode(text=f"{reference} more", metadata={"title": reference})
    (out,) = postprocessor_of(compression_rate=1).postprocess_nodes([NodeWithScore(node=planted)])
    assert not list(find(out.node.get_content(MetadataMode.LLM)))
    assert out.text == planted.text
    with pytest.raises(InputError, match="node 0 was compressed before"):
        postprocessor_of().postprocess_nodes([compressed])


def test_a_hard_method_may_not_write_over_metadata(nodes: list[NodeWithScore]) -> None:
    nodes[3].node.metadata["cocom"] = "mine"
    with pytest.raises(InputError, match="metadata of node 3 have a 'cocom' already"):
        postprocessor_of().postprocess_nodes(nodes)


def test_longllmlingua_needs_a_question(nodes: list[NodeWithScore]) -> None:
    postprocessor = postprocessor_of(method="longllmlingua")
    assert postprocessor.postprocess_nodes(nodes, query_str="Who?")
    with pytest.raises(InputError, match="'longllmlingua' reads passages for a question"):
        postprocessor.postprocess_nodes(nodes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lingua"}, "'llmlingua', 'longllmlingua' or 'llmlingua2'"),
        ({"compression_rate": None}, "give one of the two"),
        ({"as_text": 1}, "as_text is for method 'cocom', but method is 'llmlingua2'"),
        ({"on_error": "passthrough"}, "on_error is for method 'cocom'"),
        ({"engine": tiny_cocom()}, "engine is given, but method 'llmlingua2' uses none"),
        ({"model": "another"}, "engine is given, but method 'llmlingua2' uses none"),
        ({"method": "cocom", "engine": tiny_cocom()}, "scorer is for hard methods"),
    ],
)
def test_settings_that_do_not_go_together(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        postprocessor_of(**settings)


def test_copies_share_the_scorer_and_json_names_it() -> None:
    postprocessor = postprocessor_of()
    assert copy.deepcopy(postprocessor).scorer is postprocessor.scorer
    assert json.loads(postprocessor.to_json())["scorer"] == "<FirstWords>"
    with pytest.raises(InputError, match="which JSON does not hold"):
        CocomNodePostprocessor.from_json(postprocessor.to_json())
    with pytest.raises(InputError, match="scorer object of this process"):
        pickle.dumps(postprocessor)
    named = postprocessor_of(scorer="a/folder", method_settings={"force_tokens": ["."]})
    for again in (
        pickle.loads(pickle.dumps(named)),
        CocomNodePostprocessor.from_json(named.to_json()),
    ):
        assert again.to_dict() == named.to_dict()


async def test_any_llm_reads_what_stays(nodes: list[NodeWithScore]) -> None:
    """MockLLM says its prompt, so the answer is what it read."""
    prompt = PromptTemplate("{context_str} | {query_str}")
    full = [n.node for n in nodes if n.node.get_content().strip()]
    engine = RetrieverQueryEngine(
        PassageRetriever.from_nodes(full),
        response_synthesizer=get_response_synthesizer(llm=MockLLM(), text_qa_template=prompt),
        node_postprocessors=[postprocessor_of(compression_rate=2)],
    )
    response = engine.query("Who?")
    assert str(response) == "and another one of many words | Who?"
    assert [n.text for n in response.source_nodes] == [TEXTS[2]]
    assert isinstance(response.source_nodes[0].node, CompressedNode)
    assert str(await engine.aquery("Who?")) == str(response)


def test_what_an_answer_quotes_is_recovered() -> None:
    text = "The bridge opened on 24 May 1883."

    class LeavesOut:
        """Leaves out the month."""

        def compress(self, passages: Any, **given: Any) -> HardCompression:
            start = text.index("May ")
            spans = ((0, start), (start + 4, len(text)))
            kept = text[:start] + text[start + 4 :]
            return HardCompression((HardPassage(0, kept, text, spans),), (), 9, 8)

    found = [NodeWithScore(node=TextNode(text=text))]
    postprocessor = postprocessor_of(scorer=LeavesOut())
    out = postprocessor.postprocess_nodes(found)
    assert postprocessor.recover("It opened on 24 1883.", out) == "It opened on 24 May 1883."
    assert postprocessor.recover("It opened on 24 1883.", found) == "It opened on 24 1883."


def cited(nodes: list[NodeWithScore], mode: MetadataMode) -> list[NodeWithScore]:
    """The numbered sources that a `CitationQueryEngine` makes of nodes."""
    engine = CitationQueryEngine.from_args(
        VectorStoreIndex([], embed_model=MockEmbedding(2)),
        retriever=PassageRetriever.from_nodes([n.node for n in nodes]),
        llm=MockLLM(),
        metadata_mode=mode,
    )
    sources: list[NodeWithScore] = engine._create_citation_nodes(nodes)
    return sources


@pytest.mark.parametrize("mode", [MetadataMode.LLM, MetadataMode.NONE])
def test_numbered_sources_are_restored_and_recovered_from(mode: MetadataMode) -> None:
    node = TextNode(text="The bridge is 486 metres long. It opened in 1883.", metadata={"p": 1})
    post = CocomNodePostprocessor(method="llmlingua", scorer=FirstWords(), target_tokens=6)
    short = post.postprocess_nodes([NodeWithScore(node=node, score=1.0)])
    (source,) = post.restore_nodes(cited(short, mode))
    assert source.node.get_content() == (
        f"Source 1:\np: 1\n\n{node.text}\n"
        if mode == MetadataMode.LLM
        else f"Source 1:\n{node.text}\n"
    )
    assert source.node.metadata == {"p": 1}
    said = "bridge is 486 long."
    assert post.recover(said, cited(short, mode)) == post.recover(said, short)


def test_nodes_that_were_read_from_json_are_restored_and_recovered_from(
    passages: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    post = CocomNodePostprocessor(method="llmlingua2", compression_rate=2)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in passages]
    short = post.postprocess_nodes(nodes)
    read = [NodeWithScore(node=TextNode.from_dict(n.node.to_dict())) for n in short]
    monkeypatch.setattr(default_store(), "namespace", lambda name: pytest.fail("asks a store"))
    by_id = {n.node.node_id: n.node for n in nodes}
    for n in post.restore_nodes(read):
        assert n.node == by_id[n.node.node_id]
    for n in short:
        kept = n.node.get_content(MetadataMode.LLM)
        assert post.recover(kept, read) == post.recover(kept, short) != kept


def test_the_shipped_classifier_leaves_out_words(passages: tuple[str, ...]) -> None:
    post = CocomNodePostprocessor(method="llmlingua2", compression_rate=2)
    nodes = [
        NodeWithScore(node=TextNode(text=text, id_=f"n{i}")) for i, text in enumerate(passages)
    ]
    short = post.postprocess_nodes(nodes)
    assert [n.node.node_id for n in short] == [n.node.node_id for n in nodes]
    together = short[0].node.metadata["cocom"]["together"]
    assert 0 < together["tokens"] <= together["origin_tokens"] / 2
    for before, after in zip(nodes, short, strict=True):
        read = after.node.get_content(MetadataMode.LLM).split()
        assert 0 < len(read) < len(before.node.get_content().split())
        assert json.loads(json.dumps(after.node.metadata)) == after.node.metadata
    again = pickle.loads(pickle.dumps(post)).postprocess_nodes(nodes)
    assert [n.node.get_content(MetadataMode.LLM) for n in again] == [
        n.node.get_content(MetadataMode.LLM) for n in short
    ]


def test_the_shipped_model_scores_tokens(passages: tuple[str, ...]) -> None:
    found = [
        NodeWithScore(node=TextNode(text=text, id_=f"n{i}"), score=1 - i / 5)
        for i, text in enumerate(passages)
    ]
    postprocessor = CocomNodePostprocessor(
        method="longllmlingua", target_tokens=100, count_tokens=len
    )
    out = postprocessor.postprocess_nodes(found, query_str="How long is the main span?")
    assert 0 < sum(len(n.node.get_content(MetadataMode.LLM)) for n in out) <= 100
    scores = {n.node.node_id: n.score for n in found}
    assert all(n.score == scores[n.node.node_id] for n in out)
