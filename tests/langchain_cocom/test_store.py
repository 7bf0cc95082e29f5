"""The adapter over a store on disk: the same answers as from memory, and what is new is written there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from cocom import Cocom, CocomView, DiskStore, MemoryStore
from cocom.errors import ConfigError, FingerprintError, MissingContextError, StoreError
from cocom.store import ContextStore
from cocom.testing import tiny_cocom
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    CocomDocumentTransformer,
    CocomRetrievalChain,
    ExpandContexts,
    format_documents,
    question_prompt,
)

RATE = 4
KEY = "a key of sixteen bytes"


@pytest.fixture
def documents(passages: tuple[str, ...]) -> list[Document]:
    return [Document(text, id=str(i)) for i, text in enumerate(passages)]


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


Chain = Callable[[CocomView, list[Document]], Runnable[str, str]]


def lcel(view: CocomView, documents: list[Document]) -> Runnable[str, str]:
    found: Runnable[str, list[Document]] = RunnableLambda(lambda question: documents)
    compressor = CocomDocumentCompressor(engine=view, compression_rate=RATE)
    context = found | compressor | format_documents
    return (
        {"context": context, "input": RunnablePassthrough()}
        | question_prompt(view.model)
        | ChatCocom(engine=view)
        | StrOutputParser()
    )


def without_references(view: CocomView, documents: list[Document]) -> Runnable[str, str]:
    found: Runnable[str, list[Document]] = RunnableLambda(lambda question: documents)
    chain = CocomRetrievalChain(engine=view, retriever=found, compression_rate=RATE)
    return chain.pick("answer")


def kept_in(folder: Path) -> dict[str, bytes]:
    """Files and what is in them, but for SQLite's notes on who reads."""
    return {
        path.name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm") and path.stat().st_size
    }


def written(store: ContextStore) -> dict[str, Any]:
    return {id: (entry.text, entry.rate, entry.contexts) for id, entry in store.items()}


@pytest.mark.parametrize("chain", [lcel, without_references])
@pytest.mark.parametrize("read_only", [False, True])
async def test_answers_from_disk_are_those_from_memory(
    chain: Chain,
    read_only: bool,
    folder: Path,
    cocom_tiny: Cocom,
    documents: list[Document],
    questions: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    memory = chain(CocomView(cocom_tiny, store=MemoryStore()), documents)
    want = [memory.invoke(question) for question in questions]
    assert want == list(questions.values())
    request.getfixturevalue("nothing_is_compressed")
    with DiskStore(folder, read_only=read_only) as store:
        disk = chain(CocomView(cocom_tiny, store=store), documents)
        assert [disk.invoke(question) for question in questions] == want
        assert ["".join(disk.stream(question)) for question in questions] == want
        together = await asyncio.gather(*(disk.ainvoke(question) for question in questions))
        assert together == want


def test_a_folder_is_as_good_as_its_store(
    folder: Path,
    cocom_tiny: Cocom,
    documents: list[Document],
    questions: dict[str, str],
    nothing_is_compressed: None,
) -> None:
    view = CocomView(cocom_tiny, store=folder)
    chain = lcel(view, documents)
    assert [chain.invoke(question) for question in questions] == list(questions.values())
    view.store.close()


def test_what_is_missing_is_compressed_and_written(
    tmp_path: Path,
    cocom_tiny: Cocom,
    documents: list[Document],
    questions: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        chain = lcel(CocomView(cocom_tiny, store=store), documents)
        assert [chain.invoke(question) for question in questions] == list(questions.values())
    request.getfixturevalue("nothing_is_compressed")
    with DiskStore(tmp_path / "store") as again:
        assert sorted(entry.text or "" for _, entry in again.items()) == sorted(
            document.page_content for document in documents
        )
        chain = lcel(CocomView(cocom_tiny, store=again), documents)
        assert [chain.invoke(question) for question in questions] == list(questions.values())


def test_the_transformer_writes_to_the_disk(
    tmp_path: Path, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        transformer = CocomDocumentTransformer(
            engine=CocomView(cocom_tiny, store=store), compression_rate=RATE
        )
        made = transformer.transform_documents(documents)
    with DiskStore(tmp_path / "store", read_only=True) as store:
        found = store.get([document.metadata["cocom_id"] for document in made])
    assert [entry.text for entry in found if entry] == [d.page_content for d in documents]


def test_what_a_store_for_reading_lacks_is_kept_in_memory(
    folder: Path, cocom_tiny: Cocom, documents: list[Document], request: pytest.FixtureRequest
) -> None:
    new = Document("The Tower Bridge opened on 30 June 1894.")
    before = kept_in(folder)
    with DiskStore(folder, read_only=True) as store:
        view = CocomView(cocom_tiny, store=store)
        chain = lcel(view, [new, *documents])
        assert chain.invoke("When did the Tower Bridge open?") == "30 June 1894"
        request.getfixturevalue("nothing_is_compressed")
        assert chain.invoke("When did the Tower Bridge open?") == "30 June 1894"
        assert (len(view.store), len(store)) == (len(documents) + 1, len(documents))
    assert kept_in(folder) == before


def test_what_another_writer_adds_is_found_at_once(
    folder: Path, store: DiskStore, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    new = Document("The Tower Bridge opened on 30 June 1894.")
    with DiskStore(folder, read_only=True) as reading:
        view = CocomView(cocom_tiny, store=reading)
        compressor = CocomDocumentCompressor(engine=view, compression_rate=RATE)
        compressor.invoke(documents)
        store.add(cocom_tiny.compress([new.page_content], rate=RATE))
        (compressed,) = compressor.invoke([new])
        assert compressed.metadata["cocom"]["id"] in reading
        assert len(view.store) == len(reading) == len(documents) + 1  # none of them in memory


def test_what_was_deleted_is_compressed_again(
    store: DiskStore, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    view = CocomView(cocom_tiny, store=store)
    compressor = CocomDocumentCompressor(engine=view, compression_rate=RATE)
    prompt = format_documents(compressor.invoke(documents))
    (id, *_) = store
    before = written(store)
    del store[id]
    with pytest.raises(
        MissingContextError, match=f"no passage {id} .*: compress the passage again"
    ):
        ChatCocom(engine=view).invoke(f"{prompt} Where?")
    compressor.invoke(documents)
    assert written(store).keys() == before.keys()
    assert ChatCocom(engine=view, max_tokens=2).invoke(f"{prompt} Where?").text


def test_references_outlive_the_process_with_key_and_store(
    folder: Path, cocom_tiny: Cocom, documents: list[Document], nothing_is_compressed: None
) -> None:
    with DiskStore(folder) as store:
        view = CocomView(cocom_tiny, key=KEY, store=store)
        compressed = CocomDocumentCompressor(engine=view, compression_rate=RATE).invoke(documents)
    with DiskStore(folder) as store:
        later = CocomView(cocom_tiny, key=KEY, store=store)
        expanded = ExpandContexts(engine=later).invoke(compressed)
        assert [d.page_content for d in expanded] == [d.page_content for d in documents]
        prompt = question_prompt(cocom_tiny)
        asked = prompt.invoke(
            {"context": format_documents(compressed), "input": "When was Voyager 1 launched?"}
        )
        assert ChatCocom(engine=later).invoke(asked).text == "5 September 1977"


def test_another_model_is_refused_when_the_view_is_made(
    folder: Path, store: DiskStore, cocom_tiny: Cocom
) -> None:
    other = tiny_cocom()
    names = rf"model {cocom_tiny.fingerprint[:12]} at rate 4, but this model is {other.fingerprint[:12]}"
    for given in (folder, store, DiskStore(folder, read_only=True)):
        with pytest.raises(FingerprintError, match=names):
            CocomDocumentCompressor(engine=CocomView(other, store=given), compression_rate=RATE)
    assert len(store.kinds()) == 1


def test_another_model_is_refused_when_it_comes_later(
    store: DiskStore, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    view = CocomView(cocom_tiny, key=KEY, store=store)
    prompt = format_documents(
        CocomDocumentCompressor(engine=view, compression_rate=RATE).invoke(documents)
    )
    other = view.with_model(tiny_cocom())
    with pytest.raises(FingerprintError, match="load the model that made them"):
        CocomDocumentCompressor(engine=other, compression_rate=RATE).invoke(documents)
    with pytest.raises(FingerprintError, match="compress"):
        ChatCocom(engine=other).invoke(f"{prompt} Where?")
    assert len(store.kinds()) == 1


def test_a_rate_that_was_not_indexed_is_refused(
    store: DiskStore, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    """Every passage would be compressed while somebody waits, and nobody would notice."""
    view = CocomView(cocom_tiny, store=store)
    compressor = CocomDocumentCompressor(engine=view, compression_rate=16)
    with pytest.raises(ConfigError, match="at rate 4, but rate 16 is asked for"):
        compressor.invoke(documents)
    lenient = CocomDocumentCompressor(engine=view, compression_rate=16, on_error="passthrough")
    with pytest.raises(ConfigError, match="at rate 4, but rate 16 is asked for"):
        lenient.invoke(documents)
    store.add(cocom_tiny.compress(["A passage."], rate=16))  # now the store is one for both
    assert len(compressor.invoke(documents)) == len(documents)


def test_namespaces_of_one_store_are_apart(
    store: DiskStore, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    ours = CocomView(cocom_tiny, namespace="us", key=KEY, store=store.namespace("us"))
    theirs = CocomView(cocom_tiny, namespace="them", key=KEY, store=store.namespace("them"))
    compressed = CocomDocumentCompressor(engine=ours, compression_rate=RATE).invoke(documents[:2])
    CocomDocumentCompressor(engine=theirs, compression_rate=RATE).invoke(documents[2:])
    assert store.namespaces() == ["", "them", "us"]
    assert [len(view.store) for view in (ours, theirs)] == [2, 3]
    assert store.namespace("us").delete(list(ours.store)) == 2
    assert [len(view.store) for view in (ours, theirs)] == [0, 3]
    text = compressed[0].page_content
    assert theirs.resolve(text) == (text,)  # no more than a text


def test_a_store_without_texts_reads_but_does_not_expand(
    tmp_path: Path, cocom_tiny: Cocom, documents: list[Document], questions: dict[str, str]
) -> None:
    with DiskStore.create(tmp_path / "store", texts=False) as store:
        view = CocomView(cocom_tiny, store=store)
        chain = lcel(view, documents)
        assert [chain.invoke(question) for question in questions] == list(questions.values())
        compressor = CocomDocumentCompressor(engine=view, compression_rate=RATE)
        with pytest.raises(MissingContextError, match="but not its text"):
            compressor.restore_documents(compressor.invoke(documents))
        keeping = CocomDocumentCompressor(engine=view, compression_rate=RATE, keep_text="metadata")
        assert keeping.restore_documents(keeping.invoke(documents)) == documents


@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_a_quantised_store_answers(
    quantization: Any,
    tmp_path: Path,
    cocom_tiny: Cocom,
    documents: list[Document],
    questions: dict[str, str],
) -> None:
    with DiskStore.create(tmp_path / "store", quantization=quantization) as store:
        view = CocomView(cocom_tiny, store=store)
        CocomDocumentCompressor(engine=view, compression_rate=RATE).invoke(documents)
        chain = lcel(view, documents)
        assert [chain.invoke(question) for question in questions] == list(questions.values())


async def test_tasks_that_miss_the_same_passages_write_each_once(
    tmp_path: Path, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        view = CocomView(cocom_tiny, store=store)
        compressor = CocomDocumentCompressor(engine=view, compression_rate=RATE)
        first, *others = await asyncio.gather(*(compressor.ainvoke(documents) for _ in range(8)))
        assert all(other == first for other in others)
        assert len(store) == len(documents)
        assert store.verify().problems == ()


def test_a_damaged_store_is_an_error_and_not_a_miss(
    folder: Path, cocom_tiny: Cocom, documents: list[Document]
) -> None:
    with DiskStore(folder) as store:
        store.compact()
    (shard,) = (folder / "shards").iterdir()
    half = shard.stat().st_size // 2
    shard.write_bytes(shard.read_bytes()[:half] + bytes(half))
    with DiskStore(folder) as store:
        view = CocomView(cocom_tiny, store=store)
        with pytest.raises(StoreError, match="verify --repair"):
            CocomDocumentCompressor(engine=view, compression_rate=RATE).invoke(documents)
