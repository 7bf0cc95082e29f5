"""`Cocom.from_pretrained`: the shipped model, our own folders, published checkpoints; folder or hub."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cocom.checkpoints.parts import LoadOptions
from cocom.checkpoints.source import HubOptions, Source
from cocom.errors import CheckpointError, ConfigError, MissingExtraError
from cocom.processor import fast_bfloat16

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = ["MANIFEST", "SHIPPED", "find", "load"]

SHIPPED = ("cocom-tiny",)
MANIFEST = "cocom.json"


def find(name_or_path: str | os.PathLike[str], hub: HubOptions) -> Source:
    """The files of a shipped model, a folder or a hub repository.

    Raises:
        CheckpointError: It is none of them.
    """
    path = Path(name_or_path)
    if str(name_or_path) in SHIPPED and not path.is_dir():
        return Source.find(Path(str(files("cocom"))) / "models" / str(name_or_path), hub)
    name = str(name_or_path)
    if not path.exists() and (name.count("/") != 1 or name[0] in "/.~" or name[-1] == "/"):
        raise CheckpointError(
            f"'{name_or_path}' is neither a model folder nor a model that ships with cocom "
            f"({', '.join(SHIPPED)}), nor a hub repository (owner/name): check the path."
        )
    return Source.find(name_or_path, hub)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None,
    layout: str | None,
    window: int | None,
    hub: HubOptions,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    device_map: Any,
    attn_implementation: str | None,
    quantization: Any,
) -> Cocom:
    """Load whatever it is (see `Cocom.from_pretrained`)."""
    from cocom import persistence
    from cocom.checkpoints.formats import FORMATS, format_of

    source = find(name_or_path, hub)
    place, kind = persistence.placed(device, dtype)
    keep_bfloat16 = dtype is None and place.type == "cpu" and fast_bfloat16()
    model_options: dict[str, Any] = {
        "device_map": device_map,
        "attn_implementation": attn_implementation,
        "quantization_config": _quantization(quantization),
    }
    model_options = {k: v for k, v in model_options.items() if v is not None}
    if source.has(MANIFEST):
        for name, value in (("base", base), ("layout", layout), ("window", window)):
            if value is not None:
                raise CheckpointError(
                    f"{name} is {value!r}, but '{source.name}' was saved by cocom and holds everything: "
                    f"leave {name} out."
                )
        return persistence.load(
            source.whole(), device=place, dtype=kind, keep_bfloat16=keep_bfloat16, **model_options
        )
    name, config = format_of(source)
    options = LoadOptions(
        base=base,
        layout=layout,
        window=window,
        hub=hub,
        dtype=kind,
        keep_bfloat16=keep_bfloat16,
        model=model_options,
    )
    try:
        with persistence.quiet():
            cocom: Cocom = FORMATS[name].read(source, config, options)
    except ConfigError as error:
        raise CheckpointError(f"'{source.name}' cannot be used: {error}") from error
    persistence.settle(cocom, place, model_options)
    return cocom


def _quantization(value: Any) -> Any:
    """A configuration for transformers; "8bit" and "4bit" take the library that is installed."""
    if value is None or not isinstance(value, str):
        return value
    if value not in ("8bit", "4bit"):
        raise CheckpointError(
            f"quantization {value!r} is unknown: choose 8bit, 4bit or a transformers configuration."
        )
    if importlib.util.find_spec("bitsandbytes"):
        from transformers import BitsAndBytesConfig

        if value == "8bit":
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
    if importlib.util.find_spec("torchao"):
        from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        return TorchAoConfig(Int8WeightOnlyConfig() if value == "8bit" else Int4WeightOnlyConfig())
    raise MissingExtraError("bitsandbytes", "quantize", f"quantization {value!r}")
