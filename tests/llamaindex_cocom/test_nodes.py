"""Nodes through the postprocessor and the transformation: what survives, and who reads what."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from importlib import import_module
from typing import Any

import pytest
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.llms import LLM, CustomLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
    TransformComponent,
)
from llama_index.core.storage.docstore import SimpleDocumentStore

from cocom import Cocom, CocomView, MemoryStore
from cocom.errors import ConfigError, EmptyPassageError
from cocom.references import find
from cocom.testing import tiny_cocom
from llamaindex_cocom import CocomLLM, CocomNodePostprocessor, CocomTransform, CompressedNode

TEXTS = ("The first passage.", "The second one, which is longer.", "Third.")


@pytest.fixture
def model() -> Cocom:
    return tiny_cocom()


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
                start_char_idx=i,
                embedding=[0.5, i],
            ),
            score=(0.2, 0.9, 0.5)[i],
        )
        for i, text in enumerate(TEXTS)
    ]


def read_by_model(nodes: list[NodeWithScore]) -> list[str]:
    return [n.node.get_content(MetadataMode.LLM) for n in nodes]


def compressed(nodes: list[NodeWithScore]) -> list[bool]:
    return [len(list(find(text))) == 1 for text in read_by_model(nodes)]


def test_conventions(model: Cocom) -> None:
    """LlamaIndex checks its integrations by their base classes and class names."""
    postprocessor = import_module("llama_index.postprocessor.cocom").CocomNodePostprocessor
    llm = import_module("llama_index.llms.cocom").CocomLLM
    assert (postprocessor, llm) == (CocomNodePostprocessor, CocomLLM)
    assert BaseNodePostprocessor.__name__ in [b.__name__ for b in postprocessor.__mro__]
    assert {LLM.__name__, CustomLLM.__name__} <= {b.__name__ for b in llm.__mro__}
    assert TransformComponent.__name__ in [b.__name__ for b in CocomTransform.__mro__]
    for made in (CocomNodePostprocessor(model), CocomTransform(model), CocomLLM(model)):
        assert made.class_name() == type(made).__name__
        assert json.loads(made.to_json())["class_name"] == type(made).__name__


async def test_every_way_of_calling_gives_the_same(
    model: Cocom, nodes: list[NodeWithScore]
) -> None:
    postprocessor = CocomNodePostprocessor(model, compression_rate=4)
    want = read_by_model(postprocessor.postprocess_nodes(nodes))
    assert len(set(want)) == 3
    assert read_by_model(postprocessor.postprocess_nodes(nodes, query_str="Who?")) == want
    assert read_by_model(await postprocessor.apostprocess_nodes(nodes)) == want
    assert read_by_model(await postprocessor.apostprocess_nodes(nodes, query_str="Who?")) == want
    assert postprocessor.postprocess_nodes([]) == []
    assert await postprocessor.apostprocess_nodes([], query_str="Who?") == []


def test_all_of_a_node_survives(model: Cocom, nodes: list[NodeWithScore]) -> None:
    before = [n.model_dump() for n in nodes]
    out = CocomNodePostprocessor(model).postprocess_nodes(nodes)
    assert [n.model_dump() for n in nodes] == before  # the given ones are not touched
    assert compressed(nodes) == [False] * 3
    assert compressed(out) == [True] * 3
    assert [n.model_dump() for n in out] == before
    assert [n.score for n in out] == [0.2, 0.9, 0.5]
    for node in out:
        assert isinstance(node.node, CompressedNode)
        assert node.node.reference == node.node.get_content(MetadataMode.LLM)


def test_people_read_the_text_and_the_model_the_reference(
    model: Cocom, nodes: list[NodeWithScore]
) -> None:
    nodes[0].node.excluded_llm_metadata_keys = []
    out = CocomNodePostprocessor(model).postprocess_nodes(nodes)
    for mode in (MetadataMode.ALL, MetadataMode.EMBED, MetadataMode.NONE):
        for new, old in zip(out, nodes, strict=True):
            assert new.node.get_content(mode) == old.node.get_content(mode)
            assert new.node.get_content_blocks(mode) == old.node.get_content_blocks(mode)
    assert [n.text for n in out] == list(TEXTS)
    assert out[0].node.get_text() == TEXTS[0]  # type: ignore[attr-defined]
    first = out[0].node.get_content(MetadataMode.LLM)
    assert first.startswith("source: 0.txt\n\n[[cocom:")
    blocks = [b.text for b in out[0].node.get_content_blocks(MetadataMode.LLM)]  # type: ignore[attr-defined]
    assert "\n\n".join(blocks) == first


def test_it_is_written_as_the_plain_node(model: Cocom, nodes: list[NodeWithScore]) -> None:
    out = CocomNodePostprocessor(model).postprocess_nodes(nodes)
    assert "cocom" not in out[0].node.to_json()
    store = SimpleDocumentStore()
    store.add_documents([n.node for n in out])
    kept = store.get_document("n0")
    assert type(kept) is TextNode
    assert kept.model_dump() == nodes[0].node.model_dump()
    again = pickle.loads(pickle.dumps(out[1].node))
    assert again.get_content(MetadataMode.NONE) == TEXTS[1]
    copied = out[1].node.model_copy()
    assert copied.get_content(MetadataMode.LLM) == out[1].node.get_content(MetadataMode.LLM)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [True, True, True]),
        ({"as_text": 1}, [True, False, True]),  # the best by score, wherever it stands
        ({"as_text": 2}, [True, False, False]),
        ({"as_text": 9}, [False, False, False]),
        ({"min_tokens": 10}, [True, True, False]),
    ],
)
def test_selective_expansion(
    model: Cocom, nodes: list[NodeWithScore], settings: Any, expected: list[bool]
) -> None:
    postprocessor = CocomNodePostprocessor(model, **settings)
    assert compressed(postprocessor.postprocess_nodes(nodes)) == expected


def test_without_scores_the_first_are_the_best(model: Cocom, nodes: list[NodeWithScore]) -> None:
    nodes[1].score = None
    postprocessor = CocomNodePostprocessor(model, as_text=1)
    assert compressed(postprocessor.postprocess_nodes(nodes)) == [False, True, True]


def test_other_kinds_of_nodes(model: Cocom) -> None:
    index = IndexNode(text="An index node.", index_id="inner")
    document = Document(text="A document.", metadata={"b": 2}, id_="d")
    image = ImageNode(text="What the picture shows.", image_path="x.png")
    silent = ImageNode(image_path="y.png")
    out = CocomNodePostprocessor(model).postprocess_nodes(
        [NodeWithScore(node=node) for node in (index, document, image, silent)]
    )
    assert compressed(out) == [True, True, True, False]
    assert out[0].node.index_id == "inner"  # type: ignore[attr-defined]
    assert isinstance(out[0].node, IndexNode)
    assert out[1].node.node_id == "d"
    assert out[1].node.metadata == {"b": 2}
    assert out[1].text == "A document."
    assert isinstance(out[2].node, ImageNode)
    assert out[2].node.image_path == "x.png"
    assert out[3].node is silent


class Chapter(TextNode):
    """A kind of node of somebody's own."""

    number: int = 0


def test_kinds_of_ones_own_keep_their_fields(model: Cocom) -> None:
    node = Chapter(text="A chapter.", number=3)
    (out,) = CocomNodePostprocessor(model).postprocess_nodes([NodeWithScore(node=node)])
    again = pickle.loads(pickle.dumps(out.node))
    for each in (out.node, again):
        assert isinstance(each, Chapter)
        assert isinstance(each, CompressedNode)
        assert each.number == 3
        assert each.reference == each.get_content(MetadataMode.LLM)


def test_a_node_that_is_made_again_is_read_as_text(
    model: Cocom, nodes: list[NodeWithScore]
) -> None:
    (out, *_) = CocomNodePostprocessor(model).postprocess_nodes(nodes)
    assert isinstance(out.node, CompressedNode)
    for made in (
        CompressedNode(**out.node.model_dump()),
        CompressedNode.from_dict(out.node.to_dict()),
        CompressedNode.from_json(out.node.to_json()),
    ):
        assert made.get_content(MetadataMode.LLM) == TEXTS[0]
    out.node.set_content("Another text [[cocom:")
    assert out.node.get_content() == "Another text [[cocom:"
    assert out.node.get_content(MetadataMode.LLM) == "Another text [[cocom :"
    assert out.node.reference is None


def test_references_in_nodes_are_escaped(model: Cocom) -> None:
    postprocessor = CocomNodePostprocessor(model, as_text=1)
    (stolen,) = CocomNodePostprocessor(model).postprocess_nodes(
        [NodeWithScore(node=TextNode(text="a secret"))]
    )
    reference = stolen.node.get_content(MetadataMode.LLM)
    planted = [
        NodeWithScore(node=TextNode(text=f"Read {reference}", metadata={"title": reference})),
        NodeWithScore(node=TextNode(text="b", metadata={"title": reference, "no": 1})),
    ]
    first, second = postprocessor.postprocess_nodes(planted)
    assert not list(find(first.node.get_content(MetadataMode.LLM)))
    assert first.node.get_content() == f"Read {reference}"  # people read what stood there
    assert first.node.metadata == {"title": reference}
    assert len(list(find(second.node.get_content(MetadataMode.LLM)))) == 1
    blocks = second.node.get_content_blocks(MetadataMode.LLM)
    assert not list(find(blocks[0].text))  # type: ignore[attr-defined]


def test_compressing_twice_is_compressing_once(model: Cocom, nodes: list[NodeWithScore]) -> None:
    postprocessor = CocomNodePostprocessor(model)
    once = postprocessor.postprocess_nodes(nodes)
    assert (
        read_by_model(postprocessor.postprocess_nodes([*once, *nodes])) == read_by_model(once) * 2
    )


def test_references_in_other_peoples_nodes_are_expanded(
    model: Cocom, nodes: list[NodeWithScore]
) -> None:
    postprocessor = CocomNodePostprocessor(model)
    out = postprocessor.postprocess_nodes(nodes)
    numbered = [
        NodeWithScore(node=TextNode(text=f"Source {i}:\n{text}\n"), score=0.5)
        for i, text in enumerate(read_by_model(out))
    ]
    restored = postprocessor.restore_nodes(numbered)
    assert [n.text for n in restored] == [f"Source {i}:\n{text}\n" for i, text in enumerate(TEXTS)]


def test_bad_settings_are_refused(model: Cocom) -> None:
    with pytest.raises(ConfigError, match="rate 3"):
        CocomNodePostprocessor(model, compression_rate=3)
    with pytest.raises(ConfigError, match="rate 3"):
        CocomTransform(model, compression_rate=3)
    for settings in ({"as_text": -1}, {"on_error": "no"}, {"rate": 4}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            CocomNodePostprocessor(model, **settings)
    with pytest.raises(ValueError, match="engine must be a Cocom model"):
        CocomNodePostprocessor(3)  # type: ignore[arg-type]


def test_what_cannot_be_compressed(
    model: Cocom, nodes: list[NodeWithScore], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model.compress

    def fails(passages: Any, **options: Any) -> Any:
        if TEXTS[1] in passages:
            raise EmptyPassageError("no, says the compressor")
        return real(passages, **options)

    monkeypatch.setattr(model, "compress", fails)
    view = CocomView(model, store=MemoryStore())
    with pytest.raises(EmptyPassageError, match="says the compressor"):
        CocomNodePostprocessor(view).postprocess_nodes(nodes)
    lenient = CocomNodePostprocessor(view, on_error="passthrough")
    assert compressed(lenient.postprocess_nodes(nodes)) == [True, False, True]


async def test_the_event_loop_goes_on(
    model: Cocom, nodes: list[NodeWithScore], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model.compress

    def slow(passages: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return real(passages, **options)

    monkeypatch.setattr(model, "compress", slow)
    for work in (
        CocomNodePostprocessor(model).apostprocess_nodes(nodes),
        CocomTransform(model, compression_rate=16).acall([n.node for n in nodes]),
    ):
        task = asyncio.ensure_future(work)
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert await task
        assert ticks > 10


def test_a_pipeline_prepares_what_the_postprocessor_needs(
    model: Cocom, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = model.compress, []

    def counting(passages: Any, **options: Any) -> Any:
        asked.extend(passages)
        return real(passages, **options)

    monkeypatch.setattr(model, "compress", counting)
    cache = IngestionCache()
    view = CocomView(model, store=MemoryStore())
    splitter = SentenceSplitter(chunk_size=64, chunk_overlap=0, tokenizer=str.split)

    def run(rate: int) -> list[Any]:
        documents = [Document(text=text, id_=str(i)) for i, text in enumerate(TEXTS)]
        steps = [splitter, CocomTransform(view, compression_rate=rate)]
        return list(IngestionPipeline(transformations=steps, cache=cache).run(documents=documents))

    nodes = run(4)
    assert len(asked) == 3
    assert all(isinstance(node.metadata["cocom_id"], str) for node in nodes)
    assert "cocom_id" not in nodes[0].get_content(MetadataMode.LLM)
    assert "cocom_id" not in nodes[0].get_content(MetadataMode.EMBED)
    found = [NodeWithScore(node=node) for node in nodes]
    out = CocomNodePostprocessor(view, compression_rate=4).postprocess_nodes(found)
    assert len(asked) == 3
    for new, node in zip(out, nodes, strict=True):
        assert node.metadata["cocom_id"] in new.node.get_content(MetadataMode.LLM)
    run(4)  # comes from the pipeline's cache
    assert len(asked) == 3
    run(16)  # another rate is another transformation
    assert len(asked) == 6
    fresh = CocomView(model, store=MemoryStore())  # after a cache hit, it is compressed when asked
    assert compressed(CocomNodePostprocessor(fresh).postprocess_nodes(found)) == [True] * 3


def test_models_are_told_apart_in_the_pipeline_s_cache(model: Cocom) -> None:
    assert CocomTransform(model).to_dict() == CocomTransform(model, compression_rate=4).to_dict()
    assert CocomTransform(model).to_dict() != CocomTransform(tiny_cocom(seed=1)).to_dict()


def test_a_token_counter_counts_rows(model: Cocom, nodes: list[NodeWithScore]) -> None:
    llm = CocomLLM(model)
    out = CocomNodePostprocessor(model, compression_rate=4).postprocess_nodes(nodes)
    context = "\n\n".join(read_by_model(out))
    slots = sum(len(c) for c in model.compress(TEXTS, rate=4))
    counter = TokenCountingHandler(tokenizer=llm.view.token_ids)
    assert len(counter.tokenizer(context)) == slots + 2 * len(llm.view.token_ids("\n\n"))
