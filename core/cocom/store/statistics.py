"""What a store holds and what it takes, without reading its passages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cocom.store.listing import SourceRecord, namespaces, sources
from cocom.store.protocol import Kind

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["Statistics", "statistics"]


@dataclass(frozen=True)
class Statistics:
    """What a store holds and what it takes.

    Attributes:
        passages: How many of each kind each namespace holds; of none, where all passages failed.
        sources: What each namespace was built from.
        shards: How many files of embeddings there are.
        shard_bytes: What they take.
        unused: Share of the passages in them that were deleted or written anew; `compact` frees it.
        recent: Passages in the index itself.
        index_bytes: What the index takes, these included.
    """

    passages: dict[str, dict[Kind, int]]
    sources: dict[str, list[SourceRecord]]
    shards: int
    shard_bytes: int
    unused: float
    recent: int
    index_bytes: int


def statistics(store: DiskStore) -> Statistics:
    """Look at a store, all its namespaces included."""
    names = sorted({*store.namespaces(), *namespaces(store)})
    parts = [store.namespace(name) for name in names]
    shards = store.index.shards().values()
    written = sum(shard.passages for shard in shards)
    recent = len(store.index.recent())
    held = sum(part.count() for part in parts) - recent
    files = [store.index.path.with_name(store.index.path.name + s) for s in ("", "-wal")]
    return Statistics(
        {part.name: part.kinds() for part in parts},
        {part.name: sources(part) for part in parts},
        len(shards),
        sum(shard.size for shard in shards),
        1 - held / written if written else 0.0,
        recent,
        sum(file.stat().st_size for file in files if file.exists()),
    )
