"""Passages from what a running program has: the documents of its retriever."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.datatypes import Passage
from cocom.errors import CocomError, DataError, InputError
from cocom.indexing.sources.fields import Fields, checked_text, choose_fields, kind, plain_fields
from cocom.indexing.sources.items import Item, ending_at, reason

__all__ = ["Objects", "open_objects"]

_WANTED = "give an iterable of texts, Passages or mappings, or a function that returns one"


@dataclass(frozen=True)
class Objects:
    """Texts, `Passage`s or mappings.

    Attributes:
        name: `python:module:attribute`.
        size: How many; None if that is not known before they are read.
        documents: Gives them anew at every call.
        text_field: The field of a mapping that holds the text; None for the first of the usual names.
        id_field: The field of a mapping that holds the id; None for `id`, if there is one.
    """

    name: str
    size: int | None
    documents: Callable[[], object]
    text_field: str | None = None
    id_field: str | None = None

    def read(self) -> Iterator[Item]:
        """One item for each document.

        Raises:
            InputError: A function returned something else, or the first mapping has no text.
            DataError: The program failed.
        """
        return ending_at(self.size, self._items())

    def _items(self) -> Iterator[Item]:
        fields: Fields | None = None
        left_out: set[str] = set()
        for number, document in enumerate(self._documents(), start=1):
            place = f"row:{number}"
            if isinstance(document, Mapping):
                row = {str(name): value for name, value in document.items()}
                fields = fields or choose_fields(row, self.text_field, self.id_field, place)
                yield fields.item(row, place, number)
            else:
                yield self._item(document, place, number, left_out)

    def _documents(self) -> Iterator[object]:
        number = 1
        try:
            for document in _iterable(self.documents(), self.name):
                yield document
                number += 1
        except CocomError:
            raise
        except Exception as error:
            raise DataError(
                f"'{self.name}' failed at document {number} ({reason(error)}): mend the program."
            ) from error

    def _item(self, document: object, place: str, position: int, left_out: set[str]) -> Item:
        """The item of a document that is not a mapping."""
        if isinstance(document, str):
            document = Passage(document)
        try:
            if not isinstance(document, Passage):
                raise DataError(
                    f"{place}: the document is {kind(document)}: give a text, a Passage or a mapping."
                )
            for field in (self.text_field, self.id_field):
                if field is not None:
                    raise DataError(
                        f"{place}: the document has no field '{field}', for it is not a mapping: leave out "
                        "--text-field and --id-field."
                    )
            text = checked_text(document.text, place, "the text")
            key = place if document.id is None else checked_text(document.id, place, "the id")
        except DataError as error:
            return Item(place, None, str(error), position)
        metadata = plain_fields(document.metadata, left_out)
        return Item(
            key, dataclasses.replace(document, text=text, id=key, metadata=metadata), None, position
        )


def open_objects(source: str, text_field: str | None, id_field: str | None) -> Objects:
    """Find the documents of a running program.

    The current folder becomes importable, as with `python -m`.

    Args:
        source: `python:module:attribute`: an iterable, or a function without arguments that returns one.
        text_field: The field of a mapping that holds the text; None for the first of the usual names.
        id_field: The field of a mapping that holds the id; None for `id`, if there is one.

    Raises:
        InputError: There is no such module or attribute, it is of another type, or it is empty.
    """
    found = _attribute(source)
    if isinstance(found, type) or (callable(found) and not hasattr(found, "__iter__")):
        _check_callable(found, source)
        return Objects(source, None, found, text_field, id_field)
    if isinstance(found, Iterator):
        raise InputError(
            f"'{source}' is {kind(found)}, which can be read only once: give a function that returns it."
        )
    _iterable(found, source)
    size = len(found) if hasattr(found, "__len__") else None
    if size == 0:
        raise InputError(f"'{source}' is empty: fill it or give another source.")
    return Objects(source, size, lambda: found, text_field, id_field)


def _attribute(source: str) -> Any:
    parts = source.split(":")
    if len(parts) != 3 or not all(part.strip() for part in parts):
        raise InputError(
            f"'{source}' names no object: write it as python:package.module:attribute."
        )
    _, name, attributes = parts
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(name)
    except Exception as error:  # what a module does when imported is its own
        raise InputError(
            f"the module '{name}' of '{source}' cannot be imported ({reason(error)}): check "
            "its name, and that it is in this folder or installed."
        ) from error
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            raise InputError(
                f"the module '{name}' has no '{attributes}': check the name of the iterable or function."
            ) from error
    return found


def _check_callable(found: Any, source: str) -> None:
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise InputError(f"'{source}' is an async function: {_WANTED}.")
    try:
        inspect.signature(found).bind()
    except ValueError:  # a builtin may have no signature
        return
    except TypeError as error:
        raise InputError(
            f"'{source}' needs arguments ({error}): give a function that can be called without any."
        ) from error


def _iterable(documents: object, source: str) -> Iterable[object]:
    wrong = isinstance(documents, str | bytes | Mapping | Passage)
    try:
        if not wrong:
            return iter(documents)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        pass
    raise InputError(f"'{source}' gave {kind(documents)}: {_WANTED}.")
