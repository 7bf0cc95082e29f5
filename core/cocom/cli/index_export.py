"""`cocom index export`: a store's passages as safetensors or Parquet."""

from __future__ import annotations

import dataclasses
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cocom.cli import shared

__all__ = ["Format", "command"]


class Format(StrEnum):
    """What files an export consists of."""

    safetensors = "safetensors"
    parquet = "parquet"


def command(
    store: Annotated[str, typer.Argument(help="The store's folder, or a URL of it.")],
    out: Annotated[Path, typer.Argument(help="A folder that is empty or not there yet.")],
    format: Annotated[
        Format,
        typer.Option(help="What `cocom.load_contexts` reads, or a table for other programs."),
    ] = Format.safetensors,
    namespace: Annotated[
        str | None, typer.Option(help="Only this part of the store.", show_default="all")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(help="Only passages at this rate.", show_default="all")
    ] = None,
    fingerprint: Annotated[
        str, typer.Option(help="Only passages by models whose fingerprint begins so.")
    ] = "",
    part_passages: Annotated[
        int | None, typer.Option(help="Passages in a file.", show_default="as many as make 128 MiB")
    ] = None,
    as_json: shared.Json = False,
) -> None:
    """Write a store's passages as files that need no store to be read; quantised ones dequantised."""
    from cocom.store import open_store
    from cocom.store.export import export_store

    tell = _tell if shared.show_progress(as_json) else None
    with open_store(store, read_only=True) as opened:
        try:
            done = export_store(
                opened,
                out,
                format=format.value,
                namespace=namespace,
                rate=rate,
                fingerprint=fingerprint,
                part_passages=part_passages,
                on_progress=tell,
            )
        finally:
            if tell is not None:
                sys.stderr.write("\r\x1b[K")
    if as_json:
        figures = {"store": store, "out": str(out), "format": format.value}
        shared.write_json({**figures, **dataclasses.asdict(done)})
        return
    shared.write(
        f"{done.passages:,} passages written to '{out}': {done.files:,} {format.value} "
        f"file{'s' * (done.files != 1)}, {done.bytes:,} bytes."
    )


def _tell(done: int, total: int) -> None:
    sys.stderr.write(f"\r{done:,} of {total:,} passages\x1b[K")
    sys.stderr.flush()
