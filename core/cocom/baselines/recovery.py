"""Subsequence recovery: what an answer quotes of compressed passages becomes what stood in the passages.

LongLLMLingua (arXiv 2310.06839). There the original is searched for what fits the quote best;
here it is known which characters stayed, so a quote leads straight to its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import regex  # type: ignore[import-untyped]

from cocom.baselines.result import HardCompression, HardPassage

__all__ = ["recover"]

# A word of a script that parts words by spaces, a character of one that does not, or a sign.
_PIECE = regex.compile(
    r"(?:(?![\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])[\p{L}\p{M}\p{N}_])+"
    r"|\p{M}*\X"
)
_GAP = 10  # pieces dropped at one place; behind more, what follows is another quote


def recover(compression: HardCompression, response: str) -> str:
    """Restore what a response quotes of compressed passages.

    The response is read from left to right. The longest run of words, or of characters in scripts that do not
    part words, that stands in a compressed passage is replaced by the stretch of the passage it was left of.
    Where it stands several times, the shortest such stretch is taken, so a run that a passage holds word for
    word stays as it is. A run does not reach over places where more than ten words were dropped. A word whose
    beginning or end was dropped is completed if no passage holds it as it is.

    Args:
        compression: What the reader was given.
        response: What it answered.

    Returns:
        The response, in which every quote is in the passages' own words.
    """
    passages = [_Compressed(passage) for passage in compression.passages]
    whole = {passage.source[a:b] for passage in passages for a, b in passage.bounds}
    pieces = [match for match in _PIECE.finditer(response) if not match.group().isspace()]
    words = [match.group() for match in pieces]
    found: list[str] = []
    at = done = 0
    while at < len(pieces):
        length, text = _best(passages, words, at, whole)
        if length:
            found.append(response[done : pieces[at].start()])
            found.append(text)
            done = pieces[at + length - 1].end()
        at += max(1, length)
    return "".join([*found, response[done:]])


class _Compressed:
    """A compressed passage: its words, and for each its place in the source."""

    def __init__(self, passage: HardPassage) -> None:
        self.source = passage.source
        self.bounds: list[tuple[int, int]] = [
            m.span() for m in _PIECE.finditer(self.source) if not m.group().isspace()
        ]
        self._starts = [start for start, _ in self.bounds]
        kept = "".join(passage.source[a:b] for a, b in passage.spans)
        lengths = [0, *accumulate(b - a for a, b in passage.spans)]
        self.words: list[str] = []
        self.places: list[tuple[int, int]] = []
        self._at: dict[str, list[int]] = {}
        for match in _PIECE.finditer(kept):
            word = match.group()
            if word.isspace():
                continue
            places = [self._place(passage.spans, lengths, i) for i in range(*match.span())]
            if all(self._between(a + 1, b) <= _GAP for a, b in pairwise(places)):
                self._at.setdefault(word, []).append(len(self.words))
            else:  # what was grown together here has nothing to do with each other
                word = ""
            self.words.append(word)
            self.places.append((places[0], places[-1] + 1))

    @staticmethod
    def _place(spans: Sequence[tuple[int, int]], starts: Sequence[int], at: int) -> int:
        span = bisect_right(starts, at) - 1
        return spans[span][0] + at - starts[span]

    def _between(self, start: int, end: int) -> int:
        """Words of the source between two places."""
        first = bisect_left(self._starts, start)
        return sum(1 for _, stop in self.bounds[first : first + _GAP + 1] if stop <= end)

    def runs(self, words: Sequence[str], at: int) -> Iterator[tuple[int, int]]:
        """Where runs of some words begin, and how many of the words they hold."""
        for begin in self._at.get(words[at], ()):
            length = 1
            while (
                begin + length < len(self.words)
                and at + length < len(words)
                and self.words[begin + length] == words[at + length]
                and self._near(begin + length)
            ):
                length += 1
            yield begin, length

    def _near(self, number: int) -> bool:
        """Whether few words were dropped before one."""
        return self._between(self.places[number - 1][1], self.places[number][0]) <= _GAP

    def original(self, begin: int, length: int, whole: set[str]) -> str:
        """The stretch of the source that a run was left of."""
        start, end = self.places[begin][0], self.places[begin + length - 1][1]
        if self.words[begin] not in whole:
            start = self._grown(start, -1)
        if self.words[begin + length - 1] not in whole:
            end = self._grown(end, 1)
        return self.source[start:end]

    def _grown(self, edge: int, step: int) -> int:
        """The beginning or the end of the word in the source that an edge is in."""
        start, end = self.bounds[max(0, bisect_left(self._starts, edge) - 1)]
        if start < edge < end:
            return start if step < 0 else end
        return edge


def _best(
    passages: Sequence[_Compressed], words: Sequence[str], at: int, whole: set[str]
) -> tuple[int, str]:
    """The longest run that begins at a word, and the shortest stretch it may be left of."""
    longest, text = 0, ""
    for passage in passages:
        for begin, length in passage.runs(words, at):
            if length < longest:
                continue
            original = passage.original(begin, length, whole)
            if length > longest or len(original) < len(text):
                longest, text = length, original
    return longest, text
