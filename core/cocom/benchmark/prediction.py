"""How long a cell will take, learned from those that were measured before it."""

from __future__ import annotations

import math

__all__ = ["Prediction"]

_USUAL = 1.5  # times the floor, as long as little was measured
_TRUST = 1e-3  # in that, beside a measured cell


class Prediction:
    """Seconds = factor x the least time that the machine needs + overhead x forward passes.

    Factor and overhead are those that come nearest, in relation, to the cells that were measured, of which
    those of like size count most.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[float, int, float]] = []

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return bool(self._seen)

    def learn(self, floor: float, passes: int, seconds: float) -> None:
        """Remember a cell.

        Args:
            floor: Least seconds by its operations and bytes.
            passes: Forward passes.
            seconds: That it took.
        """
        self._seen.append((floor, passes, seconds))

    def seconds(self, floor: float, passes: int) -> float:
        """What a cell will take."""
        ff, fp, pp = _TRUST / _USUAL**2, 0.0, 1e-12
        f1, p1 = _TRUST / _USUAL, 0.0
        for known, known_passes, took in self._seen:
            weight = 1 / (1 + math.log(known / floor) ** 2)
            f, p = known / took, known_passes / took
            ff, fp, pp = ff + weight * f * f, fp + weight * f * p, pp + weight * p * p
            f1, p1 = f1 + weight * f, p1 + weight * p
        overhead = (ff * p1 - fp * f1) / (ff * pp - fp * fp)
        factor = (f1 - fp * overhead) / ff
        if overhead < 0:
            overhead, factor = 0.0, f1 / ff
        if factor < 1:
            factor, overhead = 1.0, max(0.0, (p1 - fp) / pp)
        return factor * floor + overhead * passes
