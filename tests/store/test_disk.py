"""The store on disk: its files and settings, and whoever else uses it at the same time."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

import cocom.store.compaction
import cocom.store.verification
from cocom.errors import InputError, StoreBusyError, StoreError
from cocom.store import ContextStore, DiskStore, Entry
from cocom.store.adoption import adopt, unlisted
from cocom.store.index import Index
from cocom.store.quantization import Quantization, dequantize, quantize
from cocom.store.shard import write_shard

resource = pytest.importorskip("resource")  # these tests fork, and set limits

Make = Any  # those of conftest.py
Fork = Callable[[Callable[[], Any]], Any]

SHARD = 1 << 16
REPAIR = "cocom index verify --repair"

forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[DiskStore]:
    """An empty store of small shards."""
    with DiskStore.create(path, shard_bytes=SHARD) as made:
        yield made


def large(make: Make, name: str, count: int = 40, **options: Any) -> dict[str, Entry]:
    """So much that it makes shards of its own: 4 kilobytes each."""
    return make.entries((f"{name} {i}" for i in range(count)), rows=64, **options)


def shards(store: DiskStore) -> list[Path]:
    return sorted(store.shards.iterdir())


def everything(path: Path) -> bytes:
    """All bytes of all files."""
    return b"\n".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())


def check(store: DiskStore, make: Make, entries: dict[str, Entry]) -> None:
    """That a store holds just these, and nothing is wrong with it."""
    assert make.content(store) == make.content_of(entries)
    found = store.verify()
    assert (found.problems, found.unlisted) == ((), ())


# --- any order of anything -------------------------------------------------------------------------


class AgainstADict(RuleBasedStateMachine):
    """A store, opened twice, and dicts that must hold the same."""

    make: Make
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.path = self.folder / f"store {len(list(self.folder.iterdir()))}"
        self.store = DiskStore.create(self.path, shard_bytes=SHARD)
        self.second = DiskStore(self.path)
        self.held: dict[str, dict[str, Any]] = {"": {}, "part": {}, "部分": {}}

    def teardown(self) -> None:
        self.store.close()
        self.second.close()
        shutil.rmtree(self.path)

    names = st.sampled_from(["", "part", "部分"])
    writers = st.sampled_from(["store", "second"])
    dtypes = st.sampled_from([torch.float32, torch.bfloat16])

    def part(self, writer: str, name: str) -> DiskStore:
        opened: DiskStore = getattr(self, writer)
        return opened.namespace(name)

    @rule(
        writer=writers,
        name=names,
        first=st.integers(0, 30),
        count=st.sampled_from([0, 1, 2, 5, 40]),
        rows=st.sampled_from([1, 3, 64, 300]),
        dtype=dtypes,
        version=st.integers(0, 3),
    )
    def put(
        self,
        writer: str,
        name: str,
        first: int,
        count: int,
        rows: int,
        dtype: torch.dtype,
        version: int,
    ) -> None:
        texts = (f"text {i}" for i in range(first, first + count))
        new = self.make.entries(texts, rows=rows, dtype=dtype, version=version)
        self.part(writer, name).put(new)
        self.held[name] |= self.make.content_of(new)

    @rule(writer=writers, name=names, count=st.sampled_from([1, 40]), last=st.booleans())
    def put_something_bad(self, writer: str, name: str, count: int, last: bool) -> None:
        new = large(self.make, "text", count)
        bad = {"a" * 26: self.make.entry("bad")[1]}
        with pytest.raises(InputError):
            self.part(writer, name).put(new | bad if last else bad | new)

    @rule(writer=writers, name=names, share=st.sampled_from([0.1, 0.6, 1]), seed=st.integers(0, 99))
    def delete(self, writer: str, name: str, share: float, seed: int) -> None:
        gone = self.make.some(self.held[name], seed, share)
        assert self.part(writer, name).delete(["missing", *gone]) == len(gone)
        for id in gone:
            del self.held[name][id]

    @rule(writer=writers, most_unused=st.sampled_from([0.0, 0.2, 0.7]))
    def compact(self, writer: str, most_unused: float) -> None:
        getattr(self, writer).compact(most_unused=most_unused)

    @rule(writer=writers)
    def close(self, writer: str) -> None:
        getattr(self, writer).close()

    @rule(writer=writers, read_only=st.booleans())
    def open_anew(self, writer: str, read_only: bool) -> None:
        getattr(self, writer).close()
        with DiskStore(self.path, read_only=read_only) as opened:
            assert opened.count() == len(self.held[""])
        setattr(self, writer, DiskStore(self.path))

    @rule(writer=writers)
    def repair(self, writer: str) -> None:
        assert not getattr(self, writer).verify(repair=True).problems

    @rule(writer=writers, name=names, seed=st.integers(0, 99))
    def get(self, writer: str, name: str, seed: int) -> None:
        held = self.held[name]
        ids = [*self.make.some(held, seed), "missing", *self.make.some(held, seed + 1)]
        part = self.part(writer, name)
        found = part.get(ids)
        assert list(map(self.make.bits, found)) == [held.get(id) for id in ids]
        assert part.contains(ids) == [id in held for id in ids]

    @invariant()
    def both_hold_the_same(self) -> None:
        found = self.store.verify()
        assert (found.problems, found.unlisted) == ((), ())
        assert found.passages == sum(map(len, self.held.values()))
        for writer in ("store", "second"):
            opened: DiskStore = getattr(self, writer)
            assert opened.namespaces() == sorted(n for n, held in self.held.items() if held)
            for name, held in self.held.items():
                assert set(opened.namespace(name)) == set(held)
                assert opened.namespace(name).count() == len(held)
        listed = {shard.name for drop in (False, True) for shard in self._shards(drop)}
        assert {file.name for file in shards(self.store)} <= listed

    def _shards(self, dropped: bool) -> Any:
        return self.store.index.shards(dropped=dropped).values()


def test_a_store_does_what_a_dict_does(tmp_path: Path, make: Make) -> None:
    machine = type("Machine", (AgainstADict,), {"make": make, "folder": tmp_path})
    run_state_machine_as_test(machine, settings=settings(max_examples=20, stateful_step_count=25))


# --- settings, and what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization": "int4"}, "quantization must be one of none, int8, fp8, got 'int4'"),
        ({"texts": "yes"}, "texts must be True or False, got 'yes'"),
        ({"shard_bytes": 65535}, "shard_bytes must be at least 65536, got 65535"),
        ({"shard_bytes": 1e9}, "shard_bytes must be at least 65536, got 1000000000.0"),
        ({"timeout": -1}, "timeout must be 0 seconds or more, got -1"),
        ({"timeout": float("nan")}, "timeout must be 0 seconds or more, got nan"),
    ],
)
def test_settings_that_cannot_be(path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DiskStore.create(path, **settings)


def test_a_store_is_made_only_where_nothing_is(path: Path, make: Make) -> None:
    with DiskStore.create(path) as store:
        store.put(make.entries("a"))
        with pytest.raises(StoreError, match=r"holds .*index\.sqlite.* already: open the store"):
            DiskStore.create(path)
    with pytest.raises(StoreError, match=r"holds store\.json, shards already"):
        DiskStore.create(path)
    with DiskStore(path) as store:
        check(store, make, make.entries("a"))
    other = path.parent / "other"
    other.mkdir()
    with DiskStore.create(other):
        pass  # an empty folder will do
    (path.parent / "notes").mkdir()
    (path.parent / "notes/notes.txt").write_text("mine")
    with pytest.raises(
        StoreError, match=r"holds notes\.txt, shards already: .* give an empty folder"
    ):
        DiskStore.create(path.parent / "notes")
    with pytest.raises(
        StoreError, match=r"no store can be made at '.*notes\.txt/store' \(.*Not a dir"
    ):
        DiskStore.create(path.parent / "notes/notes.txt/store")


def test_only_a_store_is_opened(path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"no store at '.*', because it has no store\.json: make one"
    ):
        DiskStore(path)
    path.mkdir()
    with pytest.raises(
        StoreError, match=r"no store at '.*', because it has no store\.json: make one"
    ):
        DiskStore(path)
    (path / "file").write_text("")
    with pytest.raises(StoreError, match=r"no store at '.*/file', because it has no store\.json"):
        DiskStore(path / "file")
    (path / "broken/store.json").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"store\.json' cannot be read \(Is a directory\)"):
        DiskStore(path / "broken")
    with pytest.raises(InputError, match=r"timeout must be 0 seconds or more, got -0\.5"):
        DiskStore(DiskStore.create(path / "new").path, timeout=-0.5)


def test_an_index_that_is_not_the_store_s_is_refused(path: Path, make: Make) -> None:
    with DiskStore.create(path) as store:
        store.put(make.entries("a"))
    index = path / "index.sqlite"
    mine = index.read_bytes()
    index.unlink()
    with pytest.raises(StoreError, match=rf"has no index\.sqlite: run `{REPAIR}`"):
        DiskStore(path)
    index.write_bytes(b"")
    with pytest.raises(
        StoreError, match=rf"is not the index of .* replaced or emptied; run `{REPAIR}`"
    ):
        DiskStore(path)
    index.write_bytes(mine)
    with sqlite3.connect(index) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(
        StoreError, match="has version 99, but this cocom reads up to 1: upgrade it"
    ):
        DiskStore(path)


def test_a_store_of_another_version_or_format_is_refused(path: Path) -> None:
    DiskStore.create(path).close()
    manifest = path / "store.json"
    content = json.loads(manifest.read_text())
    for change, message in (
        ({"version": 2}, "has version 2, but this cocom reads up to 1: upgrade it"),
        ({"format": "zarr"}, "has format 'zarr', but expected 'cocom.store'"),
        ({"quantization": "int4"}, "got 'int4'. The file is damaged"),
    ):
        manifest.write_text(json.dumps(content | change))
        with pytest.raises(StoreError, match=message):
            DiskStore(path)


def test_a_store_is_opened_if_there_is_one_and_made_if_not(path: Path) -> None:
    with DiskStore.open_or_create(path, quantization="int8", timeout=7) as store:
        assert store.manifest.quantization == "int8"
    with DiskStore.open_or_create(path, quantization="int8", texts=True) as store:
        assert store.count() == 0
    with DiskStore.open_or_create(path) as store:  # whatever it was made with
        assert store.manifest.quantization == "int8"
    with pytest.raises(
        StoreError, match="made with quantization='int8', but quantization='fp8' is"
    ):
        DiskStore.open_or_create(path, quantization="fp8")
    with pytest.raises(StoreError, match="made with texts=True, but texts=False is asked for"):
        DiskStore.open_or_create(path, texts=False)
    with pytest.raises(InputError, match="shard_bytes must be at least"):
        DiskStore.open_or_create(path, shard_bytes=1)
    for where in (path, path.parent / "new"):
        with pytest.raises(TypeError, match="shard_byte"):
            DiskStore.open_or_create(where, shard_byte=SHARD)
    with (
        DiskStore.open_or_create(path, timeout=0.1) as store,
        DiskStore(path) as other,
        other.writing(),
        pytest.raises(StoreBusyError, match=r"within 0\.1 seconds"),
    ):
        store.delete(["a"])


@pytest.mark.parametrize(
    "name",
    ["with space", "what?", "a#b", "100%", "%41", "a&b=c;d", "'\"", "文書 🌍", "-rf", "é" * 80],
)
def test_a_folder_may_have_any_name(tmp_path: Path, make: Make, name: str) -> None:
    entries = large(make, "text", 10) | large(make, "text")
    with DiskStore.create(tmp_path / name / name, shard_bytes=SHARD) as store:
        store.put(entries)
    with DiskStore(str(tmp_path / name / name), read_only=True) as store:
        check(store, make, entries)
        assert name in str(store)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_store_stays_where_it_was_opened(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with DiskStore.create("here", shard_bytes=SHARD) as store:
        assert str(store) == "the store 'here'"
        store.put(large(make, "first"))
        store.close()
        monkeypatch.chdir("/")
        store.put(large(make, "second"))
        check(store, make, large(make, "first") | large(make, "second"))


# --- files -----------------------------------------------------------------------------------------


def test_another_process_reads_the_same_bits_and_leaves_nothing_open(
    path: Path, make: Make
) -> None:
    entries = make.all_kinds() | large(make, "large") | make.entries(make.texts)
    with DiskStore.create(path, shard_bytes=SHARD) as store:
        store.put(large(make, "large"))
        store.put(entries)
    program = """
import gc, hashlib, sys, torch
from cocom.store import DiskStore
digest = hashlib.sha256()
store = DiskStore(sys.argv[1])
for id, entry in store.items():
    data = entry.contexts.embeddings.view(torch.uint8).numpy().tobytes()
    digest.update(repr((id, entry.text, entry.query, entry.rate, entry.contexts.windows)).encode())
    digest.update(data)
print(len(store), digest.hexdigest())
store.delete([id])
store.close()
del store
DiskStore(sys.argv[1]).get([id])  # and never closed
gc.collect()
"""
    digest = hashlib.sha256()
    for id, entry in sorted(entries.items()):
        made = entry.contexts
        assert made is not None
        digest.update(repr((id, entry.text, entry.query, entry.rate, made.windows)).encode())
        digest.update(made.embeddings.view(torch.uint8).numpy().tobytes())
    options = ["-X", "dev", "-W", "error::ResourceWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(len(entries)), digest.hexdigest()]
    assert "ResourceWarning" not in done.stderr
    with DiskStore(path) as store:
        assert len(store) == len(entries) - 1


def test_shards_have_the_size_that_is_asked_for(store: DiskStore, make: Make) -> None:
    store.put(large(make, "one"))
    assert len(shards(store)) == 3  # 40 times 4 kilobytes
    for i in range(60):
        store.put(large(make, f"{i}", 1))
    assert len(shards(store)) > 5
    store.compact()
    sizes = [file.stat().st_size for file in shards(store)]
    assert max(sizes) < SHARD * 1.1
    assert sum(size < SHARD / 4 for size in sizes) <= 1
    assert len(sizes) <= 8  # 7 would be full
    huge = make.entries(["huge"], rows=2048)
    store.put(huge)
    sizes = [file.stat().st_size for file in shards(store)]
    assert sum(size > SHARD * 2 for size in sizes) == 1


def test_without_texts_no_text_touches_the_disk(path: Path, make: Make) -> None:
    secret, query = "the secret of the castle", "who knows it?"
    with DiskStore.create(path, texts=False, shard_bytes=SHARD) as store:
        small = dict([make.entry(secret, query=query)])
        many = large(make, secret, query=query)
        for entries in (small, many):
            store.put(entries)
            assert b"secret" not in everything(path)
            assert b"who knows" not in everything(path)
        store.compact()
        bare = {i: dataclasses.replace(e, text=None, query=None) for i, e in (small | many).items()}
        check(store, make, bare)
    assert b"secret" not in everything(path)
    assert b"who knows" not in everything(path)


def test_nothing_deleted_is_left_on_the_disk_after_a_thorough_compaction(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Index._connect

    def careless(self: Index, uri: str, *statements: str) -> sqlite3.Connection:
        connection = connect(self, uri, *statements)  # not every SQLite overwrites what it deletes
        connection.execute("PRAGMA secure_delete = 0")
        return connection

    monkeypatch.setattr(Index, "_connect", careless)
    kept = make.entries(f"kept {i}" for i in range(300))
    with DiskStore.create(path, shard_bytes=SHARD) as store, DiskStore(path) as reader:
        store.put(kept)
        store.compact()
        small = make.entries(f"a secret {i}" for i in range(9))
        many = large(make, "a secret")
        for entries in (small, many, small | many):
            store.put(entries)
            assert b"a secret" in everything(path)
            assert reader.contains(list(entries)) == [True] * len(entries)
            assert store.delete(list(entries)) == len(entries)
            store.compact(most_unused=0)
            assert b"a secret" not in everything(path)
            assert store.index.shards(dropped=True) == {}
            check(reader, make, kept)


@pytest.mark.parametrize("how", ["int8", "fp8"])
def test_quantised_embeddings_are_what_quantisation_makes_of_them(
    path: Path, make: Make, how: Quantization
) -> None:
    with DiskStore.create(path, quantization=how, shard_bytes=SHARD) as store:
        wanted: dict[str, torch.Tensor] = {}
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for count, hidden in ((3, 65), (30, 640)):
                entries = make.entries(
                    (f"{dtype} {i}" for i in range(count)), rows=5, hidden=hidden
                )
                for id, entry in entries.items():
                    values = torch.randn(5, hidden).to(dtype)
                    contexts = dataclasses.replace(entry.contexts, embeddings=values)
                    entries[id] = dataclasses.replace(entry, contexts=contexts)
                    wanted[id] = dequantize(*quantize(values, how), dtype)
                store.put(entries)
        for turn in range(2):
            for id, entry in store.items():
                assert entry.contexts is not None
                assert entry.contexts.embeddings.dtype == wanted[id].dtype
                assert torch.equal(entry.contexts.embeddings, wanted[id])
            assert {kind.quantization for kind in store.kinds()} == {how}
            assert not store.verify().problems, turn
            store.compact()
        before = make.content(store)
        id, entry = make.entry()
        for bad in (float("nan"), float("inf")):
            contexts = dataclasses.replace(entry.contexts, embeddings=torch.tensor([[1.0], [bad]]))
            with pytest.raises(InputError, match=f"passage {id} cannot be kept: row 1 .*'none'"):
                store.put({id: dataclasses.replace(entry, contexts=contexts)})
        assert make.content(store) == before


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.float64), r"shape \(2, 3\) and type float64, but"),
        (torch.zeros(2, 3, dtype=torch.int8), r"shape \(2, 3\) and type int8, but"),
        (torch.zeros(0, 3), r"shape \(0, 3\) and type float32, but"),
        (torch.zeros(3, 0), r"shape \(3, 0\) and type float32, but"),
        (None, "has no context embeddings: compress it before"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(
    store: DiskStore, make: Make, embeddings: torch.Tensor | None, message: str
) -> None:
    id, entry = make.entry()
    contexts = None
    if embeddings is not None:
        contexts = dataclasses.replace(entry.contexts, embeddings=embeddings)
    with pytest.raises(InputError, match=message):
        store.put(make.entries("ab") | {id: dataclasses.replace(entry, contexts=contexts)})
    check(store, make, {})


def test_shards_are_for_those_who_may_see_the_folder(path: Path, make: Make) -> None:
    before = os.umask(0o077)
    try:
        with DiskStore.create(path, shard_bytes=SHARD) as store:
            store.put(large(make, "text"))
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o077 for file in path.rglob("*")} == {0}


# --- when things go wrong --------------------------------------------------------------------------


def _no_room(store: DiskStore, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let the disk be full at some call of what writes shards."""
    real, left = safetensors.torch.save_file, [calls]

    def save(*given: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            Path(given[1]).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        real(*given)

    monkeypatch.setattr("cocom.store.shard.save_file", save)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_full_disk_leaves_the_store_as_it_was(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    there = make.entries("abc") | large(make, "there")
    store.put(there)
    files = shards(store)
    with monkeypatch.context() as patch:
        _no_room(store, patch, calls)
        with pytest.raises(StoreError, match=r"cannot be written .*No space left.*make room there"):
            store.put(large(make, "new") | large(make, "there", version=1))
        assert shards(store) == files  # nothing that a repair would bring back
        check(store, make, there)
    for i in range(8):
        store.put(large(make, f"{i}", 1))
        there |= large(make, f"{i}", 1)
    store.delete(make.some(there, 1))
    there = {id: there[id] for id in store}
    with monkeypatch.context() as patch:
        _no_room(store, patch, calls)
        with pytest.raises(StoreError, match=r"cannot be written .*No space left.*make room there"):
            store.compact(most_unused=0)
        check(store, make, there)
    store.compact(most_unused=0)
    check(store, make, there)


def test_what_was_not_written_is_forgotten(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("cocom.store.disk._MOST_RECENT", 0)
        _no_room(store, patch, 1)
        with pytest.raises(StoreError, match="No space left"):
            store.namespace("first").put(make.entries("ab", dtype=torch.float16))
    new = make.entries("ab", dtype=torch.bfloat16)
    with DiskStore(store.path) as other:
        other.namespace("second").put(new)  # as the first of its kind, and of its name
    assert make.content(store.namespace("second")) == make.content_of(new)
    check(store.namespace("first"), make, {})


@forks
def test_a_file_that_may_not_grow_leaves_the_store_as_it_was(
    store: DiskStore, make: Make, fork: Fork
) -> None:
    there = make.entries("abc") | large(make, "there")
    store.put(there)
    store.close()

    def child() -> list[str]:
        held = dict(there)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        with pytest.raises(StoreError, match=r"cannot be written .*make room"):
            store.put(make.entries(["huge"], rows=8000))
        failed: list[str] = []
        for i in range(400):
            new = make.entries((f"{i} {k}" for k in range(40)), rows=1)
            try:
                store.put(new)
            except StoreError as error:
                failed.append(str(error))
                if len(failed) == 3:
                    break
            else:
                held |= new
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        check(store, make, held)
        store.put(make.entries("d"))
        store.compact()
        check(store, make, held | make.entries("d"))
        store.close()
        return failed

    failed = fork(child).result()
    assert len(failed) == 3
    assert "make room on its disk" in failed[0]  # said of SQLite's files


@forks
@pytest.mark.parametrize("cold", [False, True])
def test_few_open_files_will_do(
    store: DiskStore, make: Make, fork: Fork, monkeypatch: pytest.MonkeyPatch, cold: bool
) -> None:
    if cold:
        monkeypatch.setattr("cocom.store.files._NO_WAIT", 0)
    entries: dict[str, Entry] = {}
    for i in range(150):
        new = large(make, f"{i}", 5)
        store.put(new)
        entries |= new
    assert len(shards(store)) == 150
    store.close()

    def child() -> None:
        used = len(list(Path("/dev/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 140, used + 140))
        found = store.get(list(entries))
        assert [make.bits(entry) for entry in found] == list(make.content_of(entries).values())
        check(store, make, entries)

    fork(child).result()


def test_a_repair_drops_nothing_that_it_cannot_open_just_now(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = large(make, "there")
    store.put(entries)
    store.close()
    real = os.open

    def refuse(where: Any, *given: Any, **named: Any) -> int:
        if str(where).endswith(".safetensors"):
            raise PermissionError(13, "Permission denied", str(where))
        return real(where, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreError, match=r"opened \(Permission denied\): make it readable"):
            store.get(list(entries))
        assert "Permission denied" in str(store.verify().problems)
        with pytest.raises(StoreError, match="though it may be whole: make it readable"):
            store.verify(repair=True)
    check(store, make, entries)


class _StoppedError(Exception):
    pass


def test_who_is_interrupted_while_waiting_does_not_hold_the_store(path: Path, make: Make) -> None:
    def stop(*_: object) -> None:
        raise _StoppedError

    held = threading.Event()
    with DiskStore.create(path) as store, DiskStore(path, timeout=0.3) as other:

        def hold() -> None:
            with other.writing():
                held.set()
                time.sleep(0.5)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(10)
        before = signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(_StoppedError):
                store.put(make.entries("a"))
        finally:
            signal.signal(signal.SIGALRM, before)
            thread.join()
        other.put(make.entries("b"))
        store.put(make.entries("c"))
        check(store, make, make.entries("bc"))


# --- one who writes, and others --------------------------------------------------------------------


def test_a_second_writer_waits_and_says_for_whom(path: Path, make: Make) -> None:
    with DiskStore.create(path, timeout=0.2) as store, DiskStore(path, timeout=30) as patient:
        held = threading.Event()

        def hold(opened: DiskStore, seconds: float) -> None:
            with opened.writing():
                held.set()
                time.sleep(seconds)

        for holder in (store, patient):  # the same object, and another one as in another process
            held.clear()
            thread = threading.Thread(target=hold, args=(holder, 0.6))
            thread.start()
            assert held.wait(10)
            began = time.monotonic()
            with pytest.raises(
                StoreBusyError, match=r"writes to the store '.*/store', .* 0\.2 seconds"
            ):
                store.put(make.entries("b"))
            assert time.monotonic() - began < 0.5
            assert len(store) == (holder is patient)  # reading goes on
            patient.put(make.entries("a"))  # waits
            thread.join()
        check(store, make, make.entries("a"))


@forks
def test_two_processes_that_write_lose_nothing(store: DiskStore, make: Make, fork: Fork) -> None:
    store.put(make.entries(["there"]))

    def writer(name: str) -> Callable[[], None]:
        def child() -> None:
            own = DiskStore(store.path) if name == "b" else store
            for i in range(30):
                own.put(make.entries([f"{name} {i}", "both"], version=i))
                if i % 10 == 5:
                    own.put(large(make, f"{name} {i}"))
                    own.delete([make.entry(f"{name} {i - 1}")[0]])
                if i % 10 == 9:
                    own.compact(most_unused=0)
            own.close()

        return child

    others = [fork(writer(name)) for name in "abc"]
    for other in others:
        other.result()
    wanted = {make.entry(text)[0] for text in ("there", "both")}
    for name in "abc":
        wanted |= {make.entry(f"{name} {i}")[0] for i in range(30) if i % 10 != 4}
        for i in (5, 15, 25):
            wanted |= set(large(make, f"{name} {i}"))
    assert set(store) == wanted
    assert not store.verify().problems
    assert not store.verify().unlisted


def _uniform(make: Make, text: str, version: int, rows: int) -> tuple[str, Entry]:
    """An entry whose values all are the same, so that halves of two are recognised."""
    id, entry = make.entry(text, rows=rows)
    contexts = dataclasses.replace(
        entry.contexts, embeddings=torch.full((rows, 16), float(version)), text_tokens=version
    )
    return id, dataclasses.replace(entry, contexts=contexts)


@forks
def test_readers_never_see_a_wrong_entry_while_others_write(
    store: DiskStore, make: Make, fork: Fork
) -> None:
    texts = [f"text {i}" for i in range(60)]
    own = {make.entry(text)[0]: text for text in texts}
    stable = large(make, "stable")
    store.put(stable)
    store.put(dict(_uniform(make, text, 0, 64) for text in texts))
    store.close()
    wanted = make.content_of(stable)

    def read(opened: DiskStore, seconds: float) -> int:
        end, turns = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            turns += 1
            for id, entry in zip(own, opened.get(list(own)), strict=True):
                if entry is not None:
                    assert entry.contexts is not None
                    values = entry.contexts.embeddings
                    assert entry.text == own[id]
                    assert bool((values == entry.contexts.text_tokens).all())
                    assert values.shape in ((64, 16), (3, 16))
            found = dict(zip(stable, map(make.bits, opened.get(list(stable))), strict=True))
            assert found == wanted
            assert opened.contains(list(stable)) == [True] * len(stable)
            assert set(stable) <= set(opened)
            assert opened.count() >= len(stable)
            if turns % 7 == 0:
                opened.close()
            if turns % 5 == 0:
                assert not opened.verify().problems
        return turns

    def reader(read_only: bool) -> Callable[[], int]:
        def child() -> int:
            wrong: list[BaseException] = []
            turns: list[int] = []
            opened = DiskStore(store.path, read_only=read_only)

            def guarded() -> None:
                try:
                    turns.append(read(opened, 2))
                except BaseException as error:
                    wrong.append(error)

            threads = [threading.Thread(target=guarded) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if wrong:
                raise wrong[0]
            return min(turns)

        return child

    readers = [fork(reader(read_only)) for read_only in (False, True)]
    end, version = time.monotonic() + 2, 0
    while time.monotonic() < end:
        version += 1
        store.put(dict(_uniform(make, t, version, 64 if version % 2 else 3) for t in texts[::2]))
        store.delete(make.some(own, version, 0.3))
        store.put(dict(_uniform(make, t, version, 3) for t in texts[version % 9 :: 9]))
        store.compact(most_unused=0.2 * (version % 2))
    assert version > 2
    assert all(reader.result() > 0 for reader in readers)


@forks
def test_what_a_forked_process_writes_outlives_its_parent_s_connection(
    store: DiskStore, make: Make, fork: Fork
) -> None:
    store.put(make.entries("a"))
    assert len(store) == 1  # so that it is open, to write and to read
    read, write = os.pipe()

    def child() -> None:
        store.put(make.entries("b"))
        os.read(read, 1)
        store.put(make.entries("c"))
        store.close()

    other = fork(child)
    while len(store) < 2:
        time.sleep(0.01)
    store.close()
    os.write(write, b"!")
    other.result()
    os.close(read)
    os.close(write)
    check(store, make, make.entries("abc"))


@forks
def test_processes_that_make_a_store_at_once_make_one(path: Path, make: Make, fork: Fork) -> None:
    def maker(name: str, where: Path, begin: float) -> Callable[[], None]:
        def child() -> None:
            time.sleep(max(begin - time.monotonic(), 0))
            with DiskStore.open_or_create(where, shard_bytes=SHARD) as store:
                store.put(make.entries([name]))

        return child

    for turn in range(8):
        where = path / str(turn)
        begin = time.monotonic() + 0.05
        for other in [fork(maker(name, where, begin)) for name in "abcd"]:
            other.result()
        with DiskStore(where) as store:
            check(store, make, make.entries("abcd"))
        assert sorted(file.name for file in where.iterdir()) == [
            "index.sqlite",
            "shards",
            "store.json",
        ]


def test_two_compactions_at_once_do_not_meet(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = large(make, "text", 90)
    store.put(entries)
    store.delete(make.some(entries, 1))
    left = {id: entries[id] for id in store}
    real = cocom.store.compaction._to_merge

    def later(*given: Any) -> list[Any]:
        found = list(real(*given))
        monkeypatch.undo()
        with DiskStore(store.path) as other:
            other.compact()
        return found

    monkeypatch.setattr(cocom.store.compaction, "_to_merge", later)
    store.compact()
    check(store, make, left)


def test_a_compaction_is_no_damage_to_who_verifies(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = large(make, "text", 90)
    store.put(entries)
    store.delete(make.some(entries, 1))
    left = {id: entries[id] for id in store}
    real = cocom.store.verification._verify_shard

    def later(*given: Any) -> int:
        monkeypatch.undo()
        with DiskStore(store.path) as other:
            other.compact()
        return real(*given)

    monkeypatch.setattr(cocom.store.verification, "_verify_shard", later)
    assert store.verify().problems == ()
    check(store, make, left)


@pytest.mark.parametrize("change", ["compact", "delete", "put"])
@pytest.mark.parametrize("damage", ["gone", "flipped", "cut off"])
def test_a_repair_does_not_undo_what_others_write_meanwhile(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch, change: str, damage: str
) -> None:
    entries = large(make, "text", 10)
    store.put(entries)
    (file,) = shards(store)
    data = file.read_bytes()
    real = cocom.store.verification._intact

    def later(*given: Any) -> Any:
        monkeypatch.undo()
        found = real(*given)
        file.write_bytes(data)
        with DiskStore(store.path) as other:
            if change == "compact":
                other.put(large(make, "more", 1))
                other.compact()
                other.delete(list(large(make, "more", 1)))
                other.delete(list(entries)[:1])
                other.compact(most_unused=0)
            elif change == "delete":
                other.delete(list(entries))
            else:
                other.put(large(make, "text", 10, version=1))
        return found

    monkeypatch.setattr(cocom.store.verification, "_intact", later)
    if damage == "gone":
        file.unlink()
    elif damage == "flipped":
        file.write_bytes(data[:-30_000] + b"?" * 30 + data[-29_970:])
    else:
        file.write_bytes(data[:-1])
    store.verify(repair=True)
    left = {"compact": dict(list(entries.items())[1:]), "delete": {}}
    check(store, make, left.get(change, large(make, "text", 10, version=1)))


@pytest.mark.parametrize("how", ["adopt", "repair"])
def test_a_shard_that_is_just_being_written_is_left_to_its_writer(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    there, new = large(make, "there"), large(make, "new")
    store.put(there)
    written, go_on = threading.Event(), threading.Event()
    real = write_shard

    def slow(*given: Any) -> Any:
        result = real(*given)
        written.set()
        go_on.wait(10)
        return result

    with DiskStore(store.path) as other:
        monkeypatch.setattr("cocom.store.disk.write_shard", slow)
        thread = threading.Thread(target=other.put, args=(new,))
        thread.start()
        assert written.wait(10)
        monkeypatch.undo()
        threading.Timer(0.3, go_on.set).start()
        if how == "adopt":
            assert adopt(store, unlisted(store), []) == 0
        else:
            assert store.verify(repair=True).problems == ()
        thread.join()
    check(store, make, there | new)


def test_who_closes_a_store_does_not_stop_others_reading(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocom.store.files._NO_WAIT", 0)  # as on a cold disk, or without Linux
    entries = large(make, "text")
    store.put(entries)
    wanted = list(make.content_of(entries).values())
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                if [make.bits(entry) for entry in store.get(list(entries))] != wanted:
                    wrong.append("other bits")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        store.namespace("part").close()
        time.sleep(0.002)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


# --- for reading only ------------------------------------------------------------------------------


def test_a_store_for_reading_follows_the_writer_and_changes_nothing(
    store: DiskStore, make: Make
) -> None:
    with DiskStore(store.path, read_only=True) as reader:
        assert len(reader) == 0
        store.put(make.entries("ab"))
        check(reader, make, make.entries("ab"))
        store.put(large(make, "text"))
        store.compact()
        check(reader, make, make.entries("ab") | large(make, "text"))
        part: ContextStore = reader.namespace("part")
        for change in (
            lambda: reader.put(make.entries("c")),
            lambda: reader.delete(["a"]),
            lambda: reader.compact(),
            lambda: part.put(make.entries("c")),
            lambda: reader.verify(repair=True),
        ):
            with pytest.raises(
                StoreError, match="is open for reading only: open it without read_only"
            ):
                change()
    check(store, make, make.entries("ab") | large(make, "text"))


@forks
def test_who_may_not_write_to_the_folder_reads_what_others_write(make: Make, fork: Fork) -> None:
    first, second = large(make, "first"), large(make, "second") | make.entries("ab")
    root = os.geteuid() == 0
    above = Path(tempfile.mkdtemp())
    if root:
        os.chown(above, 65534, 65534)  # so that it gets through to the store
    store = DiskStore.create(above / "store", shard_bytes=SHARD)
    store.put(first)
    store.close()
    steps = [os.pipe() for _ in range(4)]

    def wait(step: int) -> None:
        ready, _, _ = select.select([steps[step][0]], [], [], 20)
        assert ready, f"nobody came to step {step}"

    def go(step: int) -> None:
        os.write(steps[step][1], b"!")

    def child() -> None:
        if root:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        before = {file: file.stat().st_mtime_ns for file in (above / "store").rglob("*")}
        reader = DiskStore(above / "store", read_only=True)
        check(reader, make, first)
        with pytest.raises(StoreError, match="open the store with read_only=True"):
            DiskStore(above / "store").put(first)
        assert before == {file: file.stat().st_mtime_ns for file in (above / "store").rglob("*")}
        go(0)
        wait(1)
        check(reader, make, second)
        go(2)
        wait(3)
        check(reader, make, second)

    try:
        (above / "store").chmod(0o755 if root else 0o555)
        other = fork(child)
        wait(0)
        (above / "store").chmod(0o755)
        store.put(second)
        store.delete(list(first))
        store.compact(most_unused=0)
        go(1)
        wait(2)
        store.close()
        go(3)
        other.result()
    finally:
        shutil.rmtree(above)
        for pair in steps:
            for end in pair:
                os.close(end)


def test_a_store_that_is_let_go_of_closes_its_files(path: Path, make: Make) -> None:
    store = DiskStore.create(path, shard_bytes=SHARD)
    store.put(large(make, "text"))
    assert len(list(store.items())) == 40
    assert (path / "index.sqlite-wal").exists()
    part = store.namespace("part")
    del store
    assert len(part) == 0
    del part
    gc.collect()
    assert not (path / "index.sqlite-wal").exists()
