"""What a report claims, on figures made by hand."""

from __future__ import annotations

import pytest

from cocom.benchmark.checks import checks_of, find, over_straightforward, over_text
from cocom.benchmark.result import Cell, Check
from cocom.benchmark.timing import spread


def cell(what, context, seconds, *, way="cocom", passages=5, batch=1, tokens=32):
    found = spread([seconds]) if seconds else None
    return Cell(what, way, context, passages, batch, tokens, found, skipped="" if found else "slow")


def compress(rate, seconds, way="cocom"):
    return cell("compress", f"rate {rate}", seconds, way=way, passages=64, tokens=0)


CELLS = [
    compress(4, 1.0),
    compress(4, 2.5, "straightforward"),
    compress(16, 1.0),
    compress(16, 1.5, "straightforward"),
    cell("answer", "text", 8.0, passages=20),
    cell("answer", "rate 16", 2.0, passages=20),
    cell("answer", "text", 7.0, passages=20, tokens=6),
    cell("answer", "rate 16", 1.0, passages=20, tokens=6),
    cell("answer", "text", 5.0, passages=20, way="straightforward"),
    cell("answer", "text", 4.0),
    cell("answer", "rate 16", 1.5),
    cell("answer", "text", 32.0, batch=16),
    cell("answer", "rate 16", 4.0, batch=16),
    cell("answer", "text", 3.0, way="straightforward"),
    cell("answer", "rate 16", 3.0, way="straightforward"),
    cell("stream", "text", 4.0),
    cell("stream", "rate 16", 1.6),
    cell("stream", "rate 16", 8.0, batch=16),
]


def test_every_claim_has_its_number_and_those_that_are_missed_stay() -> None:
    found = {check.name: (check.value, check.wanted, check.met) for check in checks_of(CELLS)}
    assert found == {
        "compressing at rate 4, times the straightforward way": (2.5, 2.0, True),
        "compressing at rate 16, times the straightforward way": (1.5, 2.0, False),
        "answering from 20 passages at rate 16, 6 tokens, times text": (7.0, 3.0, True),
        "answering from 20 passages at rate 16, 32 tokens, times text": (4.0, 3.0, True),
        "answering from 20 passages at rate 16, 32 tokens, times text the straightforward way": (
            2.5,
            3.0,
            False,
        ),
        "16 questions together, times one at a time (text)": (2.0, 3.0, False),
        "16 questions together, times one at a time (rate 16)": (6.0, 3.0, True),
        "streaming 1 at once, throughput beside not streaming": (
            pytest.approx(5.5 / 5.6),
            0.97,
            True,
        ),
        "streaming 16 at once, throughput beside not streaming": (0.5, 0.97, False),
        "one answer, times the straightforward way (text)": (0.75, 1.0, False),
        "one answer, times the straightforward way (rate 16)": (2.0, 1.0, True),
    }


def test_what_was_not_measured_claims_nothing() -> None:
    assert checks_of([]) == ()
    assert checks_of([compress(4, 1.0), compress(4, None, "straightforward")]) == ()
    assert find(CELLS, "answer", "text", passages=99) is None


def test_ratios_are_those_of_one_question() -> None:
    batched = find(CELLS, "answer", "rate 16", passages=5, batch=16)
    assert batched is not None
    assert over_text(CELLS, batched) == 8.0
    assert over_straightforward(CELLS, batched) == 16 * 3.0 / 4.0
    plain = find(CELLS, "answer", "rate 16", way="straightforward")
    assert plain is not None
    assert over_text(CELLS, plain) == 1.0
    assert over_straightforward(CELLS, plain) is None


def test_a_check_may_be_a_bound_from_above() -> None:
    assert Check("memory", 1.0, 2.0, at_least=False).met
    assert not Check("memory", 3.0, 2.0, at_least=False).met
