"""A compressed passage as bytes, and back; what was written is recognised, anything else refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    "as_bytes",
    "decode",
    "decode_words",
    "empty_row",
    "encode",
    "row_sizes",
]

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.float16, torch.bfloat16)
}
_STORED = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
_SCALES = {"int8": torch.bfloat16, "fp8": torch.float32}

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Facts:
    """What is known of a passage beside its embeddings and words.

    Attributes:
        id: The passage's id.
        rows: Embeddings.
        tokens: Text tokens that they stand for.
        windows: Tokens and embeddings of each window, as JSON.
        text_size: Bytes of the text, -1 if there is none.
        query_size: Bytes of the query, -1 if there is none.
        checksum: Of the embeddings' bytes and of all of the above but the sizes, 64 bits, signed.
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
    return Record(
        Kind(contexts.fingerprint, contexts.rate, hidden, dtype, quantization),
        Facts(
            id,
            rows,
            contexts.text_tokens,
            windows,
            -1 if words[0] is None else len(words[0]),
            -1 if words[1] is None else len(words[1]),
            _checksum(id, rows, contexts.text_tokens, windows, data, scale_data),
        ),
        data,
        scale_data,
        b"".join(part for part in words if part is not None),
    )


def row_sizes(kind: Kind) -> tuple[int, int]:
    """Bytes of one embedding's values, and of its scales."""
    return row_bytes(kind.hidden, _DTYPES[kind.dtype], kind.quantization)


def empty_row(kind: Kind, rows: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Room for the values and the scales of some embeddings, to be read into."""
    _, scale_bytes = row_sizes(kind)
    values = torch.empty(
        (rows, kind.hidden), dtype=_STORED.get(kind.quantization, _DTYPES[kind.dtype])
    )
    if not scale_bytes:
        return values, None
    dtype = _SCALES[kind.quantization]
    return values, torch.empty((rows, scale_bytes // dtype.itemsize), dtype=dtype)


def decode(
    kind: Kind, facts: Facts, values: torch.Tensor, scales: torch.Tensor | None
) -> ContextEmbeddings:
    """Context embeddings as they were put, or dequantised.

    Raises:
        StoreError: They are not what was written.
    """
    data = _bytes(values)
    scale_data = b"" if scales is None else _bytes(scales)
    found = _checksum(facts.id, facts.rows, facts.tokens, facts.windows, data, scale_data)
    if found != facts.checksum:
        raise StoreError(
            f"the embeddings of passage {facts.id} are damaged: their checksum is {found & _MASK:016x} "
            f"instead of {facts.checksum & _MASK:016x}"
        )
    return ContextEmbeddings(
        embeddings=dequantize(values, scales, _DTYPES[kind.dtype]),
        rate=kind.rate,
        windows=tuple(Window(*window) for window in json.loads(facts.windows)),
        text_tokens=facts.tokens,
        fingerprint=kind.fingerprint,
    )


def decode_words(kind: Kind, facts: Facts, words: Buffer) -> tuple[str | None, str | None]:
    """Text and query of a passage.

    Raises:
        StoreError: They are not what was written.
    """
    if facts.text_size < 0:
        return None, None
    data = bytes(words)
    parts = (data[: facts.text_size], data[facts.text_size :] if facts.query_size >= 0 else None)
    try:
        text, query = (
            None if part is None else part.decode("utf-8", "surrogatepass") for part in parts
        )
        assert text is not None
        right = passage_id(kind.fingerprint, kind.rate, text, query) == facts.id
    except UnicodeDecodeError:
        right = False
    if not right:
        raise StoreError(f"the text of passage {facts.id} is damaged: it is not the one of that id")
    return text, query


_MASK = (1 << 64) - 1


def _checksum(id: str, rows: int, tokens: int, windows: str, *data: Buffer) -> int:
    digest = xxhash.xxh3_64(f"{id} {rows} {tokens} {windows}".encode())
    for part in data:
        digest.update(part)
    value = digest.intdigest()
    return value - (1 << 64) if value >> 63 else value  # as SQLite holds it


def _bytes(tensor: torch.Tensor) -> memoryview:
    array: Any = tensor.contiguous().view(torch.uint8).numpy()
    return memoryview(array).cast("B")


def as_bytes(tensors: Sequence[torch.Tensor]) -> list[memoryview]:
    """The memory of tensors, to read from and to write to."""
    return [_bytes(tensor) for tensor in tensors]
