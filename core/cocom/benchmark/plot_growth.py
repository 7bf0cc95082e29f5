"""Growth, drawn: what was measured as points, what the formula expects as lines."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.benchmark.figures import (
    COLOURS,
    GREY,
    context_order,
    log_if_wide,
    look,
    new_figure,
    points,
    save,
    scaled,
    seconds_of,
    styles_of,
    tick_all,
    titled,
)
from cocom.benchmark.fitting import Fit
from cocom.benchmark.growth import BYTES, DOUBLINGS, EXPECTED, GETS, OPERATIONS
from cocom.benchmark.result import Cell, Report, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["describe_fit", "draw_growth"]


def draw_growth(report: Report, fits: Mapping[str, Fit], folder: Path) -> list[Path]:
    """Draw growth over passages and over the store's size, as far as the report has their cells.

    Args:
        report: With the cells of `grow_passages` and `grow_store`.
        fits: Their constants, under "answer" and "get".
        folder: Where the files go.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with look():
        drawn = [
            _draw_passages(report, fits, folder / "growth_passages.svg"),
            _draw_store(report, fits, folder / "growth_store.svg"),
        ]
    return [path for path in drawn if path is not None]


def _draw_passages(report: Report, fits: Mapping[str, Fit], path: Path) -> Path | None:
    cells = [c for c in report.cells if c.what == "answer" and EXPECTED in c.notes]
    if not any(c.seconds for c in cells):
        return None
    width = 7.2
    title = f"Answer of {cells[0].new_tokens} tokens against passages"
    notes = [describe_fit(fits["answer"])] if "answer" in fits else []
    for context in context_order(c.context for c in cells):
        left = [c for c in cells if c.context == context and c.seconds is None]
        if left:
            counts = ", ".join(str(c.passages) for c in left)
            notes.append(f"{context} left out from {counts} passages: {left[0].skipped}")
    lines = [line for note in notes for line in textwrap.wrap(note, 115)]
    figure, [[axes]] = new_figure(titled(report, title, width), width, 4.4 + 0.14 * len(lines))
    styles = styles_of(c.context for c in cells)
    for context in context_order(c.context for c in cells):
        found = [c for c in cells if c.context == context]
        done = [c for c in found if c.seconds is not None]
        colour = styles[context]["color"]
        _expected(axes, [(c.passages, c) for c in found], colour)
        places = [c.passages for c in done]
        seconds = [seconds_of(c) for c in done]
        points(axes, places, seconds, label=context, linestyle="none", **styles[context])
    axes.plot([], [], color=GREY, linewidth=1, label="expected by the formula")
    axes.set_xscale("log")
    log_if_wide(axes, "y", [c.notes[EXPECTED] for c in cells])
    tick_all(axes, "x", sorted({c.passages for c in cells}))
    axes.set_xlabel("passages")
    axes.set_ylabel("seconds")
    axes.legend(loc="upper left")
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=7.5, x=0.02, ha="left")
    return save(figure, path)


def _draw_store(report: Report, fits: Mapping[str, Fit], path: Path) -> Path | None:
    cells = [c for c in report.cells if c.what == "store" and EXPECTED in c.notes]
    if not any(c.seconds for c in cells):
        return None
    width = 8.4
    first = cells[0]
    title = f"{first.passages} passages at {first.context} from stores of different sizes"
    lines = textwrap.wrap(describe_fit(fits["get"]), 135) if "get" in fits else []
    figure, [panels] = new_figure(
        titled(report, title, width), width, 3.6 + 0.14 * len(lines), columns=2
    )
    named = {
        "get": ("getting them; bars hold 98 % of the times", 1e3, "milliseconds"),
        "get and answer": (
            f"getting them, and an answer of {first.new_tokens} tokens",
            1.0,
            "seconds",
        ),
    }
    for axes, (part, (name, scale, unit)), colour in zip(
        panels, named.items(), COLOURS, strict=False
    ):
        found = [c for c in cells if c.notes["part"] == part]
        sizes = [c.notes["passages in the store"] for c in found]
        values = [scaled(_usual(seconds_of(c)), scale) for c in found]
        _expected(axes, list(zip(sizes, found, strict=True)), colour, scale)
        points(axes, sizes, values, color=colour, marker="o", linestyle="none", label="measured")
        axes.plot([], [], color=colour, linewidth=1, label="expected by the formula")
        axes.set_xscale("log")
        axes.margins(x=0.1)
        highest = [v.high for v in values] + [c.notes[EXPECTED] * scale for c in found]
        axes.set_ylim(bottom=0, top=1.3 * max(highest))
        axes.set_title(name)
        axes.set_xlabel("passages in the store")
        axes.set_ylabel(unit)
        axes.legend(loc="upper left")
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=7.5, x=0.02, ha="left")
    return save(figure, path)


def _usual(seconds: Spread) -> Spread:
    """Of many times, from the 1st to the 99th percentile: the largest says little of them."""
    if len(seconds.rounds) < 100:
        return seconds
    parts = statistics.quantiles(seconds.rounds, n=100)
    return replace(seconds, low=parts[0], high=parts[-1])


def _expected(
    axes: Axes, cells: Sequence[tuple[float, Cell]], colour: str, scale: float = 1.0
) -> None:
    x = [place for place, _ in cells]
    axes.plot(x, [c.notes[EXPECTED] * scale for _, c in cells], color=colour, linewidth=1, zorder=1)


def describe_fit(fit: Fit) -> str:
    """The formula with its constants, and how good it is."""
    parts = []
    for name, constant in fit.constants.items():
        if not constant:
            parts.append(f"{name}: no share seen")
        elif name == OPERATIONS:
            parts.append(f"prefill operations / {_speed(1 / constant, 'FLOP/s')}")
        elif name == BYTES:
            parts.append(f"bytes that are read / {_speed(1 / constant, 'B/s')}")
        elif name == GETS:
            parts.append(f"{constant * 1e3:.3g} ms")
        elif name == DOUBLINGS:
            parts.append(f"{constant * 1e6:.3g} µs for each doubling of the store")
    return (
        f"Expected: {' + '.join(parts)}; found from {fit.points} times, off by {fit.median_error:.1%} in the "
        f"median and {fit.worst_error:.1%} at most."
    )


def _speed(value: float, unit: str) -> str:
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
