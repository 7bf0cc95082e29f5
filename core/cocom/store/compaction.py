"""Compaction: small shards become large ones, and what was deleted gives its room back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cocom.errors import StoreError
from cocom.store.protocol import Kind
from cocom.store.reading import read_raw
from cocom.store.record import Record
from cocom.store.shard import MOST_PASSAGES, Shard, read_entries, read_header

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
        small = shard.size * 4 < store.manifest.shard_bytes and shard.passages * 4 < MOST_PASSAGES
        if unused > most_unused or small:
            by_kind.setdefault(shard.kind, {})[number] = shard
    for shards in by_kind.values():
        part: dict[int, Shard] = {}
        size = passages = 0.0
        for number, shard in shards.items():
            live = used.get(number, 0)
            live_size = shard.size * live / shard.passages
            full = size + live_size > store.manifest.shard_bytes or passages + live > MOST_PASSAGES
            if part and full:
                yield part
                part, size, passages = {}, 0.0, 0.0
            part[number] = shard
            size += live_size
            passages += live
        if len(part) > 1 or any(used.get(n, 0) < shard.passages for n, shard in part.items()):
            yield part
