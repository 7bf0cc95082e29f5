"""`cocom index`: a corpus compressed once, kept, and looked after."""

from __future__ import annotations

import typer

from cocom.cli import index_build, index_export, index_plan, index_stats, index_verify

__all__ = ["app"]

app = typer.Typer(
    help="Compress a corpus into a store, keep it up to date and look after it.",
    no_args_is_help=True,
)
app.command("build")(index_build.build)
app.command("update")(index_build.update)
app.command("stats")(index_stats.command)
app.command("verify")(index_verify.command)
app.command("export")(index_export.command)
app.command("plan")(index_plan.command)
