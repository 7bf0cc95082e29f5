"""Budgets: what may be kept, and the most of it that fits."""

from __future__ import annotations

import random

import pytest

from cocom.baselines.budget import fit, target_of
from cocom.errors import ConfigError, InputError


@pytest.mark.parametrize(
    ("tokens", "rate", "target", "expected"),
    [
        (100, 4, None, 25),
        (100, 3, None, 33),
        (100, 1, None, 100),
        (3, 100, None, 1),
        (0, 4, None, 0),
        (100, None, 7, 7),
        (100, None, 1000, 100),
        (100, 2.5, None, 40),
    ],
)
def test_target_of_a_rate_or_a_number(tokens, rate, target, expected) -> None:
    assert target_of(tokens, rate, target) == expected


@pytest.mark.parametrize(
    ("rate", "target", "message"),
    [
        (None, None, "give one of the two"),
        (2, 5, "give one of the two"),
        (0.25, None, "give 1 / 0.25"),
        (float("nan"), None, "rate must be"),
        (float("inf"), None, "rate must be"),
        (True, None, "rate must be"),
        (None, 0, "at least 1"),
        (None, True, "at least 1"),
    ],
)
def test_what_is_no_budget_is_refused(rate, target, message) -> None:
    with pytest.raises(ConfigError, match=message):
        target_of(100, rate, target)


def test_the_first_ones_that_fit_are_kept_and_then_what_fits_into_the_rest() -> None:
    sizes = {0: 3, 1: 4, 2: 5, 3: 2}
    kept = fit([0, 1, 2, 3], 9, lambda some: sum(sizes[n] for n in some))
    assert kept == {0, 1, 3}


def test_forced_units_are_kept_before_all_others() -> None:
    kept = fit([0, 1, 2, 3], 2, len, forced={3})
    assert kept == {0, 3}


def test_forced_units_beyond_the_budget_are_refused() -> None:
    with pytest.raises(InputError, match="takes 2 tokens but the budget is 1"):
        fit([0, 1, 2], 1, len, forced={0, 1})


def test_a_guess_changes_nothing_but_the_time() -> None:
    rng = random.Random(0)
    for _ in range(300):
        sizes = [rng.randrange(1, 4) for _ in range(rng.randrange(40))]
        order = list(range(len(sizes)))
        rng.shuffle(order)
        calls = 0

        def count(some, sizes=sizes) -> int:
            nonlocal calls
            calls += 1
            return sum(sizes[number] for number in some)

        target = rng.randrange(1, 80)
        kept = {
            frozenset(fit(order, target, count, guess=guess))
            for guess in (0, 1, rng.randrange(50), len(order), 10**6)
        }
        first = next(
            number for number in range(len(order) + 1) if _beyond(sizes, order, number, target)
        )
        for found in kept:
            total = sum(sizes[number] for number in found)
            assert total <= target
            assert set(order[:first]) <= found
            assert total >= target - 1 or not any(
                sizes[number] + total <= target for number in order if number not in found
            )
        if sum(sizes) > target:
            assert len(kept) == 1


def _beyond(sizes, order, number, target) -> bool:
    return number == len(order) or sum(sizes[n] for n in order[: number + 1]) > target


def test_few_counts_are_needed_where_the_guess_is_close() -> None:
    calls = 0

    def count(some) -> int:
        nonlocal calls
        calls += 1
        return len(some)

    assert len(fit(range(1000), 250, count, guess=240)) == 250
    assert calls <= 4
