"""`cocom index verify`: every passage read and compared with its checksum."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from cocom.cli import shared

__all__ = ["command"]


def command(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Mend it: drop what is damaged, so that it can be built again."
        ),
    ] = False,
    as_json: shared.Json = False,
) -> None:
    """Read a whole store, in all its namespaces; the exit status is 1 if something is wrong and stays so."""
    from cocom.store import DiskStore

    if repair:
        found = DiskStore.repair(store)
    else:
        with DiskStore(store) as opened:
            found = opened.verify()
    if as_json:
        shared.write_json(dataclasses.asdict(found))
    else:
        lines = [f"{found.passages:,} passages are as they were written."]
        lines += [f"  {problem.where}: {problem.what}" for problem in found.problems]
        lines += [f"  {problem.where}: {problem.what}" for problem in found.unlisted]
        if found.problems:
            lines.append(
                "Repaired." if found.repaired else "Run `cocom index verify --repair` to mend it."
            )
        elif found.unlisted:
            lines.append("That does no harm; the next build takes it up.")
        shared.write("\n".join(lines))
    if found.problems and not found.repaired:
        raise typer.Exit(1)
