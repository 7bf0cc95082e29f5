"""Making a damaged index anew, from the shards and from what can still be read of the old one.

The new one is made under another name, and takes the old one's place when it is whole: whoever is killed
meanwhile can begin again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import StoreError
from cocom.store.index import Index
from cocom.store.protocol import Problem
from cocom.store.reading import read_raw
from cocom.store.record import Record

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["DAMAGED", "rebuild"]

DAMAGED = ".damaged"  # what is appended to the names of files that are set aside
_SUFFIXES = ("", "-wal", "-shm")  # of SQLite's files; the first is the one that counts
_BATCH = 256


def rebuild(store: DiskStore, take_up: Callable[[], int], problems: list[Problem]) -> None:
    """Make the index of a store anew; nobody else may use the store.

    Args:
        store: The store.
        take_up: Lists in the index whatever shards there are, and says how many passages these hold.
        problems: Where to tell of it.
    """
    index = store.index
    path = index.path
    new = path.with_name(f".{path.name}.new")
    index.close()
    if not (new.exists() and not path.exists()):  # that was killed at its last step
        taken, saved, found = _make(store, take_up, new)
        problems.append(
            Problem(
                path.name,
                f"made anew: {taken} passages taken from the shards and {saved} of {found} found in the old "
                f"index, which is kept as {path.name}{DAMAGED}; what was deleted or written anew since the "
                "last compact may be back as it was",
            )
        )
    for suffix in _SUFFIXES:
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.replace(path.with_name(f"{path.name}{DAMAGED}{suffix}"))
    new.replace(path)
    index.renew()


def _make(store: DiskStore, take_up: Callable[[], int], new: Path) -> tuple[int, int, int]:
    """Make a whole index; how many passages are from the shards, the old one, of how many there."""
    index = store.index
    path = index.path
    staging = path.with_name(f".{path.name}.tmp")
    for suffix in _SUFFIXES:
        staging.with_name(staging.name + suffix).unlink(missing_ok=True)
    Index.create(staging)
    index.path = staging
    index.renew()
    try:
        taken = take_up()
        saved, found = _salvage(store, path) if path.exists() else (0, 0)
        index.tidy()
    finally:
        index.close()
        index.path = path
        index.renew()
    staging.replace(new)
    return taken, saved, found


def _salvage(store: DiskStore, path: Path) -> tuple[int, int]:
    """Take up the passages in an old index itself; how many, of how many that are found there."""
    saved = found = 0
    with closing(Index(path, timeout=1.0, read_only=False, name=f"'{path}'")) as old:
        keys = list(_recent(old))
        for i in range(0, len(keys), _BATCH):
            records: list[tuple[str, Record]] = []
            for namespace, id in keys[i : i + _BATCH]:
                try:
                    place = old.find(namespace, [id])[id]
                    raw = read_raw(store.files, {id: place})[id]
                    records.append((namespace, raw.record()))
                except (StoreError, KeyError, FileNotFoundError):
                    continue
            if records:
                with store.writing() as writing:
                    # Wherever a passage lies twice, this is the one that was put last.
                    store.write(writing, records)
            saved += len(records)
            found += len(keys[i : i + _BATCH])
    return saved, found


def _recent(old: Index) -> Iterator[tuple[str, str]]:
    """Namespaces and ids of the passages in a damaged index itself, each once, as far as SQLite goes."""
    seen: set[tuple[str, str]] = set()
    for direction in ("ASC", "DESC"):  # to a page that cannot be read, from either side
        with suppress(StoreError):
            names = {number: name for name, number in old.numbers().items()}
            with old.reading() as database:
                for number, id in database.execute(
                    "SELECT namespace, id FROM entries WHERE shard IS NULL "
                    f"ORDER BY namespace {direction}, id {direction}"
                ):
                    key = (names.get(number), id)
                    if key not in seen and isinstance(key[0], str) and isinstance(id, str):
                        seen.add((key[0], id))
                        yield key[0], id
