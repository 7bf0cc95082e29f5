"""Results on disk: a stopped run goes on, another run is refused, and nothing half-written counts."""

from __future__ import annotations

import errno
from io import FileIO
from pathlib import Path

import pytest

from cocom.errors import InputError
from cocom.evaluation.record_file import RecordFile

HEADER = {"column": "text", "model": "abc", "settings": {"passages": 5}}


def test_rows_stay_and_are_known_as_done(tmp_path) -> None:
    path = tmp_path / "new" / "text.jsonl"
    with RecordFile(path, HEADER) as file:
        file.append([{"n": 3, "answer": "\u2028 “ü”"}, {"n": 1, "answer": ""}])
        file.append([{"n": 2, "answer": "c"}])
    with RecordFile(path, HEADER) as again:
        assert again.done == {1, 2, 3}
        assert [row["answer"] for row in again] == ["\u2028 “ü”", "", "c"]


def test_what_was_appended_is_on_disk_before_the_file_is_closed(tmp_path) -> None:
    file = RecordFile(tmp_path / "text.jsonl", HEADER)
    file.append([{"n": 0}])
    assert RecordFile(tmp_path / "text.jsonl", HEADER).done == {0}
    file.close()


@pytest.mark.parametrize("torn", [b'{"n":2,"ans', b'{"n":2}', b"\xff"])
def test_a_torn_last_line_is_taken_away(tmp_path, caplog, torn) -> None:
    path = tmp_path / "text.jsonl"
    with RecordFile(path, HEADER) as file:
        file.append([{"n": 1}])
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with RecordFile(path, HEADER) as file:
        assert file.done == {1}
        assert f"its last {len(torn)} bytes are taken away" in caplog.text
        file.append([{"n": 2}])
    assert path.read_bytes() == whole + b'{"n":2}\n'


def test_a_torn_header_begins_anew(tmp_path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_bytes(b'{"column":')
    with RecordFile(path, HEADER) as file:
        file.append([{"n": 1}])
    assert RecordFile(path, HEADER).done == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "xyz"}, r"written with model 'abc', but this run has 'xyz': give another --out"),
        (
            {"settings": {"passages": 4}},
            r"with settings \{'passages': 5\}, but .*\{'passages': 4\}",
        ),
        ({"compressor": "m"}, r"with compressor None, but this run has 'm'"),
    ],
)
def test_results_of_other_settings_are_refused(tmp_path, change, message) -> None:
    path = tmp_path / "text.jsonl"
    RecordFile(path, HEADER)
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        RecordFile(path, {**HEADER, **change})
    assert path.read_bytes() == before


def test_two_runs_do_not_write_one_file(tmp_path) -> None:
    pytest.importorskip("fcntl", reason="this system cannot lock files so")
    path = tmp_path / "text.jsonl"
    with RecordFile(path, HEADER) as first, RecordFile(path, HEADER) as second:
        first.append([{"n": 1}])
        with pytest.raises(InputError, match=r"another run writes '.*': wait for its end"):
            second.append([{"n": 2}])
    assert RecordFile(path, HEADER).done == {1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{oops}\n", r"line 3 is damaged"),
        (b"[1]\n", r"line 3: expected an object, got list"),
        (b'{"answer":""}\n', r"line 3: a row has the number of its question as 'n'"),
    ],
)
def test_damage_in_the_middle_is_reported_not_passed_over(tmp_path, line, message) -> None:
    path = tmp_path / "text.jsonl"
    with RecordFile(path, HEADER) as file:
        file.append([{"n": 1}])
    path.write_bytes(path.read_bytes() + line + b'{"n":2}\n')
    with pytest.raises(InputError, match=message):
        RecordFile(path, HEADER)


def test_a_full_disk_is_one_sentence_and_what_was_written_counts(tmp_path, monkeypatch) -> None:
    class Full(FileIO):
        def write(self, data, /) -> int:
            if self.tell() > len(before):
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(bytes(data[:8]))  # as a disk does that is nearly full

    path = tmp_path / "text.jsonl"
    with RecordFile(path, HEADER) as file:
        file.append([{"n": 1}])
        file.close()
        before = path.read_bytes()
        monkeypatch.setattr(Path, "open", lambda self, *_, **__: Full(self, "ab"))
        with pytest.raises(InputError, match=r"text\.jsonl' cannot be written \(No space left on"):
            file.append([{"n": 2, "answer": "word"}])
        assert file.done == {1}
    monkeypatch.undo()
    assert RecordFile(path, HEADER).done == {1}


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(
        InputError, match=r"cannot be written \(File exists\): make room or give an"
    ):
        RecordFile(tmp_path / "out" / "text.jsonl", HEADER)
