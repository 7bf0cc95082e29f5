"""Killed writers: what was acknowledged is there, a batch is whole or absent, and nothing is damaged."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from cocom.store import DiskStore, Entry, Verified
from tests.store.damage import INDEX, Good, Key, build, passage, same
from tests.store.kills import Child, Say, Steps

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is for Unix"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

KILLS = int(os.environ.get("COCOM_KILLS", "100"))
BATCHES = 60
LATEST = 0.004  # seconds after what a process said last

Batch = dict[str, Entry]


def batch(number: int) -> Batch:
    """Large enough for a shard of its own, or small enough for the index."""
    if number % 5 == 4:
        return dict(passage(number * 10 + i) for i in range(6))
    return dict(passage(number * 10 + i, rows=12) for i in range(1 + number % 4))


ALL = [batch(number) for number in range(BATCHES)]


def work(path: Path, say: Say) -> None:
    """Put the batches that are not there yet, and compact now and then."""
    store = DiskStore(path)
    say("opened", 0)
    for number in range(BATCHES):
        entries = batch(number)
        there = store.contains(list(entries))
        missing = {id: entries[id] for id, found in zip(entries, there, strict=True) if not found}
        if not missing:
            continue
        say("put", number)
        store.put(missing)
        say("done", number)
        if number % 6 == 5:
            say("compact", number)
            store.compact()
            say("compacted", number)


@contextmanager
def seeded() -> Iterator[random.Random]:
    """Chance, and its seed with whatever fails."""
    seed = random.SystemRandom().randrange(1 << 32)
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


def check(path: Path, acknowledged: set[int], parts: set[int]) -> None:
    """A clean store, with all that was acknowledged, and of other batches all or nothing.

    Args:
        path: The store.
        acknowledged: Batches whose put had returned.
        parts: Batches of which a repair took up what it found in finished shards.
    """
    with DiskStore(path) as store:
        verified = store.verify()
        assert not verified.problems
        passages = 0
        for number, entries in enumerate(ALL):
            found = store.get(list(entries))
            present = [entry for entry in found if entry is not None]
            if number in acknowledged:
                assert len(present) == len(entries)
            elif number not in parts:
                assert len(present) in (0, len(entries))
            for entry, right in zip(found, entries.values(), strict=True):
                assert entry is None or same(entry, right)
            passages += len(present)
        assert verified.passages == passages == len(store)


def test_killed_builds_are_resumed_to_the_same_store(tmp_path: Path) -> None:
    """Random kills, as many as COCOM_KILLS says."""
    during: Counter[str] = Counter()
    with seeded() as chance:
        for build_number in count():
            path = tmp_path / str(build_number)
            DiskStore.create(path, shard_bytes=1 << 16).close()
            acknowledged: set[int] = set()
            interrupted: set[int] = set()
            parts: set[int] = set()
            while True:
                child = Child(lambda say, path=path: work(path, say))  # type: ignore[misc]
                if during.total() < KILLS:
                    child.wait_for(chance.randrange(10))
                    child.kill(chance.uniform(0, LATEST))
                killed = child.end()
                acknowledged |= {number for word, number in child.records if word == "done"}
                check(path, acknowledged, parts)
                if not killed:
                    break
                stage, number = child.records[-1] if child.records else ("start", 0)
                during[stage] += 1
                if stage == "put":
                    interrupted.add(number)
                if chance.random() < 0.1:
                    assert not DiskStore.repair(path).problems
                    parts |= interrupted
                    check(path, acknowledged, parts)
            check(path, set(range(BATCHES)), set())
            if during.total() >= KILLS:
                break
        assert during["put"] >= 0.25 * KILLS, during
        assert during["compact"] >= 0.02 * KILLS, during
        check_same(path, tmp_path / "uninterrupted")


def check_same(path: Path, other: Path) -> None:
    """A store like one that was built without interruption."""
    with DiskStore.create(other, shard_bytes=1 << 16) as store, DiskStore(path) as found:
        for entries in ALL:
            store.put(entries)
        right = dict(store.items())
        assert list(found.ids()) == list(right)
        assert found.kinds() == store.kinds()
        for id, entry in found.items():
            assert same(entry, right[id])


State = dict[Key, Entry]
Operation = Callable[[Path], object]


def changing(change: Callable[[DiskStore], object]) -> Operation:
    def operation(path: Path) -> None:
        change(DiskStore(path))  # left open, as by whoever is killed

    return operation


def anew(*numbers: int, rows: int = 32) -> Batch:
    return dict(passage(number, rows=rows, version=2) for number in numbers)


def fill(path: Path) -> None:
    """As much into the index itself as it holds."""
    with DiskStore(path) as store:
        for first in range(200, 280, 20):
            store.put(anew(*range(first, first + 20), rows=3))


OPERATIONS: dict[str, tuple[Operation, set[str]]] = {
    # New passages and known ones, in shards and in the index itself.
    "small put": (
        changing(lambda store: store.put(anew(0, 10, 51, 100, 101, rows=3))),
        {"INSERT INTO recent", "COMMIT"},
    ),
    "large put": (
        changing(
            lambda store: store.put(
                anew(0, 10, 51, *range(100, 105))
                | dict(passage(n, model=1, rate=16, version=2) for n in (20, 110))
            )
        ),
        {"saving", "fsync", "replace", "INSERT INTO shards", "INSERT INTO entries", "COMMIT"},
    ),
    "put that fills the index": (
        changing(lambda store: store.put(anew(0, 10, 51, *range(100, 117), rows=3))),
        {"DELETE FROM recent", "saving", "replace", "INSERT INTO shards", "COMMIT"},
    ),
    "delete": (
        changing(lambda store: store.delete(list(anew(0, 10, 51, rows=3)))),
        {"DELETE FROM entries", "COMMIT"},
    ),
    "compact": (
        changing(lambda store: store.compact(most_unused=0)),
        {
            "saving",
            "replace",
            "UPDATE shards SET",
            "COMMIT",
            "unlink",
            "DELETE FROM shards",
            "VACUUM",
        },
    ),
}


def state_of(path: Path) -> State:
    with DiskStore(path) as store:
        return {
            (name, id): entry
            for name in store.namespaces()
            for id, entry in store.namespace(name).items()
        }


def equal(one: State, two: State) -> bool:
    return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)


def check_files(path: Path) -> None:
    """Nothing is left of whoever was killed."""
    with DiskStore(path) as store:
        listed = {shard.name for shard in store.index.shards().values()}
    assert {file.name for file in (path / "shards").iterdir()} == listed


def killed_at_each_step(
    source: Path, folder: Path, operation: Operation
) -> Iterator[tuple[Path, str | None]]:
    """Copies of a store whose operation was killed, and the step where; None in the end, when it was not."""
    for at in count():
        path = shutil.copytree(source, folder / str(at))
        child = Child(lambda say, at=at, path=path: stepped(at, say, path, operation))  # type: ignore[misc]
        killed = child.end()
        yield path, child.records[-1][0] if killed else None
        if not killed:
            return


def stepped(at: int, say: Say, path: Path, operation: Operation) -> None:
    steps = Steps(at, say)
    operation(path)
    steps.step("done")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return build(tmp_path_factory.mktemp("good") / "store")


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_killed_at_any_step_is_done_or_not(
    name: str, good: Good, tmp_path: Path
) -> None:
    operation, expected = OPERATIONS[name]
    source = good.copy(tmp_path / "before")
    if name in ("put that fills the index", "compact"):
        fill(source)
    before = state_of(source)
    operation(shutil.copytree(source, tmp_path / "after"))
    after = state_of(tmp_path / "after")
    met: list[str] = []
    for path, step in killed_at_each_step(source, tmp_path, operation):
        found = state_of(path)
        done = equal(found, after)
        assert done if step in (None, "done") else done or equal(found, before), step
        with DiskStore(path) as store:
            assert not store.verify().problems
            store.put(dict([passage(999)]))  # and it can be written to
        repaired = DiskStore.repair(path)
        assert not repaired.problems
        check_files(path)
        check_between(state_of(path), before, after)
        met.append(step or "")
        shutil.rmtree(path)
    assert expected <= set(met), met


def check_between(found: State, before: State, after: State) -> None:
    """Each passage is as it was before or after; what is new may be there in part after a repair."""
    for key, entry in found.items():
        right = [state[key] for state in (before, after) if key in state]
        assert any(same(entry, each) for each in right) or key == ("", passage(999)[0])
    assert before.keys() & after.keys() <= found.keys()


def test_a_repair_killed_at_any_step_can_be_repeated(good: Good, tmp_path: Path) -> None:
    source = good.copy(tmp_path / "before")
    connection = sqlite3.connect(source / INDEX)
    connection.execute("DELETE FROM counts")  # so that the whole index is made anew
    connection.commit()
    connection.close()
    DiskStore.repair(shutil.copytree(source, tmp_path / "after"))
    after = state_of(tmp_path / "after")
    assert all(same(after[key], entry) for key, entry in good.entries.items())
    met: list[str] = []
    for path, step in killed_at_each_step(source, tmp_path, DiskStore.repair):
        DiskStore.repair(path)
        assert equal(state_of(path), after), step
        with DiskStore(path) as store:
            assert not store.verify().problems
        check_files(path)
        met.append(step or "")
        shutil.rmtree(path)
    assert {"link", "replace", "INSERT INTO shards", "saving", "COMMIT", "unlink"} <= set(met), met


def test_a_creation_killed_at_any_step_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    steps = 0
    for path, step in killed_at_each_step(
        tmp_path / "nothing", tmp_path, lambda path: DiskStore.create(path, shard_bytes=1 << 16)
    ):
        steps += 1
        with DiskStore.open_or_create(path, shard_bytes=1 << 16) as store:
            store.put(dict([passage(1)]))
            assert store.verify() == Verified(1), step
    assert steps > 4
