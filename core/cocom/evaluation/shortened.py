"""Text shortened without any method, to a number of tokens: what a compressor has to be better than."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Sequence

from cocom.baselines.budget import fit
from cocom.baselines.spans import Unit, kept_spans, kept_text, units_of

__all__ = ["Spans", "first_tokens", "random_words"]

Spans = tuple[tuple[int, int], ...]

# Longer ones are stretches of scripts that write no spaces: they are drawn from token by token.
_LONGEST_WORD = 24
_WORD = re.compile(r"\s*\S+")


def first_tokens(
    text: str, offsets: Sequence[tuple[int, int]], tokens: int, count: Callable[[str], int]
) -> Spans:
    """The longest beginning of a text that has no more than some tokens.

    Args:
        text: The text.
        offsets: Where its tokens start and end in characters.
        tokens: Most tokens to keep.
        count: Tokens of a text; the beginning is counted as it will be read.
    """
    units = units_of(text, offsets)
    kept = min(len(units), tokens)
    while kept and count(kept_text(text, kept_spans(units, range(kept)))) > tokens:
        kept -= 1
    return kept_spans(units, range(kept))


def random_words(
    text: str,
    offsets: Sequence[tuple[int, int]],
    tokens: int,
    count: Callable[[str], int],
    *,
    seed: int = 0,
) -> Spans:
    """Words of a text drawn at random, in their order, as many as some tokens hold.

    Args:
        text: The text.
        offsets: Where its tokens start and end in characters.
        tokens: Most tokens to keep.
        count: Tokens of a text.
        seed: Fixes the draw, which is another one for every text.
    """
    units = _words(text, units_of(text, offsets))
    order = list(range(len(units)))
    random.Random(f"{seed}/{text}").shuffle(order)

    def tokens_of(kept: Collection[int]) -> int:
        return count(kept_text(text, kept_spans(units, kept)))

    return kept_spans(units, fit(order, tokens, tokens_of))


def _words(text: str, units: Sequence[Unit]) -> list[Unit]:
    found: list[Unit] = []
    at = 0
    for word in _WORD.finditer(text):
        start, end = word.span()
        if end - start <= _LONGEST_WORD:
            found.append(Unit(start, end, (0, 0)))
            continue
        while at < len(units) and units[at].start < start:
            at += 1
        edge = start
        while at < len(units) and units[at].end <= end:
            found.append(Unit(edge, units[at].end, (0, 0)))
            edge = units[at].end
            at += 1
        if edge < end:
            found.append(Unit(edge, end, (0, 0)))
    return found
