"""From where passages lie to what they are: bytes first, all at once, then each looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from cocom.errors import StoreError
from cocom.store.files import ShardFiles, Span
from cocom.store.protocol import Entry
from cocom.store.record import Bytes, Record, decode, decode_words, room, row_sizes
from cocom.store.tables import Located

__all__ = ["Raw", "read_raw"]

Key = TypeVar("Key")


class Raw(NamedTuple):
    """A passage as it was read, not looked at yet.

    Attributes:
        place: Where it lies.
        values: Bytes of its embeddings as they are kept; None if not asked for.
        scales: Bytes of their scales, if they are quantised.
        words: Text and query; None if not asked for.
    """

    place: Located
    values: Bytes | None
    scales: Bytes | None
    words: bytes | bytearray | None

    def entry(self) -> Entry:
        """The passage.

        Raises:
            StoreError: It is not what was written.
        """
        kind, facts = self.place.kind, self.place.facts
        text, query = (None, None) if self.words is None else decode_words(kind, facts, self.words)
        contexts = None
        if self.values is not None and self.scales is not None:
            contexts = decode(kind, facts, self.values, self.scales)
        return Entry(text, kind.rate, query, contexts)

    def record(self) -> Record:
        """The passage as it is written, to be written again; errors as `entry`."""
        self.entry()
        assert self.values is not None
        assert self.scales is not None
        assert self.words is not None
        place = self.place
        return Record(place.kind, place.facts, self.values, self.scales, bytes(self.words))


def read_raw(
    files: ShardFiles,
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
        _check_place(place)
        values, scales = _embeddings(place, spans) if embeddings else (None, None)
        read[key] = Raw(place, values, scales, _words(place, spans) if texts else None)
    files.fill(spans)
    return read


def _check_place(place: Located) -> None:
    """Make sure, before memory is taken for it, that a passage can lie where it is said to.

    Raises:
        StoreError: It cannot.
    """
    facts, shard = place.facts, place.shard
    value_size, _ = row_sizes(place.kind)
    if shard is None:
        if place.inline is None:
            raise StoreError(f"passage {facts.id} is listed, but not there")
        most, words = len(place.inline.values), 0
    else:
        most = shard.size
        words = place.words_at + max(facts.text_size, 0) + max(facts.query_size, 0)
    end = (place.start + facts.rows) * value_size
    if not (facts.rows > 0 and place.start >= 0 and place.words_at >= 0) or max(end, words) > most:
        raise StoreError(
            f"passage {facts.id} is listed with embeddings {place.start} to {place.start + facts.rows}, "
            "which cannot be"
        )


def _embeddings(place: Located, spans: list[Span]) -> tuple[Bytes, Bytes]:
    """Memory for the embeddings of a passage; filled, or with what is to be read into it."""
    facts = place.facts
    values, scales = room(place.kind, facts.rows)
    if place.shard is not None:
        value_size, scale_size = row_sizes(place.kind)
        name, start = place.shard.name, place.start
        spans.append(Span(name, place.shard.values_at + start * value_size, values))
        if scale_size:
            spans.append(Span(name, place.shard.scales_at + start * scale_size, scales))
        return values, scales
    if place.inline is None:
        raise StoreError(f"passage {facts.id} is listed, but not there")
    for into, data in ((values, place.inline.values), (scales, place.inline.scales)):
        if len(into) != len(data):
            raise StoreError(f"passage {facts.id} has {len(data)} bytes instead of {len(into)}")
        into[:] = np.frombuffer(data, np.uint8)
    return values, scales


def _words(place: Located, spans: list[Span]) -> bytes | bytearray:
    if place.inline is not None:
        return place.inline.words
    words = bytearray(max(place.facts.text_size, 0) + max(place.facts.query_size, 0))
    if words and place.shard is not None:
        spans.append(Span(place.shard.name, place.shard.words_at + place.words_at, words))
    return words
