"""Passages from Arrow tables, which Parquet files and datasets are read as."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cocom.errors import InputError
from cocom.indexing.sources.fields import Fields, check_fields, choose_fields
from cocom.indexing.sources.items import Item, needed

__all__ = ["ROWS", "Rows", "fields_of", "plain_columns"]

_log = logging.getLogger(__name__)
_pyarrow = needed("pyarrow", "reading passages from Parquet files and datasets")
_types = needed("pyarrow.types", "reading passages from Parquet files and datasets")

ROWS = 256  # read at a time


@dataclass(frozen=True)
class _Unreadable:
    """Stands for a value that Python cannot have."""

    reason: str


class Rows:
    """Turns tables into items, row by row."""

    def __init__(self, fields: Fields, label: str, position: int = 0) -> None:
        """Begin at the first row.

        Args:
            fields: Which columns are text and id.
            label: Begins the place of every row.
            position: Rows of the source before the first one.
        """
        self.done = 0
        self.position = position
        self._fields = fields
        self._label = label
        self._schema: Any = None
        self._names: list[str] = []

    def items(self, table: Any) -> Iterator[Item]:
        """An item for each row of a table or record batch."""
        if self._schema is None or not table.schema.equals(self._schema):
            self._schema = table.schema
            self._names = plain_columns(table.schema, self._fields.left_out)
        names = self._names
        columns = [_values(table.column(table.schema.get_field_index(name))) for name in names]
        # Without columns zip would have no rows.
        rows = zip(*columns, strict=True) if columns else iter([()] * table.num_rows)
        for values in rows:
            place = self._next()
            bad = next((i for i, value in enumerate(values) if type(value) is _Unreadable), None)
            if bad is None:
                row = dict(zip(names, values, strict=True))
                yield self._fields.item(row, place, self.position)
            else:
                reason = f"the field '{names[bad]}' cannot be read ({values[bad].reason})"
                yield Item(place, None, f"{place}: {reason}: mend the row.", self.position)

    def skip(self, rows: int, reason: str) -> Item:
        """One item for rows that cannot be read."""
        place = self._next()
        self.done += rows - 1
        self.position += rows - 1
        error = f"{place}: {rows} rows from here on cannot be read ({reason}): make the file anew."
        return Item(place, None, error, self.position)

    def _next(self) -> str:
        self.done += 1
        self.position += 1
        return f"{self._label}:{self.done}"


def fields_of(schema: Any, text_field: str | None, id_field: str | None, where: str) -> Fields:
    """Choose the columns that hold text and id.

    Raises:
        InputError: There is no such column, or it holds something else.
    """
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise InputError(f"{where} has two columns '{name}': rename one of them.")
    check_fields(schema.names, text_field, id_field, where)
    fields = choose_fields(schema.names, text_field, id_field, where)
    text = _stored(schema.field(fields.text).type)
    if not _is_text(text):
        raise InputError(
            f"{where}: the column '{fields.text}' has the type {text}, but expected string: name another "
            "column with --text-field."
        )
    if fields.id is not None and fields.id in schema.names:
        id = _stored(schema.field(fields.id).type)
        if not (_is_text(id) or _types.is_integer(id) or _types.is_null(id)):
            raise InputError(
                f"{where}: the id column '{fields.id}' has the type {id}, but expected string or integer: "
                "name another column with --id-field."
            )
    return fields


def plain_columns(schema: Any, left_out: set[str]) -> list[str]:
    """The columns that a row can hold; a warning names each of the others once.

    Left out are bytes, pictures, durations and vectors (lists of fractions).

    Args:
        schema: Of the table.
        left_out: The names that a warning was given for; new ones are added.
    """
    plain = []
    for field in schema:
        if _is_plain(field.type, nested=False):
            plain.append(field.name)
        elif field.name not in left_out:
            left_out.add(field.name)
            _log.warning(
                "the column '%s' is left out of the metadata: it is %s", field.name, field.type
            )
    return plain


def _is_plain(type: Any, *, nested: bool) -> bool:
    if _is_json(type):
        return not nested
    type = _stored(type)
    if _types.is_struct(type):
        return all(_is_plain(type.field(i).type, nested=True) for i in range(type.num_fields))
    if _is_list(type):
        floating = _types.is_floating(_stored(type.value_type))
        return not floating and _is_plain(type.value_type, nested=True)
    return (
        _is_text(type)
        or _types.is_boolean(type)
        or _types.is_integer(type)
        or _types.is_floating(type)
        or _types.is_null(type)
        or _is_read_as_text(type)
    )


def _values(column: Any) -> list[Any]:
    """The values of a column; those that cannot be read one by one are `_Unreadable`."""
    is_json = _is_json(column.type)
    as_text = _is_read_as_text(column.type)
    try:
        values = (column.cast(_pyarrow.string()) if as_text else column).to_pylist()
        if is_json:
            values = [value if value is None else json.loads(value) for value in values]
    except (ValueError, _pyarrow.ArrowException):
        if len(column) == 1:
            return [_Unreadable(f"not a valid {column.type}")]
        return [value for i in range(len(column)) for value in _values(column.slice(i, 1))]
    return list(values)


def _is_text(type: Any) -> bool:
    if _types.is_dictionary(type):
        type = type.value_type
    return bool(
        _types.is_string(type) or _types.is_large_string(type) or _types.is_string_view(type)
    )


def _is_list(type: Any) -> bool:
    tests = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return any(getattr(_types, test)(type) for test in tests if hasattr(_types, test))


def _is_read_as_text(type: Any) -> bool:
    """Whether Arrow writes the values better than Python, which has no nanoseconds."""
    return bool(
        _types.is_timestamp(type)
        or _types.is_date(type)
        or _types.is_time(type)
        or _types.is_decimal(type)
    )


def _is_json(type: Any) -> bool:
    """Whether a column holds JSON texts, as datasets with fields of several types do."""
    return getattr(type, "extension_name", None) == "arrow.json"


def _stored(type: Any) -> Any:
    """What an extension type is stored as."""
    if isinstance(type, _pyarrow.BaseExtensionType) and not _is_json(type):
        return type.storage_type
    return type
