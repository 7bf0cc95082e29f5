"""Passages from datasets of the Hugging Face library: one a row, as it stands."""

from __future__ import annotations

import gc
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.errors import DataError, InputError
from cocom.indexing.sources.arrow import ROWS, Rows, fields_of
from cocom.indexing.sources.fields import Fields
from cocom.indexing.sources.folders import is_divided, is_saved, with_split
from cocom.indexing.sources.items import Item, ending_at, needed, reason
from cocom.indexing.sources.parquet import Parquet, open_split
from cocom.indexing.sources.stored_file import StoredFile, is_url

__all__ = ["HuggingFace", "open_dataset", "open_saved", "quiet"]

_PREFIX = "hf:"
_PURPOSE = "reading passages from a Hugging Face dataset"
_LOGGERS = ("datasets", "huggingface_hub", "fsspec")


@dataclass(frozen=True)
class HuggingFace:
    """One split of a dataset.

    Attributes:
        name: `hf:owner/name:config@split`, or the absolute path of the folder and the split.
        size: Rows; None if the dataset does not tell.
        rows: The dataset, which gives Arrow tables.
        fields: Of its rows.
    """

    name: str
    size: int | None
    rows: Any
    fields: Fields

    def read(self) -> Iterator[Item]:
        """One item for each row."""
        return ending_at(self.size, self._items())

    def _items(self) -> Iterator[Item]:
        rows = Rows(self.fields, "row")
        with quiet():
            tables = iter(self.rows.iter(batch_size=ROWS))
        while True:
            try:
                with quiet():
                    table = next(tables, None)
            except Exception as error:  # a connection or a loader fails in many ways
                raise DataError(
                    f"'{self.name}' cannot be read on after row {rows.done} ({reason(error)}): try again, "
                    "or mend what follows."
                ) from error
            if table is None:
                return
            yield from rows.items(table)


def open_saved(
    folder: Path, split: str | None, text_field: str | None, id_field: str | None
) -> HuggingFace:
    """Open what `save_to_disk` wrote.

    Raises:
        MissingExtraError: datasets is not installed.
        InputError: The folder is damaged, a split is missing or superfluous, or as `open_dataset`.
    """
    divided = is_divided(folder)
    if not divided and split is not None:
        raise InputError(
            f"the dataset in '{folder}' has no splits, but got '{split}': leave out '@{split}'."
        )
    library = _library()
    dataset = _loaded(str(folder), lambda: library.load_from_disk(str(folder)))
    name = str(folder.resolve())
    if divided:
        split = _chosen(dataset, split, str(folder))
        dataset, name = dataset[split], f"{name}@{split}"
    return _source(name, dataset, len(dataset), text_field, id_field)


def open_dataset(
    source: str, text_field: str | None, id_field: str | None
) -> HuggingFace | Parquet:
    """Open a dataset, read over the network as it is used or from a local folder.

    Args:
        source: `hf:owner/name`, `hf:owner/name:config@split` or `hf:FOLDER@split`; without a split, the
            only one there is.
        text_field: The column that holds the text; None for the first of the usual names.
        id_field: The column that holds the id; None for `id`, if there is one.

    Raises:
        MissingExtraError: datasets is not installed.
        InputError: There is no such dataset, configuration, split or column, or there are no rows.
    """
    path, split = with_split(source.removeprefix(_PREFIX))
    config = None
    if not Path(path).exists():
        path, _, config = path.partition(":")
    if not path.strip():
        raise InputError(f"'{source}' names no dataset: write it as hf:owner/name@split.")
    folder = Path(path)
    if folder.is_dir() and is_saved(folder):
        return open_saved(folder, split, text_field, id_field)
    library = _library()
    builder = _loaded(source, lambda: library.load_dataset_builder(path, config or None))
    files = _parquet_files(builder)
    splits = files or _loaded(source, builder.as_streaming_dataset)
    if split is None and len(splits) == 1:
        (split,) = splits
    split = _chosen(splits, split, source)
    label = str(folder.resolve()) if folder.is_dir() else path
    name = _PREFIX + label + (f":{config}" if config else "") + f"@{split}"
    known = (builder.info.splits or {}).get(split)
    size = (known.num_examples if known is not None else None) or None
    if files:
        return open_split(name, files[split], size, text_field, id_field)
    return _source(name, splits[split], size, text_field, id_field)


def _parquet_files(builder: Any) -> dict[str, list[StoredFile]]:
    """The files of each split of a dataset that is nothing but Parquet files; else none.

    They are read without the library, which keeps in memory what it has read of a file, and whose threads
    keep a program from ending that stops in the middle of one (huggingface/datasets#7467).
    """
    found = builder.config.data_files if builder.name == "parquet" else None
    splits = {str(split): list(map(str, paths)) for split, paths in (found or {}).items()}
    if not all(path.lower().endswith(".parquet") for paths in splits.values() for path in paths):
        return {}
    return {
        split: [StoredFile(path, path, path, None, remote=is_url(path)) for path in paths]
        for split, paths in splits.items()
    }


def _source(
    name: str, dataset: Any, size: int | None, text_field: str | None, id_field: str | None
) -> HuggingFace:
    rows = _loaded(name, lambda: dataset.with_format("arrow"))
    if size == 0:
        raise InputError(f"'{name}' has no rows: give another source.")
    if dataset.features is not None:
        schema = dataset.features.arrow_schema
    else:
        first = _loaded(name, lambda: _first(rows))
        if first is None:
            raise InputError(f"'{name}' has no rows: give another source.")
        schema = first.schema
    return HuggingFace(name, size, rows, fields_of(schema, text_field, id_field, f"'{name}'"))


def _first(rows: Any) -> Any:
    """The first row as a table; None if there is none."""
    first = next(iter(rows.iter(batch_size=1)), None)
    gc.collect()  # pandas, which reads CSV files, keeps one open in a cycle when its reader is given up
    return first


def _chosen(splits: Any, split: str | None, source: str) -> str:
    listed = ", ".join(f"'{name}'" for name in splits)
    if split is None:
        raise InputError(
            f"'{source}' has the splits {listed}: name one of them, as in {source}@{next(iter(splits))}."
        )
    if split not in splits:
        raise InputError(f"'{source}' has no split '{split}' (found {listed}): name one of these.")
    return split


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    """What a call of the library gives.

    Raises:
        InputError: It fails, in whatever way.
    """
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            return load()
    except Exception as error:
        raise InputError(
            f"the dataset '{name}' cannot be opened ({reason(error)}): check its name, its configuration "
            "and the connection."
        ) from error


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return needed("datasets", _PURPOSE)


class _Hush:
    """Keeps messages and progress bars of the library from the user while anyone is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._loud: list[Any] = []
        self._levels: dict[str, int] = {}

    def __enter__(self) -> None:
        libraries = (_library(), needed("huggingface_hub.utils", _PURPOSE))
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._loud = [each for each in libraries if not each.are_progress_bars_disabled()]
            self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
            for library in self._loud:
                library.disable_progress_bars()
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            for library in self._loud:
                library.enable_progress_bars()
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)


_HUSH = _Hush()


def quiet() -> AbstractContextManager[None]:
    """Keeps messages and progress bars of the library from the user; readers in other threads count too.

    Not to be held while a caller runs, because what it changes is the whole process's.
    """
    return _HUSH
