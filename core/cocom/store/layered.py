"""A store that can be written to, over one that cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cocom.store.protocol import ContextStore, Entry, Kind, Verified, check_ids

__all__ = ["LayeredStore"]


class LayeredStore(ContextStore):
    """Reads from a store and, first, from another one above it, which takes everything that is put.

    Passages can be deleted only from the one above.

    Attributes:
        below: What is read, and never changed.
        above: What is read first, and written to.
    """

    def __init__(self, below: ContextStore, above: ContextStore) -> None:
        self.below = below
        self.above = above

    def __str__(self) -> str:
        return str(self.below)

    @property
    def durable(self) -> bool:
        """Whether what is below outlives the process."""
        return self.below.durable

    def namespace(self, name: str) -> LayeredStore:
        """The part of both under a name."""
        return LayeredStore(self.below.namespace(name), self.above.namespace(name))

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep entries above."""
        self.above.put(entries)

    def get(
        self, ids: Sequence[str], *, texts: bool = True, embeddings: bool = True
    ) -> list[Entry | None]:
        """The entries of ids, in order; those above come first."""
        ids = check_ids(ids)
        found = dict(zip(ids, self.above.get(ids, texts=texts, embeddings=embeddings), strict=True))
        # An entry above may have lost its embeddings to make room.
        missing = [
            id
            for id, entry in found.items()
            if entry is None or (embeddings and entry.contexts is None)
        ]
        below = self.below.get(missing, texts=texts, embeddings=embeddings)
        found |= {id: entry for id, entry in zip(missing, below, strict=True) if entry is not None}
        return [found[id] for id in ids]

    def contains(self, ids: Sequence[str]) -> list[bool]:
        """For each id, whether it is in one of them."""
        ids = check_ids(ids)
        pairs = zip(self.above.contains(ids), self.below.contains(ids), strict=True)
        return [above or below for above, below in pairs]

    def delete(self, ids: Sequence[str]) -> int:
        """Drop entries above; how many were there."""
        return self.above.delete(ids)

    def ids(self) -> Iterator[str]:
        """All ids, each once."""
        above = set(self.above.ids())
        yield from above
        yield from (id for id in self.below.ids() if id not in above)

    def kinds(self) -> dict[Kind, int]:
        """How many passages of each kind both hold, those in both counted twice."""
        return Counter(self.below.kinds()) + Counter(self.above.kinds())

    def count(self) -> int:
        """How many passages there are in one of them."""
        above = list(self.above.ids())
        return self.below.count() + self.below.contains(above).count(False)

    def compact(self) -> None:
        """Give back the room of what was deleted above."""
        self.above.compact()

    def verify(self, *, repair: bool = False) -> Verified:
        """Look at what is below; only what is above can be repaired."""
        return self.below.verify()

    def close(self) -> None:
        """Close both."""
        self.above.close()
        self.below.close()
