"""Which format a checkpoint has, told by its files, and the reader that goes with it."""

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
    for name, module in FORMATS.items():
        if module.recognise(source, config):
            return name, config
    raise CheckpointError(
        f"'{source.name}' is none of the formats this reads ({', '.join(FORMATS)}): its config.json has "
        f"model_type {config.get('model_type')!r} and its files are {', '.join(sorted(source.names)[:6])}."
    )
