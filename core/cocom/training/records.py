"""JSONL in, checked records out; every error names file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.errors import DataError

__all__ = ["QuestionRecord", "read_questions", "read_texts", "records"]


@dataclass(frozen=True)
class QuestionRecord:
    """A question with its passages (the answer's among them) and accepted answers."""

    question: str
    passages: tuple[str, ...]
    answers: tuple[str, ...]


def read_questions(path: str | Path) -> list[QuestionRecord]:
    """Read `{"question", "passages" or "passage", "answer" or "answers"}` records, one a line.

    Raises:
        DataError: A file or a line that cannot be used, with its number.
    """
    return [
        QuestionRecord(
            _text(record, "question", where),
            _texts(record, "passage", where),
            _texts(record, "answer", where),
        )
        for record, where in records(path)
    ]


def read_texts(path: str | Path) -> list[str]:
    """Read `{"text"}` records, one a line.

    Raises:
        DataError: A file or a line that cannot be used, with its number.
    """
    return [_text(record, "text", where) for record, where in records(path)]


def records(path: str | Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Objects of a JSONL file (also gzipped), each with its place as `file:line`.

    Raises:
        DataError: The file is missing or empty, or a line is not UTF-8, not JSON, or no object.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"'{path}' does not exist: pass a JSONL file, one record a line.")
    count = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(_lines(file, path), start=1):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                # A byte-order mark may stand in front of the first line.
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{where}: not UTF-8 ({error.reason}): save the file as UTF-8."
                ) from error
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{where}: not JSON ({error.msg} at column {error.colno}): write one object a line."
                ) from error
            if not isinstance(record, dict):
                raise DataError(f"{where}: expected an object, got {type(record).__name__}.")
            count += 1
            yield record, where
    if not count:
        raise DataError(f"'{path}' holds no record: write one JSON object a line.")


def _lines(file: Iterable[bytes], path: Path) -> Iterator[bytes]:
    try:
        yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read ({error}): the file is damaged.") from error


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: '{name}' must be a text that is not empty, got {value!r}.")
    return value


def _texts(record: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    plural = f"{name}s"
    if plural not in record:
        return (_text(record, name, where),)
    values = record[plural]
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(v, str) and v.strip() for v in values)
    ):
        raise DataError(
            f"{where}: '{plural}' must be a list of texts that are not empty, got {values!r:.80}."
        )
    return tuple(values)
