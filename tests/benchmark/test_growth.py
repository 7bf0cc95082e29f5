"""Growth: the fit finds what made the times, what takes too long is left out, and the script runs."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from cocom import CocomConfig
from cocom.benchmark.fitting import Fit, fit
from cocom.benchmark.growth import (
    BYTES,
    DOUBLINGS,
    EXPECTED,
    GETS,
    OPERATIONS,
    _Asked,
    _fitted,
    _too_long,
    grow_passages,
    grow_store,
)
from cocom.benchmark.plot_growth import describe_fit, draw_growth
from cocom.benchmark.result import Floors, Report, Spread, read_report
from cocom.benchmark.workload import Workload
from cocom.errors import InputError
from cocom.testing import tiny_cocom


def once(seconds: float) -> Spread:
    return Spread(seconds, seconds, seconds, (seconds,))


@pytest.fixture(scope="module")
def model():
    return tiny_cocom(CocomConfig(rates=(4, 16), window=64), max_position_embeddings=4096)


@pytest.fixture(scope="module")
def grown(model, tmp_path_factory):
    cells, answer = grow_passages(model, passages=(1, 3, 30, 90), new_tokens=3, rounds=2)
    folder = tmp_path_factory.mktemp("stores")
    stored, get = grow_store(
        model, folder, answer, sizes=(20, 40, 80), passages=4, rate=4, new_tokens=3, rounds=2
    )
    return cells, stored, {"answer": answer, "get": get}


def report(cells) -> Report:
    floors = Floors(once(1e10), once(1e10), once(1e11))
    model = {"name": "llama-60m", "random_weights": True, "dtype": "float32"}
    return Report({"device": "Some Processor"}, model, {}, floors, tuple(cells))


def test_a_fit_finds_the_constants_that_made_the_times() -> None:
    amounts = [{"a": a, "b": b} for a, b in ((1e9, 5e8), (4e10, 6e8), (9e12, 5e8), (2e11, 8e9))]
    found = fit(amounts, [a["a"] / 8e10 + a["b"] / 1.2e10 for a in amounts])
    assert found.constants == pytest.approx({"a": 1 / 8e10, "b": 1 / 1.2e10})
    assert found.worst_error < 1e-9
    assert found.points == 4
    assert found.expected({"a": 8e10, "b": 2.4e10, "other": 1.0}) == pytest.approx(3.0)


def test_a_fit_tells_how_far_it_is_off() -> None:
    amounts = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}]
    found = fit(amounts, [1.0, 1.0, 4.0])
    errors = sorted(
        abs(found.expected(a) / s - 1) for a, s in zip(amounts, [1.0, 1.0, 4.0], strict=True)
    )
    assert (found.median_error, found.worst_error) == (errors[1], errors[2])
    assert 0 < found.median_error < found.worst_error


@pytest.mark.parametrize(
    ("amounts", "seconds", "constants"),
    [
        ([(1, 1), (1, 2), (1, 3)], [3, 2, 1], (None, 0)),  # would be negative
        ([(1, 2), (2, 4)], [5, 10], (5, 0)),  # nothing to tell them apart by
        ([(1, 0), (2, 0)], [5, 10], (5, 0)),  # none of one of them
        ([(2, 3)], [4], (2, 0)),  # a single time
    ],
)
def test_no_constant_is_negative_or_made_up(amounts, seconds, constants) -> None:
    found = fit([{"a": a, "b": b} for a, b in amounts], seconds).constants
    for value, wanted in zip(found.values(), constants, strict=True):
        assert value >= 0
        assert wanted is None or value == pytest.approx(wanted)


def test_answers_grow_with_their_rows_and_what_does_not_fit_is_left_out(grown) -> None:
    cells, _, _ = grown
    assert [(c.context, c.passages) for c in cells] == [
        (context, count) for count in (1, 3, 30, 90) for context in ("text", "rate 4", "rate 16")
    ]
    by_place = {(c.context, c.passages): c for c in cells}
    assert by_place["text", 30].rows > by_place["rate 4", 30].rows > by_place["rate 16", 30].rows
    # 90 passages of some 50 tokens are more than 4096 with the template between them.
    assert by_place["text", 90].rows + 3 > 4096
    assert "the model reads 4096" in by_place["text", 90].skipped
    assert [c.passages for c in cells if c.skipped] == [90]
    for c in cells:
        assert (c.seconds is None) == bool(c.skipped)
        assert c.skipped or len(c.seconds.rounds) == 2


def test_no_prompt_begins_as_one_before_it(model) -> None:
    prompts: list[str] = []

    class Asked:
        def answer(self, question, passages, **_):
            prompts.append(passages[0])
            return model.answer(question, passages, max_new_tokens=1)

    asked = _Asked(Asked(), Workload(model, 20), "text", 3, 1)  # type: ignore[arg-type]
    for _ in range(3):
        asked()
    assert len({prompt.split()[0] for prompt in prompts}) == 3
    assert len({frozenset(prompt.split()) for prompt in prompts}) == 1


def test_what_is_expected_follows_from_the_constants(grown, model) -> None:
    cells, stored, fits = grown
    answer, get = fits["answer"], fits["get"]
    assert answer.points == 11
    for cell in cells:
        assert cell.notes[EXPECTED] == pytest.approx(
            sum(answer.constants[name] * cell.notes[name] for name in (OPERATIONS, BYTES))
        )
    for cell in stored:
        getting = get.constants[GETS] + get.constants[DOUBLINGS] * cell.notes[DOUBLINGS]
        if cell.notes["part"] == "get":
            assert cell.notes[EXPECTED] == pytest.approx(getting)
        else:
            assert cell.notes[EXPECTED] > getting


def test_the_formula_counts_weights_once_a_token_and_keys_of_all_rows(grown, model) -> None:
    from cocom.benchmark.cost import sizes_of

    cell = grown[0][0]
    sizes = sizes_of(model, "read")
    keys = (cell.rows + 1) + (cell.rows + 2)
    assert cell.notes[BYTES] == 3 * sizes.weight_bytes + keys * sizes.row_bytes
    assert cell.notes[OPERATIONS] == sizes.prefill_flops(cell.rows, causal=True)


def test_stores_have_the_size_they_say(grown, tmp_path) -> None:
    _, stored, _ = grown
    places = [(c.notes["part"], c.notes["passages in the store"]) for c in stored]
    assert places == [(p, n) for n in (20, 40, 80) for p in ("get", "get and answer")]
    assert {len(c.seconds.rounds) for c in stored if c.notes["part"] == "get"} == {100}


def test_an_answer_that_would_take_too_long_is_left_out(grown) -> None:
    cells, _, _ = grown
    few = [replace(c, seconds=once(2.0)) for c in cells if c.passages == 1]
    next_one = next(c for c in cells if (c.context, c.passages) == ("text", 3))
    assert _too_long(few, next_one, 2000.0) == ""
    assert "above the 3 s that one may take" in _too_long(few, next_one, 3.0)
    left_out = replace(next_one, seconds=None, skipped="too long")
    larger = next(c for c in cells if (c.context, c.passages) == ("text", 30))
    assert _too_long([*few, left_out], larger, 2000.0) == "too long"


def test_once_enough_is_known_the_formula_tells_what_takes_too_long(grown) -> None:
    cells = [c for c in grown[0] if c.passages < 30]
    # All take the same: what is computed makes no difference, however much more of it there is.
    flat, _ = _fitted([replace(c, seconds=once(2.0)) for c in cells])
    larger = next(c for c in grown[0] if (c.context, c.passages) == ("rate 16", 30))
    assert larger.notes[OPERATIONS] > 2 * flat[-1].notes[OPERATIONS]
    assert _too_long(flat, larger, 3.5) == ""
    assert _too_long(flat[-1:], larger, 3.5) != ""


def test_growth_is_drawn_with_its_constants(grown, tmp_path) -> None:
    cells, stored, fits = grown
    files = draw_growth(report([*cells, *stored]), fits, tmp_path)
    assert [path.name for path in files] == ["growth_passages.svg", "growth_store.svg"]
    first, second = (
        " ".join("".join(t.itertext()) for t in ElementTree.parse(path).iter() if "}text" in t.tag)
        for path in files
    )
    for part in ("Answer of 3 tokens against passages", "rate 16", "90", "text left out from 90"):
        assert part in first
    for part in ("4 passages at rate 4", "passages in the store", "each doubling"):
        assert part in second
    again = draw_growth(report([*cells, *stored]), fits, tmp_path / "again")
    assert [p.read_bytes() for p in files] == [p.read_bytes() for p in again]
    assert draw_growth(report([]), fits, tmp_path / "none") == []


def test_constants_are_told_in_words() -> None:
    answer = Fit({OPERATIONS: 1 / 8.25e10, BYTES: 1 / 1.2e10}, 20, 0.041, 0.25)
    assert describe_fit(answer) == (
        "Expected: prefill operations / 82.5 GFLOP/s + bytes that are read / 12 GB/s; found from 20 times, "
        "off by 4.1% in the median and 25.0% at most."
    )
    get = Fit({GETS: 0.0003, DOUBLINGS: 0.0}, 4, 0.01, 0.02)
    assert describe_fit(get).startswith("Expected: 0.3 ms + doublings of the store: no share seen;")


def test_the_script_measures_writes_and_draws(repository, tmp_path, monkeypatch, capsys) -> None:
    import cocom.benchmark.models
    import cocom.benchmark.run  # before what follows is in place, which it would keep

    tiny = tiny_cocom(CocomConfig(rates=(4,), window=32), max_position_embeddings=4096)
    monkeypatch.setattr(cocom.benchmark.models, "open_model", lambda *_, **__: tiny)
    floors = Floors(once(1e10), once(1e10), once(1e11))
    monkeypatch.setattr("cocom.benchmark.floors.measure_floors", lambda *_: floors)
    out = tmp_path / "growth.json"
    script = str(repository / "benchmarks" / "growth.py")
    options = ["--out", str(out), "--plots", str(tmp_path), "--model", "tiny"]
    small = ["--passages", "1", "2", "--new-tokens", "2", "--rounds", "1", "--sizes", "20", "30"]
    small += ["--read", "2", "--store-rate", "4"]
    monkeypatch.setattr(sys, "argv", [script, *options, *small])
    runpy.run_path(script, run_name="__main__")
    first = capsys.readouterr().out
    assert "answer. Expected: " in first
    assert "get. Expected: " in first
    assert "Measured of the machine: 100 GFLOP/s in a matrix product, 10 GB/s in a sum." in first
    found = read_report(out)
    assert [c.what for c in found.cells] == ["answer"] * 4 + ["store"] * 4
    drawn = (tmp_path / "growth_passages.svg").read_bytes()
    monkeypatch.setattr(sys, "argv", [script, *options, "--redraw"])
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out == first
    assert (tmp_path / "growth_passages.svg").read_bytes() == drawn


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": (10, 100)}, "sizes must be at least 20, got 10"),
        ({"passages": 0}, "start at 1, got 0"),
        ({"rounds": 0}, "start at 1, got 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(model, tmp_path, given, message) -> None:
    with pytest.raises(InputError, match=message):
        grow_store(model, tmp_path, Fit({}, 0, 0.0, 0.0), **given)
