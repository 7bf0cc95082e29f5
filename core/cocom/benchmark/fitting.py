"""Two constants that make a formula of times that were measured, and how well they do."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Fit", "fit"]


@dataclass(frozen=True)
class Fit:
    """Seconds as a sum of amounts, each times a constant.

    Attributes:
        constants: Seconds a unit, by the name of the amount; none is below zero.
        points: How many times they were found from.
        median_error: Median of |expected / measured - 1|.
        worst_error: Largest of it.
    """

    constants: Mapping[str, float]
    points: int
    median_error: float
    worst_error: float

    def expected(self, amounts: Mapping[str, float]) -> float:
        """Seconds for some amounts."""
        return sum(constant * amounts[name] for name, constant in self.constants.items())


def fit(amounts: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> Fit:
    """Find the constants of two amounts that make the squares of the relative errors least.

    Args:
        amounts: For each time, both amounts by name.
        seconds: The times.
    """
    first, second = amounts[0]
    # Each row divided by its time: the sum is to be 1 everywhere.
    x = [a[first] / s for a, s in zip(amounts, seconds, strict=True)]
    y = [a[second] / s for a, s in zip(amounts, seconds, strict=True)]
    xx, yy = sum(v * v for v in x), sum(v * v for v in y)
    xy = sum(a * b for a, b in zip(x, y, strict=True))
    least = xx * yy - xy * xy
    # With one of the two alone, for times that tell nothing of the other or would have it negative.
    choices = [(sum(x) / xx if xx else 0.0, 0.0), (0.0, sum(y) / yy if yy else 0.0)]
    if least > 1e-9 * xx * yy:
        both = ((sum(x) * yy - sum(y) * xy) / least, (sum(y) * xx - sum(x) * xy) / least)
        choices += [both] * (min(both) >= 0)

    def squares(choice: tuple[float, float]) -> float:
        return sum((choice[0] * a + choice[1] * b - 1) ** 2 for a, b in zip(x, y, strict=True))

    one, other = min(choices, key=squares)
    errors = [abs(one * a + other * b - 1) for a, b in zip(x, y, strict=True)]
    constants = {first: one, second: other}
    return Fit(constants, len(errors), statistics.median(errors), max(errors))
