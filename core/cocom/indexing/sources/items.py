"""What every source of passages gives, and how it tells how far it has come."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cocom.datatypes import Passage
from cocom.errors import MissingExtraError

__all__ = ["Item", "Source", "ending_at", "needed", "reason"]


@dataclass(frozen=True)
class Item:
    """What a source gives: a passage under its key, or why there is none.

    Attributes:
        key: A stable name within the source: the row's id, or its place, such as `data.jsonl:12`.
        passage: The passage, its id the key; None if it cannot be used.
        error: One sentence that says why there is no passage; None if there is one.
        position: Units of the source's size read so far, this item included; never decreases.
    """

    key: str
    passage: Passage | None
    error: str | None
    position: int


class Source(Protocol):
    """Where passages are read from, always anew from the beginning and in the same order."""

    @property
    def name(self) -> str:
        """The same wherever a run is started: an absolute path, a URL, `hf:…` or `python:…`."""

    @property
    def size(self) -> int | None:
        """Bytes of JSON lines (packed ones, if they are), rows or files; None if it is not known."""

    def read(self) -> Iterator[Item]:
        """Every item from the beginning, in constant memory."""


def ending_at(size: int | None, items: Iterable[Item]) -> Iterator[Item]:
    """The items, with no position beyond a size, and the last one's at it.

    What follows the last item (blank lines, a checksum) has been read too, but gives no item of its own.
    """
    if size is None:
        yield from items
        return
    last: Item | None = None
    try:
        for item in items:
            if last is not None:
                yield last
            last = item if item.position <= size else dataclasses.replace(item, position=size)
    except Exception:
        if last is not None:
            yield last
        raise
    if last is not None:
        yield dataclasses.replace(last, position=size)


def needed(module: str, purpose: str) -> Any:
    """A module of an optional package.

    Raises:
        MissingExtraError: The package is not installed.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)  # first, for it may be blocked while the module is loaded
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, "index", purpose) from error


def reason(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, for the middle of a sentence."""
    message = str(error).strip().partition("\n")[0].rstrip(". ")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
