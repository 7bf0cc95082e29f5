"""Passages from JSON lines: one a line, as it stands."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, BinaryIO

from cocom.errors import DataError, InputError
from cocom.indexing.sources.fields import Fields, choose_fields, kind
from cocom.indexing.sources.items import Item, ending_at, reason
from cocom.indexing.sources.stored_file import StoredFile

__all__ = ["JsonLines", "Line", "open_lines", "parse_line", "read_lines"]

_LONGEST = (
    1 << 24
)  # bytes of a line; a longer one is hardly a passage, and memory has to stay constant
_LOOKED_AT = 1000  # lines in which to look for the first row
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WANTED = 'each line needs a JSON object like {"text": "…"}'


@dataclass(frozen=True)
class Line:
    """A line that is not blank.

    Attributes:
        place: File and number, such as `data.jsonl:12`.
        data: The bytes; None if they cannot be had.
        error: Why they cannot be had.
        position: Bytes of the file read so far.
    """

    place: str
    data: bytes | None
    error: str | None
    position: int


@dataclass(frozen=True)
class JsonLines:
    """A file of JSON lines, packed by gzip or not."""

    file: StoredFile
    fields: Fields

    @property
    def name(self) -> str:
        """The absolute path or the URL."""
        return self.file.name

    @property
    def size(self) -> int | None:
        """Bytes of the file."""
        return self.file.size

    def read(self) -> Iterator[Item]:
        """One item for each line that is not blank."""
        return ending_at(self.size, map(self._item, read_lines(self.file)))

    def _item(self, line: Line) -> Item:
        try:
            row = parse_line(line)
        except DataError as error:
            return Item(line.place, None, str(error), line.position)
        return self.fields.item(row, line.place, line.position)


def open_lines(file: StoredFile, text_field: str | None, id_field: str | None) -> JsonLines:
    """Open a file of JSON lines.

    The first row decides which field holds the text, if none is named.

    Raises:
        InputError: The file is blank or damaged, or no field has a usual name.
    """
    names: list[str] = [text_field or "text"]
    found = False
    with closing(read_lines(file)) as lines:
        for line in islice(lines, _LOOKED_AT):
            if line.data is None and not found:
                raise InputError(line.error)
            found = True
            try:
                names = list(parse_line(line))
                break
            except DataError:
                continue
    if not found:
        raise InputError(f"'{file.name}' has only blank lines: fill it or give another source.")
    return JsonLines(file, choose_fields(names, text_field, id_field, line.place))


def read_lines(file: StoredFile) -> Generator[Line]:
    """The lines of a file, without those that are blank.

    Damage to the packing, and a line too long for memory, are lines without data.

    Raises:
        InputError: The file cannot be opened.
        DataError: The file cannot be read on.
    """
    with file.open() as opened:
        counted = _Counted(opened)
        packed = file.label.lower().endswith(".gz")
        raw = gzip.GzipFile(fileobj=counted) if packed else counted
        stream: io.BufferedIOBase = io.BufferedReader(raw)
        position = 0
        for number in count(1):
            place = f"{file.label}:{number}"
            try:
                data, length = _read_line(stream)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                damage = f"{place}: the gzip data are damaged ({error})"
                damage += ", so that nothing from here on can be read: make the file anew."
                yield Line(place, None, damage, counted.count)
                return
            except Exception as error:  # a connection fails in many ways
                raise DataError(
                    f"{place}: '{file.name}' cannot be read on ({reason(error)}): try again."
                ) from error
            if not length:
                return
            position = counted.count if packed else position + length
            if data is None:
                long = f"{place}: the line has {length} bytes, more than {_LONGEST}: {_WANTED}."
                yield Line(place, None, long, position)
                continue
            if number == 1:
                data = data.removeprefix(_BYTE_ORDER_MARK)
            if data.strip():
                yield Line(place, data, None, position)


def _read_line(stream: io.BufferedIOBase) -> tuple[bytes | None, int]:
    """A line, or None for one that is too long, and its length."""
    data: bytes | None = None
    length = 0
    while True:
        part = stream.readline(_LONGEST)
        data = None if length else part
        length += len(part)
        if len(part) < _LONGEST or part.endswith(b"\n"):
            return data, length


def parse_line(line: Line) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        DataError: There is none.
    """
    if line.data is None:
        raise DataError(line.error)
    try:
        row = json.loads(line.data.decode())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{line.place}: byte 0x{line.data[error.start]:02x} is not UTF-8: save the file with the "
            "encoding UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        message = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(f"{line.place}: not valid JSON ({message}): {_WANTED}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{line.place}: found {kind(row)}: {_WANTED}.")
    return row


class _Counted(io.RawIOBase):
    """Counts the bytes that are read."""

    def __init__(self, stream: BinaryIO) -> None:
        self.count = 0
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)
