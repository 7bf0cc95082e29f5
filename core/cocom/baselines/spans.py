"""Text as units that are kept or dropped whole: what is kept is always the source's own characters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import regex  # type: ignore[import-untyped]

__all__ = ["Unit", "kept_spans", "kept_text", "stripped_spans", "units_of"]

_CHARACTER = regex.compile(r"\X")
_LONGEST = 32  # code points of what a reader sees as one character; more is cut like any text


@dataclass(frozen=True)
class Unit:
    """A stretch of a text that is kept or dropped as one.

    Attributes:
        start: First character.
        end: Behind the last character.
        tokens: The tokens it is made of, by number: the first, and behind the last.
    """

    start: int
    end: int
    tokens: tuple[int, int]


def units_of(text: str, offsets: Sequence[tuple[int, int]]) -> list[Unit]:
    """Cut a text into the smallest units that its tokens allow.

    Tokens that share a character, as the bytes of a Korean syllable may, make one unit; so do those that
    share what a reader sees as one character, such as a letter and its accents or a family of emoji. What no
    token covers, such as spaces, belongs to the unit behind it, and at the end to the last: together the
    units are the text. Tokens without characters of their own belong to the unit before them.

    Args:
        text: The text.
        offsets: First character and character behind the last of each token, in order.
    """
    found: list[Unit] = []
    end = 0
    offsets = _of_whole_characters(text, offsets)
    for number, (start, stop) in enumerate(offsets):
        if found and (start < end or stop <= end):
            end = max(end, stop)
            last = found.pop()
            found.append(Unit(last.start, end, (last.tokens[0], number + 1)))
        elif stop > end:
            first = found[-1].tokens[1] if found else 0
            found.append(Unit(end, stop, (first, number + 1)))
            end = stop
    if found and end < len(text):
        last = found.pop()
        found.append(Unit(last.start, len(text), last.tokens))
    return found


def _of_whole_characters(
    text: str, offsets: Sequence[tuple[int, int]]
) -> Sequence[tuple[int, int]]:
    """The offsets, those that end inside what a reader sees as one character moved to its end."""
    if text.isascii():
        return offsets
    ends: dict[int, int] = {}
    for found in _CHARACTER.finditer(text):
        start, end = found.span()
        if 1 < end - start <= _LONGEST:
            ends.update(dict.fromkeys(range(start + 1, end), end))
    return [(a, ends.get(b, b) if b > a else b) for a, b in offsets] if ends else offsets


def kept_spans(units: Sequence[Unit], kept: Collection[int]) -> tuple[tuple[int, int], ...]:
    """Where in the text the kept units are, neighbours joined: first character, and behind the last."""
    spans: list[tuple[int, int]] = []
    for number in sorted(kept):
        unit = units[number]
        if spans and spans[-1][1] == unit.start:
            spans[-1] = (spans[-1][0], unit.end)
        else:
            spans.append((unit.start, unit.end))
    return tuple(spans)


def kept_text(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text of some spans, one behind the other, without space at either end."""
    return "".join(text[start:end] for start, end in spans).strip()


def stripped_spans(text: str, spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The spans without space at either end, so that they are what `kept_text` gives, to the character."""
    kept = [(start, end) for start, end in spans if text[start:end]]
    while kept and not text[slice(*kept[0])].strip():
        del kept[0]
    while kept and not text[slice(*kept[-1])].strip():
        del kept[-1]
    if kept:
        start, end = kept[0]
        kept[0] = (end - len(text[start:end].lstrip()), end)
        start, end = kept[-1]
        kept[-1] = (start, start + len(text[start:end].rstrip()))
    return tuple(kept)
