"""Where the passages of an index are read from: files, rows, datasets, URLs and running programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cocom.documents import SUFFIXES
from cocom.errors import InputError
from cocom.indexing.sources.files import open_documents
from cocom.indexing.sources.folders import is_saved, parquet_files, with_split
from cocom.indexing.sources.items import Source
from cocom.indexing.sources.lines import open_lines
from cocom.indexing.sources.objects import open_objects
from cocom.indexing.sources.stored_file import StoredFile, find_file, find_url, is_url

__all__ = ["open_source"]

_LINES = (".jsonl", ".jsonl.gz")
_PARQUET = ".parquet"
_SUPPORTED = (
    f"documents ({', '.join(SUFFIXES)}), rows (.jsonl, .jsonl.gz, .parquet), folders of these, "
    "hf:owner/name@split and python:module:attribute are"
)


def open_source(
    source: str,
    *,
    split: Callable[[str], list[str]] | None = None,
    text_field: str | None = None,
    id_field: str | None = None,
) -> Source:
    """Open what passages are read from.

    Documents are cut by `split`. Rows are passages as they stand, because that is what a retriever gives.

    Args:
        source: A file or folder of documents; a file of JSON lines (`.jsonl`, `.jsonl.gz`) or Parquet, also
            behind a URL that fsspec opens; a folder of Parquet files; a dataset, `hf:owner/name:config@split`
            or a folder that `save_to_disk` wrote, with `@split` if it has splits; or
            `python:module:attribute`, an iterable of texts, `Passage`s or mappings, or a function that
            returns one.
        split: Cuts the text of a document into passages; None leaves it whole.
        text_field: The field of a row that holds the text; None for the first of `text`, `passage`,
            `content`, `page_content` and `contents`.
        id_field: The field of a row that holds the id; None for `id`, or the row's place if it has none.

    Raises:
        InputError: The source does not exist, is empty, is of an unknown kind, or lacks a field.
        MissingExtraError: A package that it needs is not installed.
    """
    if not source.strip():
        raise InputError(f"the source is an empty name: {_SUPPORTED} supported.")
    if source.startswith("python:"):
        return open_objects(source, text_field, id_field)
    if is_url(source):
        return _open_rows(find_url(source), text_field, id_field)
    if source.startswith("hf:"):
        from cocom.indexing.sources.dataset import open_dataset

        return open_dataset(source, text_field, id_field)
    plain, part = with_split(source)
    path = Path(plain)
    if path.is_dir() and is_saved(path):
        from cocom.indexing.sources.dataset import open_saved

        return open_saved(path, part, text_field, id_field)
    if part is not None:  # a path that exists as it was given has no split
        path = Path(source)
    if not path.exists():
        raise InputError(f"there is no file or folder '{source}': check the path.")
    if path.is_dir():
        parquet = parquet_files(path)
        if parquet:
            files = [find_file(file, file.relative_to(path).as_posix()) for file in parquet]
            return _open_parquet(str(path.resolve()), files, text_field, id_field)
    elif path.suffix.lower() not in SUFFIXES or path.suffix.lower() == ".jsonl":
        return _open_rows(find_file(path), text_field, id_field)
    if text_field is not None or id_field is not None:
        raise InputError(
            f"'{source}' is documents, which have no fields: leave out --text-field and --id-field."
        )
    return open_documents(path, split)


def _open_rows(file: StoredFile, text_field: str | None, id_field: str | None) -> Source:
    """One file of rows."""
    name = file.label.lower()
    if name.endswith(_LINES):
        return open_lines(file, text_field, id_field)
    if name.endswith(_PARQUET):
        return _open_parquet(file.name, [file], text_field, id_field)
    if name.endswith((".json", ".json.gz")):
        raise InputError(
            f"'{file.name}' is a JSON file, which is not supported: write one object a line and name the "
            "file *.jsonl."
        )
    raise InputError(
        f"'{file.name}' has the suffix '{Path(name).suffix}', which is not supported: {_SUPPORTED}."
    )


def _open_parquet(
    name: str, files: list[StoredFile], text_field: str | None, id_field: str | None
) -> Source:
    from cocom.indexing.sources.parquet import open_parquet

    return open_parquet(name, files, text_field, id_field)
