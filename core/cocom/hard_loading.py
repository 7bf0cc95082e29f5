"""Hard compressors that adapters name: each is loaded once in a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike, fspath
from threading import Lock
from typing import Any, TypeGuard

from cocom.baselines.methods import make_compressor
from cocom.baselines.result import HardCompressor
from cocom.forks import renew_after_fork

__all__ = ["is_ready", "loaded_compressor"]


class _Once:
    """Loaded by name, and kept as long as the process lives."""

    def __init__(self) -> None:
        self.compressors: dict[str, HardCompressor] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self.loading = Lock()


_once = _Once()


def is_ready(scorer: Any) -> TypeGuard[HardCompressor]:
    """Whether what is given compresses itself; a class of yours need not say how it counts."""
    return callable(getattr(scorer, "compress", None))


def loaded_compressor(method: str, scorer: Any, settings: Mapping[str, Any]) -> HardCompressor:
    """A hard compressor; the same one for equal names and settings, if these are all plain values.

    Args:
        method: Such as "llmlingua2".
        scorer: Its small model; None takes the method's own.
        settings: Further arguments of its class.

    Raises:
        ConfigError: The method has no such setting.
        CheckpointError: The model cannot be loaded.
    """
    with _once.loading:
        try:
            named = fspath(scorer) if isinstance(scorer, PathLike) else scorer
            name = json.dumps([method, named, dict(settings)], sort_keys=True)
        except (TypeError, ValueError):  # objects: whoever gave them holds what is made of them
            return make_compressor(method, scorer, **settings)
        if name not in _once.compressors:
            _once.compressors[name] = make_compressor(method, scorer, **settings)
        return _once.compressors[name]
