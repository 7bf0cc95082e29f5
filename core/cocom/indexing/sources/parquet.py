"""Passages from Parquet files: one a row, as it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cocom.errors import DataError, InputError
from cocom.indexing.sources.arrow import ROWS, Rows, fields_of, plain_columns
from cocom.indexing.sources.fields import Fields
from cocom.indexing.sources.items import Item, ending_at, needed, reason
from cocom.indexing.sources.stored_file import StoredFile

__all__ = ["Parquet", "open_parquet", "open_split"]

_PURPOSE = "reading passages from Parquet files"
# Bytes of a column that are read at a time; over a network, each time is a request.
_BUFFER = 1 << 20
_REMOTE_BUFFER = 1 << 23


@dataclass(frozen=True)
class Parquet:
    """Parquet files, one after the other.

    Attributes:
        name: Absolute path of the file or folder, the URL, or the dataset.
        size: Rows of all files; None if that is not known before they are read.
        files: Each with the fields of its rows.
        label: What keys call rows that are numbered through all files; None to number those of each file.
    """

    name: str
    size: int | None
    files: tuple[tuple[StoredFile, Fields], ...]
    label: str | None = None

    def read(self) -> Iterator[Item]:
        """One item for each row."""
        return ending_at(self.size, self._items())

    def _items(self) -> Iterator[Item]:
        rows: Rows | None = None
        for file, fields in self.files:
            if rows is None or self.label is None:
                rows = Rows(fields, self.label or file.label, rows.position if rows else 0)
            with _opened(file) as parquet:
                names = plain_columns(parquet.schema_arrow, fields.left_out)
                for group in range(parquet.num_row_groups):
                    expected = parquet.metadata.row_group(group).num_rows
                    yield from _group_items(file, parquet, group, names, rows, expected)


def open_parquet(
    name: str, files: Sequence[StoredFile], text_field: str | None, id_field: str | None
) -> Parquet:
    """Open Parquet files.

    Args:
        name: Of the source.
        files: At least one.
        text_field: The column that holds the text; None for the first of the usual names.
        id_field: The column that holds the id; None for `id`, if there is one.

    Raises:
        MissingExtraError: pyarrow is not installed.
        InputError: A file is damaged, lacks a column or has none for the text, or there are no rows.
    """
    size = 0
    chosen = []
    for file in files:
        with _opened(file) as parquet:
            fields = fields_of(parquet.schema_arrow, text_field, id_field, f"'{file.name}'")
            chosen.append((file, fields))
            size += parquet.metadata.num_rows
    if not size:
        raise InputError(f"'{name}' has no rows: give another source.")
    return Parquet(name, size, tuple(chosen))


def open_split(
    name: str,
    files: Sequence[StoredFile],
    size: int | None,
    text_field: str | None,
    id_field: str | None,
) -> Parquet:
    """Open the Parquet files of a split of a dataset, of which there may be thousands far away.

    Only the first is looked at, and if all are on this machine, how many rows the others have.

    Args:
        name: Of the source.
        files: At least one.
        size: Rows of all files, if known.
        text_field: The column that holds the text; None for the first of the usual names.
        id_field: The column that holds the id; None for `id`, if there is one.

    Raises:
        MissingExtraError: pyarrow is not installed.
        InputError: A file is damaged, the first lacks a column, or there are no rows.
    """
    with _opened(files[0]) as parquet:
        fields = fields_of(parquet.schema_arrow, text_field, id_field, f"'{name}'")
    if size is None and not any(file.remote for file in files):
        size = sum(map(_count, files))
    if size == 0:
        raise InputError(f"'{name}' has no rows: give another source.")
    return Parquet(name, size, tuple((file, fields) for file in files), "row")


def _count(file: StoredFile) -> int:
    with _opened(file) as parquet:
        return int(parquet.metadata.num_rows)


@contextmanager
def _opened(file: StoredFile) -> Iterator[Any]:
    pyarrow = needed("pyarrow", _PURPOSE)
    parquet = needed("pyarrow.parquet", _PURPOSE)
    buffer = _REMOTE_BUFFER if file.remote else _BUFFER
    with file.open(ahead=False) as stream:
        try:
            opened = parquet.ParquetFile(stream, buffer_size=buffer, pre_buffer=False)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"'{file.name}' is not a readable Parquet file ({reason(error)}): make it anew."
            ) from error
        with opened:
            yield opened


def _group_items(
    file: StoredFile, parquet: Any, group: int, names: list[str], rows: Rows, expected: int
) -> Iterator[Item]:
    """The items of one row group; what is damaged there is one of them, and the next group is read."""
    last = rows.done + expected
    batches = parquet.iter_batches(ROWS, row_groups=[group], columns=names, use_threads=False)
    while rows.done < last:
        try:
            batch = next(batches, None)
            damage = "the data end too early"
        except Exception as error:  # damage shows in many ways
            if file.remote:  # a connection that broke looks the same, and that passes
                raise DataError(
                    f"{file.label}:{rows.done + 1}: '{file.name}' cannot be read on "
                    f"({reason(error)}): try again."
                ) from error
            batch, damage = None, reason(error)
        if batch is None:
            yield rows.skip(last - rows.done, f"'{file.name}': {damage}")
            return
        yield from rows.items(batch)
