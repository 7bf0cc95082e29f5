"""Damages of the log of a store's index: what is done, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.store.damage import INDEX, Good, cut_to_half, flip, noise
from tests.store.damages import Damage

__all__ = ["LOGS"]


def _file(spoil: Callable[[Path], object], suffix: str = "-wal") -> Callable[[Good, Path], object]:
    return lambda good, path: spoil(path / f"{INDEX}{suffix}")


# Of the last batches, three passages are in the log alone, and six in a shard that only the log lists.
LOGS = (
    Damage("a whole log", lambda good, path: None, stores=["log"]),
    Damage(
        "a log of noise",
        _file(noise),
        unlisted=1,
        harmed=["log", "log shard"],
        absent=9,
        lost=[3],
        stores=["log"],
    ),
    Damage(
        "no log",
        _file(Path.unlink),
        unlisted=1,
        harmed=["log", "log shard"],
        absent=9,
        lost=[3],
        stores=["log"],
    ),
    Damage(
        "a log with a byte changed at its end",
        _file(lambda file: flip(file, -2000)),
        unlisted=1,
        harmed=["log shard"],
        absent=6,
        stores=["log"],
    ),
    Damage(
        "a log cut to half",
        _file(cut_to_half),
        unlisted=1,
        harmed=["log", "log shard"],
        absent=9,
        lost=[3],
        stores=["log"],
    ),
    Damage(
        "noise in the log's own index",
        _file(noise, "-shm"),
        stores=["log"],
    ),
)
