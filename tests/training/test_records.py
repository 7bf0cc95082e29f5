"""JSONL in: what is read, and the file and line of what cannot be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cocom.errors import DataError
from cocom.training.records import QuestionRecord, read_questions, read_texts

GOOD = {"question": "Who?", "passages": ["Ada.", "Bo."], "answers": ["Ada", "Lovelace"]}


def test_one_or_many_passages_and_answers(tmp_path: Path) -> None:
    single = {"question": "Where?", "passage": "In Rome.", "answer": "Rome", "more": 1}
    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(map(json.dumps, (GOOD, single))) + "\n\n", encoding="utf-8")
    assert read_questions(path) == [
        QuestionRecord("Who?", ("Ada.", "Bo."), ("Ada", "Lovelace")),
        QuestionRecord("Where?", ("In Rome.",), ("Rome",)),
    ]


def test_compressed_files_marks_and_line_ends(tmp_path: Path) -> None:
    data = "\ufeff" + '{"text": "서울 🙂"}\r\n\r\n{"text": "two"}'
    (tmp_path / "t.jsonl").write_bytes(data.encode())
    with gzip.open(tmp_path / "t.jsonl.gz", "wb") as file:
        file.write(data.encode())
    for name in ("t.jsonl", "t.jsonl.gz"):
        assert read_texts(tmp_path / name) == ["서울 🙂", "two"]


BAD = [
    ('{"question": "Who?"', r":2: not JSON \(.* at column"),
    ("[1, 2]", ":2: expected an object, got list"),
    ('"text"', ":2: expected an object, got str"),
    ("{}", ":2: 'question' must be a text that is not empty, got None"),
    ('{"question": " "}', ":2: 'question' must be a text that is not empty, got ' '"),
    ('{"question": 5}', ":2: 'question' must be a text that is not empty, got 5"),
    ('{"question": "q"}', ":2: 'passage' must be a text that is not empty, got None"),
    ('{"question": "q", "passages": []}', r":2: 'passages' must be a list of texts .* got \[\]"),
    ('{"question": "q", "passages": "p"}', ":2: 'passages' must be a list of texts"),
    ('{"question": "q", "passages": ["p", ""]}', ":2: 'passages' must be a list of texts"),
    ('{"question": "q", "passages": ["p", 3]}', ":2: 'passages' must be a list of texts"),
    ('{"question": "q", "passage": "p"}', ":2: 'answer' must be a text that is not empty"),
    ('{"question": "q", "passage": "p", "answers": [null]}', ":2: 'answers' must be a list"),
    ("\ufeff{}", ":2: not JSON"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_bad_lines_are_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"q.jsonl" + message):
        read_questions(path)


def test_blank_lines_count(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('\n\n{"text": "a"}\n\n{"txt": "b"}\n')
    with pytest.raises(DataError, match=r"t.jsonl:5: 'text' must be a text"):
        read_texts(tmp_path / "t.jsonl")


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with pytest.raises(DataError, match="does not exist: pass a JSONL file"):
        read_texts(path)
    with pytest.raises(DataError, match="does not exist"):
        read_texts(tmp_path)
    for empty in ("", "\n \n"):
        path.write_text(empty)
        with pytest.raises(DataError, match="holds no record: write one JSON object a line"):
            read_texts(path)
    path.write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(DataError, match=r"t.jsonl:2: not UTF-8 \(invalid start byte\)"):
        read_texts(path)


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"cannot be read .* the file is damaged"):
        read_texts(path)
    whole = gzip.compress(b'{"text": "a"}\n' * 1000)
    for damaged in (whole[: len(whole) // 2], whole[:30] + b"\0\0\0" + whole[33:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"cannot be read .* the file is damaged"):
            read_texts(path)
