"""Verification: every passage read and compared with its checksum, every file with the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import StoreError
from cocom.store.adoption import adopt, unlisted
from cocom.store.index import Index, Located
from cocom.store.protocol import Problem, Verified
from cocom.store.reading import Raw, read_raw
from cocom.store.shard import Shard, read_entries, read_header

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["verify"]

_BATCH = 256
_DAMAGED = ".damaged"  # what is appended to the names of files that are set aside

Key = tuple[str, str]  # namespace and id


def verify(store: DiskStore, *, repair: bool) -> Verified:
    """Look at everything in a store, and mend it if that is wanted; see `DiskStore.verify`."""
    problems = [Problem(store.index.path.name, what) for what in _index_problems(store.index)]
    if problems and not repair:
        return Verified(0, tuple(problems))
    if problems:
        _rebuild(store, problems)
    passages = 0
    used = store.index.used()
    for number, shard in store.index.shards().items():
        passages += _verify_shard(store, number, shard, used.get(number, 0), problems, repair)
    for part in _parts(store.index.recent()):
        good, bad = _intact(store, part, problems, store.index.path.name)
        passages += len(good)
        if repair:
            _forget(store, bad)
    left = [
        Problem(path.name, "a finished shard of passages that the index does not list")
        for path in unlisted(store)
    ]
    if repair and left:
        passages += adopt(store, unlisted(store), problems)
        for path in unlisted(store):
            _set_aside(path)
    return Verified(passages, tuple(problems), () if repair else tuple(left), repair)


def _index_problems(index: Index) -> list[str]:
    try:
        index.check()
        return index.inconsistencies()
    except StoreError as error:
        return [str(error)]


def _verify_shard(
    store: DiskStore, number: int, shard: Shard, used: int, problems: list[Problem], repair: bool
) -> int:
    """How many passages of a shard are as they were written."""
    path = store.shards / shard.name
    whole = False
    keys: Sequence[Key] = []
    try:
        header = read_header(path)
        keys = [(place.namespace, place.facts.id) for place in read_entries(path, header)]
        whole = header.shard == shard
        if not whole:
            problems.append(
                Problem(shard.name, "another shard than the index says: it was replaced")
            )
    except StoreError as error:
        problems.append(Problem(shard.name, str(error)))
    listed = sum(1 for part in _parts(keys) for _ in _here(store, part, shard))
    if whole and listed != used and listed != (now := store.index.used_in(number)):
        whole = False
        problems.append(
            Problem(shard.name, f"it lists {listed} of the {now} passages that the index has in it")
        )
    if not whole:
        keys = store.index.ids_in(number)
    passages = 0
    for part in _parts(keys):
        good, bad = _intact(
            store, [key for key, _ in _here(store, part, shard)], problems, shard.name
        )
        passages += len(good)
        if repair:
            _forget(store, bad)
            if not whole:
                with store.writing() as writing:
                    store.write(writing, [(key[0], raw.record()) for key, raw in good.items()])
    if repair and not whole:
        if path.exists():
            _set_aside(path)
        with store.writing() as writing:
            writing.remove_shards([number])
    return passages


def _here(store: DiskStore, keys: Sequence[Key], shard: Shard) -> Iterator[tuple[Key, Located]]:
    """Those of some passages that lie in a shard."""
    for key, place in _find(store, keys).items():
        if place.shard == shard:
            yield key, place


def _find(store: DiskStore, keys: Sequence[Key]) -> dict[Key, Located]:
    ids: dict[str, list[str]] = {}
    for namespace, id in keys:
        ids.setdefault(namespace, []).append(id)
    return {
        (namespace, id): place
        for namespace, part in ids.items()
        for id, place in store.index.find(namespace, part).items()
    }


def _intact(
    store: DiskStore, keys: Sequence[Key], problems: list[Problem], where: str
) -> tuple[dict[Key, Raw], list[Key]]:
    """Passages as they were read, and those that are damaged."""
    located = _find(store, keys)
    good: dict[Key, Raw] = {}
    bad: list[Key] = []
    try:
        read = read_raw(store.files, located)
    except (StoreError, FileNotFoundError):
        read = {}
    for key, place in located.items():
        try:
            raw = read[key] if read else read_raw(store.files, {key: place})[key]
            raw.entry()
            good[key] = raw
        except FileNotFoundError:
            problems.append(
                Problem(where, f"passage {key[1]} is lost, because the file is missing")
            )
            bad.append(key)
        except StoreError as error:
            problems.append(Problem(where, f"{error}; repair drops it"))
            bad.append(key)
    return good, bad


def _forget(store: DiskStore, keys: Sequence[Key]) -> None:
    if keys:
        with store.writing() as writing:
            for namespace, id in keys:
                writing.forget(namespace, [id])


def _rebuild(store: DiskStore, problems: list[Problem]) -> None:
    """Make the index anew from the shards, and from what can still be read of the old one."""
    index = store.index
    index.close()
    for suffix in ("", "-wal", "-shm"):
        path = index.path.with_name(index.path.name + suffix)
        if path.exists():
            path.replace(path.with_name(f"{index.path.name}{_DAMAGED}{suffix}"))
    Index.create(index.path)
    index.renew()
    taken = adopt(store, unlisted(store), problems)
    saved = _salvage(store, index.path.with_name(index.path.name + _DAMAGED))
    problems.append(
        Problem(
            index.path.name,
            f"made anew: {taken} passages taken from the shards and {saved} from the old index, which is "
            f"kept as {index.path.name}{_DAMAGED}; passages deleted since the last compact may be back",
        )
    )


def _salvage(store: DiskStore, path: Path) -> int:
    """Take up the passages in a damaged index itself, as far as they can be read."""
    saved = 0
    if not path.exists():
        return saved
    old = Index(path, timeout=1.0, read_only=False, name=f"'{path}'")
    with closing(old):
        try:
            for part in _parts(old.recent(), 16):
                for (namespace, id), place in (
                    ((namespace, id), old.find(namespace, [id])[id]) for namespace, id in part
                ):
                    record = read_raw(store.files, {id: place})[id].record()
                    if not store.index.contains(namespace, [id]):
                        with store.writing() as writing:
                            store.write(writing, [(namespace, record)])
                        saved += 1
        except (StoreError, KeyError):
            pass
    return saved


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(path.name + _DAMAGED))


def _parts(keys: Sequence[Key], size: int = _BATCH) -> Iterator[Sequence[Key]]:
    return (keys[i : i + size] for i in range(0, len(keys), size))
