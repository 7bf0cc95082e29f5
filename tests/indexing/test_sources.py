"""Sources of every kind: what they give, what they refuse, and that memory stays constant."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import cocom
from cocom.datatypes import Passage
from cocom.documents import document_files
from cocom.errors import DataError, InputError, MissingExtraError
from cocom.indexing.sources import Item, Source, lines, open_source
from cocom.indexing.sources.dataset import quiet
from cocom.indexing.sources.fields import plain_fields
from cocom.indexing.sources.stored_file import StoredFile

pyarrow = cast(Any, pytest.importorskip("pyarrow"))
parquet = cast(Any, pytest.importorskip("pyarrow.parquet"))
datasets = cast(Any, pytest.importorskip("datasets"))
fsspec = cast(Any, pytest.importorskip("fsspec"))

ROWS_AT_A_TIME = 256
SAMPLES = Path(cocom.__file__).parent / "samples"
ROWS: list[dict[str, object]] = [
    {"id": f"p{i}", "text": f" Text {i}: naïve\n", "title": f"Title {i}", "year": 1900 + i}
    for i in range(1, 601)
]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_table(path: Path, rows: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = rows if isinstance(rows, pyarrow.Table) else pyarrow.Table.from_pylist(rows)
    parquet.write_table(table, path, **options)
    return path


def save(rows: list[dict[str, Any]], path: Path, *splits: str) -> Path:
    dataset = datasets.Dataset.from_list(rows)
    if splits:
        dataset = datasets.DatasetDict(dict.fromkeys(splits, dataset))
    datasets.disable_progress_bars()
    dataset.save_to_disk(str(path))
    datasets.enable_progress_bars()
    return path


def read(source: str | Path | Source) -> list[Item]:
    """All items, after checks that hold for every source."""
    opened = source if not isinstance(source, str | Path) else open_source(str(source))
    items = list(opened.read())
    assert list(opened.read()) == items
    for item in items:
        assert (item.passage is None) != (item.error is None)
        assert item.passage is None or item.passage.id == item.key
    positions = [item.position for item in items]
    assert all(a <= b for a, b in pairwise(positions))
    assert positions[0] > 0
    if opened.size is not None:
        assert positions[-1] == opened.size
    return items


def passages(items: list[Item]) -> list[Passage]:
    return [item.passage for item in items if item.passage is not None]


def errors(items: list[Item]) -> dict[str, str]:
    return {item.key: item.error for item in items if item.error is not None}


def refused(source: str | Path, message: str, **options: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_source(str(source), **options)
    assert "\n" not in str(caught.value)


# Documents


def words(text: str) -> int:
    return len(text.split())


def split_words(text: str) -> list[str]:
    from cocom.split import split_text

    return split_text(text, 20, count_tokens=words)


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    """Documents of all kinds, JSON lines among them."""
    folder = tmp_path / "documents"
    for file in (SAMPLES / "documents").iterdir():
        write(folder / file.name, file.read_bytes())
    rows = [{"text": f"  Line {i}. " + "word " * 30, "id": i, "title": "T"} for i in range(3)]
    write(folder / "below" / "rows.jsonl", b"\xef\xbb\xbf\n" + json_lines(rows) + b"\r\n")
    write(folder / ".hidden.md", "hidden")
    return folder


def test_documents_are_the_passages_that_load_passages_gives(mixed_folder: Path) -> None:
    from cocom.asking import load_passages

    model = cast(Any, SimpleNamespace(count_tokens=words, config=SimpleNamespace(window=20)))
    source = open_source(str(mixed_folder), split=split_words)
    found = read(source)
    assert not errors(found)
    assert passages(found) == load_passages(model, [mixed_folder])
    assert source.name == str(mixed_folder)
    assert source.size == len(document_files(mixed_folder)) >= 4
    assert {item.position for item in found} == set(range(1, source.size + 1))


def test_one_document_is_a_source(tmp_path: Path) -> None:
    path = write(tmp_path / "NOTES.MD", "# One\n\ntwo")
    (item,) = read(path)
    assert item == Item(
        f"{path}:1", Passage("# One\n\ntwo", f"{path}:1", {"source": str(path)}), None, 1
    )


def test_names_do_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a" / "notes.md", "text")
    write(tmp_path / "a" / "rows.jsonl", '{"text": "a"}\n')
    monkeypatch.chdir(tmp_path / "a")
    assert open_source("../a/notes.md").name == str(tmp_path / "a" / "notes.md")
    assert open_source("rows.jsonl").name == str(tmp_path / "a" / "rows.jsonl")
    assert [item.key for item in read("rows.jsonl")] == ["rows.jsonl:1"]


def test_a_document_that_cannot_be_read_is_an_item_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "first")
    write(tmp_path / "b.pdf", "no PDF")
    write(tmp_path / "c.txt", b"caf\xe9")
    write(tmp_path / "d.txt", "")
    write(tmp_path / "e.jsonl", "")
    write(tmp_path / "f.md", "last")
    found = read(tmp_path)
    assert [passage.text for passage in passages(found)] == ["first", "last"]
    said = errors(found)
    assert list(said) == [str(tmp_path / name) for name in ("b.pdf", "c.txt", "d.txt", "e.jsonl")]
    assert "not a readable PDF" in said[str(tmp_path / "b.pdf")]
    assert "c.txt:1: byte 0xe9 is not UTF-8" in said[str(tmp_path / "c.txt")]
    assert [item.position for item in found] == [1, 2, 3, 4, 5, 6]


def test_a_damaged_line_in_a_folder_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = write(
        tmp_path / "rows.jsonl", '{"text": "a"}\nbroken\n{"title": "t"}\n{"text": 5}\n{"text": "b"}'
    )
    found = read(tmp_path)
    assert [item.key for item in found] == [
        f"{rows}#L1:1",
        f"{rows}:2",
        f"{rows}:3",
        f"{rows}:4",
        f"{rows}#L5:1",
    ]
    said = list(errors(found).values())
    assert [error.startswith(f"{rows}:") for error in said] == [True] * 3
    assert "no field 'text' (found 'title')" in said[1]


def test_a_document_that_cannot_be_cut_is_an_item(tmp_path: Path) -> None:
    def fail(text: str) -> list[str]:
        if text == "bad":
            raise InputError("too long.")
        return [] if text == "none" else [text]

    bad, none = write(tmp_path / "a.md", "bad"), write(tmp_path / "b.md", "none")
    write(tmp_path / "c.md", "good")
    found = read(open_source(str(tmp_path), split=fail))
    assert [item.passage and item.passage.text for item in found] == [None, None, "good"]
    assert errors(found) == {
        str(bad): f"{bad}: too long.",
        str(none): f"{none}: the document gave no passage: check how it is cut.",
    }


def test_a_linked_document_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "b.md").symlink_to(write(tmp_path / "a.md", "text"))
    assert [item.key for item in read(tmp_path)] == [f"{tmp_path / 'a.md'}:1"]


def test_files_that_are_passed_over_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.md", "b.docx", "c.json", ".hidden"):
        write(tmp_path / name, "text")
    assert len(read(tmp_path)) == 1
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"2 files in '{tmp_path}' are passed over"
    ]


def test_documents_have_no_fields(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "text")
    refused(tmp_path, "have no fields: leave out --text-field", text_field="body")
    refused(tmp_path / "a.md", "have no fields", id_field="id")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.md", None, "no file or folder '.*missing.md'"),
        ("empty.md", "", "is empty"),
        (
            "a.docx",
            "text",
            r"suffix '.docx', which is not supported: documents \(.txt, .*\.jsonl.gz",
        ),
        ("a.json", "{}", r"is a JSON file.*one object a line.*\*\.jsonl"),
        ("a.gz", "text", "suffix '.gz'"),
        ("noname", "text", "suffix ''"),
        ("folder/", None, "has no documents"),
        ("rows.jsonl", "", "is empty"),
        ("rows.jsonl", " \n\n", "only blank lines"),
        ("rows.jsonl.gz", b"plain", r"rows.jsonl.gz:1: the gzip data are damaged \(Not a gzipped"),
        ("rows.parquet", b"plain", r"not a readable Parquet file \(.*\): make it anew"),
        ("a@train", None, "no file or folder"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    tmp_path: Path, name: str, content: str | bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        write(path, content)
    elif name.endswith("/"):
        path.mkdir()
    refused(path, message)


def test_an_empty_name_is_refused() -> None:
    refused(" ", "empty name")


# JSON lines


def expected_items() -> list[tuple[str, str, dict[str, object]]]:
    return [
        (f"p{i}", f" Text {i}: naïve\n", {"title": f"Title {i}", "year": 1900 + i})
        for i in range(1, 601)
    ]


def plain(items: list[Item]) -> list[tuple[str, str, dict[str, object]]]:
    assert not errors(items)
    return [(str(p.id), p.text, dict(p.metadata)) for p in passages(items)]


def open_rows(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The rows, stored as one of the kinds of source."""
    if kind == "jsonl":
        return open_source(str(write(folder / "rows.jsonl", json_lines(ROWS))))
    if kind == "gzip":
        return open_source(str(write(folder / "rows.JSONL.gz", gzip.compress(json_lines(ROWS)))))
    if kind == "parquet":
        return open_source(str(write_table(folder / "rows.parquet", ROWS, row_group_size=250)))
    if kind == "parquet folder":
        write_table(folder / "rows" / "a.parquet", ROWS[:300])
        write_table(folder / "rows" / "b" / "b.parquet", ROWS[300:])
        write(folder / "rows" / ".hidden", "")
        write(folder / "rows" / "_SUCCESS", "")
        return open_source(str(folder / "rows"))
    if kind == "saved":
        return open_source(str(save(ROWS, folder / "saved")))
    if kind == "saved splits":
        return open_source(f"{save(ROWS, folder / 'saved', 'train', 'test')}@test")
    if kind == "hub":
        write(folder / "rows" / "train.jsonl", json_lines(ROWS))
        return open_source(f"hf:{folder / 'rows'}")
    if kind == "memory":
        with fsspec.open("memory://rows/rows.jsonl", "wb") as file:
            file.write(json_lines(ROWS))
        return open_source("memory://rows/rows.jsonl")
    if kind == "memory gzip":
        with fsspec.open("memory://rows/rows.jsonl.gz", "wb") as file:
            file.write(gzip.compress(json_lines(ROWS)))
        return open_source("memory://rows/rows.jsonl.gz")
    if kind == "memory parquet":
        path = write_table(folder / "rows.parquet", ROWS, row_group_size=250)
        with fsspec.open("memory://rows/rows.parquet", "wb") as file:
            file.write(path.read_bytes())
        return open_source("memory://rows/rows.parquet")
    write(folder / "rows_module.py", f"ROWS = {ROWS!r}\n\ndef rows():\n    yield from ROWS\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "rows_module", raising=False)
    return open_source(f"python:rows_module:{'rows' if kind == 'function' else 'ROWS'}")


SIZES = {
    "jsonl": len(json_lines(ROWS)),
    "gzip": len(gzip.compress(json_lines(ROWS))),
    "parquet": 600,
    "parquet folder": 600,
    "saved": 600,
    "saved splits": 600,
    "hub": None,
    "memory": len(json_lines(ROWS)),
    "memory gzip": len(gzip.compress(json_lines(ROWS))),
    "memory parquet": 600,
    "list": 600,
    "function": None,
}


@pytest.mark.parametrize("kind", SIZES)
def test_every_kind_of_source_gives_the_same_rows(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = open_rows(kind, tmp_path, monkeypatch)
    capfd.readouterr()
    assert source.size == SIZES[kind]
    assert plain(read(source)) == expected_items()
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["jsonl", "parquet folder", "saved splits", "hub", "list"])
def test_names_say_where_the_rows_lie(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        open_rows(kind, tmp_path, monkeypatch).name
        == {
            "jsonl": f"{tmp_path}/rows.jsonl",
            "parquet folder": f"{tmp_path}/rows",
            "saved splits": f"{tmp_path}/saved@test",
            "hub": f"hf:{tmp_path}/rows@train",
            "list": "python:rows_module:ROWS",
        }[kind]
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"broken", "not valid JSON"),
        (b'["text"]', "found an array: each line needs a JSON object"),
        (b'{"id": "a"}', r"no field 'text' \(found 'id'\)"),
        (b"{}", r"no field 'text' \(found none\)"),
        (b'{"text": 5}', "the field 'text' is a number: give a text"),
        (b'{"text": null}', "the field 'text' is null"),
        (b'{"text": " \\n"}', "the field 'text' is empty"),
        (b'{"text": "a\\u0000"}', "a NUL character"),
        (b'{"text": "a\0"}', "not valid JSON"),
        (b'{"text": "caf\xe9"}', "byte 0xe9 is not UTF-8"),
        (b'{"text": "a\\ud83d"}', r"half of a surrogate pair \(\\ud83d\)"),
        (b'{"text": "a", "id": 1.5}', "the id field 'id' is a number: give a text or a whole"),
        (b'{"text": "a", "id": true}', "the id field 'id' is a boolean"),
        (b'{"text": "a", "id": ["a"]}', "the id field 'id' is an array"),
        (b'{"text": "a", "id": ""}', "the id field 'id' is empty"),
        (b'{"text": "a", "id": "\\udc00"}', "the id field 'id' has half of a surrogate pair"),
        (b"[" * 100_000, r"not valid JSON \(RecursionError\)"),
        (b'{"text": ' + b"1" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_damaged_line_is_reported_and_the_rest_is_read(
    tmp_path: Path, line: bytes, message: str
) -> None:
    content = b'{"text": "first"}\n\n' + line + b'\n{"text": "last", "id": 7}'
    path = write(tmp_path / "rows.jsonl", content)
    first, damaged, last = read(path)
    assert first.key == "rows.jsonl:1"
    assert last.passage == Passage("last", "7")
    assert damaged.key == "rows.jsonl:3"
    assert re.match(f"rows.jsonl:3: .*{message}", damaged.error or "")
    assert damaged.position == content.index(line) + len(line) + 1


def test_a_text_stays_as_it_is(tmp_path: Path) -> None:
    texts = ["\ttwo  spaces \r\n", "😀 \u2028", "\ufeffmark"]
    content = b"\xef\xbb\xbf" + json_lines([{"text": text, "id": None} for text in texts])
    path = write(tmp_path / "rows.jsonl", content.replace(b"\n", b"\r\n"))
    assert [(p.text, p.id) for p in passages(read(path))] == [
        (text, f"rows.jsonl:{i}") for i, text in enumerate(texts, start=1)
    ]


def test_metadata_of_lines_holds_what_json_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"a": None, "b": [1, "é", {"c": False}], "d": 0.5, "half": "x\ud83d", "whole": "😀"}
    path = write(
        tmp_path / "rows.jsonl", json_lines([{"text": "t", **row, "vector": [0.5, 1]}] * 2)
    )
    for passage in passages(read(path)):
        assert passage.metadata == {**row, "half": "x\ufffd"}
    assert [record.message for record in caplog.records] == [
        "the field 'vector' is left out of the metadata: it is a vector"
    ]


@pytest.mark.parametrize("name", ["passage", "content", "page_content", "contents"])
def test_the_usual_names_of_the_text_are_tried(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "rows.jsonl", b"broken\n" + json_lines([{"title": "t", name: "a"}]))
    assert [passage.text for passage in passages(read(path))] == ["a"]


def test_fields_can_be_named(tmp_path: Path) -> None:
    rows = [{"body": "a", "number": 3, "text": "t", "id": "i"}, {"text": "b", "number": 4}]
    path = write(tmp_path / "rows.jsonl", json_lines([*rows, {"body": "c"}]))
    found = read(open_source(str(path), text_field="body", id_field="number"))
    assert found[0].passage == Passage("a", "3", {"text": "t", "id": "i"})
    assert list(errors(found)) == ["rows.jsonl:2", "rows.jsonl:3"]
    assert "no field 'body' (found 'text', 'number')" in (found[1].error or "")
    assert "the id field 'number' is null" in (found[2].error or "")
    assert passages(read(open_source(str(path), text_field="id")))[0] == Passage(
        "i", "rows.jsonl:1", {"body": "a", "number": 3, "text": "t"}
    )


def test_rows_without_a_usual_text_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", json_lines([{"body": "a", "title": "b"}]))
    refused(path, "rows.jsonl:1 has no field 'text' .found 'body', 'title'.: .* with --text-field")
    refused(path, "both name 'body'", text_field="body", id_field="body")
    table = write_table(tmp_path / "rows.parquet", [{"body": "a", "title": "b"}])
    refused(table, "rows.parquet' has no field 'text' .found 'body', 'title'.: .* --text-field")


def test_a_packed_file_cut_short_is_read_up_to_there(tmp_path: Path) -> None:
    packed = gzip.compress(json_lines(ROWS))
    path = write(tmp_path / "rows.jsonl.gz", packed[:-2000])
    found = read(path)
    (key, error), *others = errors(found).items()
    assert not others
    assert found[-1].key == key == f"rows.jsonl.gz:{len(found)}"
    assert "the gzip data are damaged" in error
    assert len(found) > 100


def test_packed_files_one_after_the_other_are_one(tmp_path: Path) -> None:
    packed = gzip.compress(json_lines(ROWS[:5])) + gzip.compress(json_lines(ROWS[5:8]))
    assert len(passages(read(write(tmp_path / "rows.jsonl.gz", packed)))) == 8


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_beyond_the_limit_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(lines, "_LONGEST", 40)
    fits = b'{"text": "' + b"a" * 27 + b'"}\n'
    assert len(fits) == 40
    content = (
        b'{"text": "first"}\n' + b"x" * 40 + b"\n" + b"x" * 1000 + b"\n" + fits + b"x" * 41 + end
    )
    path = write(tmp_path / "rows.jsonl", content)
    found = read(path)
    assert [item.error and item.error.split(":")[2] for item in found] == [
        None,
        " the line has 41 bytes, more than 40",
        " the line has 1001 bytes, more than 40",
        None,
        f" the line has {41 + len(end)} bytes, more than 40",
    ]
    assert [item.key for item in found] == [f"rows.jsonl:{i}" for i in range(1, 6)]
    assert found[2].position == 18 + 41 + 1001


def test_a_file_that_grows_ends_at_its_size(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", json_lines(ROWS[:3]))
    source = open_source(str(path))
    with path.open("ab") as file:
        file.write(json_lines(ROWS[3:5]))
    found = read(source)
    assert len(found) == 5
    assert found[-1].position == len(json_lines(ROWS[:3]))


def test_a_file_that_vanishes_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", json_lines(ROWS))
    source = open_source(str(path))
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be opened \(No such file"):
        next(source.read())


class Failing:
    """A stream that breaks."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        if not self.data:
            raise ConnectionResetError("reset by peer")
        data, self.data = self.data[:size], self.data[size:]
        return data

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        return


def test_a_connection_that_breaks_stops_the_run_after_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "rows.jsonl", json_lines(ROWS))
    source = open_source(str(path))
    monkeypatch.setattr(Path, "open", lambda *_: Failing(json_lines(ROWS[:3])))
    found: list[str] = []
    with pytest.raises(DataError, match=r"rows.jsonl:4: .* \(ConnectionResetError: reset"):
        found.extend(item.key for item in source.read())
    assert found == ["p1", "p2", "p3"]


def growth(read_all: Callable[[], int]) -> tuple[int, int]:
    """What a call returns, and the bytes that it took at most."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = read_all()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def count(source: Source) -> int:
    return sum(1 for _ in source.read())


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_lines_take_constant_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    line = json_lines([{"text": "word " * 500, "id": "a"}])
    opener: Any = gzip.open if suffix.endswith("gz") else open
    with opener(path, "wb") as file:
        for _ in range(20_000):
            file.write(line)
    source = open_source(str(path))
    items, peak = growth(partial(count, source))
    assert items == 20_000
    assert 20_000 * len(line) > 50_000_000
    assert peak < 2_000_000


def test_lines_in_a_folder_take_constant_memory(tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("wb") as file:
        for _ in range(5_000):
            file.write(json_lines([{"text": "word " * 1000}]))
    items, peak = growth(partial(count, open_source(str(tmp_path))))
    assert items == 5_000
    assert peak < 2_000_000


# Parquet


def test_tables_take_constant_memory(tmp_path: Path) -> None:
    texts = [f"{i} " + "word " * 400 for i in range(20_000)]
    path = write_table(
        tmp_path / "rows.parquet", pyarrow.table({"text": texts}), use_dictionary=False
    )
    del texts
    source = open_source(str(path))
    before, peak = pyarrow.total_allocated_bytes(), 0
    items = 0
    for _ in source.read():
        items += 1
        peak = max(peak, pyarrow.total_allocated_bytes() - before)
    assert items == 20_000
    assert 0 < peak < 12_000_000  # of 40 MB
    assert growth(partial(count, source))[1] < 6_000_000


def test_parquet_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    write_table(tmp_path / "rows" / "a.parquet", [{"text": "a"}, {"text": None}])
    write_table(
        tmp_path / "rows" / "b" / "c.parquet", [{"text": "", "id": 5}, {"text": "d", "id": 6}]
    )
    found = read(tmp_path / "rows")
    assert [(item.key, item.position) for item in found] == [
        ("a.parquet:1", 1),
        ("a.parquet:2", 2),
        ("b/c.parquet:1", 3),
        ("6", 4),
    ]
    assert list(errors(found).values()) == [
        "a.parquet:2: the field 'text' is null: give a text.",
        "b/c.parquet:1: the field 'text' is empty: fill it or leave the row out.",
    ]


def test_columns_become_metadata_that_json_can_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns: dict[str, Any] = {
        "text": pyarrow.array(["a"]).dictionary_encode(),
        "id": pyarrow.array([3], pyarrow.uint8()),
        "day": [date(2024, 5, 1)],
        "moment": pyarrow.array([1], pyarrow.timestamp("ns")),
        "price": [Decimal("1.50")],
        "tags": [["x", "y"]],
        "place": [{"city": "Köln", "days": [date(2024, 5, 1)]}],
        "rate": [0.5],
        "nothing": pyarrow.nulls(1),
        "dot.ted": ["z"],
        "picture": [b"\xff"],
        "vector": [[0.5, 0.25]],
        "fixed": pyarrow.array([[0.5, 1]], pyarrow.list_(pyarrow.float32(), 2)),
        "pair": [{"bytes": b"\xff"}],
        "lasts": pyarrow.array([1], pyarrow.duration("s")),
        "half_text": pyarrow.array(["b"], pyarrow.large_string()),
    }
    path = write_table(tmp_path / "rows.parquet", pyarrow.table(columns))
    (item,) = read(path)
    metadata = dict(item.passage.metadata) if item.passage else {}
    assert (item.key, item.passage and item.passage.text) == ("3", "a")
    assert metadata == {
        "day": "2024-05-01",
        "moment": "1970-01-01 00:00:00.000000001",
        "price": "1.50",
        "tags": ["x", "y"],
        "place": {"city": "Köln", "days": ["2024-05-01"]},
        "rate": 0.5,
        "nothing": None,
        "dot.ted": "z",
        "half_text": "b",
    }
    json.dumps(metadata)
    assert [record.message.split("'")[1] for record in caplog.records] == [
        "picture",
        "vector",
        "fixed",
        "pair",
        "lasts",
    ]


def test_a_value_that_is_no_text_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    def strings(*values: bytes) -> Any:
        return pyarrow.array(values).view(pyarrow.string())

    table = pyarrow.table(
        {"text": strings(b"a", b"\xff", b"c"), "title": strings(b"t", b"t", b"\xfe")}
    )
    found = read(write_table(tmp_path / "rows.parquet", table))
    assert passages(found) == [Passage("a", "rows.parquet:1", {"title": "t"})]
    assert list(errors(found).values()) == [
        "rows.parquet:2: the field 'text' cannot be read (not a valid string): mend the row.",
        "rows.parquet:3: the field 'title' cannot be read (not a valid string): mend the row.",
    ]


def test_a_damaged_row_group_is_reported_and_the_next_is_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "rows.parquet", ROWS, row_group_size=200, compression="zstd")
    text = parquet.ParquetFile(path).metadata.row_group(1).column(1)
    begin = text.dictionary_page_offset or text.data_page_offset
    content = bytearray(path.read_bytes())
    content[begin : begin + text.total_compressed_size] = b"\xff" * text.total_compressed_size
    path.write_bytes(content)
    found = read(path)
    assert [str(p.id) for p in passages(found)] == [
        f"p{i}" for i in (*range(1, 201), *range(401, 601))
    ]
    ((key, error),) = errors(found).items()
    assert key == "rows.parquet:201"
    assert error.startswith("rows.parquet:201: 200 rows from here on cannot be read (")
    assert [item.position for item in found[199:202]] == [200, 400, 401]


def test_columns_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    table = write_table(tmp_path / "rows.parquet", [{"text": "a", "n": 1, "f": 0.5}])
    refused(
        table, "has no field 'body' .found 'text', 'n', 'f'.: .* --text-field", text_field="body"
    )
    refused(table, "has no field 'key' .found .*--id-field", id_field="key")
    refused(table, "the column 'n' has the type int64, but expected string", text_field="n")
    refused(table, "the id column 'f' has the type double", id_field="f")
    assert [item.key for item in read(open_source(str(table), id_field="n"))] == ["1"]
    saved = save([{"text": "a"}], tmp_path / "saved")
    refused(saved, "has no field 'body' .found 'text'.", text_field="body")
    two = pyarrow.Table.from_arrays([["a"], ["b"]], names=["text", "text"])
    refused(write_table(tmp_path / "two.parquet", two), "two columns 'text'")


def test_every_parquet_file_needs_the_column(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", [{"text": "a"}])
    write_table(tmp_path / "b.parquet", [{"title": "b"}])
    refused(tmp_path, "b.parquet' has no field 'text'")


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    table = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    refused(write_table(tmp_path / "rows.parquet", table), "has no rows")


def test_a_folder_of_two_kinds_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "data" / "train.parquet", [{"text": "a"}])
    write(tmp_path / "README.md", "about")
    refused(tmp_path, f"such as 'README.md': .* or 'hf:{tmp_path}'")
    assert [passage.text for passage in passages(read(f"hf:{tmp_path}"))] == ["a"]


# Datasets


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A folder with two splits, as on the Hub."""
    write(tmp_path / "local" / "train.jsonl", json_lines([{"text": "a", "id": 1}]))
    write(tmp_path / "local" / "test.jsonl", json_lines([{"text": "b", "id": 2}]))
    return tmp_path / "local"


def test_a_split_is_chosen_by_name(local: Path) -> None:
    assert [item.key for item in read(f"hf:{local}@test")] == ["2"]
    refused(
        f"hf:{local}", f"has the splits 'train', 'test': name one of them, as in hf:{local}@train"
    )
    refused(f"hf:{local}@dev", "has no split 'dev' .found 'train', 'test'.")


def test_a_dataset_without_a_schema_is_read(tmp_path: Path) -> None:
    write(tmp_path / "rows" / "train.csv", "text,n\na,1\n,2\nb,3\n")
    found = read(f"hf:{tmp_path / 'rows'}@train")
    assert [item.key for item in found] == ["row:1", "row:2", "row:3"]
    assert passages(found)[1] == Passage("b", "row:3", {"n": 3})
    assert errors(found) == {"row:2": "row:2: the field 'text' is null: give a text."}


def test_fields_of_several_types_are_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "a", "extra": {"b": 1}},
        {"text": "c", "extra": [None, "d"]},
    ]
    write(tmp_path / "rows" / "train.jsonl", json_lines(rows))
    assert [p.metadata for p in passages(read(f"hf:{tmp_path / 'rows'}"))] == [
        {"extra": {"b": 1}},
        {"extra": [None, "d"]},
    ]


def test_pictures_are_left_out_without_being_decoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "scan": datasets.Image(), "kind": datasets.ClassLabel(2)}
    )
    dataset = datasets.Dataset.from_dict(
        {"text": ["a"], "scan": [{"bytes": b"no picture", "path": None}], "kind": [1]}, features
    )
    datasets.disable_progress_bars()
    dataset.save_to_disk(str(tmp_path / "saved"))
    datasets.enable_progress_bars()
    assert passages(read(tmp_path / "saved")) == [Passage("a", "row:1", {"kind": 1})]
    assert "'scan' is left out" in caplog.text


def test_what_save_to_disk_wrote_is_opened_under_both_names(tmp_path: Path) -> None:
    divided = save(ROWS[:3], tmp_path / "divided", "train")
    whole = save(ROWS[:3], tmp_path / "whole")
    refused(divided, "has the splits 'train'")
    refused(f"{whole}@train", "has no splits, but got 'train'")
    assert open_source(f"hf:{divided}@train").name == f"{divided}@train"
    assert read(f"hf:{whole}") == read(f"{divided}@train")


def test_a_path_with_an_at_sign_is_a_path(tmp_path: Path) -> None:
    write(tmp_path / "data@train" / "a.md", "text")
    assert len(read(tmp_path / "data@train")) == 1


def test_a_dataset_that_breaks_stops_the_run(tmp_path: Path) -> None:
    write(tmp_path / "rows" / "train-0.jsonl", json_lines([{"text": "a"}] * ROWS_AT_A_TIME))
    write(tmp_path / "rows" / "train-1.jsonl", "broken\n")
    items = open_source(f"hf:{tmp_path / 'rows'}@train").read()
    assert [next(items).key for _ in range(ROWS_AT_A_TIME)][-1] == f"row:{ROWS_AT_A_TIME}"
    with pytest.raises(DataError, match=f"@train' cannot be read on after row {ROWS_AT_A_TIME} "):
        next(items)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "hf:nobody/nothing@train",
            r"'hf:nobody/nothing@train' cannot be opened \(ConnectionError",
        ),
        ("hf:", "names no dataset"),
        ("hf:@train", "cannot be opened|names no dataset"),
    ],
)
def test_a_dataset_that_is_not_there_is_refused(source: str, message: str) -> None:
    refused(source, message)


def test_a_dataset_without_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rows" / "train.csv", "text,id\n")
    refused(f"hf:{tmp_path / 'rows'}", "has no rows")
    saved = save(ROWS[:2], tmp_path / "saved")
    empty = datasets.Dataset.from_dict({"text": []})
    monkeypatch.setattr(datasets, "load_from_disk", lambda _: empty)
    refused(saved, "has no rows")


def test_a_damaged_saved_dataset_is_refused(tmp_path: Path) -> None:
    saved = save(ROWS[:3], tmp_path / "saved")
    for file in saved.glob("*.arrow"):
        file.write_bytes(b"damaged")
    refused(saved, "cannot be opened")


def stored_remotely(path: str, rows: list[dict[str, Any]]) -> str:
    """The URL of a Parquet file, as the Hub would have it."""
    url = f"memory://hub/{path}"
    with fsspec.open(url, "wb") as file:
        parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=2)
    return url


def builder_of(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, list[str]], **sizes: int
) -> list[tuple[str, str | None]]:
    """Lets every dataset be one of these files; returns what is asked for from now on."""
    asked = []
    splits = {split: SimpleNamespace(num_examples=size) for split, size in sizes.items()}

    def load(path: str, config: str | None) -> Any:
        asked.append((path, config))
        return SimpleNamespace(
            name="parquet",
            config=SimpleNamespace(data_files=files),
            info=SimpleNamespace(splits=splits or None),
        )

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    return asked


def test_parquet_files_of_the_hub_are_read_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = [stored_remotely("a.parquet", ROWS[:3]), stored_remotely("b.parquet", ROWS[3:5])]
    urls.append(stored_remotely("c.parquet", [{"text": "last"}, {"id": "no text"}]))
    asked = builder_of(monkeypatch, {"train": urls, "test": urls[:1]}, train=7)
    source = open_source("hf:owner/name:small@train")
    assert asked == [("owner/name", "small")]
    assert (source.name, source.size) == ("hf:owner/name:small@train", 7)
    found = read(source)
    assert [item.key for item in found] == ["p1", "p2", "p3", "p4", "p5", "row:6", "row:7"]
    assert errors(found) == {"row:7": "row:7: the field 'text' is null: give a text."}
    other = open_source("hf:owner/name@test")
    assert (other.name, other.size) == ("hf:owner/name@test", None)
    assert len(read(other)) == 3


def test_what_the_hub_does_not_give_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [stored_remotely("a.parquet", ROWS[:3]), "memory://hub/missing.parquet"]
    builder_of(monkeypatch, {"train": urls})
    items = open_source("hf:owner/name").read()
    assert [next(items).key for _ in range(3)] == ["p1", "p2", "p3"]
    with pytest.raises(InputError, match=r"'memory://hub/missing\.parquet' cannot be opened"):
        next(items)


class Breaking(io.BytesIO):
    """A stream that can be broken."""

    broken = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.broken:
            raise ConnectionResetError("reset by peer")
        return super().read(size)


def test_a_broken_connection_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    url = stored_remotely("a.parquet", ROWS[:4])
    with fsspec.open(url, "rb") as file:
        stream = Breaking(file.read())
    source = open_source(url)
    monkeypatch.setattr(StoredFile, "open", lambda *_, **__: stream)
    items = source.read()
    assert next(items).key == "p1"
    stream.broken = True
    with pytest.raises(DataError, match=r"a.parquet:3: .*\(ConnectionResetError: reset.*try again"):
        list(items)


def test_a_program_can_end_in_the_middle_of_a_hub_dataset(tmp_path: Path) -> None:
    rows = [{"text": f"{i} " * 50} for i in range(20_000)]
    write_table(tmp_path / "train.parquet", rows, row_group_size=2000)
    code = f"""
from cocom.indexing.sources.stored_file import StoredFile
from cocom.indexing.sources import open_source
items = open_source("hf:{tmp_path}@train").read()
print(next(items).key)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("row:1\n", "")


def test_the_library_is_quiet_until_the_last_reader_is_done() -> None:
    names = ("datasets", "huggingface_hub", "fsspec")
    levels = [logging.getLogger(name).level for name in names]
    outer, inner = quiet(), quiet()
    with outer:
        inner.__enter__()
        assert datasets.are_progress_bars_disabled()
    assert [logging.getLogger(name).level for name in names] == [logging.CRITICAL] * 3
    assert datasets.are_progress_bars_disabled()
    inner.__exit__(None, None, None)
    assert [logging.getLogger(name).level for name in names] == levels
    assert not datasets.are_progress_bars_disabled()


# URLs


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes], list[int]]]:
    """A web server on this machine, its files by path, and how many bytes each answer of it had."""
    files: dict[str, bytes] = {}
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.partition("?")[0])
            if content is None:
                self.send_error(404)
                return
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            begin, end = (int(asked[1]), int(asked[2])) if asked else (0, len(content) - 1)
            part = content[begin : end + 1]
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{end}/{len(content)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if self.command == "GET":
                sent.append(len(part))
                self.wfile.write(part)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}", files, sent
        web.shutdown()
        thread.join()


def test_rows_are_read_over_http(
    server: tuple[str, dict[str, bytes], list[int]], tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    url, files, _ = server
    files["/rows.jsonl"] = json_lines(ROWS)
    files["/rows.jsonl.gz"] = gzip.compress(json_lines(ROWS))
    files["/rows.parquet"] = write_table(tmp_path / "rows.parquet", ROWS).read_bytes()
    for path, content in files.items():
        source = open_source(f"{url}{path}?download=true")
        assert source.name == f"{url}{path}?download=true"
        assert source.size == (600 if path.endswith("parquet") else len(content))
        assert plain(read(source)) == expected_items()
    refused(f"{url}/missing.jsonl", "there is no file .* or it cannot be reached")
    files["/rows.json"] = b"{}"
    refused(f"{url}/rows.json", "is a JSON file")


def test_no_part_of_a_table_is_fetched_twice(
    server: tuple[str, dict[str, bytes], list[int]], tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    url, files, sent = server
    columns = {name: [os.urandom(5000).hex() for _ in range(1000)] for name in ("text", "title")}
    table = pyarrow.table(columns)
    path = write_table(tmp_path / "rows.parquet", table, compression="none", use_dictionary=False)
    files["/rows.parquet"] = path.read_bytes()
    assert count(open_source(f"{url}/rows.parquet")) == 1000
    assert len(files["/rows.parquet"]) > 20_000_000
    assert sum(sent) < 1.1 * len(files["/rows.parquet"])


def test_what_a_url_cannot_give_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refused("memory://missing/rows.jsonl", "there is no file 'memory://missing/rows.jsonl'")
    refused("nothing://rows.jsonl", r"cannot be opened \(ValueError: Protocol not known: nothing")
    with fsspec.open("memory://folder/empty.jsonl", "wb"):
        pass
    refused("memory://folder/empty.jsonl", "is empty")
    refused("memory://folder", "is a folder: give the URL of one file")
    with fsspec.open("memory://folder/a.csv", "wb") as file:
        file.write(b"a")
    refused("memory://folder/a.csv", "suffix '.csv', which is not supported")

    def without_package(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", without_package)
    refused(
        "s3://user:secret@bucket/rows.jsonl",
        r"'s3://user@bucket/rows.jsonl' needs a package that is not installed \(ImportError: Install s3fs to",
    )


# Running programs


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module of the current folder and returns `python:` and its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names: list[str] = []

    def make(code: str) -> str:
        names.append(f"cocom_program_{len(names)}")
        monkeypatch.delitem(sys.modules, names[-1], raising=False)
        write(tmp_path / f"{names[-1]}.py", f"from cocom.datatypes import Passage\n{code}\n")
        return f"python:{names[-1]}"

    return make


def test_texts_passages_and_mappings_are_read(program: Callable[[str], str]) -> None:
    code = """
class Holder:
    rows = ["a", Passage("b", "key", {"n": 1, "o": object}), Passage("c"), {"text": "d", "id": 4},
            {"text": "e", "m": 1}, 5, None, "", Passage(""), Passage("f", ""), {"text": b"g"}, b"h"]
"""
    found = read(f"{program(code)}:Holder.rows")
    assert passages(found) == [
        Passage("a", "row:1"),
        Passage("b", "key", {"n": 1}),
        Passage("c", "row:3"),
        Passage("d", "4"),
        Passage("e", "row:5", {"m": 1}),
    ]
    assert list(errors(found).values()) == [
        "row:6: the document is a number: give a text, a Passage or a mapping.",
        "row:7: the document is null: give a text, a Passage or a mapping.",
        "row:8: the text is empty: fill it or leave the row out.",
        "row:9: the text is empty: fill it or leave the row out.",
        "row:10: the id is empty: fill it or leave the row out.",
        "row:11: the field 'text' is of the type bytes: give a text.",
        "row:12: the document is of the type bytes: give a text, a Passage or a mapping.",
    ]


def test_named_fields_need_mappings(program: Callable[[str], str]) -> None:
    source = f"{program('rows = [dict(body=1.5), dict(body=str(2), key=3), str()]')}:rows"
    found = read(open_source(source, text_field="body", id_field="key"))
    assert passages(found) == [Passage("2", "3")]
    assert "the document has no field 'body'" in (found[2].error or "")


def test_rows_that_are_no_list_are_read(program: Callable[[str], str]) -> None:
    code = """
class Rows:
    def __len__(self):
        return 2
    def __getitem__(self, i):
        return ["a", "b"][i]

class Fresh:
    def __iter__(self):
        return iter(["c"])

rows = Rows()
"""
    name = program(code)
    assert open_source(f"{name}:rows").size == 2
    assert [item.key for item in read(f"{name}:rows")] == ["row:1", "row:2"]
    assert [passage.text for passage in passages(read(f"{name}:Fresh"))] == ["c"]


@pytest.mark.parametrize(
    ("code", "attribute", "message"),
    [
        ("rows = 5", "rows", "gave a number: give an iterable of texts"),
        ("rows = 'text'", "rows", "gave a text: give an iterable"),
        ("rows = {'a': 'b'}", "rows", "gave an object: give an iterable"),
        ("rows = []", "rows", "is empty"),
        ("rows = (text for text in 'ab')", "rows", "type generator, which can be read only once"),
        ("rows = []", "row", "has no 'row': check the name"),
        (
            "def rows(model): ...",
            "rows",
            r"needs arguments \(missing a required argument: 'model'\)",
        ),
        ("async def rows(): ...", "rows", "is an async function"),
        ("async def rows(): yield 'a'", "rows", "is an async function"),
        ("raise OSError('no index')", "rows", r"cannot be imported \(OSError: no index\)"),
    ],
)
def test_what_is_no_iterable_is_refused(
    program: Callable[[str], str], code: str, attribute: str, message: str
) -> None:
    refused(f"{program(code)}:{attribute}", message)


def test_names_of_objects_are_checked() -> None:
    refused("python:json", "write it as python:package.module:attribute")
    refused("python:json:", "write it as python")
    refused("python:no_such_module:rows", r"cannot be imported \(ModuleNotFoundError")


def test_a_function_that_returns_something_else_is_refused_when_read(
    program: Callable[[str], str],
) -> None:
    source = open_source(f"{program('def rows(): return 5')}:rows")
    with pytest.raises(InputError, match="rows' gave a number"):
        next(source.read())
    source = open_source(f"{program('def rows(): yield dict(body=5)')}:rows")
    with pytest.raises(InputError, match=r"row:1 has no field 'text' \(found 'body'\)"):
        next(source.read())


def test_a_program_that_fails_stops_the_run(program: Callable[[str], str]) -> None:
    name = program("def rows():\n    yield 'a'\n    1 / 0")
    items = open_source(f"{name}:rows").read()
    assert next(items).key == "row:1"
    with pytest.raises(DataError, match=r"failed at document 2 \(ZeroDivisionError"):
        next(items)


def test_values_of_a_program_become_plain(caplog: pytest.LogCaptureFixture) -> None:
    endless: list[object] = []
    endless.append(endless)
    fields = {
        "number": np.int64(3),
        "fraction": np.float32(0.5),
        "moment": datetime(2024, 5, 1, tzinfo=UTC),
        "pair": (1, "x"),
        "array": np.zeros(2),
        "endless": endless,
    }
    kept = plain_fields(fields, set())
    assert kept == {
        "number": 3,
        "fraction": 0.5,
        "moment": "2024-05-01 00:00:00+00:00",
        "pair": [1, "x"],
    }
    json.dumps(kept)
    assert [record.message.split("it is ")[1] for record in caplog.records] == [
        "of the type ndarray",
        "nested too deeply",
    ]


# Packages


@pytest.mark.parametrize(
    ("package", "kind"),
    [("pyarrow", "parquet"), ("datasets", "saved"), ("datasets", "hub"), ("fsspec", "memory")],
)
def test_a_missing_package_is_named(
    package: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_rows(kind, tmp_path, monkeypatch)
    source = {
        "parquet": str(tmp_path / "rows.parquet"),
        "saved": str(tmp_path / "saved"),
        "hub": f"hf:{tmp_path / 'rows'}",
        "memory": "memory://rows/rows.jsonl",
    }[kind]
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("arrow", "parquet", "dataset"):
        monkeypatch.delitem(sys.modules, f"cocom.indexing.sources.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.* pip install 'cocom\[index\]'"):
        open_source(source)


def test_documents_and_lines_need_no_package() -> None:
    code = """
import sys
from cocom.indexing.sources.stored_file import StoredFile
from cocom.indexing.sources import open_source
for source in sys.argv[1:]:
    assert list(open_source(source).read())
print(*({"torch", "transformers", "pyarrow", "datasets", "fsspec"} & set(sys.modules)))
"""
    samples = sorted(map(str, (SAMPLES / "documents").iterdir()))
    done = subprocess.run(
        [sys.executable, "-c", code, str(SAMPLES / "documents"), *samples],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
