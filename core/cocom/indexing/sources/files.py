"""Passages from files and folders of documents, cut to length."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cocom.datatypes import Passage
from cocom.documents import SUFFIXES, Document, document_files, load_documents
from cocom.errors import DataError, InputError
from cocom.indexing.sources.fields import checked_text
from cocom.indexing.sources.folders import visible_files
from cocom.indexing.sources.items import Item, ending_at
from cocom.indexing.sources.lines import parse_line, read_lines
from cocom.indexing.sources.stored_file import find_file

__all__ = ["Documents", "open_documents"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Documents:
    """Documents, in the order of their names, one in memory at a time.

    Attributes:
        name: Absolute path of the file or folder.
        files: Their paths, as they were given.
        split: Cuts a text into passages.
    """

    name: str
    files: tuple[Path, ...]
    split: Callable[[str], list[str]]

    @property
    def size(self) -> int:
        """How many files."""
        return len(self.files)

    def read(self) -> Iterator[Item]:
        """The passages of each document, keyed and described as `load_passages` does."""
        return ending_at(self.size, self._items())

    def _items(self) -> Iterator[Item]:
        for position, file in enumerate(self.files, start=1):
            lines = file.suffix.lower() == ".jsonl"
            try:
                for document in _lines(file) if lines else load_documents([file]):
                    if isinstance(document, Document):
                        yield from self._passages(document, position)
                    else:
                        place, error = document
                        yield Item(place, None, error, position)
            except InputError as error:
                yield Item(str(file), None, str(error), position)

    def _passages(self, document: Document, position: int) -> Iterator[Item]:
        metadata = {**document.metadata, "source": document.source}
        try:
            texts = self.split(document.text)
            if not texts:
                raise DataError("the document gave no passage: check how it is cut.")
        except InputError as error:
            yield Item(document.source, None, f"{document.source}: {error}", position)
            return
        for number, text in enumerate(texts, start=1):
            key = f"{document.source}:{number}"
            yield Item(key, Passage(text, key, metadata), None, position)


def open_documents(path: Path, split: Callable[[str], list[str]] | None) -> Documents:
    """Open a file or a folder of documents.

    Args:
        path: Of a file with one of the suffixes of documents, or of a folder.
        split: Cuts a text into passages; None leaves documents whole.

    Raises:
        InputError: The folder has no documents, or the file is empty.
    """
    files = document_files(path)
    if not path.is_dir():
        find_file(path)
    elif others := len(visible_files(path)) - len(files):
        _log.warning(
            "%d files in '%s' are passed over: they have none of the suffixes %s",
            others,
            path,
            ", ".join(SUFFIXES),
        )
    once = {file.resolve(): file for file in reversed(files)}  # the first of the same ones stays
    return Documents(
        str(path.resolve()), tuple(reversed(once.values())), split or (lambda text: [text])
    )


def _lines(file: Path) -> Iterator[Document | tuple[str, str]]:
    """The document of each line of a JSON lines file, or where and why there is none."""
    for line in read_lines(find_file(file, label=str(file))):
        try:
            fields = parse_line(line)
            if "text" not in fields:
                found = ", ".join(f"'{name}'" for name in fields) or "none"
                raise DataError(
                    f"{line.place}: no field 'text' (found {found}): each line needs one."
                )
            text = checked_text(fields.pop("text"), line.place, "the field 'text'").strip()
        except DataError as error:
            yield line.place, str(error)
            continue
        number = line.place.rpartition(":")[2]
        yield Document(text, f"{file}#L{number}", fields)
