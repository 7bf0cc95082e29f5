"""Which fields of a row are a passage's text and id, and what becomes of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from numbers import Integral, Real

from cocom.datatypes import Passage
from cocom.errors import DataError, InputError
from cocom.indexing.sources.items import Item

__all__ = ["Fields", "check_fields", "checked_text", "choose_fields", "kind", "plain_fields"]

_log = logging.getLogger(__name__)

_TEXTS = ("text", "passage", "content", "page_content", "contents")
_ID = "id"
_KINDS = {
    type(None): "null",
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}
_SIMPLE = frozenset({type(None), bool, int, float})


@dataclass(frozen=True)
class Fields:
    """Reads a row: its text, its id, and the other fields as metadata.

    Attributes:
        text: The field that holds the text.
        id: The field that holds the id; None if rows have none.
        id_needed: Whether a row without an id is at fault; otherwise its place is its key.
        left_out: Fields that metadata cannot hold and that a warning has named.
    """

    text: str
    id: str | None = _ID
    id_needed: bool = False
    left_out: set[str] = field(default_factory=set, compare=False, repr=False)

    def item(self, row: Mapping[str, object], place: str, position: int) -> Item:
        """The passage of a row, or what is wrong with it.

        Args:
            row: Values by the names of their fields.
            place: Where the row is; begins every error, and is the key of a row without an id.
            position: The position of the item.
        """
        rest = dict(row)
        try:
            text = self._text(rest, place)
            key = self._key(rest, place)
        except DataError as error:
            return Item(place, None, str(error), position)
        return Item(key, Passage(text, key, plain_fields(rest, self.left_out)), None, position)

    def _text(self, rest: dict[str, object], place: str) -> str:
        if self.text not in rest:
            raise DataError(
                f"{place}: no field '{self.text}' (found {_listed(rest)}): add it, or name the field that "
                "holds the text with --text-field."
            )
        return checked_text(rest.pop(self.text), place, f"the field '{self.text}'")

    def _key(self, rest: dict[str, object], place: str) -> str:
        if self.id is None:
            return place
        value = rest.pop(self.id, None)
        if value is None and not self.id_needed:
            return place
        if isinstance(value, Integral) and not isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, str):
            raise DataError(
                f"{place}: the id field '{self.id}' is {kind(value)}: give a text or a whole number."
            )
        return checked_text(value, place, f"the id field '{self.id}'")


def check_fields(
    names: Iterable[str], text_field: str | None, id_field: str | None, where: str
) -> None:
    """Check the fields that were named against those that there are.

    Raises:
        InputError: There is no such field.
    """
    names = list(names)
    for name, option in ((text_field, "--text-field"), (id_field, "--id-field")):
        if name is not None and name not in names:
            raise InputError(
                f"{where} has no field '{name}' (found {_listed(names)}): name one of these with {option}."
            )


def choose_fields(
    names: Iterable[str], text_field: str | None, id_field: str | None, where: str
) -> Fields:
    """Choose the fields that hold text and id.

    Args:
        names: The fields that there are.
        text_field: The one that holds the text; None for the first of the usual names.
        id_field: The one that holds the id; None for `id`, if there is one.
        where: What has these fields, for messages.

    Raises:
        InputError: No field has a usual name, or text and id would be the same field.
    """
    names = list(names)
    if text_field is None:
        text_field = next((name for name in _TEXTS if name in names), None)
    if text_field is None:
        raise InputError(
            f"{where} has no field '{_TEXTS[0]}' (found {_listed(names)}): name the field that holds the "
            "text with --text-field."
        )
    if text_field == id_field:
        raise InputError(
            f"--text-field and --id-field both name '{text_field}': name two different fields."
        )
    if id_field is None:
        return Fields(text_field, None if text_field == _ID else _ID)
    return Fields(text_field, id_field, id_needed=True)


def checked_text(value: object, place: str, what: str) -> str:
    """A text that can be compressed and written.

    Raises:
        DataError: It is no text, is blank, or has a character that is none.
    """
    if not isinstance(value, str):
        raise DataError(f"{place}: {what} is {kind(value)}: give a text.")
    if not value.strip():
        raise DataError(f"{place}: {what} is empty: fill it or leave the row out.")
    if "\0" in value:
        raise DataError(f"{place}: {what} has a NUL character: remove it.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place}: {what} has half of a surrogate pair (\\u{ord(value[error.start]):04x}): write the "
                "whole character."
            ) from error
    return value


def plain_fields(fields: Mapping[str, object], left_out: set[str]) -> dict[str, object]:
    """The fields as JSON can hold them.

    Dates and decimals become texts, and half of a surrogate pair U+FFFD. Bytes, vectors (lists that begin
    with a fraction) and objects are left out, and a warning says so once.

    Args:
        fields: Values by name.
        left_out: The names that a warning was given for; new ones are added.
    """
    kept: dict[str, object] = {}
    for name, value in fields.items():
        if type(value) in _SIMPLE or (type(value) is str and value.isascii()):
            kept[name] = value
            continue
        try:
            kept[name] = _plain(value)
        except (TypeError, RecursionError) as error:
            if name not in left_out:
                left_out.add(name)
                reason = "nested too deeply" if isinstance(error, RecursionError) else error
                _log.warning("the field '%s' is left out of the metadata: it is %s", name, reason)
    return kept


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Two halves next to each other are a whole character.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, date | time | Decimal):
        return str(value)
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], float):
            raise TypeError("a vector")
        return [_plain(element) for element in value]
    if isinstance(value, Mapping):
        return {str(_plain(name)): _plain(element) for name, element in value.items()}
    raise TypeError(kind(value))


def kind(value: object) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value)) or f"of the type {type(value).__name__}"


def _listed(names: Iterable[object]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
