"""Shards that the index does not list: what is taken up, and what must not come back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cocom import DiskStore
from cocom.store.adoption import adopt, unlisted
from cocom.store.shard import MOVED, write_shard

Make = Any  # that of conftest.py


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore.create(tmp_path / "store", shard_bytes=65_536)


def shards(store: DiskStore) -> list[Path]:
    return sorted((store.path / "shards").iterdir())


class Killed(BaseException):
    """Stands for a process that ends between a shard's file and its transaction's end."""


def killed_after_its_shards(store: DiskStore, monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    """Do some work, but leave it as a killed process would when its shards are written."""
    kept = store.path.parent / "kept"
    kept.mkdir()

    def write(folder: Path, *given: Any) -> Any:
        written = write_shard(folder, *given)
        shutil.copy2(folder / written[0].name, kept)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("cocom.store.disk.write_shard", write)
        with pytest.raises(Killed):
            work()
    for path in kept.iterdir():
        shutil.copy2(path, store.path / "shards")
    assert len(unlisted(store)) == 1


def test_a_batch_of_a_killed_writer_is_taken_up(
    store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = make.entries([f"{i} and a text of some length" for i in range(24)], rows=8, hidden=64)
    killed_after_its_shards(store, monkeypatch, lambda: store.put(entries))
    assert len(store) == 0
    assert not unlisted(store)[0].name.startswith(MOVED)
    assert adopt(store, unlisted(store)) == 24
    assert make.content(store) == make.content_of(entries)
    assert store.verify().problems == ()


@pytest.mark.parametrize("work", ["compact", "flush"])
def test_passages_that_were_only_moved_do_not_come_back(
    work: str, store: DiskStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = make.entries([f"{i} and a text of some length" for i in range(30)], rows=2, hidden=8)
    store.put(entries)  # into the index itself
    if work == "compact":
        killed_after_its_shards(store, monkeypatch, store.compact)
    else:
        monkeypatch.setattr("cocom.store.disk._MOST_RECENT", 30)
        more = make.entries(["one more"], rows=2, hidden=8)
        killed_after_its_shards(store, monkeypatch, lambda: store.put(more))
    assert unlisted(store)[0].name.startswith(MOVED)
    assert store.delete(list(entries)) == 30
    store.compact(most_unused=0.0)
    assert adopt(store, unlisted(store)) == 0
    assert (len(store), unlisted(store)) == (0, [])
    assert not any(b"a text of some length" in path.read_bytes() for path in shards(store))
    assert store.verify() == store.verify(repair=False)


def test_passages_that_were_moved_are_all_there_is_where_the_index_is_lost(
    store: DiskStore, make: Make
) -> None:
    entries = make.entries([f"{i}" for i in range(30)], rows=2, hidden=8)
    store.put(entries)
    store.compact()
    assert [path.name.startswith(MOVED) for path in shards(store)] == [True]
    store.close()
    (store.path / "index.sqlite").unlink()
    assert DiskStore.repair(store.path).passages == 30
    assert make.content(DiskStore(store.path)) == make.content_of(entries)


def test_passages_that_were_moved_come_back_where_files_are_missing(
    store: DiskStore, make: Make
) -> None:
    large = make.entries([f"{i} and a text of some length" for i in range(24)], rows=8, hidden=64)
    store.put(large)
    (lost,) = shards(store)
    store.close()
    old = (store.path / "index.sqlite").read_bytes()
    small = make.entries([f"{i}" for i in range(30)], rows=2, hidden=8)
    store.put(small)
    store.compact()
    store.close()
    (store.path / "index.sqlite").write_bytes(old)  # out of a backup that has not all the rest
    lost.unlink()
    restored = DiskStore(store.path)
    assert adopt(restored, unlisted(restored)) == 30
    assert restored.contains(list(small)) == [True] * 30
    assert make.content_of(small).items() <= {id: make.bits(restored[id]) for id in small}.items()


def test_a_repair_removes_nothing_that_is_whole(
    store: DiskStore, make: Make, tmp_path: Path
) -> None:
    entries = make.entries([f"{i}" for i in range(30)], rows=2, hidden=8)
    store.put(entries)
    store.close()
    old = (store.path / "index.sqlite").read_bytes()
    more = make.entries([f"{i}, too" for i in range(30)], rows=2, hidden=8)
    store.put(more)
    store.compact()
    store.close()
    (store.path / "index.sqlite").write_bytes(old)  # as where its log was lost
    assert DiskStore.repair(store.path).passages == 60
    assert make.content(DiskStore(store.path)) == make.content_of(entries | more)


def test_a_shard_done_twice_is_taken_up_where_it_was_deleted_from(
    store: DiskStore, make: Make, tmp_path: Path
) -> None:
    entries = make.entries([f"{i} and a text of some length" for i in range(24)], rows=8, hidden=64)
    store.put(entries)
    (listed,) = shards(store)
    again = tmp_path / "incoming"
    again.mkdir()
    shutil.copy2(listed, again)
    gone = list(entries)[:5]
    store.delete(gone)
    assert adopt(store, [again / listed.name]) == 5
    assert make.content(store) == make.content_of(entries)
    shutil.copy2(listed, again)
    assert adopt(store, [again / listed.name]) == 0  # nothing new: the file is removed
    assert list(again.iterdir()) == []
    assert store.verify().problems == ()
