"""Iterative token-level compression: window by window, each token scored behind what was kept before it.

LLMLingua (arXiv 2310.05736). A window's tokens are kept from the threshold on that leaves the wanted share of
the window; the next window is scored behind what was kept, not behind what there was. LongLLMLingua (arXiv
2310.06839) scores a token by how much the question changes its loss.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cocom.baselines.kept_prefixes import KeptPrefixes

if TYPE_CHECKING:
    from cocom.baselines.causal_losses import CausalLosses
    from cocom.baselines.passage_units import PassageUnits

__all__ = ["Text", "Worth", "compress_iteratively", "threshold"]

Worth = tuple[float, float]
"""What a unit is worth: how far its score is above its window's threshold, and the score."""


@dataclass(frozen=True)
class Text:
    """The passages of one question, to be compressed as one text.

    Attributes:
        passages: In the order to read them in.
        shares: Share of each that is to stay, 0 to 1.
        forced: Of each, numbers of the units that stay in any case.
        question: Token ids of the question that tokens are scored for; empty if for none.
    """

    passages: Sequence[PassageUnits]
    shares: Sequence[float]
    forced: Sequence[Collection[int]]
    question: Sequence[int] = ()


@dataclass(frozen=True)
class _Part:
    """A unit in a window: which one, and which of the window's tokens it is made of."""

    passage: int
    unit: int
    start: int
    end: int


@dataclass(frozen=True)
class _Window:
    """Tokens that are scored together; those of no part stand between passages and always stay."""

    ids: list[int]
    parts: list[_Part]


def compress_iteratively(
    losses: CausalLosses, texts: Sequence[Text], *, size: int, separator: Sequence[int]
) -> list[list[list[Worth]]]:
    """What each unit of each passage is worth.

    Args:
        losses: The model that scores.
        texts: Many questions' passages; they go through the model together, but know nothing of each other.
            All of them are for a question, or none.
        size: Most tokens of a window.
        separator: Token ids between two passages.

    Returns:
        For each text and each of its passages, what each unit is worth, in the order of the units.
    """
    windows = [
        _windows_of(
            text.passages, separator, min(size, losses.longest_behind(len(text.question)) or size)
        )
        for text in texts
    ]
    worth: list[list[list[Worth]]] = [
        [[(0.0, 0.0)] * len(passage.units) for passage in text.passages] for text in texts
    ]
    order = sorted(range(len(texts)), key=lambda i: -len(windows[i]))
    with losses.used():
        while order:
            longest = sum(len(window.ids) for window in windows[order[0]])
            behind = max(len(texts[i].question) for i in order)
            rows = losses.together(longest + behind, size)
            batch, order = order[:rows], order[rows:]
            for i, passage, unit, found in _along(losses, texts, windows, batch):
                worth[i][passage][unit] = found
    return worth


def _along(
    losses: CausalLosses,
    texts: Sequence[Text],
    windows: Sequence[Sequence[_Window]],
    batch: Sequence[int],
) -> Iterator[tuple[int, int, int, Worth]]:
    """Go through the windows of some texts in step."""
    prefixes = [KeptPrefixes(losses, [()] * len(batch))]
    if texts[batch[0]].question:
        questions = [texts[i].question for i in batch]
        prefixes.append(KeptPrefixes(losses, questions, [len(ids) for ids in questions]))
    for at in range(len(windows[batch[0]])):
        present = [row for row, i in enumerate(batch) if at < len(windows[i])]
        if len(present) < len(batch):
            batch = [batch[row] for row in present]
            for prefix in prefixes:
                prefix.select(present)
        now = [windows[i][at] for i in batch]
        found = [prefix.score([window.ids for window in now]) for prefix in prefixes]
        kept = []
        for row, (i, window) in enumerate(zip(batch, now, strict=True)):
            scores = found[0][row] if len(found) == 1 else found[0][row] - found[1][row]
            worth = _decide(window, scores.tolist(), texts[i])
            for part, (margin, score) in zip(window.parts, worth, strict=True):
                yield i, part.passage, part.unit, (margin, score)
            kept.append(_kept_of(window, worth, texts[i]))
        for prefix in prefixes:
            prefix.keep(kept)


def _windows_of(
    passages: Sequence[PassageUnits], separator: Sequence[int], size: int
) -> list[_Window]:
    """Cut passages, one behind the other, into windows; a unit is in one window even if it is longer."""
    windows: list[_Window] = []
    for place, passage in enumerate(passages):
        for number, unit in enumerate(passage.units):
            ids = list(passage.ids[slice(*unit.tokens)])
            before = list(separator) if place and not number else []
            if not windows or len(windows[-1].ids) + len(before) + len(ids) > size:
                windows.append(_Window([], []))
            window = windows[-1]
            window.ids.extend(before)
            start = len(window.ids)
            window.ids.extend(ids)
            window.parts.append(_Part(place, number, start, len(window.ids)))
    return windows


def _decide(window: _Window, scores: Sequence[float], text: Text) -> list[Worth]:
    """Worth of the parts of a window, given the scores of its tokens."""
    means = [
        sum(scores[part.start : part.end]) / max(1, part.end - part.start) for part in window.parts
    ]
    thresholds: dict[float, float] = {}
    for share in {text.shares[part.passage] for part in window.parts}:
        alike = [i for i, part in enumerate(window.parts) if text.shares[part.passage] == share]
        sizes = [window.parts[i].end - window.parts[i].start for i in alike]
        forced = [_is_forced(window.parts[i], text) for i in alike]
        wanted = round(share * sum(sizes))
        wanted -= sum(size for size, must in zip(sizes, forced, strict=True) if must)
        free = [
            (means[i], size) for i, size, must in zip(alike, sizes, forced, strict=True) if not must
        ]
        thresholds[share] = threshold(free, wanted)
    return [
        (mean - thresholds[text.shares[part.passage]], mean)
        for part, mean in zip(window.parts, means, strict=True)
    ]


def threshold(scores: Sequence[tuple[float, int]], wanted: int) -> float:
    """The score from which on units are kept so that a number of tokens stays.

    Args:
        scores: Of each unit the score and its tokens.
        wanted: Tokens that may stay; units of equal score stay together, even if that is too much.
    """
    if wanted >= sum(size for _, size in scores):
        return -math.inf
    found = math.inf
    for score, size in sorted(scores, reverse=True):
        wanted -= size
        if wanted < 0:
            break
        found = score
    return found


def _kept_of(window: _Window, worth: Sequence[Worth], text: Text) -> list[int]:
    """Token ids that stay of a window."""
    drop = {
        at
        for part, (margin, _) in zip(window.parts, worth, strict=True)
        if margin < 0 and not _is_forced(part, text)
        for at in range(part.start, part.end)
    }
    return [token for at, token in enumerate(window.ids) if at not in drop]


def _is_forced(part: _Part, text: Text) -> bool:
    return part.unit in text.forced[part.passage]
