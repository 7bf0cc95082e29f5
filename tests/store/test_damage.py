"""Damaged stores: each is refused or repaired with its sentence, and nothing is silently wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cocom.errors import StoreError
from cocom.store import DiskStore, Verified
from tests.store.damage import INDEX, Good, Key, build, look, only_store_errors, passage
from tests.store.damaged_folder import FOLDER
from tests.store.damaged_index import INDICES
from tests.store.damaged_log import LOGS
from tests.store.damaged_shards import SHARDS
from tests.store.damages import Damage

DAMAGES = [*SHARDS, *FOLDER, *INDICES, *LOGS]
OPENING = [damage for damage in DAMAGES if not damage.opening]

Goods = dict[str, Good]


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> Goods:
    """Good stores by name."""
    folder = tmp_path_factory.mktemp("good")
    return {
        "none": build(folder / "none"),
        "int8": build(folder / "int8", "int8"),
        "log": build(folder / "log", log=True),
    }


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power fails here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def of_stores(damages: list[Damage]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("damage", "name"),
        [pytest.param(d, name, id=f"{d}-{name}") for d in damages for name in d.stores],
    )


def harmed(damage: Damage, good: Good) -> set[Key]:
    return {key for group in damage.harmed for key in good.groups[group]}


def check_state(store: DiskStore, good: Good, damage: Damage) -> None:
    """Whatever was not harmed is right, and whatever is not right says so."""
    seen = look(store, good)
    assert seen.right >= set(good.entries) - harmed(damage, good)
    assert not seen.older
    assert seen.absent == set(good.deleted) | (seen.absent & harmed(damage, good))
    assert len(seen.absent) - len(good.deleted) == damage.absent
    assert bool(seen.errors) == bool(damage.get), seen.errors
    for message in seen.errors.values():
        assert re.search(damage.get, message), message
        assert str(store.path) in message
        assert message.endswith(".")


def check_verified(found: Verified, damage: Damage) -> None:
    assert len({(problem.where, problem.what) for problem in found.problems}) == len(found.problems)
    assert len(found.unlisted) == damage.unlisted
    assert bool(found.problems) == bool(damage.verify), found.problems
    if damage.verify:
        assert any(re.search(damage.verify, problem.what) for problem in found.problems), (
            found.problems
        )


def check_repaired(path: Path, good: Good, damage: Damage) -> None:
    """A clean store, with all that was not harmed, into which the rest can be put again."""
    found = DiskStore.repair(path)
    assert found.repaired
    assert not found.unlisted
    assert bool(found.problems) == bool(damage.verify or damage.opening)
    with DiskStore(path) as store:
        seen = look(store, good)
        lost = set(good.entries) - seen.right
        assert not seen.errors
        assert lost <= harmed(damage, good) | (seen.older if damage.back else set())
        assert len(lost) in damage.lost, lost
        assert damage.back or not (seen.older or seen.right & set(good.deleted))
        passages = len(good.entries) - len(lost - seen.older) + len(seen.right & set(good.deleted))
        assert store.verify() == Verified(passages)
        assert sum(part.count() for part in parts(store)) == passages
        for namespace, id in lost:
            contexts = good.entries[namespace, id]
            store.namespace(namespace).put({id: contexts})
        put_large(store)
        assert not store.verify().problems
        store.compact(most_unused=0)
    with DiskStore(path) as store:
        if not good.path.name.startswith("int8"):  # else it was quantised twice
            assert look(store, good).right >= set(good.entries)
        assert not store.verify().problems
        assert not [file for file in (path / "shards").glob(".*") if file.is_file()]
    assert not DiskStore.repair(path).problems


def parts(store: DiskStore) -> Iterator[DiskStore]:
    return (store.namespace(name) for name in store.namespaces())


def put_large(store: DiskStore) -> None:
    """Put what makes a shard of its own."""
    store.put(dict(passage(number) for number in range(900, 906)))


def content(path: Path) -> dict[str, bytes | None]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path] * path.exists()
    return {str(file): file.read_bytes() if file.is_file() else None for file in files}


def test_a_good_store_is_good(goods: Goods, tmp_path: Path) -> None:
    for name, good in goods.items():
        with DiskStore(good.copy(tmp_path / name)) as store:
            seen = look(store, good)
            assert seen.right == set(good.entries)
            assert seen.absent == set(good.deleted)
            assert store.verify() == Verified(len(good.entries))
            assert len(good.files) == 5 + (name == "log")


@of_stores(DAMAGES)
def test_a_damage_is_told_and_repaired(
    damage: Damage, name: str, goods: Goods, tmp_path: Path
) -> None:
    good = goods[name]
    path = good.copy(tmp_path / "store")
    damage.spoil(good, path)
    if damage.opening:
        with pytest.raises(StoreError, match=damage.opening) as refused:
            DiskStore(path)
        assert str(path) in str(refused.value)
        assert str(refused.value).endswith(".")
    else:
        with DiskStore(path) as store:
            check_state(store, good, damage)
            check_verified(store.verify(), damage)
            check_state(store, good, damage)
    if damage.repair:
        before = content(path)
        with pytest.raises(StoreError, match=damage.repair):
            DiskStore.repair(path)
        assert content(path) == before
    else:
        check_repaired(path, good, damage)


@of_stores(OPENING)
def test_writing_to_a_damaged_store_makes_nothing_worse(
    damage: Damage, name: str, goods: Goods, tmp_path: Path
) -> None:
    good = goods[name]
    for write in (DiskStore.compact, put_large):
        path = good.copy(tmp_path / write.__name__)
        damage.spoil(good, path)
        with DiskStore(path) as store:
            right = look(store, good).right
            with only_store_errors(path):
                write(store)
            seen = look(store, good)
            assert seen.right >= right
            assert not seen.older
        if not damage.repair:
            DiskStore.repair(path)
            with DiskStore(path) as store:
                lost = set(good.entries) - look(store, good).right
                assert lost <= harmed(damage, good)
                assert len(lost) <= max(damage.lost)
                assert not store.verify().problems


@of_stores(OPENING)
def test_whatever_is_asked_of_a_damaged_store_raises_store_errors_alone(
    damage: Damage, name: str, goods: Goods, tmp_path: Path
) -> None:
    good = goods[name]
    path = good.copy(tmp_path / "store")
    damage.spoil(good, path)
    with DiskStore(path, read_only=True) as store:
        for ask in (
            lambda part: list(part),
            lambda part: list(part.items()),
            lambda part: part.kinds(),
            lambda part: part.namespaces(),
            lambda part: part.count(),
            lambda part: part.contains([id for _, id in good.entries]),
            lambda part: part.get([id for _, id in good.entries], texts=False),
            lambda part: part.get([id for _, id in good.entries], embeddings=False),
        ):
            for part in (store, store.namespace("other")):
                with only_store_errors(path):
                    ask(part)
        with pytest.raises(StoreError, match="open for reading only: open it without read_only"):
            store.verify(repair=True)


@pytest.mark.parametrize(
    ("name", "opening", "get", "repair"),
    [
        ("", r"store\.json' cannot be read \(Permission denied\): make it a readable file", "", ""),
        ("store.json", r"cannot be read \(Permission denied\): make it a readable file", "", ""),
        (INDEX, r"the index of .* cannot be opened \(unable to open database file\): make", "", ""),
        (
            "shards",
            "",
            r"cannot be opened \(Permission denied\): make it readable",
            "though it may be whole: make it readable",
        ),
        (
            "shards/first",
            "",
            r"cannot be opened \(Permission denied\): make it readable",
            "though it may be whole: make it readable",
        ),
    ],
)
def test_what_may_not_be_read_is_refused_and_not_repaired_away(
    name: str, opening: str, get: str, repair: str, goods: Goods, tmp_path: Path
) -> None:
    good = goods["none"]
    path = good.copy(tmp_path / "store")
    file = good.shard("first", path) if name == "shards/first" else path / name
    mode = file.stat().st_mode
    file.chmod(0)
    try:
        if os.access(file, os.R_OK):
            pytest.skip("this user may read everything")
        if opening:
            with pytest.raises(StoreError, match=opening):
                DiskStore(path)
        else:
            with DiskStore(path) as store:
                seen = look(store, good)
                assert seen.errors
                assert all(re.search(get, message) for message in seen.errors.values())
                assert store.verify().problems
        with pytest.raises(StoreError, match=repair or opening):
            DiskStore.repair(path)
    finally:
        file.chmod(mode)
    with DiskStore(path) as store:
        assert look(store, good).right == set(good.entries)
        assert store.verify() == Verified(len(good.entries))


def test_what_a_compacted_shard_says_is_taken_where_the_index_is_wrong(
    goods: Goods, tmp_path: Path
) -> None:
    """An unlisted shard of moved passages is removed, but not where it is a repair that unlisted it."""
    good = goods["none"]
    path = good.copy(tmp_path / "store")
    with DiskStore(path) as store:
        store.compact(most_unused=0)
        with store.writing() as writing:
            writing.database.execute("UPDATE entries SET start = start + 1")
        assert look(store, good).errors.keys() == good.entries.keys()
    DiskStore.repair(path)
    with DiskStore(path) as store:
        seen = look(store, good)
        assert seen.right == set(good.entries)
        assert seen.absent == set(good.deleted)
        assert store.verify() == Verified(len(good.entries))


def test_what_passages_hold_beside_their_embeddings_is_checked_without_texts(
    tmp_path: Path,
) -> None:
    """The id tells nothing then of model, rate and text."""
    with DiskStore.create(tmp_path / "store", texts=False) as store:
        id, entry = passage(1)
        store.put({id: entry})
    for column, value in (("rate", 8), ("fingerprint", "c" * 64), ("dtype", "float16")):
        with DiskStore(tmp_path / "store") as store:
            with store.writing() as writing:
                writing.database.execute(f"UPDATE kinds SET {column} = ?", (value,))
            with pytest.raises(StoreError, match=f"the embeddings of passage {id} are damaged"):
                store.get([id])
            assert len(store.verify().problems) == 1
            with store.writing() as writing:
                old = {"rate": 4, "fingerprint": "a" * 64, "dtype": "bfloat16"}[column]
                writing.database.execute(f"UPDATE kinds SET {column} = ?", (old,))
