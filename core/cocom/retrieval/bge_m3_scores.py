"""How BGE-M3's three scores become one: a weighted mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cocom.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EQUAL_WEIGHTS", "BgeM3Scores", "check_weights", "hybrid"]

EQUAL_WEIGHTS = (1.0, 1.0, 1.0)
"""What the published code takes where nobody says otherwise."""


@dataclass(frozen=True)
class BgeM3Scores:
    """How well a passage matches a question.

    Attributes:
        dense: Cosine of the two texts' vectors, -1 to 1.
        sparse: Sum over shared tokens of the products of their weights, 0 or more.
        multi_vector: Mean over the question's tokens of the best cosine in the passage, -1 to 1.
        hybrid: Weighted mean of the three.
    """

    dense: float
    sparse: float
    multi_vector: float
    hybrid: float


def check_weights(weights: Sequence[float]) -> tuple[float, float, float]:
    """Make sure that three scores can be weighted so.

    Raises:
        InputError: If these are not three numbers of 0 or more, one of them above 0.
    """
    try:
        values = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        values = ()
    usable = len(values) == 3 and all(math.isfinite(value) and value >= 0 for value in values)
    if not usable or not any(values):
        raise InputError(
            f"weights is {weights!r}, but it needs three numbers of 0 or more (dense, sparse, "
            "multi-vector), one of them above 0: give for instance (1, 0.3, 1)."
        )
    return values[0], values[1], values[2]


def hybrid(
    weights: tuple[float, float, float],
    dense: NDArray[np.float32],
    sparse: NDArray[np.float32],
    multi_vector: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The weighted means of three scores each."""
    total = weights[0] * dense + weights[1] * sparse + weights[2] * multi_vector
    mean: NDArray[np.float32] = total / sum(weights)
    return mean
