"""`cocom info`: what a checkpoint is, without loading its weights."""

from __future__ import annotations

from typing import Annotated

import typer

from cocom.cli import shared

__all__ = ["command"]


def command(
    model: Annotated[
        str, typer.Argument(help="A folder, a hub repository (owner/name), or the shipped model.")
    ] = "cocom-tiny",
    base: shared.Base = None,
    subfolder: shared.Subfolder = "",
    revision: shared.Revision = None,
    as_json: shared.Json = False,
) -> None:
    """Tell what a checkpoint is: format, base, rate, window, embeddings, adapters, size, fingerprint."""
    from cocom.checkpoints.info import describe
    from cocom.checkpoints.source import HubOptions

    found = describe(
        model, base=shared.bases(base), hub=HubOptions(revision=revision, subfolder=subfolder)
    ).to_dict()
    if as_json:
        shared.write_json(found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{v} at rate {k}" for k, v in value.items())
        if isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        if value is None:
            value = "known after loading" if name == "fingerprint" else "none"
        shared.write(f"{name.replace('_', ' '):<22} {value}")
