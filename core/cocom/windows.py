"""A text's tokens -> windows: cut after a sentence where one ends in time, never inside a character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["TextWindow", "cut_windows"]

_SENTENCE_END = re.compile(r"[.!?…؟।۔][\"'”’)\]]*\s+|[。！？]|\n+")


@dataclass(frozen=True)
class TextWindow:
    """A stretch of a text: its token ids, and where it starts and ends in characters.

    `before` holds the tokens of the query that the compressor reads first, if it reads one.
    """

    ids: list[int]
    start: int
    end: int
    before: tuple[int, ...] = ()


def cut_windows(
    text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], size: int
) -> list[TextWindow]:
    """Divide a text's tokens, in order and all of them, into windows of at most `size`.

    Args:
        text: The text.
        ids: Its token ids.
        offsets: Where each token starts and ends in characters.
        size: Most tokens of a window.
    """
    cuts = [0]
    boundaries: list[int] = []
    whole: set[int] = set()
    if len(ids) > size:
        # A character of several byte tokens must stay in one window.
        whole = {i for i, (a, b) in enumerate(pairwise(offsets), start=1) if a[1] <= b[0]}
        ends = [m.end() for m in _SENTENCE_END.finditer(text)]
        boundaries = [i for i in _tokens_at(offsets, ends) if i in whole]
    position = 0
    while len(ids) - cuts[-1] > size:
        cut = cuts[-1] + size
        while position < len(boundaries) and boundaries[position] <= cut:
            position += 1
        if position and boundaries[position - 1] > cuts[-1]:
            cut = boundaries[position - 1]
        else:
            cut = next((i for i in range(cut, cuts[-1], -1) if i in whole), cut)
        cuts.append(cut)
    starts = [0, *(offsets[cut][0] for cut in cuts[1:])]
    return [
        TextWindow(list(ids[a:b]), start, end)
        for (a, b), (start, end) in zip(
            pairwise([*cuts, len(ids)]), pairwise([*starts, len(text)]), strict=True
        )
    ]


def _tokens_at(offsets: Sequence[tuple[int, int]], ends: Sequence[int]) -> list[int]:
    """Index of the first token that starts at or after each character position, ascending."""
    found: list[int] = []
    token = 0
    for end in ends:
        while token < len(offsets) and offsets[token][1] <= end:
            token += 1
        if token < len(offsets) and (not found or token > found[-1]):
            found.append(token)
    return found
