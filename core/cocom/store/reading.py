"""From where passages lie to what they are: bytes first, all at once, then each looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from cocom.errors import StoreError
from cocom.store.files import LocalFiles, Span
from cocom.store.index import Located
from cocom.store.protocol import Entry
from cocom.store.record import (
    Record,
    as_bytes,
    decode,
    decode_words,
    empty_row,
    row_sizes,
)

__all__ = ["Raw", "read_raw"]

Key = TypeVar("Key")


@dataclass(frozen=True)
class Raw:
    """A passage as it was read, not looked at yet.

    Attributes:
        place: Where it lies.
        values: Embeddings as they are kept, shape (rows, hidden); None if not asked for.
        scales: Their scales, if they are quantised.
        words: Text and query; None if not asked for.
    """

    place: Located
    values: torch.Tensor | None
    scales: torch.Tensor | None
    words: bytes | bytearray | None

    def entry(self) -> Entry:
        """The passage.

        Raises:
            StoreError: It is not what was written.
        """
        kind, facts = self.place.kind, self.place.facts
        text, query = (None, None) if self.words is None else decode_words(kind, facts, self.words)
        contexts = None if self.values is None else decode(kind, facts, self.values, self.scales)
        return Entry(text, kind.rate, query, contexts)

    def record(self) -> Record:
        """The passage as it is written, to be written again; errors as `entry`."""
        self.entry()
        assert self.values is not None
        assert self.words is not None
        values, *scales = as_bytes([t for t in (self.values, self.scales) if t is not None])
        return Record(
            self.place.kind,
            self.place.facts,
            values,
            scales[0] if scales else b"",
            bytes(self.words),
        )


def read_raw(
    files: LocalFiles,
    located: Mapping[Key, Located],
    *,
    texts: bool = True,
    embeddings: bool = True,
) -> dict[Key, Raw]:
    """Read passages.

    Args:
        files: The shards.
        located: Where passages lie.
        texts: Whether to read words.
        embeddings: Whether to read embeddings.

    Raises:
        FileNotFoundError: A shard is not there (any more).
        StoreError: A shard is cut off, or cannot be read.
    """
    spans: list[Span] = []
    read: dict[Key, Raw] = {}
    for key, place in located.items():
        values, scales = empty_row(place.kind, place.facts.rows) if embeddings else (None, None)
        if embeddings:
            _to_read(place, [part for part in (values, scales) if part is not None], spans)
        words = _words(place, spans) if texts else None
        read[key] = Raw(place, values, scales, words)
    files.fill(spans)
    return read


def _to_read(place: Located, room: Sequence[torch.Tensor], spans: list[Span]) -> None:
    """Where the bytes of embeddings and scales come from: a shard, or the index itself."""
    parts = as_bytes(room)
    if place.shard is not None:
        starts = (place.shard.values_at, place.shard.scales_at)
        spans += [
            Span(place.shard.name, at + place.start * size, into)
            for into, at, size in zip(parts, starts, row_sizes(place.kind), strict=False)
        ]
        return
    if place.inline is None:
        raise StoreError(f"passage {place.facts.id} is listed, but not there")
    for into, data in zip(parts, (place.inline.values, place.inline.scales), strict=False):
        if len(into) != len(data):
            raise StoreError(
                f"passage {place.facts.id} has {len(data)} bytes instead of {len(into)}"
            )
        into[:] = data


def _words(place: Located, spans: list[Span]) -> bytes | bytearray:
    if place.inline is not None:
        return place.inline.words
    words = bytearray(max(place.facts.text_size, 0) + max(place.facts.query_size, 0))
    if words and place.shard is not None:
        at = place.shard.words_at + place.words_at
        spans.append(Span(place.shard.name, at, memoryview(words)))
    return words
