"""Tensors of a checkpoint by name: memory-mapped, every one accounted for, no pickled code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cocom.checkpoints.source import Source
from cocom.errors import CheckpointError

__all__ = ["Tensors", "read_pth", "read_safetensors"]


class Tensors:
    """A pool of named tensors from which a reader takes each exactly once."""

    def __init__(self, where: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Hold `tensors`, which come from `where`.

        Raises:
            CheckpointError: One of them is no tensor.
        """
        for name, value in tensors.items():
            if not isinstance(value, torch.Tensor):
                raise CheckpointError(
                    f"{where}: '{name}' is a {type(value).__name__}, not a tensor."
                )
        self.where = where
        self._left = dict(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def names(self) -> list[str]:
        """Names of what is left."""
        return list(self._left)

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> torch.Tensor:
        """Remove a tensor and return it.

        Raises:
            CheckpointError: There is none of that name, or its shape is another.
        """
        if name not in self._left:
            near = ", ".join(sorted(self._left)[:3]) or "nothing"
            raise CheckpointError(f"{self.where} lacks the tensor '{name}'; left over are {near}.")
        tensor = self._left.pop(name)
        if shape is not None and tuple(tensor.shape) != tuple(shape):
            raise CheckpointError(
                f"{self.where}: '{name}' has shape {tuple(tensor.shape)}, but the model needs "
                f"{tuple(shape)}: the checkpoint and its base model do not belong together."
            )
        return tensor

    def drop(self, name: str) -> None:
        """Remove a tensor that is known to be of no use, if it is there."""
        self._left.pop(name, None)

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            CheckpointError: A tensor nobody took.
        """
        if self._left:
            names = sorted(self._left)
            raise CheckpointError(
                f"{self.where} holds {len(names)} tensors that the model has no place for: "
                f"{', '.join(names[:3])}."
            )


def read_safetensors(source: Source, stem: str = "model") -> Tensors:
    """Every tensor of `stem`.safetensors or of its shards, memory-mapped.

    Raises:
        CheckpointError: A file is missing or damaged, or shards and index disagree.
    """
    index_name = f"{stem}.safetensors.index.json"
    if source.has(f"{stem}.safetensors"):
        return Tensors(f"'{source.name}'", _mapped(source, f"{stem}.safetensors"))
    if not source.has(index_name):
        raise CheckpointError(
            f"'{source.name}' has neither {stem}.safetensors nor {index_name}: "
            "the folder is incomplete, download it again."
        )
    index = source.json(index_name).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(v, str) for v in index.values()):
        raise CheckpointError(f"'{source.name}': {index_name} names no files in its weight_map.")
    if not index:
        raise CheckpointError(f"'{source.name}': {index_name} has no weight_map.")
    tensors: dict[str, torch.Tensor] = {}
    folder = stem.rpartition("/")[0]
    for shard in sorted(set(index.values())):
        tensors |= _mapped(source, f"{folder}/{shard}" if folder else shard)
    missing, extra = sorted(set(index) - set(tensors)), sorted(set(tensors) - set(index))
    if missing or extra:
        raise CheckpointError(
            f"'{source.name}': the shards do not fit {index_name}: missing {missing[:3]}, "
            f"not expected {extra[:3]}."
        )
    return Tensors(f"'{source.name}'", tensors)


def _mapped(source: Source, name: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open

    path = source.need(name)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{source.name}': {name} cannot be read ({error}): the file is damaged, download it again."
        ) from error


def read_pth(source: Source, name: str) -> dict[str, Any]:
    """A dictionary of tensors from a `.pth` file; nothing in it is executed.

    Raises:
        CheckpointError: The file is missing or damaged, or holds anything else than tensors.
    """
    path = source.need(name)
    try:
        value = _load(path)
    except Exception as error:
        # torch's own words would advise to read it without care.
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign:
            raise CheckpointError(
                f"'{source.name}': {name} holds more than tensors ({foreign[1]}) and was not read."
            ) from error
        raise CheckpointError(
            f"'{source.name}': {name} cannot be read as tensors: the file is damaged, download it again."
        ) from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise CheckpointError(
            f"'{source.name}': {name} holds a {type(value).__name__}, not tensors by name."
        )
    return value


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        # Of other pickle protocols; what cannot be read is an error anyway.
        warnings.simplefilter("ignore", UserWarning)
        return _load_quietly(path)


def _load_quietly(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        # Files of the oldest layout cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True)
