"""What every store of context embeddings can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cocom.datatypes import ContextEmbeddings

__all__ = ["ContextStore", "Entry"]


@dataclass(frozen=True)
class Entry:
    """One compressed passage.

    Attributes:
        text: The passage, or None where texts are not kept.
        rate: Compression rate.
        query: What it was compressed for, if the model does that.
        contexts: Its embeddings, or None where they were dropped and can be made again.
    """

    text: str | None
    rate: int
    query: str | None = None
    contexts: ContextEmbeddings | None = None


class ContextStore(Protocol):
    """Keeps compressed passages under ids that hash model, rate and text; threads may share it."""

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep entries under their ids; an id that is there already is written anew."""
        ...

    def get(self, ids: Sequence[str]) -> list[Entry | None]:
        """The entries of ids, in order; None for an id that is not there."""
        ...
