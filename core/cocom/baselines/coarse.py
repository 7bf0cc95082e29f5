"""What is asked of a causal method, and what its coarse step leaves of that for the fine one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cocom.baselines.passage_units import PassageUnits

__all__ = ["Coarse", "Request", "forced_units", "units_left", "with_forced"]


@dataclass(frozen=True)
class Request:
    """The passages of one question and what may stay of them.

    Attributes:
        passages: All of them, in the order given.
        question: What they were found for.
        target: Most tokens that may stay.
        forced_passages: Places of passages that stay in any case.
        force_tokens: Strings that stay where they stand.
    """

    passages: Sequence[PassageUnits]
    question: str | None
    target: int
    forced_passages: Collection[int]
    force_tokens: Collection[str]

    @property
    def fits(self) -> bool:
        """Whether nothing has to go."""
        return self.target >= sum(passage.tokens for passage in self.passages)


@dataclass(frozen=True)
class Coarse:
    """What the coarse step leaves of a request.

    Attributes:
        order: Places of the passages that stay, in the order to read them in.
        shares: Share of the tokens of each that is to stay.
        scores: How much each passage given matters, higher is more; None if that was not asked.
        left_out: Numbers of units that go all the same, by the place of their passage.
        by_rank: Whether `order` is by what matters most, and not the order given.
    """

    order: Sequence[int]
    shares: Sequence[float]
    scores: Sequence[float] | None
    left_out: Mapping[int, Collection[int]]
    by_rank: bool = False


def forced_units(request: Request, coarse: Coarse) -> list[set[int]]:
    """For each passage that stays, numbers of the units that a string stands in that is to stay."""
    return [request.passages[index].holding(request.force_tokens) for index in coarse.order]


def with_forced(request: Request, coarse: Coarse) -> Coarse:
    """The same, and of passages and sentences that were to go what strings that are to stay stand in."""
    held = {
        passage.index: found
        for passage in request.passages
        if (found := passage.holding(request.force_tokens))
    }
    if not held:
        return coarse
    share = dict(zip(coarse.order, coarse.shares, strict=True))
    order = [*coarse.order, *(place for place in held if place not in share)]
    if coarse.by_rank and coarse.scores is not None:
        scores = coarse.scores
        order.sort(key=lambda place: (-scores[place], place))
    elif not coarse.by_rank:
        order.sort()
    left_out = {place: set(units) for place, units in coarse.left_out.items()}
    for place, units in held.items():
        if place not in share:
            left_out[place] = set(range(len(request.passages[place].units)))
        if place in left_out:
            left_out[place] -= units
    shares = [share.get(place, 0.0) for place in order]
    return Coarse(order, shares, coarse.scores, left_out, coarse.by_rank)


def units_left(passage: PassageUnits, coarse: Coarse) -> list[int]:
    """Numbers of a passage's units that the coarse step leaves."""
    gone = coarse.left_out.get(passage.index, ())
    return [unit for unit in range(len(passage.units)) if unit not in gone]
