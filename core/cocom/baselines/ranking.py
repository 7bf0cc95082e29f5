"""Which passages stay: ranked by how surprising they are, or by how well they explain the question."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from cocom.errors import ConfigError

if TYPE_CHECKING:
    from cocom.baselines.causal_losses import CausalLosses
    from cocom.baselines.passage_units import PassageUnits

__all__ = [
    "STATEMENT",
    "check_places",
    "dynamic_shares",
    "mean_losses",
    "question_losses",
    "sentences_of",
    "within_budget",
]

STATEMENT = " We can get the answer to this question in the given documents."
"""What LongLLMLingua puts behind the question."""

_SENTENCE = re.compile(r"[.!?…؟।۔][\"'”’)\]]*(?=\s)|[。！？][\"'”’」』）)]*|\n+")


def mean_losses(
    losses: CausalLosses, texts: Iterable[tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """Mean token loss of each text on its own, the logarithm of its perplexity.

    Args:
        losses: The model that scores.
        texts: Token ids; equal ones are scored once.
    """
    known = list(dict.fromkeys(texts))
    found = losses.of([((), ids) for ids in known])
    return {ids: _mean(one.tolist()) for ids, one in zip(known, found, strict=True)}


def question_losses(
    losses: CausalLosses, pairs: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """Mean token loss of a question behind each passage (LongLLMLingua).

    A passage that the model cannot read at once together with the question is as good as its best stretch.

    Args:
        losses: The model that scores.
        pairs: Token ids of a passage and of a question; equal pairs are scored once.

    Raises:
        InputError: A question leaves no room for a passage.
    """
    known = list(dict.fromkeys(pairs))
    rows: list[tuple[Sequence[int], Sequence[int]]] = []
    owners: list[int] = []
    for number, (passage, question) in enumerate(known):
        for stretch in _stretches(losses, passage, question):
            rows.append((stretch, question))
            owners.append(number)
    best = [float("inf")] * len(known)
    for owner, one in zip(owners, losses.of(rows), strict=True):
        best[owner] = min(best[owner], _mean(one.tolist()))
    return dict(zip(known, best, strict=True))


def _stretches(
    losses: CausalLosses, passage: Sequence[int], question: Sequence[int]
) -> list[Sequence[int]]:
    """A passage, or overlapping stretches of it that fit before the question."""
    if losses.positions is None:
        return [passage]
    losses.check_question(len(question))
    room = losses.positions - len(losses.start) - len(question)
    if len(passage) <= room:
        return [passage]
    step = max(1, room // 2)
    return [passage[at : at + room] for at in range(0, len(passage) - room + step, step)]


def _mean(losses: Sequence[float]) -> float:
    return sum(losses) / len(losses) if losses else 0.0


def within_budget(
    order: Sequence[int], tokens: Sequence[int], budget: float, forced: Collection[int] = ()
) -> list[int]:
    """Take the first ones until a budget is spent; the one that exceeds it is still taken.

    Args:
        order: What there is, what matters most first.
        tokens: Tokens of each, by its number.
        budget: Tokens that may be taken.
        forced: What is taken first in any case.

    Returns:
        What is taken, what matters most first.
    """
    taken = set(forced)
    left = budget - sum(tokens[number] for number in taken)
    for number in order:
        if left < 0:
            break
        if number not in taken:
            taken.add(number)
            left -= tokens[number]
    return [number for number in order if number in taken]


def dynamic_shares(share: float, spread: float, count: int) -> list[float]:
    """Share of each passage that stays, by rank (LongLLMLingua).

    Args:
        share: Share of all of them together, 0 to 1.
        spread: How much more stays of the first and less of the last, linearly in between.
        count: How many there are.
    """
    steps = max(1, count - 1)
    offsets = [spread * (1 - 2 * rank / steps) if count > 1 else 0.0 for rank in range(count)]
    return [min(1.0, max(0.0, share + offset)) for offset in offsets]


def sentences_of(passage: PassageUnits) -> list[range]:
    """Numbers of the units of each sentence of a passage; together they are all of its units."""
    ends = [match.end() for match in _SENTENCE.finditer(passage.text)]
    cuts = [0]
    at = 0
    for number, unit in enumerate(passage.units):
        while at < len(ends) and ends[at] <= unit.start:
            at += 1
            if number > cuts[-1]:
                cuts.append(number)
    return [range(a, b) for a, b in pairwise([*cuts, len(passage.units)])]


def check_places(places: Collection[int], count: int) -> set[int]:
    """Places of passages that are to stay.

    Raises:
        ConfigError: There is no such passage.
    """
    for place in places:
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
            raise ConfigError(
                f"force_passages holds {place!r}, but there are {count} passages: give places from 0 to "
                f"{count - 1}."
            )
    return set(places)
