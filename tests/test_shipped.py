"""The model that ships: its size, its card, and that it does what its figures say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cocom.cli
from cocom import Cocom
from cocom.evaluation.columns import Column, Scores, columns_of, score_column
from cocom.evaluation.report import table
from cocom.evaluation.suites import fact_questions
from cocom.persistence import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(cocom.cli.__file__).resolve().parents[1] / "models" / "cocom-tiny"
SAMPLES = FOLDER.parents[1] / "samples"


@pytest.fixture(scope="module")
def model() -> Cocom:
    return Cocom.from_pretrained("cocom-tiny")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "evaluation.json").read_text(encoding="utf-8"))
    return loaded


def test_it_is_small_enough_for_the_wheel() -> None:
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) < 25e6
    assert SHIPPED == ("cocom-tiny",)


def test_the_figures_were_measured_on_these_weights(model, report) -> None:
    assert report["fingerprint"] == model.fingerprint


def test_the_card_holds_the_measured_tables(report) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, rows in report["sets"].items():
        scores = [Scores.from_dict(row) for row in rows]
        assert table(scores) in card, name


def test_the_readme_quotes_the_measured_figures(report) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {row["column"]: row for row in report["sets"]["facts"]}
    for column in ("text", "rate 4", "rate 16", "no passage"):
        assert f"{rows[column]['exact_match']:.1%}" in readme, column


@pytest.mark.parametrize("name", ["text", "rate 4", "rate 16", "wrong passages, rate 4"])
def test_a_sample_scores_as_the_card_says(model, report, name) -> None:
    column: Column = next(c for c in columns_of(model) if c.name == name)
    stated = next(row for row in report["sets"]["facts"] if row["column"] == name)["exact_match"]
    measured = score_column(model, column, fact_questions(150)).exact_match
    assert measured == pytest.approx(stated, abs=0.12)


def test_the_question_of_the_demo_is_answered_with_its_source(monkeypatch, capsys) -> None:
    arguments = ["ask", "Where was Marie Curie born?", str(SAMPLES / "documents"), "--json"]
    monkeypatch.setattr("sys.argv", ["cocom", *arguments])
    with pytest.raises(SystemExit) as end:
        cocom.cli.main()
    assert not end.value.code
    result = json.loads(capsys.readouterr().out)
    assert result["answer"] == "Warsaw"
    assert result["sources"][0]["source"].endswith("marie_curie.txt")
    assert result["usage"]["prompt_rows"] < result["usage"]["rows_as_text"] / 2


def test_a_short_sentence_survives_compression(model) -> None:
    text = "Ada Lovelace was born in London."
    (context,) = model.compress([text], rate=4)
    assert model.reconstruct(context) == text
