"""A compressed passage as bytes, and back; what was written is recognised, anything else refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
import xxhash

from cocom.datatypes import ContextEmbeddings, Window
from cocom.errors import InputError, StoreError
from cocom.identity import passage_id
from cocom.store.protocol import Entry, Kind
from cocom.store.quantization import Quantization, dequantize, quantize, row_bytes

__all__ = [
    "Facts",
    "Record",
    "as_tensors",
    "decode",
    "decode_words",
    "encode",
    "is_kind",
    "room",
    "row_sizes",
]

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.float16, torch.bfloat16)
}
_STORED = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
_SCALES = {"int8": torch.bfloat16, "fp8": torch.float32}

Bytes = npt.NDArray[np.uint8]
Buffer = Any  # bytes, a bytearray, a memoryview or an array: what is made of bytes


class Facts(NamedTuple):
    """What is known of a passage beside its embeddings and words.

    Attributes:
        id: The passage's id.
        rows: Embeddings.
        tokens: Text tokens that they stand for.
        windows: Tokens and embeddings of each window, as JSON.
        text_size: Bytes of the text, -1 if there is none.
        query_size: Bytes of the query, -1 if there is none.
        checksum: Of the kind, of all of the above and of the embeddings' bytes, 64 bits, signed.
    """

    id: str
    rows: int
    tokens: int
    windows: str
    text_size: int
    query_size: int
    checksum: int


@dataclass(frozen=True)
class Record:
    """A passage as it is written.

    Attributes:
        kind: What its embeddings are.
        facts: What describes it.
        values: Bytes of the embeddings, or of what they were quantised to.
        scales: Bytes of the scales; empty without quantisation.
        words: Bytes of the text and, after it, of the query.
    """

    kind: Kind
    facts: Facts
    values: Buffer
    scales: Buffer
    words: bytes

    @property
    def nbytes(self) -> int:
        """What it takes on disk, facts aside."""
        return len(self.values) + len(self.scales) + len(self.words)


def encode(id: str, entry: Entry, *, texts: bool, quantization: Quantization) -> Record:
    """Turn an entry into bytes.

    Args:
        id: Its id.
        entry: With embeddings, shape (rows, hidden).
        texts: Whether to keep text and query.
        quantization: How to keep the embeddings.

    Raises:
        InputError: It has no embeddings, or such as cannot be kept.
    """
    contexts = entry.contexts
    if contexts is None:
        raise InputError(
            f"passage {id} has no context embeddings: compress it before it is put into a store on disk."
        )
    embeddings = contexts.embeddings.detach().cpu()
    dtype = str(embeddings.dtype).removeprefix("torch.")
    if dtype not in _DTYPES or embeddings.ndim != 2 or 0 in embeddings.shape:
        raise InputError(
            f"the context embeddings of passage {id} have shape {tuple(embeddings.shape)} and type {dtype}, "
            f"but a store keeps (rows, hidden) of {', '.join(_DTYPES)}."
        )
    try:
        values, scales = quantize(embeddings.contiguous(), quantization)
    except InputError as error:
        raise InputError(f"passage {id} cannot be kept: {error}") from error
    rows, hidden = embeddings.shape
    words = [
        None if not texts or part is None else part.encode("utf-8", "surrogatepass")
        for part in (entry.text, entry.query)
    ]
    windows = json.dumps(
        [[window.tokens, window.embeddings] for window in contexts.windows], separators=(",", ":")
    )
    data = _bytes(values)
    scale_data = b"" if scales is None else _bytes(scales)
    kind = Kind(contexts.fingerprint, contexts.rate, hidden, dtype, quantization)
    text_size, query_size = (-1 if part is None else len(part) for part in words)
    facts = Facts(id, rows, contexts.text_tokens, windows, text_size, query_size, 0)
    return Record(
        kind,
        facts._replace(checksum=_checksum(kind, facts, data, scale_data)),
        data,
        scale_data,
        b"".join(part for part in words if part is not None),
    )


def is_kind(hidden: int, dtype: str, quantization: str) -> bool:
    """Whether there can be such embeddings."""
    return hidden > 0 and dtype in _DTYPES and quantization in get_args(Quantization)


@lru_cache
def row_sizes(kind: Kind) -> tuple[int, int]:
    """Bytes of one embedding's values, and of its scales."""
    return row_bytes(kind.hidden, _DTYPES[kind.dtype], kind.quantization)


def room(kind: Kind, rows: int) -> tuple[Bytes, Bytes]:
    """Memory for the values and the scales of some embeddings, to be filled."""
    values, scales = row_sizes(kind)
    return np.empty(rows * values, np.uint8), np.empty(rows * scales, np.uint8)


def as_tensors(
    kind: Kind, values: Bytes, scales: Bytes
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """That memory as values, shape (rows, hidden), and scales, shape (rows, scales of a row)."""
    dtype = _STORED.get(kind.quantization, _DTYPES[kind.dtype])
    tensor = torch.from_numpy(values).view(dtype).view(-1, kind.hidden)
    if not len(scales):
        return tensor, None
    return tensor, torch.from_numpy(scales).view(_SCALES[kind.quantization]).view(len(tensor), -1)


def decode(kind: Kind, facts: Facts, values: Bytes, scales: Bytes) -> ContextEmbeddings:
    """Context embeddings as they were put, or dequantised, in the memory given.

    Raises:
        StoreError: They are not what was written.
    """
    found = _checksum(kind, facts, values, scales)
    if found != facts.checksum:
        raise StoreError(
            f"the embeddings of passage {facts.id} are damaged: their checksum is {found & _MASK:016x} "
            f"instead of {facts.checksum & _MASK:016x}"
        )
    return ContextEmbeddings(
        embeddings=dequantize(*as_tensors(kind, values, scales), _DTYPES[kind.dtype]),
        rate=kind.rate,
        windows=_windows(facts.windows),
        text_tokens=facts.tokens,
        fingerprint=kind.fingerprint,
    )


def decode_words(kind: Kind, facts: Facts, words: Buffer) -> tuple[str | None, str | None]:
    """Text and query of a passage.

    Raises:
        StoreError: They are not what was written.
    """
    data = bytes(words)
    if facts.text_size < 0 and not data:
        return None, None
    parts = (data[: facts.text_size], data[facts.text_size :] if facts.query_size >= 0 else None)
    try:
        text, query = (
            None if part is None else part.decode("utf-8", "surrogatepass") for part in parts
        )
        assert text is not None
        whole = len(data) == max(facts.text_size, 0) + max(facts.query_size, 0)
        right = whole and passage_id(kind.fingerprint, kind.rate, text, query) == facts.id
    except UnicodeDecodeError:
        right = False
    if not right:
        raise StoreError(f"the text of passage {facts.id} is damaged: it is not the one of that id")
    return text, query


@lru_cache(4096)
def _windows(listing: str) -> tuple[Window, ...]:
    """Windows from JSON; most passages have the same."""
    return tuple(Window(*window) for window in json.loads(listing))


_MASK = (1 << 64) - 1


@lru_cache
def _name(kind: Kind) -> str:
    return " ".join(map(str, vars(kind).values()))


def _checksum(kind: Kind, facts: Facts, *data: Buffer) -> int:
    digest = xxhash.xxh3_64(" ".join(map(str, (_name(kind), *facts[:-1]))).encode())
    for part in data:
        digest.update(part)
    value = digest.intdigest()
    return value - (1 << 64) if value >> 63 else value  # as SQLite holds it


def _bytes(tensor: torch.Tensor) -> memoryview:
    array: Any = tensor.contiguous().view(torch.uint8).numpy()
    return memoryview(array).cast("B")
