"""The two kinds of files that a store is exported as.

safetensors: what `cocom.load_contexts` reads. The id is the `Passage`'s, namespace and query are in its
metadata, and its text is "" where the store keeps no texts. To put it into a store again, use

    store.put({c.passage.id: Entry(c.passage.text or None, c.rate, c.passage.metadata["query"], c)})

Parquet: a row for each passage, with the columns

    id, namespace       string
    text, query         string; null where there is none
    fingerprint         string; the model that made the embeddings
    rate, text_tokens   int32, int64
    windows             list<struct<tokens: int64, embeddings: int64>>
    dtype               string: float32, float16 or bfloat16
    rows, hidden        int32; the embeddings' shape
    embeddings          binary; their bytes, row after row, little-endian

so that torch has them, in any dtype, as

    torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype)).view(rows, hidden)

and NumPy, which has no bfloat16, by one of

    numpy.frombuffer(data, "<f4").reshape(rows, hidden)                                         # float32
    numpy.frombuffer(data, "<f2").reshape(rows, hidden)                                         # float16
    (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(rows, hidden)       # bfloat16
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from cocom.contexts_file import save_contexts
from cocom.datatypes import ContextEmbeddings, Passage
from cocom.errors import InputError, MissingExtraError

__all__ = ["Format", "Row", "writer_of"]

Format = Literal["safetensors", "parquet"]

_ROW_GROUP = 16 << 20  # bytes of embeddings and texts that memory holds while Parquet is written


@dataclass(frozen=True)
class Row:
    """A passage to be written.

    Attributes:
        id: Its id.
        namespace: The part of the store that it is in.
        text: The passage, if the store keeps texts.
        query: What it was compressed for, if the model does that.
        contexts: Its embeddings.
    """

    id: str
    namespace: str
    text: str | None
    query: str | None
    contexts: ContextEmbeddings

    @property
    def nbytes(self) -> int:
        """What it takes in memory, about."""
        return self.contexts.embeddings.nbytes + len(self.text or "")


def writer_of(format: str) -> Callable[[Path, Iterator[Row]], None]:
    """What writes rows into a file, which is there whole or not at all.

    Raises:
        InputError: There is no such format.
        MissingExtraError: It needs a package that is not installed.
    """
    if format == "parquet":
        try:
            importlib.import_module("pyarrow")
        except ImportError as error:
            raise MissingExtraError("pyarrow", "index", "writing Parquet files") from error
        return _write_parquet
    if format != "safetensors":
        raise InputError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}.")
    return _write_safetensors


def _write_safetensors(path: Path, rows: Iterator[Row]) -> None:
    save_contexts(
        [
            dataclasses.replace(
                row.contexts,
                passage=Passage(
                    row.text or "", row.id, {"namespace": row.namespace, "query": row.query}
                ),
            )
            for row in rows
        ],
        path,
    )


def _write_parquet(path: Path, rows: Iterator[Row]) -> None:
    pa: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    window = pa.struct([("tokens", pa.int64()), ("embeddings", pa.int64())])
    types: dict[str, Any] = {
        "id": pa.string(),
        "namespace": pa.string(),
        "text": pa.string(),
        "query": pa.string(),
        "fingerprint": pa.string(),
        "rate": pa.int32(),
        "text_tokens": pa.int64(),
        "windows": pa.list_(window),
        "dtype": pa.string(),
        "rows": pa.int32(),
        "hidden": pa.int32(),
        "embeddings": pa.binary(),
    }
    schema = pa.schema(list(types.items()))
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    few = ["namespace", "fingerprint", "dtype"]  # values that come again and again
    try:
        with parquet.ParquetWriter(
            staging,
            schema,
            compression={name: "NONE" if name == "embeddings" else "SNAPPY" for name in types},
            use_dictionary=few,
            write_statistics=["id", "rate", *few],
        ) as writer:
            for group in _groups(rows):
                batch = [_columns(row) for row in group]
                writer.write_table(pa.Table.from_pylist(batch, schema))
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += row.nbytes
        if size >= _ROW_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _columns(row: Row) -> dict[str, object]:
    for name, text in (("text", row.text), ("query", row.query)):
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the {name} of passage {row.id} has half of a surrogate pair at character {error.start}, "
                "which Parquet cannot hold: export as safetensors."
            ) from error
    made = row.contexts
    return {
        "id": row.id,
        "namespace": row.namespace,
        "text": row.text,
        "query": row.query,
        "fingerprint": made.fingerprint,
        "rate": made.rate,
        "text_tokens": made.text_tokens,
        "windows": [dataclasses.asdict(window) for window in made.windows],
        "dtype": str(made.embeddings.dtype).removeprefix("torch."),
        "rows": made.embeddings.shape[0],
        "hidden": made.embeddings.shape[1],
        "embeddings": made.embeddings.contiguous().view(torch.uint8).numpy().tobytes(),
    }
