"""Sums over passages, on numbers that are easy to follow or hard to add up."""

from __future__ import annotations

import math

import pytest
import torch

from cocom.fusion.marginal import by_sequence, by_token, log_prior, log_sum
from cocom.fusion.mixture import Choice, mix
from cocom.fusion.search import Search
from cocom.key_values import SlotKeyValues

NEVER = -math.inf


def logs(*chances: float) -> list[float]:
    return [math.log(chance) if chance else NEVER for chance in chances]


def test_the_prior_is_the_softmax_of_the_scores() -> None:
    assert log_prior(None, 4) == pytest.approx(logs(*[0.25] * 4))
    assert log_prior(None, 0) == log_prior([], 0) == ()
    assert log_prior(logs(1, 3), 2) == pytest.approx(logs(0.25, 0.75))
    assert log_prior([1e5, 0, NEVER], 3) == (0.0, -1e5, NEVER)
    assert log_prior([-1e5], 1) == (0.0,)


def test_tokens_are_mixed_one_by_one_and_answers_as_a_whole() -> None:
    prior = logs(0.25, 0.75)
    token, shares = by_token(prior, [logs(0.8, 0.4), logs(0.2, 0.0)])
    assert math.exp(token) == pytest.approx((0.2 + 0.3) * 0.05)
    assert shares == pytest.approx(((0.4 + 1) / 2, 0.6 / 2))
    whole, shares = by_sequence(prior, logs(0.16, 0.0))
    assert math.exp(whole) == pytest.approx(0.04)
    assert shares == pytest.approx((1, 0))


def test_what_no_passage_allows_says_nothing_of_them() -> None:
    log, shares = by_sequence(logs(0.25, 0.75), [NEVER, NEVER])
    assert log == NEVER
    assert shares == pytest.approx((0.25, 0.75))
    assert log_sum([]) == NEVER


def test_probabilities_too_small_for_a_number_are_added_up() -> None:
    assert log_sum([-2000.0, -2000.0]) == pytest.approx(-2000 + math.log(2))
    log, shares = by_sequence(logs(0.5, 0.5), [-3000.0, -3001.0])
    assert log == pytest.approx(-3000 + math.log(0.5 * (1 + math.exp(-1))))
    assert sum(shares) == pytest.approx(1)


def test_logits_that_never_come_are_mixed_without_becoming_no_number() -> None:
    never = float("-inf")
    logits = torch.tensor([[[0.0, never, never], [never, 0.0, never]]])
    mixture = mix(logits, torch.tensor([logs(0.25, 0.75)]))
    assert mixture.values.exp().tolist() == [pytest.approx([0.25, 0.75, 0.0])]
    (best,) = mixture.best(0, [0.0], 1)
    assert (best.token, best.each) == (1, (never, 0.0))


def test_a_search_stops_when_nothing_that_goes_on_can_be_better() -> None:
    search = Search([0.0], beams=2, penalty=0.0, end_tokens=1)
    end = 9

    def step(*found: tuple[int, int, float]) -> list[int]:
        choices = [Choice(beam, token, log, (log,)) for beam, token, log in found]
        return search.advance(choices, lambda ids: ids[-1] == end)

    assert step((0, end, -0.5), (0, 1, -1.5), (0, 2, -1.6), (0, 3, -1.7)) == [0, 0]
    assert step((0, end, -0.1), (1, 4, -0.2), (0, 5, -0.4), (1, end, -9.0)) == []
    assert [written.ids for written in search.found] == [(end,), (1, end)]
    assert search.found[1].log_probability == pytest.approx(-1.6)
    assert search.over


def test_slots_go_on_with_what_others_hold() -> None:
    kept = SlotKeyValues()
    kept.reserve(4, 3)
    every, place = torch.arange(4), torch.zeros(4, dtype=torch.long)
    for row in range(3):
        kept.aim(every, place + row, used=4, width=3)
        kept.write(0, *[torch.arange(4.0)[:, None, None] + 10 * row + 1] * 2)
    kept.arrange([2, 0, 0], 2)
    kept.aim(every, place, used=4, width=3)
    assert kept.read(0)[0][:, 0, :, 0].tolist() == [[3, 13, 0], [1, 11, 0], [1, 11, 0], [4, 14, 24]]
