"""`cocom index plan`: bytes, GPU-hours and cost of compressing a corpus, before it is done."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocom.cli import shared
from cocom.errors import InputError

if TYPE_CHECKING:
    from cocom.indexing.planning.figures import Figure
    from cocom.indexing.planning.plan import IndexPlan
    from cocom.indexing.planning.shape import CompressorShape
    from cocom.indexing.planning.throughput import MeasuredThroughput

__all__ = ["Quantization", "command"]

_NUMBER = re.compile(r"(\d[\d_]{0,30}(?:\.\d{1,30})?)(?:[eE]\+?(\d{1,2}))?([kKmMbB]?)")
_EXPONENTS = {"": 0, "k": 3, "m": 6, "b": 9}


class Quantization(StrEnum):
    """How a store keeps embeddings."""

    none = "none"
    int8 = "int8"
    fp8 = "fp8"


def command(
    passages: Annotated[str, typer.Option(help="How many: 24e6, 24_000_000 or 24M.")],
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    subfolder: shared.Subfolder = "",
    revision: shared.Revision = None,
    rate: shared.Rate = None,
    tokens: Annotated[
        int | None, typer.Option(help="Of a passage.", show_default="the model's window")
    ] = None,
    gpus: Annotated[int, typer.Option(help="That share the work.")] = 1,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of embeddings: float32, bfloat16 or float16.", show_default="as the model stores"
        ),
    ] = None,
    quantization: Annotated[
        Quantization, typer.Option(help="How the store keeps embeddings.")
    ] = Quantization.none,
    no_text: Annotated[bool, typer.Option("--no-text", help="Texts are not kept.")] = False,
    text_bytes: Annotated[
        float | None, typer.Option(help="Of a passage's text.", show_default="4.2 a token")
    ] = None,
    throughput: Annotated[
        float | None,
        typer.Option(help="Passages a second on one GPU.", show_default="peak x mfu / operations"),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Load the model and measure the throughput here.")
    ] = False,
    device: shared.Device = None,
    mfu: Annotated[
        float | None,
        typer.Option(help="Share of the peak that compressing reaches.", show_default="0.4"),
    ] = None,
    peak: Annotated[
        float | None, typer.Option(help="TFLOP/s of a GPU.", show_default="790, an H200")
    ] = None,
    gpu_price: Annotated[
        float | None, typer.Option(help="Dollars for a GPU-hour.", show_default="2.5")
    ] = None,
    storage_price: Annotated[
        float | None, typer.Option(help="Dollars for a GB and month.", show_default="0.023")
    ] = None,
    as_json: shared.Json = False,
) -> None:
    """Tell what compressing a corpus takes, and what each figure rests on; reads configs, no weights."""
    from cocom.checkpoints.source import HubOptions
    from cocom.indexing.planning.plan import PlanOptions, plan
    from cocom.indexing.planning.shape import shape_of

    options = PlanOptions(
        passages=_count(passages),
        rate=rate,
        tokens=tokens,
        gpus=gpus,
        dtype=dtype,
        quantization=quantization.value,
        keep_text=not no_text,
        text_bytes=text_bytes,
        throughput=throughput,
        mfu=mfu,
        peak=peak,
        gpu_price=gpu_price,
        storage_price=storage_price,
    )
    if device is not None and not measure:
        raise InputError(
            f"--device {device} tells where to measure: add --measure or leave it out."
        )
    where: dict[str, Any] = {"base": shared.bases(base)}
    shape = shape_of(model, hub=HubOptions(revision=revision, subfolder=subfolder), **where)
    shape.config.check_rate(rate)
    measured = None
    if measure:
        where |= {"subfolder": subfolder, "revision": revision, "device": device, "dtype": dtype}
        measured = _measure(model, shape, tokens, rate, where)
    made = plan(shape, options, measured)
    if as_json:
        shared.write_json(made.to_dict())
        return
    for label, value, basis in _lines(made):
        shared.write(f"{label:<18} {value:<46} {basis}")
    shared.write()
    if measured is not None and measured.device.startswith("a CPU"):
        shared.write(
            "This was measured on a CPU: hours and cost are those of such a CPU, not of a GPU."
        )
    shared.write(_advice(made))


def _measure(
    model: str,
    shape: CompressorShape,
    tokens: int | None,
    rate: int | None,
    where: dict[str, Any],
) -> MeasuredThroughput:
    from cocom.engine import Cocom
    from cocom.indexing.planning.throughput import measure

    engine = Cocom.from_pretrained(model, **where)
    return measure(engine, tokens=tokens or shape.config.window, rate=rate)


def _count(text: str) -> int:
    """A whole number as people write large ones."""
    match = _NUMBER.fullmatch(text.strip())
    if match is not None:
        digits, exponent, suffix = match.groups()
        whole, _, fraction = digits.replace("_", "").partition(".")
        shift = int(exponent or 0) + _EXPONENTS[suffix.lower()] - len(fraction.rstrip("0"))
        if shift >= 0:
            return int(whole + fraction.rstrip("0") + "0" * shift)
    raise InputError(
        f"--passages must be a whole number such as 24e6, 24_000_000 or 24M, got {text!r}."
    )


def _lines(made: IndexPlan) -> list[tuple[str, str, str]]:
    shown = {
        "passages": (f"{made.passages.value:,}", made.passages),
        "tokens": (f"{made.tokens.value} a passage", made.tokens),
        "embeddings": (
            f"{made.embeddings.value} x {made.width.value} {made.dtype} = "
            f"{_binary(made.passage_bytes.value)} a passage",
            made.passage_bytes,
        ),
        "all embeddings": (_decimal(made.embedding_bytes.value), made.embedding_bytes),
        "texts": (_decimal(made.text_bytes.value), made.text_bytes),
        "index": (_decimal(made.index_bytes.value), made.index_bytes),
        "bytes in all": (_decimal(made.total_bytes.value), made.total_bytes),
        "compressor": (
            f"{made.weights.value:.3g} weights, {made.flops.value:.3g} FLOPs a passage",
            made.flops,
        ),
        "throughput": (f"{_three(made.throughput.value)} passages a second a GPU", made.throughput),
        "GPU-hours": (
            f"{_three(made.gpu_hours.value)} on {made.gpus.value} GPU{'s' * (made.gpus.value != 1)}: "
            f"{_three(made.hours.value)} hours",
            made.gpu_hours,
        ),
        "cost": (_dollars(made.cost.value), made.cost),
        "cost per million": (_dollars(made.cost_per_million.value), made.cost_per_million),
        "storage": (f"{_dollars(made.storage_cost.value)} a month", made.storage_cost),
    }
    return [(label, value, _basis(figure)) for label, (value, figure) in shown.items()]


def _basis(figure: Figure) -> str:
    assumes = f" ({', '.join(map(_option, figure.assumes))})" if figure.assumes else ""
    return f"{figure.basis}{assumes}: {figure.note}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _advice(made: IndexPlan) -> str:
    """How what is assumed becomes known."""
    speed = set(made.throughput.assumes)
    others = ", ".join(_option(name) for name in made.assumed if name not in speed)
    sentences = []
    if speed:
        sentences.append(
            "The throughput is assumed: add --measure on the GPU that will do the work, or give --throughput."
        )
    if others:
        sentences.append(f"Give {others} in place of what else is assumed.")
    return " ".join(sentences) or "Nothing here is assumed."


def _decimal(count: float) -> str:
    size, unit = next(
        ((s, u) for s, u in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= s),
        (1, "bytes"),
    )
    return f"{_three(count / size)} {unit}"


def _binary(count: float) -> str:
    return f"{_three(count / 1024)} KiB" if count >= 1024 else f"{_three(count)} bytes"


def _three(number: float) -> str:
    """Three digits of a number, or all before its point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if 0.1 <= amount < 100 else f"${_three(amount)}"
