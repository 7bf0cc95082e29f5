"""`cocom bench` from end to end, on a tiny model that was saved."""

from __future__ import annotations

import json
import sys

import pytest

from cocom import CocomConfig
from cocom.benchmark.result import Check, Floors, read_report
from cocom.benchmark.timing import spread
from cocom.cli import main
from cocom.testing import tiny_cocom

FEW = ["--passages", "2", "--batch", "1", "--new-tokens", "2", "--rounds", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cocom(CocomConfig(rates=(16,)), max_position_embeddings=16384).save_pretrained(folder)
    return folder


@pytest.fixture
def bench(capsys, monkeypatch, model):
    """Runs the command in this process and gives its exit code, output and progress."""
    floor = spread([1e9])
    monkeypatch.setattr(
        "cocom.benchmark.run.measure_floors", lambda *_, **__: Floors(floor, floor, floor)
    )

    def run(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["cocom", "bench", "--model", str(model), *map(str, arguments)]
        )
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_a_quick_run_writes_json_to_the_output_and_to_a_file(bench, tmp_path) -> None:
    code, out, err = bench(
        "--quick", "--new-tokens", 2, "--rounds", 1, "--json", "--out", tmp_path / "report.json"
    )
    assert (code, err) == (0, "")
    written = json.loads(out)
    assert written == json.loads((tmp_path / "report.json").read_text())
    report = read_report(tmp_path / "report.json")
    assert (report.settings["passages"], report.settings["new_tokens"]) == ([5, 20], [2])
    assert {cell.batch for cell in report.cells} == {1, 16}
    assert all(cell.seconds for cell in report.cells)
    # Compressing, streams alone and together, the store; the others are about answers of 32 tokens.
    assert len(report.checks) == 4


def test_the_table_is_for_people_and_progress_goes_elsewhere(bench) -> None:
    code, out, err = bench(*FEW, "--no-straightforward")
    assert code == 0
    assert "What the machine can do, measured:" in out
    assert "plain" not in out.replace("x plain", "")
    assert "measuring the machine again" in err


def test_a_missed_check_ends_with_1_only_if_that_is_asked_for(bench, monkeypatch) -> None:
    monkeypatch.setattr("cocom.benchmark.run.store_cells", lambda *_, **__: ([], []))
    monkeypatch.setattr("cocom.benchmark.run.checks_of", lambda cells: (Check("x", 1.0, 2.0),))
    code, out, _ = bench(*FEW)
    assert code == 0
    assert "MISSED  x" in out
    assert bench(*FEW, "--strict")[0] == 1
    monkeypatch.setattr("cocom.benchmark.run.checks_of", lambda cells: (Check("x", 2.0, 2.0),))
    assert bench(*FEW, "--strict")[0] == 0
    monkeypatch.setattr("cocom.benchmark.run.checks_of", lambda cells: ())
    assert bench(*FEW, "--strict")[0] == 1  # nothing was shown


def test_an_interrupt_leaves_the_file_and_ends_with_130(bench, monkeypatch, tmp_path) -> None:
    def interrupted(session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cocom.benchmark.session.Session.run", interrupted)
    code, out, _ = bench(*FEW, "--out", tmp_path / "report.json")
    assert code == 130
    assert "The run was interrupted" in out
    assert read_report(tmp_path / "report.json").settings["interrupted"] is True


def test_numbers_that_are_none_are_told(bench) -> None:
    code, _, err = bench("--batch", "1;16")
    assert code == 1
    assert "--batch must be whole numbers with commas between them, such as 1,16, got '1;16'" in err


def test_plots_are_drawn_of_the_report(bench, monkeypatch, tmp_path) -> None:
    drawn = []

    def draw(report, folder, quality):
        assert quality == {}  # nothing is known of that model
        drawn.append((report.model["layers"], folder))
        return [folder / "a.png"]

    monkeypatch.setattr("cocom.benchmark.plots.draw", draw)
    code, _, err = bench(*FEW, "--plots", tmp_path)
    assert (code, drawn) == (0, [(2, tmp_path)])
    assert "a.png" in err
