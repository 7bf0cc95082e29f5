"""What a run measures: its options, and the cells that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cocom.benchmark.result import Way
from cocom.errors import InputError

__all__ = ["BenchmarkOptions", "Point", "points", "quick"]

PASSAGES, BATCH, TOKENS = 5, 1, 32
"""The base point; along each axis the others stay there."""

MANY = 20
"""Passages of a question that compression is for; answers of all lengths are measured there too."""

STREAMED = 16  # answers that are streamed together at most, as many as the queue puts in a batch


@dataclass(frozen=True)
class BenchmarkOptions:
    """The options of `cocom bench`.

    Attributes:
        model: A named random shape, or what `Cocom.from_pretrained` takes.
        device: None takes CUDA if there is one.
        dtype: None takes the default of the device.
        rates: Compression rates; None takes all that the model serves.
        passages: Passages of a question.
        batch: Questions answered together.
        new_tokens: Lengths of answers.
        rounds: How often each cell is timed.
        cell_seconds: What all rounds of a cell may take; cells that would take longer are left out.
        compressed: Passages compressed in one go.
        straightforward: Whether the straightforward way is measured too.
        surface: Whether answers are measured at all passages by all batches, and the straightforward way
            along all axes; else both near the base point only.
        store: Whether the way from a store on disk to the first token is measured.
        floor_seconds: About how long a round of each floor takes.
    """

    model: str = "llama-60m"
    device: str | None = None
    dtype: str | None = None
    rates: tuple[int, ...] | None = None
    passages: tuple[int, ...] = (1, 5, 20, 50)
    batch: tuple[int, ...] = (1, 16, 64)
    new_tokens: tuple[int, ...] = (6, 32, 128)
    rounds: int = 5
    cell_seconds: float = 60.0
    compressed: int = 64
    straightforward: bool = True
    surface: bool = True
    store: bool = True
    floor_seconds: float = 0.3

    def __post_init__(self) -> None:
        for name in ("rates", "passages", "batch", "new_tokens"):
            values = getattr(self, name)
            if values is None:
                continue
            object.__setattr__(self, name, tuple(dict.fromkeys(values)))
            if not values or any(not isinstance(v, int) or v < 1 for v in values):
                raise InputError(
                    f"{name} must be one or more whole numbers from 1, got {tuple(values)}."
                )
        for name in ("rounds", "cell_seconds", "compressed", "floor_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}.")


def quick(options: BenchmarkOptions) -> BenchmarkOptions:
    """The same with a grid that two CPU cores and a small model finish in about two minutes.

    Only what still has its default is made smaller.
    """
    usual = BenchmarkOptions()
    small: dict[str, object] = {
        "rates": (16,),
        "passages": (5, 20),
        "batch": (1, 16),
        "new_tokens": (6, 32),
        "rounds": 3,
        "cell_seconds": 30.0,
        "compressed": 8,
        "surface": False,
        "floor_seconds": 0.15,
    }
    changed = {n: v for n, v in small.items() if getattr(options, n) == getattr(usual, n)}
    return replace(options, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Point:
    """What a cell measures; the names are those of `Cell`."""

    what: str
    way: Way
    context: str
    passages: int
    batch: int
    new_tokens: int


def points(options: BenchmarkOptions, rates: Sequence[int]) -> list[Point]:
    """What is measured: one axis at a time around the base point, and passages by batch for answers.

    The straightforward way answers one question at a time, so that more of them take as much longer.

    Args:
        options: Of the run.
        rates: Compression rates.
    """
    passages = near(options.passages, PASSAGES)
    batch, tokens = near(options.batch, BATCH), near(options.new_tokens, TOKENS)
    compressed = [f"rate {rate}" for rate in rates]
    contexts = ["none", "text", *compressed]
    found: dict[Point, None] = {}

    def add(what: str, way: Way, context: str, passages: int, batch: int, tokens: int) -> None:
        count = 0 if context == "none" else passages
        found[Point(what, way, context, count, batch, tokens)] = None

    ways: tuple[Way, ...] = ("cocom", "straightforward") if options.straightforward else ("cocom",)
    for way in ways:
        for context in compressed:
            add("compress", way, context, options.compressed, 1, 0)
    for context in contexts:
        several = options.batch if options.surface or context != "none" else (batch,)
        for p in options.passages:
            add("first_token", "cocom", context, p, batch, 1)
            for b in several if options.surface else (batch,):
                add("answer", "cocom", context, p, b, tokens)
        for p in {passages: None, near(options.passages, MANY): None}:
            for t in options.new_tokens:
                add("answer", "cocom", context, p, batch, t)
        for b in several:
            add("first_token", "cocom", context, passages, b, 1)
            add("answer", "cocom", context, passages, b, tokens)
        for b in streamed(several):
            add("answer", "cocom", context, passages, b, tokens)
            add("stream", "cocom", context, passages, b, tokens)
        if options.straightforward:
            for p in options.passages if options.surface else (passages,):
                add("first_token", "straightforward", context, p, 1, 1)
                add("answer", "straightforward", context, p, 1, tokens)
            for t in options.new_tokens if options.surface else (tokens,):
                add("answer", "straightforward", context, passages, 1, t)
            if context == "text" and MANY in options.passages:
                add("answer", "straightforward", context, MANY, 1, tokens)
    return list(found)


def streamed(batch: Sequence[int]) -> list[int]:
    """Numbers of answers that are streamed together."""
    return [b for b in batch if b <= STREAMED] or [BATCH]


def near(values: Sequence[int], wanted: int) -> int:
    """The value that is nearest to the base point."""
    return min(values, key=lambda value: abs(value - wanted))
