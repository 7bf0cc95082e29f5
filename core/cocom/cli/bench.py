"""`cocom bench`: how fast a model compresses and answers on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cocom.cli import shared
from cocom.errors import InputError

__all__ = ["command"]


def command(
    model: Annotated[
        str,
        typer.Option(
            help="A random model of a named shape (llama-60m, llama-100m, llama-1b, mistral-7b), or the "
            "shipped model, a folder or a hub repository."
        ),
    ] = "llama-60m",
    device: shared.Device = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16 or float16.",
            show_default="float32 on a CPU, else the stored one or bfloat16",
        ),
    ] = None,
    rates: Annotated[
        str | None, typer.Option(help="Compression rates.", show_default="all of the model")
    ] = None,
    passages: Annotated[str, typer.Option(help="Passages of a question.")] = "1,5,20,50",
    batch: Annotated[str, typer.Option(help="Questions answered together.")] = "1,16,64",
    new_tokens: Annotated[str, typer.Option(help="Tokens of an answer.")] = "6,32,128",
    rounds: Annotated[int, typer.Option(help="How often each cell is timed.")] = 5,
    cell_seconds: Annotated[
        float,
        typer.Option(help="What all rounds of a cell may take; others are left out, and told of."),
    ] = 60.0,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A small grid: about two minutes on two cores."),
    ] = False,
    straightforward: Annotated[
        bool,
        typer.Option(
            "--straightforward/--no-straightforward",
            help="Whether the straightforward way is measured beside ours.",
        ),
    ] = True,
    out: Annotated[Path | None, typer.Option(help="File for the report, as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for plots.")] = None,
    quality: Annotated[
        Path | None,
        typer.Option(
            help="What `cocom eval --json` wrote of the model, for the plot of quality against speed.",
            show_default="the evaluation.json of the model",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 1 if a check is missed.")
    ] = False,
    as_json: shared.Json = False,
) -> None:
    """Measure speed: compressing, first token, answers and streams, beside text and the plain way."""
    from cocom.benchmark.figures import look
    from cocom.benchmark.options import BenchmarkOptions
    from cocom.benchmark.options import quick as smaller
    from cocom.benchmark.quality import known_quality
    from cocom.benchmark.result import as_dict, write_report
    from cocom.benchmark.run import run_benchmark
    from cocom.benchmark.table import table

    options = BenchmarkOptions(
        model=model,
        device=device,
        dtype=dtype,
        rates=None if rates is None else _numbers("--rates", rates),
        passages=_numbers("--passages", passages),
        batch=_numbers("--batch", batch),
        new_tokens=_numbers("--new-tokens", new_tokens),
        rounds=rounds,
        cell_seconds=cell_seconds,
        straightforward=straightforward,
    )
    if quality is not None and plots is None:
        raise InputError(f"--quality {quality} is for a plot: give --plots FOLDER with it.")
    scores = known_quality(model, quality) if plots is not None else {}
    if plots is not None:
        with look():  # a missing matplotlib is missed now, not when all is measured
            pass
    report = run_benchmark(
        smaller(options) if quick else options, progress=None if as_json else _tell
    )
    if not as_json:
        _tell("")
    if out is not None:
        write_report(report, out)
    if as_json:
        shared.write_json(as_dict(report))
    else:
        shared.write(table(report))
    if report.settings["interrupted"]:
        raise KeyboardInterrupt
    if plots is not None:
        from cocom.benchmark.plots import draw

        for path in draw(report, plots, quality=scores):
            sys.stderr.write(f"wrote {path}\n")
    if strict and not (report.checks and all(check.met for check in report.checks)):
        raise typer.Exit(1)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{name} must be whole numbers with commas between them, such as 1,16, got {text!r}."
        ) from None


def _tell(message: str) -> None:
    """Write progress over itself on a terminal, else only what does not change all the time."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{message}")
    elif message and " of " not in message:
        sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
