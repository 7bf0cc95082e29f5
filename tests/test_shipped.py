"""The model that ships: its size, its card, and that it does what its figures say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import cocom.cli
from cocom import Cocom
from cocom.asking import ask, load_passages, make_retriever
from cocom.checkpoints.loading import SHIPPED
from cocom.evaluation.columns import Column, Scores, columns_of, score_column
from cocom.evaluation.metrics import exact_match, f1
from cocom.evaluation.report import table
from cocom.evaluation.suites import fact_questions
from cocom.training.facts import FactGenerator

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


@pytest.fixture
def demo(monkeypatch, capsys) -> tuple[dict[str, Any], dict[str, str]]:
    """What the README's first command finds, and what it should find."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    question = makefile.split("QUESTION ?= ")[1].splitlines()[0]
    lines = (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    gold = next(entry for line in lines if (entry := json.loads(line))["question"] == question)
    arguments = ["ask", question, str(SAMPLES / "documents"), "--json"]
    monkeypatch.setattr("sys.argv", ["cocom", *arguments])
    with pytest.raises(SystemExit) as end:
        cocom.cli.main()
    assert not end.value.code
    result = json.loads(capsys.readouterr().out)
    return result, gold


def test_the_demo_finds_the_right_source_and_reads_fewer_rows(demo) -> None:
    result, gold = demo
    assert result["answer"]
    assert any(source["source"].endswith(gold["source"]) for source in result["sources"])
    assert result["usage"]["prompt_rows"] < result["usage"]["rows_as_text"] / 2


def test_the_demo_gives_the_right_answer(demo) -> None:
    result, gold = demo
    assert result["answer"] == gold["answer"]


def test_as_many_sample_questions_are_answered_as_the_card_says(model) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    stated = re.search(r"\((\d+) of the 40 on the sample documents", card)
    assert stated
    retriever = make_retriever("bm25", load_passages(model, [SAMPLES / "documents"]))
    lines = (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == 40
    answers = [ask(model, e["question"], retriever, max_new_tokens=24).answer.text for e in entries]
    right = [exact_match(a, [e["answer"]]) for a, e in zip(answers, entries, strict=True)]
    # Another processor may round otherwise.
    assert abs(sum(right) - int(stated[1])) <= 1


def test_short_sentences_survive_compression(model) -> None:
    texts = [FactGenerator("train", 3).text(i).split(". ")[0] + "." for i in range(20)]
    texts = [text for text in texts if len(text) < 80]
    found = [model.reconstruct(context) for context in model.compress(texts, rate=4)]
    scores = [f1(a, [b]) for a, b in zip(found, texts, strict=True)]
    assert sum(scores) / len(scores) > 0.7
