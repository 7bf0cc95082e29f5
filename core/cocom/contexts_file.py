"""Context embeddings in one safetensors file: compress now, answer later."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cocom.datatypes import ContextEmbeddings, Passage, Window
from cocom.errors import DataError, InputError

__all__ = ["load_contexts", "save_contexts"]

_FORMAT = "cocom.contexts.1"
_LISTING = "contexts"


def save_contexts(contexts: Sequence[ContextEmbeddings], path: str | os.PathLike[str]) -> None:
    """Write context embeddings, exactly as they are, into one file.

    Passages that were kept are written too; their metadata must be plain JSON values.

    Raises:
        InputError: Nothing to write, or a passage's metadata is not JSON.
    """
    if not contexts:
        raise InputError(
            f"there are no context embeddings to write to '{path}': compress passages first."
        )
    entries = []
    for i, context in enumerate(contexts):
        entry = {
            "rate": context.rate,
            "windows": [dataclasses.astuple(window) for window in context.windows],
            "text_tokens": context.text_tokens,
            "fingerprint": context.fingerprint,
            "passage": None if context.passage is None else _plain(context.passage),
        }
        try:
            entries.append(json.dumps(entry))
        except TypeError as error:
            raise InputError(
                f"the metadata of passage {i} cannot be written as JSON ({error}): keep plain values there."
            ) from error
    # Copies, because the same embeddings may stand in the list twice.
    tensors = {
        str(i): c.embeddings.detach().cpu().clone(memory_format=torch.contiguous_format)
        for i, c in enumerate(contexts)
    }
    # As a tensor, because a safetensors header holds 100 MB at most.
    listing = ("[" + ",".join(entries) + "]").encode()
    tensors[_LISTING] = torch.frombuffer(bytearray(listing), dtype=torch.uint8)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, staging = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        save_file(tensors, staging, metadata={"format": _FORMAT})
        Path(staging).chmod(0o644)
        Path(staging).replace(target)
    finally:
        Path(staging).unlink(missing_ok=True)


def load_contexts(
    path: str | os.PathLike[str], *, device: str | torch.device = "cpu"
) -> list[ContextEmbeddings]:
    """Read what `save_contexts` wrote, bit for bit.

    Raises:
        DataError: The file is missing, damaged, or something else.
    """
    if not Path(path).is_file():
        raise DataError(
            f"'{path}' does not exist: write it with save_contexts or `cocom compress`."
        )
    try:
        with safe_open(os.fspath(path), framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise DataError(
                    f"'{path}' has format {metadata.get('format')!r}, but expected {_FORMAT!r}: it holds no "
                    "context embeddings, or another version of cocom wrote it."
                )
            listing = file.get_tensor(_LISTING).cpu().numpy().tobytes()
            return [
                _context(entry, file.get_tensor(str(i)))
                for i, entry in enumerate(json.loads(listing))
            ]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"'{path}' cannot be read ({error}): the file is damaged.") from error


def _plain(passage: Passage) -> dict[str, object]:
    return {"text": passage.text, "id": passage.id, "metadata": dict(passage.metadata)}


def _context(entry: dict[str, object], embeddings: torch.Tensor) -> ContextEmbeddings:
    windows = entry["windows"]
    passage = entry["passage"]
    if not isinstance(windows, list):
        raise TypeError(f"windows is {windows!r}")
    return ContextEmbeddings(
        embeddings=embeddings,
        rate=int(str(entry["rate"])),
        windows=tuple(Window(*window) for window in windows),
        text_tokens=int(str(entry["text_tokens"])),
        fingerprint=str(entry["fingerprint"]),
        passage=Passage(**passage) if isinstance(passage, dict) else None,
    )
