"""Plots of hand-made reports: what they say, that they repeat, and what is left out."""

from __future__ import annotations

import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from cocom.benchmark.figures import seconds_text
from cocom.benchmark.plots import draw
from cocom.benchmark.result import Cell, Floors, Report, Spread
from cocom.errors import MissingExtraError

CONTEXTS = ("none", "text", "rate 4", "rate 16")
QUALITY = {"none": 0.001, "text": 0.498, "rate 4": 0.551, "rate 16": 0.431}


def around(seconds: float) -> Spread:
    return Spread(seconds, seconds * 0.9, seconds * 1.2, (seconds * 0.9, seconds, seconds * 1.2))


def cell(context: str, passages: int, batch: int, seconds: float, **settings) -> Cell:
    known = {"what": "answer", "way": "cocom", "new_tokens": 32, "floor_seconds": seconds / 2}
    return Cell(
        context=context,
        passages=0 if context == "none" else passages,
        batch=batch,
        seconds=around(seconds),
        **{**known, **settings},
    )


def answers() -> list[Cell]:
    """Text takes 12 s for each batch of 5 passages, rate 4 half of it, rate 16 a third, and none 1 s."""
    share = {"none": 1 / 12, "text": 1.0, "rate 4": 1 / 2, "rate 16": 1 / 3}
    return [
        cell(context, passages, batch, 12 * share[context] * passages / 5 * batch)
        for context in CONTEXTS
        for passages in (5, 20)
        for batch in (1, 8)
    ]


def few() -> list[Cell]:
    """Of these, what is measured with 5 passages, one question at a time."""
    return [c for c in answers() if c.passages != 20 and c.batch == 1]


def report(cells, **model) -> Report:
    return Report(
        machine={"device": "Some Processor 2.70GHz"},
        model={
            "name": "llama-60m",
            "random_weights": True,
            "dtype": "float32",
            "hidden": 640,
            "window": 128,
            **model,
        },
        settings={},
        floors=Floors(around(1e10), around(1e10), around(1e11)),
        cells=tuple(cells),
    )


def words(path) -> list[str]:
    """Everything that is written in a drawing; it must be XML, and an SVG."""
    root = ElementTree.fromstring(path.read_bytes())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [
        "".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")
    ]


def drawn(folder, cells, **options) -> dict[str, list[str]]:
    return {path.name: words(path) for path in draw(report(cells), folder, **options)}


@pytest.fixture(scope="module")
def all_plots(tmp_path_factory):
    cells = answers()
    cells += [replace(c, what="first_token", new_tokens=1) for c in cells]
    cells += [
        replace(c, way="straightforward", seconds=around(30.0)) for c in cells if c.batch == 1
    ]
    return drawn(tmp_path_factory.mktemp("plots"), cells, quality=QUALITY)


def test_a_full_report_makes_every_plot(all_plots) -> None:
    assert list(all_plots) == [
        "rates.svg",
        "speedup_first_token.svg",
        "speedup_answer.svg",
        "quality.svg",
        "floor.svg",
        "straightforward.svg",
    ]


def test_every_title_tells_model_machine_type_and_that_weights_are_random(all_plots) -> None:
    for found in all_plots.values():
        assert "llama-60m, Some Processor 2.70GHz, float32, random weights" in found


def test_weights_that_are_not_random_are_not_called_so(tmp_path) -> None:
    [*_, path] = draw(report(few(), random_weights=False), tmp_path)
    assert "llama-60m, Some Processor 2.70GHz, float32" in words(path)


def test_bytes_and_times_stand_against_rates(all_plots) -> None:
    found = all_plots["rates.svg"]
    # 32 and 8 embeddings of 640 float32.
    assert {"81.9 kB", "20.5 kB", "4", "16"} <= set(found)
    assert {"5 passages, batch 1", "20 passages, batch 8", "the same with text"} <= set(found)
    assert {"time, first token", "time, answer of 32 tokens"} <= set(found)


def test_the_text_of_passages_is_beside_their_embeddings(tmp_path) -> None:
    stored = cell("rate 4", 5, 1, 0.1, what="store", notes={"bytes of its text": 612.0})
    assert "mean text (612 B)" in drawn(tmp_path, [*few(), stored])["rates.svg"]


def test_speed_up_is_text_over_ours_beside_what_the_floors_allow(all_plots) -> None:
    found = all_plots["speedup_answer.svg"]
    assert found.count("2.00x") == found.count("3.00x") == 8  # four settings, twice each
    assert {"rate 4: measured", "rate 4: most that the floors allow", "5", "20", "8"} <= set(found)


def test_what_was_skipped_or_not_run_is_told(tmp_path) -> None:
    cells = answers()
    skipped = [
        replace(c, seconds=None, skipped="out of memory")
        if (c.context, c.passages, c.batch) in {("text", 20, 8), ("rate 4", 5, 8)}
        else c
        for c in cells
        if (c.context, c.passages, c.batch) != ("rate 16", 20, 1)
    ]
    found = drawn(tmp_path, skipped)
    assert found["speedup_answer.svg"].count("text") == 2  # once for each rate
    assert found["speedup_answer.svg"].count("skipped") == 3
    assert found["speedup_answer.svg"].count("not run") == 2
    assert {"text skipped: out of memory", "rate 4 skipped: out of memory"} <= set(
        found["speedup_answer.svg"]
    )
    assert found["floor.svg"].count("skipped") == 2


def test_a_skipped_cell_is_hatched(tmp_path) -> None:
    cells = [replace(c, seconds=None, skipped="late") if c.context == "text" else c for c in few()]
    draw(report(few()), tmp_path / "whole")
    draw(report(cells), tmp_path / "part")
    name = "speedup_answer.svg"
    assert "<pattern" not in (tmp_path / "whole" / name).read_text()
    assert "<pattern" in (tmp_path / "part" / name).read_text()


def test_answers_of_other_lengths_do_not_stand_for_the_usual_ones(tmp_path) -> None:
    longer = [cell(context, 5, 1, 7.7, new_tokens=128) for context in CONTEXTS]
    found = drawn(tmp_path, [*answers(), *longer])
    assert found["speedup_answer.svg"].count("1.00x") == 0
    assert "128 tokens" in found["floor.svg"]


def test_quality_is_drawn_where_it_is_known_with_the_front(all_plots) -> None:
    found = all_plots["quality.svg"]
    assert {"rate 4: 0.551", "text: 0.498", "no passage: 0.001", "exact match"} <= set(found)
    assert "Pareto front" in found
    assert "Quality against speed: answer of 32 tokens, 20 passages, batch 8" in found


def test_only_what_nothing_beats_is_on_the_front() -> None:
    from cocom.benchmark.plot_rates import _front

    places = {"text": (1.0, 0.5), "rate 4": (2.0, 0.55), "rate 16": (3.0, 0.43), "bad": (2.5, 0.4)}
    assert _front(places) == [(2.0, 0.55), (3.0, 0.43)]


def test_ratios_to_the_floor_are_told_with_their_spread(all_plots) -> None:
    found = all_plots["floor.svg"]
    assert {"2.00x", "(1.80 to 2.40)", "5 x 8", "20 x 1", "rate 4, straightforward"} <= set(found)


def test_ours_is_beside_the_straightforward_way(all_plots) -> None:
    found = all_plots["straightforward.svg"]
    assert {"12.0 s  (2.5x as fast)", "30.0 s", "6.00 s  (5x as fast)"} <= set(found)
    assert "rate 4, 20 passages, batch 1, 32 tokens" in found


def test_plots_without_cells_are_left_out(tmp_path) -> None:
    no_text = [c for c in few() if c.context != "text"]
    assert list(drawn(tmp_path / "a", no_text)) == ["rates.svg", "floor.svg"]
    no_floor = [replace(c, floor_seconds=None) for c in few()]
    assert list(drawn(tmp_path / "b", no_floor)) == ["rates.svg", "speedup_answer.svg"]
    only_text = [c for c in few() if c.context == "text"]
    assert list(drawn(tmp_path / "c", only_text, quality=QUALITY)) == ["floor.svg"]
    assert draw(report([]), tmp_path / "d", quality=QUALITY) == []
    assert not (tmp_path / "d").exists()


def test_a_report_of_skipped_cells_only_draws_no_times(tmp_path) -> None:
    cells = [replace(c, seconds=None, skipped="late") for c in few()]
    assert list(drawn(tmp_path, cells, quality=QUALITY)) == ["rates.svg", "speedup_answer.svg"]


def test_the_same_report_makes_the_same_bytes(tmp_path) -> None:
    cells = [*few(), *(replace(c, way="straightforward") for c in few())]
    first = draw(report(cells), tmp_path / "first", quality=QUALITY)
    second = draw(report(cells), tmp_path / "second", quality=QUALITY)
    assert len(first) == 5
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_drawing_leaves_settings_of_matplotlib_alone(tmp_path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(report(few()), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"drawing plots needs .*'cocom\[bench\]'"):
        draw(report(answers()), tmp_path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (1234.5, "1234 s"), (0.01234, "12.3 ms"), (4.2e-6, "4.20 µs"), (0, "0 µs")],
)
def test_seconds_have_a_unit_that_suits_them(seconds, text) -> None:
    assert seconds_text(seconds) == text
