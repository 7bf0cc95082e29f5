"""What a damage of a store is, and what its messages advise."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tests.store.damage import Good

__all__ = ["ALL_SHARDS", "LOST", "REPAIR", "Damage"]

REPAIR = (
    "run `cocom index verify --repair` to drop what is damaged, so that it can be compressed again"
)
LOST = (
    "run `cocom index verify --repair` to drop its passages, so that they can be compressed again"
)
ALL_SHARDS = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True)
class Damage:
    """A damage, and what must come of it; each message as a pattern, "" for none.

    Attributes:
        name: What is wrong.
        spoil: Does it to a copy of a good store.
        opening: What opening says; then nothing else is asked but repair.
        get: What reading says of one harmed passage at least, and of nothing else.
        verify: What one of the problems says.
        unlisted: How many shards there are that the index does not list.
        repair: What a repair says that is refused; then nothing is changed.
        harmed: Groups of passages that may be absent or refused, and be lost.
        absent: How many passages are silently not there, as their row is gone.
        lost: How many passages may not be there after a repair.
        back: Whether what was deleted or written anew may be back after a repair, as it was.
        stores: Which stores it is done to.
    """

    name: str
    spoil: Callable[[Good, Path], object]
    opening: str = ""
    get: str = ""
    verify: str = ""
    unlisted: int = 0
    repair: str = ""
    harmed: Collection[str] = ()
    absent: int = 0
    lost: Collection[int] = (0,)
    back: bool = False
    stores: Collection[str] = ("none",)

    def __str__(self) -> str:
        return self.name
