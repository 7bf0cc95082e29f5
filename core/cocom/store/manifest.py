"""`store.json`: that a folder is a store, of which version, and what its passages are kept as."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from cocom.errors import InputError, StoreError
from cocom.store.quantization import Quantization

__all__ = ["Manifest", "place_new", "read_manifest", "write_manifest"]

NAME = "store.json"
_FORMAT = "cocom.store"
_VERSION = 1
_LEAST_SHARD = 1 << 16


@dataclass(frozen=True)
class Manifest:
    """What a store was made with.

    Attributes:
        texts: Whether texts are kept.
        quantization: How embeddings are kept.
        shard_bytes: What a shard should have at least, about; what is less is merged.
    """

    texts: bool = True
    quantization: Quantization = "none"
    shard_bytes: int = 128 << 20

    def __post_init__(self) -> None:
        if self.quantization not in get_args(Quantization):
            raise InputError(
                f"quantization must be one of {', '.join(get_args(Quantization))}, got {self.quantization!r}."
            )
        if not isinstance(self.texts, bool):
            raise InputError(f"texts must be True or False, got {self.texts!r}.")
        if not isinstance(self.shard_bytes, int) or self.shard_bytes < _LEAST_SHARD:
            raise InputError(
                f"shard_bytes must be at least {_LEAST_SHARD}, got {self.shard_bytes}."
            )


def write_manifest(folder: Path, manifest: Manifest) -> bool:
    """Write the file, whole or not at all; False if there is one."""
    staging = folder / f".{NAME}.{uuid.uuid4().hex}.tmp"
    content = {"format": _FORMAT, "version": _VERSION, **asdict(manifest)}
    try:
        with staging.open("w") as file:
            file.write(json.dumps(content, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return place_new(staging, folder / NAME)
    finally:
        staging.unlink(missing_ok=True)


def place_new(staging: Path, target: Path) -> bool:
    """Give a finished file its name, unless another process took that first; whether it has it."""
    try:
        target.hardlink_to(staging)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError):  # a file system without links: next to at once
        if target.exists():
            return False
        staging.replace(target)
    return True


def read_manifest(data: bytes, where: str) -> Manifest:
    """Read the file's content.

    Raises:
        StoreError: It is damaged, or of a newer version.
    """
    advice = (
        "the file is damaged; write it anew from a copy of the store, or build the store again."
    )
    try:
        content = json.loads(data)
        format, version = content["format"], content["version"]
        if format != _FORMAT:
            raise StoreError(
                f"'{where}' has format {format!r}, but expected {_FORMAT!r}: it belongs to something else."
            )
        if version > _VERSION:
            raise StoreError(
                f"the store of '{where}' has version {version}, but this cocom reads up to {_VERSION}: "
                "upgrade it."
            )
        return Manifest(content["texts"], content["quantization"], content["shard_bytes"])
    except InputError as error:
        raise StoreError(f"'{where}' cannot be read: {error} {advice.capitalize()}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"'{where}' cannot be read ({error!r}): {advice}") from error
