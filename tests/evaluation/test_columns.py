"""Evaluation: which passages each column reads, and that scores are of the right questions."""

from __future__ import annotations

import gzip
import json
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from cocom import Cocom, CocomConfig, ContextEmbeddings
from cocom.errors import DataError, ModelError
from cocom.evaluation.columns import Column, Question, columns_of, score_column
from cocom.evaluation.processes import Workers
from cocom.evaluation.report import evaluate, table
from cocom.evaluation.suites import fact_questions, squad_questions
from cocom.testing import tiny_cocom


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4, 16)))


QUESTIONS = [
    Question("Who?", ("Ada is here.", "Bo."), ("Nobody.", "Bo."), ("Ada",)),
    Question("Where does Cy live now?", ("Cy lives in Rome.",), ("Di lives in Oslo.",), ("Rome",)),
    Question("What?", ("A lamp, red.", "Cy.", "Di."), ("Cy.", "Di.", "Ed."), ("lamp", "red lamp")),
]


def test_columns_are_bounds_rates_and_control(model) -> None:
    names = [column.name for column in columns_of(model)]
    assert names == ["text", "rate 4", "rate 16", "no passage", "wrong passages, rate 4"]


def test_each_answer_is_scored_against_its_own_question(model) -> None:
    answers = [model.answer(q.question, q.passages, max_new_tokens=24).text for q in QUESTIONS]
    own = [
        Question(q.question, q.passages, q.wrong, (a or "nothing",))
        for q, a in zip(QUESTIONS, answers, strict=True)
    ]
    done: list[int] = []
    scores = score_column(model, Column("text", None), own, batch_size=2, advance=done.append)
    assert scores.exact_match == sum(bool(a) for a in answers) / 3
    assert sum(done) == scores.questions == 3


def test_rows_shrink_with_the_rate_and_without_passages(model) -> None:
    rows = {
        column.name: score_column(model, column, QUESTIONS).prompt_rows
        for column in columns_of(model)
    }
    assert rows["text"] > rows["rate 4"] > rows["rate 16"] > rows["no passage"]


def test_the_control_reads_other_passages(model, monkeypatch) -> None:
    read: list[list[str]] = []
    compress = model.compress

    def recorded(texts: list[str], **options: Any) -> list[ContextEmbeddings]:
        read.append(texts)
        return compress(texts, **options)

    monkeypatch.setattr(model, "compress", recorded)
    score_column(model, Column("wrong", 4, "wrong"), QUESTIONS)
    (texts,) = read
    assert set(texts) == {text for question in QUESTIONS for text in question.wrong}
    assert len(texts) == len(set(texts)), "each passage is compressed once"


def test_table_says_what_share_of_the_text_score_is_kept(model) -> None:
    scores = evaluate(model, QUESTIONS)
    assert len(table(scores).splitlines()) == 2 + len(columns_of(model))


def test_several_processes_give_the_scores_of_one(tiny, workers) -> None:
    alone = evaluate(tiny, QUESTIONS * 5, batch_size=1)
    together = evaluate(tiny, QUESTIONS * 5, batch_size=1, workers=workers)
    assert [replace(score, seconds=0.0) for score in together] == [
        replace(score, seconds=0.0) for score in alone
    ]


def test_a_process_that_ends_is_one_sentence() -> None:
    with Workers(1, {"name_or_path": "absent"}) as workers:
        workers._pool = Mock(submit=Mock(side_effect=BrokenProcessPool))
        with pytest.raises(ModelError, match="start again with fewer --processes"):
            workers.score(Column("text", None), QUESTIONS, batch_size=1, advance=print)


def test_fact_questions_hold_the_answer_in_one_passage_and_not_in_the_wrong_ones() -> None:
    questions = fact_questions(200)
    assert questions == fact_questions(200)
    assert len(questions) == 200
    for question in questions:
        holders = [p for p in question.passages if question.answers[0] in p]
        assert holders
        assert len(question.passages) == len(question.wrong) == 5
        assert len(set(question.passages) - set(question.wrong)) == 1


def squad_file(folder, count: int = 12, gz: bool = False):
    path = folder / ("squad.jsonl.gz" if gz else "squad.jsonl")
    with gzip.open(path, "wt") if gz else path.open("w") as file:
        for i in range(count):
            record = {
                "title": "few" if i < 3 else "many",
                "passage": f"Passage {i} says {i}.",
                "question": f"What does {i} say?",
                "answers": [str(i)],
            }
            file.write(json.dumps(record) + "\n")
    return path


@pytest.mark.parametrize("gz", [False, True])
def test_squad_puts_the_gold_passage_among_five_of_its_article(tmp_path, gz) -> None:
    questions = squad_questions(squad_file(tmp_path, gz=gz))
    assert len(questions) == 12
    for i, question in enumerate(questions):
        gold = f"Passage {i} says {i}."
        assert len(set(question.passages)) == len(set(question.wrong)) == 5
        assert gold in question.passages
        assert gold not in question.wrong
        if i >= 3:
            assert not any(f"Passage {j} says {j}." in question.passages for j in range(3))


def test_squad_file_too_small_or_malformed(tmp_path) -> None:
    with pytest.raises(DataError, match="holds 5 passages, but 6 are needed"):
        squad_questions(squad_file(tmp_path, 5))
    path = squad_file(tmp_path)
    path.write_text(path.read_text() + '{"title": "x", "passage": "y", "question": "z"}\n')
    with pytest.raises(DataError, match=r"squad\.jsonl:13: expected texts 'title'"):
        squad_questions(path)


def test_complete_squad_dev_is_10570_questions(shared) -> None:
    questions = squad_questions(shared / "data" / "qa" / "squad_v1.1_dev.jsonl.gz")
    assert len(questions) == 10570
    assert len({p for q in questions for p in q.passages}) == 2067
