"""A whole comparison on a tiny model: complete, the same in any number of runs, honest about gaps."""

from __future__ import annotations

import json
import runpy
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from unittest.mock import Mock

import pytest

from cocom import Cocom
from cocom.errors import InputError, ModelError, PromptTooLongError
from cocom.evaluation.answering import Settings
from cocom.evaluation.comparison_report import Plan, compare
from cocom.evaluation.comparison_table import comparison_table, notes
from cocom.evaluation.hard import HardSettings
from cocom.evaluation.preparing import Finding
from cocom.evaluation.processes import Workers
from cocom.evaluation.record_file import RecordFile
from cocom.evaluation.systems import all_systems

SETTINGS = Settings(HardSettings(classifier="none"), max_new_tokens=3, batch_size=4)


@pytest.fixture
def plan(questions_file) -> Plan:
    return Plan(str(questions_file), Finding(passages=3), reconstruct=2)


def column(report, name):
    return next(column for column in report["columns"] if column["column"] == name)


def results(folder):
    """Every row of every column, without the times, in the order of the questions."""
    found = {}
    for path in folder.glob("*.jsonl"):
        header, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        kept = [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]
        found[header["column"]] = sorted(kept, key=lambda row: row["n"])
    return found


def test_every_column_answers_every_question_and_the_report_is_as_its_schema_says(
    tiny, plan, hard, tmp_path
) -> None:
    report = compare(tiny, plan, SETTINGS, tmp_path / "out")
    names = [system.name for system in all_systems((4, 16))]
    assert [c["column"] for c in report["columns"]] == names
    assert all(c["questions"] == 12 for c in report["columns"])
    assert [row["passages"] for row in report["reconstruction"]] == [2, 2]
    assert report["skipped"] == []
    saved = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert saved == report
    jsonschema = pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")
    schema = json.loads(files("cocom.evaluation").joinpath("report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(saved, schema)


def test_hard_methods_read_no_more_rows_than_the_embeddings(tiny, plan, hard, tmp_path) -> None:
    report = compare(tiny, plan, SETTINGS, tmp_path / "out")
    assert len(hard) == 3, "each method is opened once"
    for rate in (4, 16):
        soft = column(report, f"rate {rate}")["figures"]["passage_rows"]["mean"]
        for name in ("llmlingua", "longllmlingua", "llmlingua2", "truncated", "random words"):
            own = column(report, f"{name} rate {rate}")
            assert own["over_budget"] == 0
            assert own["figures"]["passage_rows"]["mean"] <= soft


@pytest.mark.parametrize("right", [True, False])
def test_a_reader_that_knows_or_does_not_know_gets_100_or_0(
    tiny, plan, tmp_path, monkeypatch, right
) -> None:
    answer_batch = Cocom.answer_batch

    def told(self, questions, passages, **options):
        lines = map(json.loads, Path(plan.source).read_text(encoding="utf-8").splitlines())
        gold = {x["question"]: x["answers"][0] for x in lines}
        found = answer_batch(self, questions, passages, **options)
        return [
            replace(a, text=gold[q] if right else "none of them")
            for a, q in zip(found, questions, strict=True)
        ]

    monkeypatch.setattr(Cocom, "answer_batch", told)
    report = compare(tiny, replace(plan, columns=("text", "rate 4")), SETTINGS, tmp_path / "out")
    for name in ("text", "rate 4"):
        figures = column(report, name)["figures"]
        assert {figures[m]["mean"] for m in ("exact_match", "f1", "match")} == {float(right)}
    assert column(report, "rate 4")["against"]["text"]["exact_match"]["high"] == 0.0


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(
    tiny, plan, hard, tmp_path, monkeypatch
) -> None:
    whole = compare(tiny, plan, SETTINGS, tmp_path / "whole")
    monkeypatch.setattr("cocom.evaluation.comparing._TASK_QUESTIONS", 5)
    append, left = RecordFile.append, 7

    def stopping(self, rows):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        append(self, rows)

    monkeypatch.setattr(RecordFile, "append", stopping)
    with pytest.raises(KeyboardInterrupt):
        compare(tiny, plan, SETTINGS, tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()
    monkeypatch.setattr(RecordFile, "append", append)
    before = results(tmp_path / "out")
    assert [len(rows) for rows in before.values()].count(12) == 2
    asked: list[str] = []
    answer_batch = Cocom.answer_batch

    def counted(self, questions, passages, **options):
        asked.extend(questions)
        return answer_batch(self, questions, passages, **options)

    monkeypatch.setattr(Cocom, "answer_batch", counted)
    report = compare(tiny, plan, SETTINGS, tmp_path / "out")
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert len(asked) == 12 * len(report["columns"]) - sum(map(len, before.values()))
    for one, other in zip(report["columns"], whole["columns"], strict=True):
        assert one["figures"]["f1"] == other["figures"]["f1"]
        assert one["against"] == other["against"]


def test_more_questions_and_columns_are_added_to_what_is_there(tiny, plan, tmp_path) -> None:
    few = replace(plan, columns=("text",), limit=3)
    assert column(compare(tiny, few, SETTINGS, tmp_path / "out"), "text")["questions"] == 3
    more = replace(plan, columns=("text", "no passage"), limit=7)
    report = compare(tiny, more, SETTINGS, tmp_path / "out")
    assert [c["questions"] for c in report["columns"]] == [7, 7]
    report = compare(tiny, replace(few, reconstruct=0), SETTINGS, tmp_path / "out")
    assert [c["questions"] for c in report["columns"]] == [3]


def test_other_settings_are_refused(tiny, plan, tmp_path) -> None:
    few = replace(plan, columns=("text",))
    compare(tiny, few, SETTINGS, tmp_path / "out")
    with pytest.raises(InputError, match=r"with max_new_tokens 3, but this run has 4: give"):
        compare(tiny, few, replace(SETTINGS, max_new_tokens=4), tmp_path / "out")
    with pytest.raises(InputError, match=r"with passages 3, but this run has 2"):
        compare(tiny, replace(few, finding=Finding(passages=2)), SETTINGS, tmp_path / "out")
    with Path(plan.source).open("a", encoding="utf-8") as file:
        file.write('{"question": "x?", "answers": ["y"], "passage": "z"}\n')
    with pytest.raises(InputError, match=r"with data '[0-9a-f]+', but this run has"):
        compare(tiny, few, SETTINGS, tmp_path / "out")


def test_what_cannot_run_is_listed_with_its_reason(tiny, plan, tmp_path, monkeypatch) -> None:
    def too_long(self, questions, passages, **options):
        if options.get("fusion") == "rag-token":
            raise PromptTooLongError("question 0 takes 9 rows but the model reads 8.")
        return answer_batch(self, questions, passages, **options)

    answer_batch = Cocom.answer_batch
    monkeypatch.setattr(Cocom, "answer_batch", too_long)
    settings = replace(SETTINGS, hard=HardSettings(classifier=""))
    some = replace(plan, columns=("text", "llmlingua2 *", "rag-token text"), reconstruct=0)
    report = compare(tiny, some, settings, tmp_path / "out")
    assert [c["column"] for c in report["columns"]] == ["text"]
    reasons = {row["column"]: row["reason"] for row in report["skipped"]}
    assert set(reasons) == {"llmlingua2 rate 4", "llmlingua2 rate 16", "rag-token text"}
    assert "pass --llmlingua2 FOLDER" in reasons["llmlingua2 rate 4"]
    assert "takes 9 rows" in reasons["rag-token text"]
    assert any("Skipped: rag-token text" in note for note in notes(report))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shown": -1}, "shown must be at least 0, got -1"),
        ({"reconstruct": -1}, "reconstruct must be at least 0, got -1"),
        ({"facts": 0}, "facts must be at least 1, got 0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_asked(plan, change, message) -> None:
    with pytest.raises(InputError, match=message):
        replace(plan, **change)


def test_settings_that_no_question_could_be_asked_with_are_refused() -> None:
    with pytest.raises(InputError, match="max_new_tokens must be at least 1, got 0"):
        replace(SETTINGS, max_new_tokens=0)
    with pytest.raises(InputError, match="batch_size must be at least 1, got -1"):
        replace(SETTINGS, batch_size=-1)


def test_notes_say_how_many_passages_questions_really_have(tiny, plan, tmp_path) -> None:
    with Path(plan.source).open("a", encoding="utf-8") as file:
        own = {"question": "x?", "answers": ["y"], "passages": list("abcdz"), "gold": 4}
        file.write(json.dumps(own) + "\n")
    few = replace(plan, columns=("no passage",), reconstruct=0)
    first, recall, *_ = notes(compare(tiny, few, SETTINGS, tmp_path / "out"))
    assert "; 3 to 5 for each question by gold" in first
    assert "recall@5, 13 questions" in recall
    with pytest.raises(InputError, match="passages is 3, but generated questions have 5"):
        compare(tiny, replace(few, source="facts"), SETTINGS, tmp_path / "facts")


def test_retrieval_is_done_once_and_its_recall_reported(tiny, plan, tmp_path, monkeypatch) -> None:
    found = replace(plan, finding=Finding("bm25", passages=3), columns=("text", "rag-token *"))
    report = compare(tiny, found, SETTINGS, tmp_path / "out")
    assert report["retrieval"]["recall"]["mean"] == 1.0
    assert report["retrieval"]["recall"]["questions"] == 12
    assert report["retrieval"]["seconds"]["mean"] > 0
    monkeypatch.setattr(
        "cocom.evaluation.finding.Searcher.search", lambda *_: pytest.fail("searched again")
    )
    assert compare(tiny, found, SETTINGS, tmp_path / "out")["retrieval"] == report["retrieval"]


def test_processes_that_end_before_they_are_given_anything_are_one_sentence(
    tiny, plan, tmp_path
) -> None:
    with Workers(1, {"name_or_path": "absent"}) as ended:
        ended._pool = Mock(submit=Mock(side_effect=BrokenProcessPool))
        with pytest.raises(ModelError, match="start again with fewer --processes"):
            compare(tiny, plan, SETTINGS, tmp_path / "out", workers=ended)


def test_other_processes_write_what_this_one_writes(
    tiny, plan, tmp_path, workers, monkeypatch
) -> None:
    monkeypatch.setattr("cocom.evaluation.comparing._TASK_QUESTIONS", 5)
    some = replace(plan, columns=("text", "rate *", "random *"))
    compare(tiny, some, SETTINGS, tmp_path / "two", workers=workers)
    compare(tiny, some, SETTINGS, tmp_path / "one")
    assert results(tmp_path / "two") == results(tmp_path / "one")


def test_the_table_has_a_row_a_column_with_intervals_and_differences(tiny, plan, tmp_path) -> None:
    report = compare(
        tiny, replace(plan, columns=("text", "rate 4", "truncated *")), SETTINGS, tmp_path / "out"
    )
    lines = comparison_table(report).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines] == [
        "column",
        "---|---|---|---|---|---|---|---|---|---",
        "text",
        "rate 4",
        "truncated rate 4",
        "truncated rate 16",
    ]
    assert len({line.count("|") for line in lines}) == 1
    shortened = lines[4].split(" | ")
    assert "to" in shortened[3]
    assert shortened[6].startswith(("+", "-"))
    assert shortened[7].startswith(("+", "-"))
    assert lines[5].split(" | ")[7] == "", "rate 16 was not asked, so there is nothing to compare"


def test_the_page_shows_the_committed_figures(repository) -> None:
    script = runpy.run_path(str(repository / "benchmarks" / "comparison.py"))
    reports = script["committed"]()
    assert set(reports) == set(script["SETS"])
    page = (repository / "docs" / "comparison.md").read_text(encoding="utf-8")
    assert page == script["page"](reports)
