"""Exact budgets: the most of what matters most that fits, counted as the reader will count it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real

from cocom.errors import ConfigError, InputError

__all__ = ["fit", "is_number", "target_of"]

_TRIES = 1024  # units that may be tried for the last tokens of a budget
_LEAPS = 8  # guesses before the search halves what is left


def is_number(value: object) -> bool:
    """Whether a value is a number, of Python or of numpy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def target_of(tokens: int, rate: float | None, target_tokens: int | None) -> int:
    """Tokens that may be kept.

    Args:
        tokens: How many there are.
        rate: Tokens for each that is kept, at least 1: at rate 4 a quarter stays.
        target_tokens: How many to keep at most.

    Raises:
        ConfigError: Neither of the two is given, or both, or one cannot be.
    """
    if (rate is None) == (target_tokens is None):
        raise ConfigError(
            f"rate is {rate} and target_tokens is {target_tokens}: give one of the two."
        )
    if rate is not None:
        if not is_number(rate) or not 1 <= rate < math.inf:
            raise ConfigError(
                f"rate must be 1 or more, tokens for each that is kept, got {rate!r}: for a share to keep "
                "such as 0.25, give 1 / 0.25."
            )
        return min(tokens, max(1, math.floor(tokens / rate))) if tokens else 0
    assert target_tokens is not None
    if not isinstance(target_tokens, Integral):
        raise ConfigError(f"target_tokens must be a whole number, got {target_tokens!r}.")
    if isinstance(target_tokens, bool) or target_tokens < 1:
        raise ConfigError(f"target_tokens must be at least 1, got {target_tokens}.")
    return min(tokens, int(target_tokens))


def fit(
    order: Sequence[int],
    target: int,
    count: Callable[[Collection[int]], int],
    *,
    forced: Collection[int] = (),
    guess: int = 0,
) -> set[int]:
    """Keep as many units as a budget allows, the first ones first.

    What is cut out of a text may become more or fewer tokens than it was in it, so the result is counted as
    it will be read. As many of the first units are kept as fit, and then, unless the budget is met to a
    token, whatever fits into the rest.

    Args:
        order: Numbers of the units, those to keep first at the front.
        target: Most tokens of the result.
        count: Tokens of the result if some units are kept.
        forced: Units that are kept in any case.
        guess: How many of the units will fit, about; only saves time.

    Raises:
        InputError: The forced units alone exceed the budget.
    """
    kept = set(forced)
    if (needed := count(kept)) > target:
        raise InputError(
            f"what must be kept takes {needed} tokens but the budget is {target}: force fewer tokens, or "
            "raise the budget."
        )
    free = [number for number in order if number not in kept]
    low, high = 0, len(free)
    used, middle = needed, guess
    for leap in range(len(free)):
        if low == high:
            break
        if leap >= _LEAPS or not low < middle <= high:
            middle = (low + high + 1) // 2
        tokens = count(kept.union(free[:middle]))
        if tokens <= target:
            low, used = middle, tokens
        else:
            high = middle - 1
        middle += target - tokens  # as if each unit were one token
        if used == target:
            break
    kept.update(free[:low])
    for number in free[low : low + _TRIES]:
        if used >= target - 1:
            break
        if (more := count(kept | {number})) <= target:
            kept.add(number)
            used = more
    return kept
