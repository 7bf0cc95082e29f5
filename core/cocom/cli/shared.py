"""What the subcommands share: options, loading the model, writing results."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocom.errors import InputError

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = [
    "Base",
    "Device",
    "Dtype",
    "Json",
    "Model",
    "Rate",
    "Revision",
    "Subfolder",
    "bases",
    "load_model",
    "show_progress",
    "write",
    "write_json",
]

Model = Annotated[
    str, typer.Option("--model", help="The shipped model, a folder or a hub repository.")
]
Rate = Annotated[
    int | None,
    typer.Option(
        "--rate",
        help="Compression rate, passage tokens per embedding.",
        show_default="the model's first",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:N.", show_default="cuda if present"),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="float32, bfloat16, float16, or auto for the saved one.",
        show_default="the saved one on CUDA; on a CPU float32, or a saved bfloat16 where it is fast",
    ),
]
Base = Annotated[
    list[str] | None,
    typer.Option(
        "--base",
        help="Where a published checkpoint's base model is: a folder or hub name, or NAME=FOLDER for "
        "each of several.",
        show_default="as its config.json names it",
    ),
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Branch, tag or commit on the hub.")
]
Subfolder = Annotated[
    str, typer.Option("--subfolder", help="Where in the folder or repository the checkpoint is.")
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]


def bases(values: list[str] | None) -> str | dict[str, str] | None:
    """The value of `--base` as `from_pretrained` takes it."""
    if not values:
        return None
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    pairs = [value.partition("=") for value in values]
    wrong = [
        value for value, (name, _, path) in zip(values, pairs, strict=True) if not name or not path
    ]
    if wrong:
        raise InputError(
            f"--base {wrong[0]!r} among several: write NAME=FOLDER for each base model."
        )
    return {name: path for name, _, path in pairs}


def load_model(
    name: str, device: str | None, dtype: str | None, base: list[str] | None = None
) -> Cocom:
    """Load a model by the common options."""
    from cocom.engine import Cocom

    return Cocom.from_pretrained(name, base=bases(base), device=device, dtype=dtype)


def show_progress(as_json: bool) -> bool:
    """Whether progress bars are wanted: not when the output is read by a program."""
    return not as_json and sys.stderr.isatty()


def write(text: str = "", *, end: str = "\n") -> None:
    """Write text to standard output at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def write_json(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output."""
    write(json.dumps(value, ensure_ascii=False, indent=2))
