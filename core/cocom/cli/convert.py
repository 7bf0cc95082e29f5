"""`cocom convert`: a published checkpoint in our own layout."""

from __future__ import annotations

from typing import Annotated

import typer

from cocom.cli import shared

__all__ = ["command"]


def command(
    source: Annotated[str, typer.Argument(help="A folder or a hub repository (owner/name).")],
    target: Annotated[str, typer.Argument(help="Folder to write.")],
    base: shared.Base = None,
    layout: Annotated[
        str | None, typer.Option(help="Input layout.", show_default="the trained one")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Passage tokens compressed at a time.", show_default="as trained"),
    ] = None,
    subfolder: shared.Subfolder = "",
    revision: shared.Revision = None,
    dtype: Annotated[
        str, typer.Option(help="Type of the written weights; auto keeps the stored one.")
    ] = "auto",
    as_json: shared.Json = False,
) -> None:
    """Write a checkpoint as safetensors in our own layout, base model included."""
    from cocom.engine import Cocom

    engine = Cocom.from_pretrained(
        source,
        base=shared.bases(base),
        layout=layout,
        window=window,
        subfolder=subfolder,
        revision=revision,
        device="cpu",
        dtype=dtype,
    )
    engine.save_pretrained(target)
    result = {"source": source, "target": target, "fingerprint": engine.fingerprint}
    if as_json:
        shared.write_json(result)
    else:
        shared.write(f"{target}: fingerprint {engine.fingerprint[:12]}")
