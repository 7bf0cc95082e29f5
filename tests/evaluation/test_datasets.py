"""Question sets of users: the shapes that are read, and the sentence for those that are not."""

from __future__ import annotations

import gzip
import json

import pytest

from cocom.errors import DataError
from cocom.evaluation.datasets import Record, read_question_set

OWN = {
    "question": "Who?",
    "answers": ["Ada"],
    "passages": ["Nobody.", "Ada came."],
    "gold": 1,
}
SQUAD = {"title": "t", "question": "Where?", "answers": ["Rome", "in Rome"], "passage": "In Rome."}


def written(tmp_path, *entries, name: str = "set.jsonl"):
    path = tmp_path / name
    with gzip.open(path, "wt") if name.endswith(".gz") else path.open("w") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
    return path


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_both_shapes_are_read_and_passages_are_pooled_once(tmp_path, name) -> None:
    found = read_question_set(written(tmp_path, OWN, SQUAD, SQUAD, name=name))
    assert found.records[0] == Record("Who?", ("Ada",), ("Nobody.", "Ada came."), (1,))
    assert found.records[1] == Record("Where?", ("Rome", "in Rome"), ("In Rome.",), (0,), "t")
    assert found.pool == ("Nobody.", "Ada came.", "In Rome.")


def test_several_passages_without_a_mark_leave_the_answers_unknown(tmp_path) -> None:
    entry = {"question": "Who?", "answer": "Ada", "passages": ["Nobody.", "Ada came."]}
    assert read_question_set(written(tmp_path, entry)).records[0].gold is None


def test_the_hash_is_of_the_content_not_of_the_file(tmp_path) -> None:
    first = read_question_set(written(tmp_path, OWN, SQUAD))
    same = read_question_set(written(tmp_path, OWN, SQUAD, name="other.jsonl.gz"))
    other = read_question_set(
        written(tmp_path, OWN, {**SQUAD, "answers": ["Oslo"]}, name="b.jsonl")
    )
    assert first.hash == same.hash != other.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " "}, r"set\.jsonl:1: 'question' must be a text"),
        ({"answers": []}, r"set\.jsonl:1: 'answer' must be a text or a list"),
        ({"passages": [""]}, r"set\.jsonl:1: 'passage' must be"),
        ({"gold": 2}, r"'gold' must be places among the 2 passages, from 0, got 2"),
        ({"gold": [0.0]}, r"'gold' must be places among the 2 passages, from 0, got \[0\.0\]"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_with_its_line(tmp_path, change, message) -> None:
    with pytest.raises(DataError, match=message):
        read_question_set(written(tmp_path, {**OWN, **change}))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"'absent\.jsonl' does not exist"):
        read_question_set("absent.jsonl")


@pytest.fixture
def saved(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs the extra index: datasets")
    rows = [
        {"question": "Where?", "context": "In Rome.", "answers": {"text": ["Rome"]}, "title": "t"},
        {"question": "Who?", "context": "Ada.", "answers": {"text": ["Ada"]}, "title": "t"},
    ]
    table = datasets.Dataset.from_list(rows)
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"validation": table}).save_to_disk(tmp_path / "parts")
    return tmp_path


@pytest.mark.parametrize("name", ["one", "parts@validation"])
def test_folders_of_datasets_are_read_as_squad_has_them(saved, name) -> None:
    found = read_question_set(f"{saved}/{name}")
    assert [entry.answers for entry in found.records] == [("Rome",), ("Ada",)]
    assert found.pool == ("In Rome.", "Ada.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parts", r"names the split '', but the data set has validation: write .*parts@validation"),
        ("parts@train", r"names the split 'train', but the data set has validation"),
        ("one@train", r"names the split 'train', but the data set has no splits"),
    ],
)
def test_splits_that_are_not_there(saved, name, message) -> None:
    with pytest.raises(DataError, match=message):
        read_question_set(f"{saved}/{name}")


def test_a_folder_of_something_else(saved) -> None:
    (saved / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty' cannot be loaded with datasets"):
        read_question_set(saved / "empty")
