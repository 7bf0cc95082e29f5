"""Means, intervals and differences of a comparison."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cocom.evaluation.metrics import bootstrap_interval, paired_bootstrap
from cocom.evaluation.summary import MEASURES, ColumnSummary, Resampling, summarise
from cocom.evaluation.systems import System


def rows(values, *, budget=None, passage_rows=5):
    return [
        {
            "n": n,
            "exact_match": value,
            "f1": value / 2,
            "match": 1.0,
            "prompt_rows": 40,
            "passage_rows": passage_rows,
            "passage_tokens": 80,
            "compress_seconds": 0.25,
            "answer_seconds": 0.5,
            **({} if budget is None else {"budget": budget}),
        }
        for n, value in enumerate(values)
    ]


def drawn(seed, count=57):
    rng = random.Random(seed)
    return [float(rng.random() < 0.4) for _ in range(count)]


def test_intervals_are_those_of_the_bootstrap_one_figure_at_a_time() -> None:
    one, other = drawn(1), drawn(2)
    found = Resampling(57).figures(np.asarray([one, other]))
    for values, figure in zip((one, other), found, strict=True):
        assert figure.mean == pytest.approx(sum(values) / 57)
        assert (figure.low, figure.high) == pytest.approx(bootstrap_interval(values))


def test_differences_are_paired() -> None:
    text, soft, hard = drawn(1), drawn(2), drawn(3)
    systems = [System("text"), System("soft", 4), System("hard", 4, "llmlingua")]
    given = dict(zip([s.name for s in systems], map(rows, (text, soft, hard)), strict=True))
    summaries = summarise(systems, given)
    assert [list(s.against) for s in summaries] == [[], ["text"], ["text", "rate 4"]]
    figure = summaries[2].against["rate 4"]["exact_match"]
    assert (figure.low, figure.high) == pytest.approx(paired_bootstrap(hard, soft))
    assert figure.mean == pytest.approx((sum(hard) - sum(soft)) / 57)


@pytest.mark.parametrize(("value", "mean"), [(1.0, 1.0), (0.0, 0.0)])
def test_a_perfect_and_a_void_system_have_no_doubt(value, mean) -> None:
    (summary,) = summarise([System("text")], {"text": rows([value] * 20)})
    figure = summary.figures["exact_match"]
    assert (figure.mean, figure.low, figure.high) == (mean, mean, mean)


def test_only_what_is_compressed_for_a_question_costs_its_time() -> None:
    systems = [System("text"), System("soft", 4), System("truncated", 4)]
    given = {s.name: rows([1.0, 0.0]) for s in systems}
    online = {s.column: s.figures["online_seconds"].mean for s in summarise(systems, given)}
    assert online == {"text": 0.5, "rate 4": 0.5, "truncated rate 4": 0.75}
    late = summarise(systems, given, soft_is_online=True)[1]
    assert (late.compression, late.figures["online_seconds"].mean) == ("online", 0.75)


def test_rows_over_their_budget_are_counted() -> None:
    system = System("hard", 4, "llmlingua")
    given = rows([1.0] * 3, budget=5) + rows([1.0] * 2, budget=5, passage_rows=6)
    (summary,) = summarise([system], {system.name: given})
    assert summary.over_budget == 2


def test_a_summary_comes_back_from_its_plain_values() -> None:
    systems = [System("text"), System("soft", 4)]
    for summary in summarise(systems, {s.name: rows(drawn(1)) for s in systems}):
        assert set(summary.figures) == set(MEASURES)
        assert ColumnSummary.from_dict(summary.to_dict()) == summary
