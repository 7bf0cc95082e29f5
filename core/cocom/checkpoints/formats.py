"""Which format a checkpoint has, told by its config.json, and the reader that goes with it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from cocom.checkpoints import cocom_v1, oscar, pisco, pisco_2026
from cocom.checkpoints.source import Source
from cocom.errors import CheckpointError

__all__ = ["FORMATS", "format_of"]

FORMATS: dict[str, ModuleType] = {
    "cocom-v1": cocom_v1,
    "pisco": pisco,
    "oscar": oscar,
    "pisco-2026": pisco_2026,
}


def format_of(source: Source) -> tuple[str, dict[str, Any]]:
    """Name of a checkpoint's format, and its config.json.

    Raises:
        CheckpointError: No format fits.
    """
    if not source.has("config.json"):
        raise CheckpointError(
            f"'{source.name}' has neither cocom.json nor config.json, so it is no COCOM checkpoint: "
            "point to one that save_pretrained wrote, or to a published one."
        )
    config = source.json("config.json")
    if "decoder_model_name" not in config:
        raise CheckpointError(
            f"'{source.name}' is none of the formats this reads ({', '.join(FORMATS)}): its config.json has "
            f"model_type {config.get('model_type')!r} and no decoder_model_name."
        )
    # The settings tell the format; what is missing for it, its reader says.
    if "compressor_model_name" in config or "compressor_mlp_hidden_dim" in config:
        return "pisco-2026", config
    if "doc_max_length" in config:
        return ("pisco" if config.get("compr_model_name") is None else "oscar"), config
    return "cocom-v1", config
