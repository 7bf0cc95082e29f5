"""What a build is cut into, and what does the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cocom.store import DiskStore
from cocom.store.listing import Failure

__all__ = ["Chunk", "Done", "Engine"]


@dataclass(frozen=True)
class Chunk:
    """Passages to compress together.

    Attributes:
        texts: Passages by their ids.
        keys: The name of each in the source.
    """

    texts: Mapping[str, str]
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """What became of a chunk; its passages are in the store.

    Attributes:
        ids: Passages that were compressed.
        failures: Passages that could not be.
    """

    ids: Sequence[str]
    failures: Sequence[Failure] = ()


class Engine(Protocol):
    """What compresses chunks into a store."""

    def run(self, chunks: Iterator[Chunk], store: DiskStore, rate: int) -> Iterator[Done]:
        """Compress chunks, in any order; each is in the store when it is told to be done."""
        ...
