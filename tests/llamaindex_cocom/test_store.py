"""The adapter over a store on disk: the same answers as from memory, and what is new is written there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import get_response_synthesizer
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.query_engine import BaseQueryEngine, RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from cocom import Cocom, CocomView, DiskStore, MemoryStore
from cocom.errors import ConfigError, FingerprintError, MissingContextError, StoreError
from cocom.testing import tiny_cocom
from llamaindex_cocom import (
    CocomLLM,
    CocomLLMError,
    CocomNodePostprocessor,
    CocomTransform,
    make_prompt_helper,
    question_prompt,
)

RATE = 4
KEY = "a key of sixteen bytes"
NEW = "The Tower Bridge opened on 30 June 1894."


@pytest.fixture
def nodes(passages: tuple[str, ...]) -> list[TextNode]:
    return [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(passages)]


@pytest.fixture
def folder(tmp_path: Path, cocom_tiny: Cocom, passages: tuple[str, ...]) -> Path:
    """A store that holds the passages, closed."""
    with DiskStore.create(tmp_path / "store") as store:
        store.add(cocom_tiny.compress(passages, rate=RATE))
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[DiskStore]:
    with DiskStore(folder) as store:
        yield store


@pytest.fixture
def nothing_is_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: Cocom, passages: Any, **options: Any) -> Any:
        assert not list(passages), "a passage was compressed"
        return []

    monkeypatch.setattr(Cocom, "compress", fails)


class Found(BaseRetriever):
    """Finds all nodes, whatever is asked."""

    def __init__(self, nodes: list[TextNode]) -> None:
        super().__init__()
        self._nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return scored(self._nodes)


def scored(nodes: list[TextNode]) -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=0.5) for node in nodes]


def engine(view: CocomView, nodes: list[TextNode], streaming: bool = False) -> BaseQueryEngine:
    llm = CocomLLM(view)
    synthesizer = get_response_synthesizer(
        llm=llm,
        prompt_helper=make_prompt_helper(llm),
        text_qa_template=question_prompt(view.model),
        streaming=streaming,
    )
    return RetrieverQueryEngine(
        Found(nodes),
        response_synthesizer=synthesizer,
        node_postprocessors=[CocomNodePostprocessor(view, compression_rate=RATE)],
    )


@pytest.mark.parametrize("read_only", [False, True])
async def test_answers_from_disk_are_those_from_memory(
    read_only: bool,
    folder: Path,
    cocom_tiny: Cocom,
    nodes: list[TextNode],
    questions: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    memory = engine(CocomView(cocom_tiny, store=MemoryStore()), nodes)
    want = [str(memory.query(question)) for question in questions]
    assert want == list(questions.values())
    request.getfixturevalue("nothing_is_compressed")
    with DiskStore(folder, read_only=read_only) as store:
        view = CocomView(cocom_tiny, store=store)
        disk = engine(view, nodes)
        assert [str(disk.query(question)) for question in questions] == want
        streaming = engine(view, nodes, streaming=True)
        assert [str(streaming.query(question)) for question in questions] == want
        together = await asyncio.gather(*(disk.aquery(question) for question in questions))
        assert list(map(str, together)) == want


def test_what_is_missing_is_compressed_and_written(
    tmp_path: Path,
    cocom_tiny: Cocom,
    nodes: list[TextNode],
    questions: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        asked = engine(CocomView(cocom_tiny, store=store), nodes)
        assert [str(asked.query(question)) for question in questions] == list(questions.values())
    request.getfixturevalue("nothing_is_compressed")
    with DiskStore(tmp_path / "store") as again:
        assert sorted(entry.text or "" for _, entry in again.items()) == sorted(
            node.text for node in nodes
        )
        asked = engine(CocomView(cocom_tiny, store=again), nodes)
        assert [str(asked.query(question)) for question in questions] == list(questions.values())


def test_a_pipeline_writes_to_the_disk(
    tmp_path: Path, cocom_tiny: Cocom, nodes: list[TextNode]
) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        view = CocomView(cocom_tiny, store=store)
        made = IngestionPipeline(transformations=[CocomTransform(view, compression_rate=RATE)]).run(
            nodes=nodes
        )
    with DiskStore(tmp_path / "store", read_only=True) as store:
        found = store.get([node.metadata["cocom_id"] for node in made])
    assert [entry.text for entry in found if entry] == [node.text for node in nodes]


def test_what_a_store_for_reading_lacks_is_kept_in_memory(
    folder: Path, cocom_tiny: Cocom, nodes: list[TextNode], request: pytest.FixtureRequest
) -> None:
    with DiskStore(folder, read_only=True) as store:
        view = CocomView(cocom_tiny, store=store)
        asked = engine(view, [TextNode(text=NEW), *nodes])
        assert str(asked.query("When did the Tower Bridge open?")) == "30 June 1894"
        request.getfixturevalue("nothing_is_compressed")
        assert str(asked.query("When did the Tower Bridge open?")) == "30 June 1894"
        assert (len(view.store), len(store)) == (len(nodes) + 1, len(nodes))


def test_references_outlive_the_process_with_key_and_store(
    folder: Path, cocom_tiny: Cocom, nodes: list[TextNode], nothing_is_compressed: None
) -> None:
    with DiskStore(folder) as store:
        view = CocomView(cocom_tiny, key=KEY, store=store)
        found = CocomNodePostprocessor(view, compression_rate=RATE).postprocess_nodes(scored(nodes))
    context = "\n".join(n.node.get_content(MetadataMode.LLM) for n in found)
    with DiskStore(folder) as store:
        later = CocomView(cocom_tiny, key=KEY, store=store)
        llm = CocomLLM(later)
        prompt = question_prompt(cocom_tiny).format_messages(
            context_str=context, query_str="When was Voyager 1 launched?"
        )
        assert llm.chat(prompt).message.content == "5 September 1977"
        restored = CocomNodePostprocessor(later).restore_nodes(scored([TextNode(text=context)]))
        assert restored[0].text == "\n".join(node.text for node in nodes)


def test_another_model_is_refused_when_the_view_is_made(
    folder: Path, store: DiskStore, cocom_tiny: Cocom
) -> None:
    other = tiny_cocom()
    names = rf"model {cocom_tiny.fingerprint[:12]} at rate 4, but this model is {other.fingerprint[:12]}"
    for given in (folder, store):
        with pytest.raises(FingerprintError, match=names):
            CocomNodePostprocessor(CocomView(other, store=given))
    assert len(store.kinds()) == 1


def test_another_model_is_refused_when_it_comes_later(
    store: DiskStore, cocom_tiny: Cocom, nodes: list[TextNode]
) -> None:
    view = CocomView(cocom_tiny, key=KEY, store=store)
    found = CocomNodePostprocessor(view, compression_rate=RATE).postprocess_nodes(scored(nodes))
    other = view.with_model(tiny_cocom())
    with pytest.raises(FingerprintError, match="load the model that made them"):
        CocomNodePostprocessor(other, compression_rate=RATE).postprocess_nodes(scored(nodes))
    with pytest.raises(CocomLLMError, match="compress") as caught:
        CocomLLM(other).complete(f"{found[0].node.get_content(MetadataMode.LLM)} Where?")
    assert isinstance(caught.value.__cause__, FingerprintError)
    assert len(store.kinds()) == 1


def test_a_rate_that_was_not_indexed_is_refused(
    store: DiskStore, cocom_tiny: Cocom, nodes: list[TextNode]
) -> None:
    """Every passage would be compressed while somebody waits, and nobody would notice."""
    postprocessor = CocomNodePostprocessor(CocomView(cocom_tiny, store=store), compression_rate=16)
    with pytest.raises(ConfigError, match="at rate 4, but rate 16 is asked for"):
        postprocessor.postprocess_nodes(scored(nodes))


def test_a_passage_that_was_deleted_is_missed_and_made_again(
    store: DiskStore, cocom_tiny: Cocom, nodes: list[TextNode]
) -> None:
    view = CocomView(cocom_tiny, store=store)
    postprocessor = CocomNodePostprocessor(view, compression_rate=RATE)
    (found,) = postprocessor.postprocess_nodes(scored(nodes[:1]))
    prompt = f"{found.node.get_content(MetadataMode.LLM)} Where?"
    store.delete(list(store))
    with pytest.raises(CocomLLMError, match="compress the passage again") as caught:
        CocomLLM(view).complete(prompt)
    assert isinstance(caught.value.__cause__, MissingContextError)
    postprocessor.postprocess_nodes(scored(nodes[:1]))
    assert len(store) == 1
    assert CocomLLM(view, max_tokens=2).complete(prompt).text


def test_a_damaged_store_is_an_error_and_not_a_miss(
    folder: Path, cocom_tiny: Cocom, nodes: list[TextNode]
) -> None:
    with DiskStore(folder) as store:
        store.compact()
    (shard,) = (folder / "shards").iterdir()
    half = shard.stat().st_size // 2
    shard.write_bytes(shard.read_bytes()[:half] + bytes(half))
    with DiskStore(folder) as store:
        asked = engine(CocomView(cocom_tiny, store=store), nodes)
        with pytest.raises(StoreError, match="verify --repair"):
            asked.query("Where?")
