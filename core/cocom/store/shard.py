"""Shards: immutable safetensors files of many passages of one kind, complete without the index.

Tensors of a shard, for R embeddings in all:

    embeddings  (R, hidden)          values, in the model's dtype or quantised
    scales      (R, scales of a row) only where quantised
    words       (bytes,)             texts and queries in UTF-8, one after the other
    entries     (bytes,)             JSON: a list for each field of the passages, in order
"""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import save_file

from cocom.errors import StoreError
from cocom.store.protocol import Kind
from cocom.store.record import Buffer, Bytes, Facts, Record, as_tensors, room, row_sizes

__all__ = [
    "MOST_PASSAGES",
    "MOVED",
    "SUFFIX",
    "Header",
    "Placed",
    "Shard",
    "read_entries",
    "read_header",
    "to_disk",
    "write_shard",
]

SUFFIX = ".safetensors"
MOVED = "moved-"  # how the names of shards begin whose passages lay elsewhere in the store before
MOST_PASSAGES = 1 << 15  # of a shard: its list of them is held in memory
_FORMAT = "cocom.shard"
_VERSION = 1
_FIELDS = ("namespace", "id", "rows", "tokens", "windows", "text_size", "query_size", "checksum")


@dataclass(frozen=True)
class Shard:
    """Where things are in a shard's file.

    Attributes:
        name: The file's name.
        kind: What its embeddings are.
        passages: How many it was written with.
        size: Bytes of the file.
        values_at: Where the embeddings' bytes begin.
        scales_at: Where the scales' bytes begin; 0 without quantisation.
        words_at: Where the words' bytes begin.
    """

    name: str
    kind: Kind
    passages: int
    size: int
    values_at: int
    scales_at: int
    words_at: int


@dataclass(frozen=True)
class Placed:
    """A passage's place in a shard.

    Attributes:
        namespace: Name of the part of the store that it belongs to.
        facts: What describes it.
        start: Its first embedding's number in the shard.
        words_at: Where its words begin, from the first word of the shard.
    """

    namespace: str
    facts: Facts
    start: int
    words_at: int


def write_shard(
    folder: Path, records: Sequence[tuple[str, Record]], name: str | None = None
) -> tuple[Shard, list[Placed]]:
    """Write records of one kind into a new file, which is there whole and on the disk, or not at all.

    Args:
        folder: Where to.
        records: Namespaces and records.
        name: The file's name without suffix; None makes one up.

    Raises:
        StoreError: It cannot be written, or a record is not as long as it says.
    """
    for _, record in records:
        _check_sizes(record, folder)
    kind = records[0][1].kind
    placed = _place([(namespace, record.facts) for namespace, record in records])
    listing = _listing(placed)
    rows = sum(record.facts.rows for _, record in records)
    values, scales = room(kind, rows)
    _fill(values, [record.values for _, record in records])
    _fill(scales, [record.scales for _, record in records])
    embeddings, scale_tensor = as_tensors(kind, values, scales)
    words = b"".join(record.words for _, record in records)
    tensors = {"embeddings": embeddings, "words": _tensor(words), "entries": _tensor(listing)}
    if scale_tensor is not None:
        tensors["scales"] = scale_tensor
    metadata = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "fingerprint": kind.fingerprint,
        "rate": str(kind.rate),
        "hidden": str(kind.hidden),
        "dtype": kind.dtype,
        "quantization": kind.quantization,
        "passages": str(len(records)),
        "entries_xxh3": xxhash.xxh3_64_hexdigest(listing),
    }
    target = folder / f"{name or uuid.uuid4().hex}{SUFFIX}"
    staging = folder / f".{target.name}.{os.getpid()}.tmp"
    try:
        save_file(tensors, staging, metadata)
        staging.chmod(folder.stat().st_mode & 0o666)  # whoever may see the folder may read it
        to_disk(staging)
        staging.replace(target)
        to_disk(folder)
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"'{target}' cannot be written ({error}): make room there, or make the folder writable."
        ) from error
    finally:
        with suppress(OSError):
            staging.unlink(missing_ok=True)
    return read_header(target).shard, placed


@dataclass(frozen=True)
class Header:
    """A shard as its file describes it.

    Attributes:
        shard: Where things are.
        entries_at: First byte of the list of passages, and the one after its last.
        entries_xxh3: Checksum of that list.
    """

    shard: Shard
    entries_at: tuple[int, int]
    entries_xxh3: str


def read_header(path: Path) -> Header:
    """Read where things are in a shard.

    Raises:
        StoreError: It is missing, cut off, damaged, none of ours, or of a newer version.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = json.loads(file.read(length))
            data_at = 8 + length
    except FileNotFoundError as error:
        raise StoreError(f"'{path}' does not exist") from error
    except (OSError, ValueError, struct.error) as error:
        raise StoreError(f"'{path}' cannot be read ({error}): it is cut off or damaged") from error
    try:
        found = header["__metadata__"]
        if found.get("format") != _FORMAT:
            raise StoreError(f"'{path}' has format {found.get('format')!r} instead of {_FORMAT!r}")
        if int(found["version"]) > _VERSION:
            raise StoreError(
                f"'{path}' has version {found['version']}, but this cocom reads up to {_VERSION}: upgrade it"
            )
        kind = Kind(
            found["fingerprint"],
            int(found["rate"]),
            int(found["hidden"]),
            found["dtype"],
            found["quantization"],
        )
        spans = {
            name: tuple(data_at + offset for offset in tensor["data_offsets"])
            for name, tensor in header.items()
            if name != "__metadata__"
        }
        end = max(span[1] for span in spans.values())
        if end != size:
            raise StoreError(f"'{path}' has {size} bytes instead of {end}: it is cut off")
        rows = header["embeddings"]["shape"][0]
        sizes = row_sizes(kind)
        for tensor, row_size in zip(("embeddings", "scales"), sizes, strict=True):
            span = spans[tensor] if row_size else (0, 0)
            if span[1] - span[0] != rows * row_size:
                raise ValueError(f"{tensor} has {span[1] - span[0]} bytes for {rows} rows")
        shard = Shard(
            path.name,
            kind,
            int(found["passages"]),
            size,
            spans["embeddings"][0],
            spans["scales"][0] if sizes[1] else 0,
            spans["words"][0],
        )
        entries_at = spans["entries"]
        return Header(shard, (entries_at[0], entries_at[1]), found["entries_xxh3"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise StoreError(f"'{path}' has a damaged header ({error})") from error


def read_entries(path: Path, header: Header) -> list[Placed]:
    """Read the list of passages of a shard.

    Raises:
        StoreError: It is damaged.
    """
    begin, end = header.entries_at
    try:
        with path.open("rb") as file:
            file.seek(begin)
            listing = file.read(end - begin)
    except OSError as error:
        raise StoreError(f"'{path}' cannot be read ({error})") from error
    if xxhash.xxh3_64_hexdigest(listing) != header.entries_xxh3:
        raise StoreError(f"'{path}' has a damaged list of passages")
    columns = json.loads(listing)
    return _place(
        [
            (namespace, Facts(*fields))
            for namespace, *fields in zip(*(columns[field] for field in _FIELDS), strict=True)
        ]
    )


def _check_sizes(record: Record, folder: Path) -> None:
    """Make sure that a damaged record cannot shift those after it."""
    facts = record.facts
    words = max(facts.text_size, 0) + max(facts.query_size, 0)
    expected = (*(facts.rows * size for size in row_sizes(record.kind)), words)
    found = (len(record.values), len(record.scales), len(record.words))
    if found != expected:
        raise StoreError(
            f"passage {facts.id} cannot be written to '{folder}', because it has {found} bytes of values, "
            f"scales and words instead of {expected}: run `cocom index verify --repair` to drop it, so that "
            "it can be compressed again."
        )


def _place(facts: Sequence[tuple[str, Facts]]) -> list[Placed]:
    starts = accumulate((f.rows for _, f in facts), initial=0)
    words = accumulate((max(f.text_size, 0) + max(f.query_size, 0) for _, f in facts), initial=0)
    return [
        Placed(namespace, f, start, at)
        for (namespace, f), start, at in zip(facts, starts, words, strict=False)
    ]


def _listing(placed: Sequence[Placed]) -> bytes:
    columns = {field: [getattr(p.facts, field) for p in placed] for field in _FIELDS[1:]}
    columns["namespace"] = [p.namespace for p in placed]
    return json.dumps(columns, separators=(",", ":")).encode()


def _fill(into: Bytes, parts: Sequence[Buffer]) -> None:
    at = 0
    for part in parts:
        into[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)


def _tensor(data: bytes) -> torch.Tensor:
    # A byte more than nothing, as a tensor without memory cannot be made from a buffer.
    return torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8)[: len(data)].clone()


def to_disk(path: Path) -> None:
    """Have a file, or the names in a folder, survive a power failure."""
    if os.name == "nt" and path.is_dir():  # has no such call
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
