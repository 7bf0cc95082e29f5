"""The `cocom` command: every subcommand is one call of the public API.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 an error
with its one-sentence message, 2 wrong usage, 130 interrupted. With `--json` both results and errors are
JSON objects.
"""

from __future__ import annotations

import json
import logging
import sys

import typer

from cocom.cli import ask, bench, compress, convert, evaluate, index, info, reconstruct, train
from cocom.errors import CocomError

__all__ = ["app", "main"]

app = typer.Typer(
    name="cocom",
    help="Context compression for retrieval-augmented generation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("ask")(ask.command)
app.command("compress")(compress.command)
app.command("reconstruct")(reconstruct.command)
app.command("train")(train.command)
app.command("eval")(evaluate.command)
app.command("bench")(bench.command)
app.command("info")(info.command)
app.command("convert")(convert.command)
app.add_typer(index.app, name="index")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # It sets itself to DEBUG when it is first used.
    logging.getLogger("bm25s").addFilter(lambda record: record.levelno >= logging.WARNING)
    try:
        app()
    except CocomError as error:
        if "--json" in sys.argv:
            sys.stdout.write(
                json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n"
            )
        else:
            sys.stderr.write(f"cocom: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("cocom: interrupted\n")
        sys.exit(130)
