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
    """

    order: Sequence[int]
    shares: Sequence[float]
    scores: Sequence[float] | None
    left_out: Mapping[int, Collection[int]]


def forced_units(request: Request, coarse: Coarse) -> list[set[int]]:
    """For each passage that stays, numbers of the units that a string stands in that is to stay."""
    return [request.passages[index].holding(request.force_tokens) for index in coarse.order]


def with_forced(request: Request, coarse: Coarse) -> Coarse:
    """The same, and of passages that were to go what strings that are to stay stand in."""
    places = {
        passage.index: held
        for passage in request.passages
        if passage.index not in coarse.order and (held := passage.holding(request.force_tokens))
    }
    if not places:
        return coarse
    share = dict(zip(coarse.order, coarse.shares, strict=True))
    order = [*coarse.order, *places]
    if list(coarse.order) == sorted(coarse.order):
        order.sort()
    rest = {
        place: set(range(len(request.passages[place].units))) - held
        for place, held in places.items()
    }
    shares = [share.get(place, 0.0) for place in order]
    return Coarse(order, shares, coarse.scores, {**coarse.left_out, **rest})


def units_left(passage: PassageUnits, coarse: Coarse) -> list[int]:
    """Numbers of a passage's units that the coarse step leaves."""
    gone = coarse.left_out.get(passage.index, ())
    return [unit for unit in range(len(passage.units)) if unit not in gone]
