"""Hard compressors by name."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from cocom.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from cocom.baselines.result import HardCompressor

__all__ = ["make_compressor"]

_METHODS = {
    "llmlingua": ("cocom.baselines.llmlingua", "LLMLingua"),
    "longllmlingua": ("cocom.baselines.longllmlingua", "LongLLMLingua"),
    "llmlingua2": ("cocom.baselines.llmlingua2", "LLMLingua2"),
}


def make_compressor(
    method: str, model: str | os.PathLike[str] | PreTrainedModel | None = None, **settings: Any
) -> HardCompressor:
    """The hard compressor of a name.

    Args:
        method: "llmlingua", "longllmlingua" or "llmlingua2".
        model: The model that it scores tokens with; None takes the method's default.
        **settings: Further arguments of the method's class.

    Raises:
        ConfigError: There is no such method, or it has no such setting, or needs a model.
    """
    if not isinstance(method, str) or method not in _METHODS:
        raise ConfigError(f"method {method!r} is unknown: choose one of {', '.join(_METHODS)}.")
    module, name = _METHODS[method]
    kind = getattr(importlib.import_module(module), name)
    given = {} if model is None else {"model": model}
    try:
        made: HardCompressor = kind(**given, **settings)
    except TypeError as error:
        raise ConfigError(f"{name} cannot be made of these settings: {error}.") from error
    return made
