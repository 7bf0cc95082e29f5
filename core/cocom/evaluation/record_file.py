"""Results on disk, one line a question: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from cocom.errors import InputError

__all__ = ["RecordFile", "written_to"]

_LOG = logging.getLogger(__name__)
_NUMBER = "n"


class RecordFile:
    """A JSONL file: a header that fixes what the results are of, and a row for each question.

    Attributes:
        path: The file.
        done: Numbers of the questions that have their row.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Open a file, or begin it.

        A last line that was not written to its end is taken away: its question is asked again.

        Args:
            path: The file; its folder is made.
            header: What fixes the results: JSON values by name.

        Raises:
            InputError: The file is of other results, damaged, or cannot be written.
        """
        self.path = path
        self._file: FileIO | None = None
        wanted = json.loads(json.dumps(dict(header)))
        with written_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend(path)
            found = _header(path)
            if found is None:
                path.write_text(json.dumps(wanted, ensure_ascii=False) + "\n", encoding="utf-8")
        if found is not None:
            _check(path, found, wanted)
        self.done = {int(row[_NUMBER]) for row in self}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, in the order in which they were written."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number > 1:
                    yield _row(line, self.path, number)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write some rows, which stay whatever happens to this process afterwards.

        Raises:
            InputError: The disk is full or the like, or another run writes the file.
        """
        if self._file is None:
            with written_to(self.path):
                self._file = self.path.open("ab", buffering=0)
            _claim(self._file, self.path)
        kept = [dict(row) for row in rows]
        lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in kept)
        left = memoryview("".join(line + "\n" for line in lines).encode())
        with written_to(self.path):
            while left:
                left = left[self._file.write(left) :]
        self.done.update(int(row[_NUMBER]) for row in kept)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Say which file or folder of results cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror or error}): make room or give another --out; what "
            "was answered is kept."
        ) from error


def _claim(file: FileIO, path: Path) -> None:
    """Make sure that no other run writes the same file, where the system can tell."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"another run writes '{path}': wait for its end, or give another --out."
        ) from error


def _mend(path: Path) -> None:
    """Take away a last line that has no end."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        whole = file.read()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            _LOG.warning(
                "'%s' ends inside a line, as after a crash: its last %d bytes are taken away.",
                path,
                len(whole) - end,
            )
            file.truncate(end)


def _header(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        line = file.readline()
    return _parsed(line, path, 1) if line else None


def _check(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in {**wanted, **found}:
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"'{path}' was written with {name} {found.get(name)!r}, but this run has "
                f"{wanted.get(name)!r}: give another --out, or the same settings to go on."
            )


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    row = _parsed(line, path, number)
    if not isinstance(row.get(_NUMBER), int):
        raise InputError(
            f"'{path}', line {number}: a row has the number of its question as '{_NUMBER}', got "
            f"{sorted(row)}: delete the line, and its question is asked again."
        )
    return row


def _parsed(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(
            f"'{path}', line {number} is damaged ({error}): delete the "
            f"{'file' if number == 1 else 'line'}, and what it held is asked again."
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            f"'{path}', line {number}: expected an object, got {type(value).__name__}."
        )
    return value
