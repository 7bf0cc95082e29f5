"""Compaction: small shards become large ones, and what was deleted gives its room back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cocom.errors import StoreError
from cocom.store.protocol import Kind
from cocom.store.reading import read_raw
from cocom.store.record import Record
from cocom.store.shard import Shard, read_entries, read_header

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["compact"]


def compact(store: DiskStore, most_unused: float) -> None:
    """Compact a store, a shard's worth at a time, so that whoever writes need not wait for all of it."""
    with store.writing() as writing:
        store.write(writing, writing.take_recent())
    for shards in list(_to_merge(store, most_unused)):
        with store.writing() as writing:
            there = store.index.shards()  # another process may have compacted meanwhile
            shards = {number: shard for number, shard in shards.items() if number in there}
            store.write(writing, [r for shard in shards.values() for r in _records(store, shard)])
            writing.drop_shards(shards)
    with store.writing():
        pass  # removes the files of dropped shards
    store.index.tidy()


def _records(store: DiskStore, shard: Shard) -> Iterator[tuple[str, Record]]:
    """Namespaces and records of the passages that still lie in a shard."""
    path = store.shards / shard.name
    try:
        listing = read_entries(path, read_header(path))
    except StoreError as error:
        raise store.explained(error) from error
    ids: dict[str, list[str]] = {}
    for place in listing:
        ids.setdefault(place.namespace, []).append(place.facts.id)
    for namespace, part in ids.items():
        located = store.index.find(namespace, part)
        here = {id: place for id, place in located.items() if place.shard == shard}
        try:
            records = [raw.record() for raw in read_raw(store.files, here).values()]
        except StoreError as error:
            raise store.explained(error) from error
        yield from ((namespace, record) for record in records)


def _to_merge(store: DiskStore, most_unused: float) -> Iterator[dict[int, Shard]]:
    """Shards to make one of, or a few."""
    used = store.index.used()
    by_kind: dict[Kind, dict[int, Shard]] = {}
    for number, shard in store.index.shards().items():
        unused = 1 - used.get(number, 0) / shard.passages
        if unused > most_unused or shard.size * 4 < store.manifest.shard_bytes:
            by_kind.setdefault(shard.kind, {})[number] = shard
    for shards in by_kind.values():
        part: dict[int, Shard] = {}
        size = 0.0
        for number, shard in shards.items():
            live = shard.size * used.get(number, 0) / shard.passages
            if part and size + live > store.manifest.shard_bytes:
                yield part
                part, size = {}, 0.0
            part[number] = shard
            size += live
        if len(part) > 1 or any(used.get(n, 0) < shard.passages for n, shard in part.items()):
            yield part
