"""Text as units that are kept or dropped whole, so that what is kept is always the source's own characters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["Unit", "kept_spans", "kept_text", "units_of"]


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

    Tokens that share a character, as the bytes of a Korean syllable may, make one unit. What no token covers,
    such as spaces, belongs to the unit behind it, and at the end to the last: together the units are the
    text. Tokens without characters of their own belong to the unit before them.

    Args:
        text: The text.
        offsets: First character and character behind the last of each token, in order.
    """
    found: list[Unit] = []
    end = 0
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
