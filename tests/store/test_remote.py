"""Stores behind URLs, and stores over others, as views and callers see them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from cocom import Cocom, CocomConfig, CocomView, DiskStore, Entry, MemoryStore, open_store
from cocom.errors import (
    ConfigError,
    FingerprintError,
    MissingContextError,
    StoreError,
)
from cocom.store import LayeredStore
from cocom.store.files import Span
from cocom.store.remote import RemoteStore
from cocom.testing import tiny_cocom

TEXTS = tuple(f"Passage number {i} tells of the river and its {i} bridges." for i in range(40))
URL = "memory://bucket/store"
KEY = "a secret that both processes know"


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4, 16), window=32))


@pytest.fixture(scope="module")
def other_model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4,), window=16))


def fill(store: DiskStore, model: Cocom) -> DiskStore:
    for first in range(0, len(TEXTS), 10):
        store.add(model.compress(TEXTS[first : first + 10], rate=4))
    return store


@pytest.fixture
def folder(tmp_path: Path, model: Cocom) -> Path:
    with DiskStore.create(tmp_path / "store", shard_bytes=65_536) as store:
        fill(store, model).compact()
    return tmp_path / "store"


@pytest.fixture
def bucket(folder: Path) -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/bucket/store", recursive=True)
    yield system
    system.rm("/bucket", recursive=True)


def assert_equal(one: Entry | None, two: Entry | None) -> None:
    assert one is not None
    assert two is not None
    assert one.contexts is not None
    assert two.contexts is not None
    assert (one.text, one.rate, one.query) == (two.text, two.rate, two.query)
    assert torch.equal(one.contexts.embeddings, two.contexts.embeddings)
    assert one.contexts.windows == two.contexts.windows


# --- behind a URL ----------------------------------------------------------------------------------


def test_a_store_behind_a_url_gives_what_the_folder_gives(bucket: Any, folder: Path) -> None:
    with open_store(URL) as remote, DiskStore(folder) as local:
        assert isinstance(remote, RemoteStore)
        ids = list(local)
        assert list(remote) == ids
        assert len(remote) == len(TEXTS)
        assert remote.kinds() == local.kinds()
        for one, two in zip(remote.get(ids), local.get(ids), strict=True):
            assert_equal(one, two)
        assert remote.get(["a" * 26]) == [None]
        assert remote.contains([ids[0], "a" * 26]) == [True, False]
        assert str(remote) == f"the store '{URL}'"


def test_only_the_bytes_of_the_passages_are_read_and_all_at_once(
    bucket: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = open_store(URL)
    calls: list[int] = []
    real = type(bucket).cat_ranges

    def cat_ranges(self: Any, paths: Any, starts: Any, ends: Any, **named: Any) -> Any:
        calls.append(sum(end - start for start, end in zip(starts, ends, strict=True)))
        return real(self, paths, starts, ends, **named)

    monkeypatch.setattr(type(bucket), "cat_ranges", cat_ranges)
    (one, *_) = ids = list(remote)[:5]
    entries = remote.get(ids, texts=False)
    sizes = [e.contexts.embeddings.nbytes for e in entries if e is not None and e.contexts]
    assert calls == [sum(sizes)]
    assert len(sizes) == 5
    remote.get([one], embeddings=False)
    assert calls[1] < 100


def test_nothing_can_be_written_behind_a_url(bucket: Any, model: Cocom) -> None:
    remote = open_store(URL)
    before = {path: bucket.cat_file(path) for path in bucket.find("/bucket")}
    for change in (
        lambda: remote.add(model.compress(["Something new."], rate=4)),
        lambda: remote.delete(list(remote)),
        remote.compact,
        remote.verify,
    ):
        with pytest.raises(StoreError, match=r"memory://bucket/store.*read(ing)? only"):
            change()
    assert {path: bucket.cat_file(path) for path in bucket.find("/bucket")} == before


def test_a_remote_store_that_is_compacted_is_found_again(
    bucket: Any, folder: Path, model: Cocom
) -> None:
    remote = open_store(URL)
    part = remote.namespace("")
    ids = list(remote)
    with DiskStore(folder) as store:
        store.delete(ids[:20])
        store.compact(most_unused=0.0)
    bucket.rm("/bucket/store", recursive=True)
    bucket.put(str(folder), "/bucket/store", recursive=True)
    assert all(entry is not None for entry in part.get(ids[20:]))
    assert remote.get(ids[:20]) == [None] * 20


def test_stores_that_were_copied_badly_say_so(bucket: Any) -> None:
    bucket.pipe_file("/bucket/store/index.sqlite-wal", b"not empty")
    with pytest.raises(StoreError, match=r"copied while it was open.*close the store"):
        open_store(URL)
    bucket.rm_file("/bucket/store/index.sqlite-wal")
    bucket.mv("/bucket/store/index.sqlite", "/bucket/index")
    with pytest.raises(StoreError, match=r"has no index\.sqlite: copy the whole folder"):
        open_store(URL)
    bucket.pipe_file("/bucket/store/index.sqlite", b"rubbish" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        open_store(URL)
    bucket.mv("/bucket/index", "/bucket/store/index.sqlite")
    remote = open_store(URL)
    ids = list(remote)
    for path in bucket.find("/bucket/store/shards"):
        bucket.pipe_file(path, bucket.cat_file(path)[:200])
    with pytest.raises(StoreError, match="cut off"):
        remote.get(ids)
    bucket.rm("/bucket/store/shards", recursive=True)
    with pytest.raises(StoreError, match=r"lacks the file .*\.safetensors"):
        remote.get(ids)
    with pytest.raises(StoreError, match=r"no store at 'memory://elsewhere'.*store\.json"):
        open_store("memory://elsewhere")
    with pytest.raises(StoreError, match=r"'nosuch://x' cannot be opened.*protocol"):
        open_store("nosuch://x")


def test_a_remote_range_that_fails_is_an_error_of_the_store(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = open_store(URL)
    ids = list(remote)
    monkeypatch.setattr(
        type(bucket), "cat_ranges", lambda self, paths, *_, **__: [OSError("no route")] * len(paths)
    )
    with pytest.raises(StoreError, match="no route"):
        remote.get(ids[:1])
    remote.files.fill([])
    with pytest.raises(StoreError, match="no route"):
        remote.files.fill([Span("x", 0, bytearray(3))])


# --- one store over another ------------------------------------------------------------------------


def test_a_store_over_another_reads_both_and_writes_above(folder: Path, model: Cocom) -> None:
    below = DiskStore(folder, read_only=True)
    store = LayeredStore(below, MemoryStore())
    old = list(below)
    (new,) = store.add(model.compress(["Something new."], rate=4))
    again = model.compress(TEXTS[:1], rate=4)
    (both,) = store.add(again)
    assert both in old
    assert (len(store), sorted(store)) == (len(TEXTS) + 1, sorted([*old, new]))
    assert store.contains([new, both, old[0], "a" * 26]) == [True, True, True, False]
    assert not below.contains([new])[0]
    entries = store.get([old[0], new, "a" * 26, both, new])
    assert [entry is None for entry in entries] == [False, False, True, False, False]
    assert_equal(entries[0], below[old[0]])
    assert store.delete([new, old[0]]) == 1
    assert len(store) == len(TEXTS)
    assert store.verify().passages == len(TEXTS)
    assert (store.durable, store.read_only, str(store)) == (True, False, str(below))
    assert len(store.namespace("b")) == 0
    store.compact()
    store.close()


def test_embeddings_that_the_upper_store_dropped_come_from_below(
    folder: Path, model: Cocom
) -> None:
    below = DiskStore(folder, read_only=True)
    store = LayeredStore(below, MemoryStore(embedding_bytes=0))
    (id,) = store.add(model.compress(TEXTS[:1], rate=4))
    assert_equal(store[id], below[id])


# --- views -----------------------------------------------------------------------------------------


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    real = Cocom.compress

    def compress(self: Cocom, passages: Any, **options: Any) -> Any:
        texts.extend(passages)
        return real(self, passages, **options)

    monkeypatch.setattr(Cocom, "compress", compress)
    return texts


@pytest.mark.parametrize("where", ["folder", "url", "store", "read-only"])
def test_a_view_reads_from_a_store_and_compresses_on_a_miss(
    where: str, bucket: Any, folder: Path, model: Cocom, compressed: list[str]
) -> None:
    store: Any = {
        "folder": folder,
        "url": URL,
        "store": DiskStore(folder),
        "read-only": DiskStore(folder, read_only=True),
    }[where]
    view = CocomView(model, store=store, key=KEY)
    references = view.compress([TEXTS[3], "Something new.", TEXTS[0]], rate=4)
    assert compressed == ["Something new."]
    prompt = " ".join(map(str, references))
    assert view.expand(prompt) == f"{TEXTS[3]} Something new. {TEXTS[0]}"
    assert len(view.resolve(prompt)) == 5
    view.compress(["Something new."], rate=4)
    assert compressed == ["Something new."]
    written = DiskStore(folder).count() - len(TEXTS)
    assert written == (1 if where in ("folder", "store") else 0)


def test_references_outlive_the_process_where_the_store_does(folder: Path, model: Cocom) -> None:
    (reference,) = CocomView(model, store=folder, key=KEY).compress([TEXTS[0]], rate=4)
    again = CocomView(tiny_cocom(CocomConfig(rates=(4, 16), window=32)), store=folder, key=KEY)
    assert again.expand(str(reference)) == TEXTS[0]


def test_a_store_of_another_model_is_refused_with_both_names(
    folder: Path, model: Cocom, other_model: Cocom
) -> None:
    message = rf"{model.fingerprint[:12]} at rate 4.*this model is {other_model.fingerprint[:12]}"
    with pytest.raises(FingerprintError, match=message):
        CocomView(other_model, store=folder)
    # An empty part of the same store is for anybody.
    view = CocomView(other_model, store=DiskStore(folder).namespace("b"))
    view.compress(["Something new."])
    with pytest.raises(FingerprintError):
        CocomView(model, store=view.store)


def test_another_rate_than_the_store_s_is_refused_before_anything_is_compressed(
    folder: Path, model: Cocom, compressed: list[str]
) -> None:
    view = CocomView(model, store=folder)
    with pytest.raises(ConfigError, match=r"holds passages at rate 4, but rate 16 is asked for"):
        view.compress([TEXTS[0]], rate=16)
    assert compressed == []


def test_a_missing_or_damaged_store_is_an_error_of_the_view(tmp_path: Path, model: Cocom) -> None:
    with pytest.raises(StoreError, match=r"no store at .*cocom index build"):
        CocomView(model, store=tmp_path / "none")


def test_a_passage_deleted_from_the_store_is_missing(folder: Path, model: Cocom) -> None:
    view = CocomView(model, store=folder)
    (reference,) = view.compress([TEXTS[0]], rate=4)
    DiskStore(folder).delete([reference.id])
    with pytest.raises(MissingContextError, match=reference.id):
        view.resolve(str(reference))


def test_answers_from_a_store_are_those_from_compressing_now(
    tmp_path: Path, model: Cocom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with DiskStore.create(tmp_path / "store") as store:
        ids = store.add(model.compress(TEXTS[:3], rate=4))
    with DiskStore(tmp_path / "store", read_only=True) as store:
        kept = [store[id].contexts for id in ids]
    made = model.compress(TEXTS[:3], rate=4)
    one = model.answer("How many bridges?", [c for c in kept if c is not None])
    assert len([c for c in kept if c is not None]) == 3
    assert one == model.answer("How many bridges?", made)
    assert not caplog.records
