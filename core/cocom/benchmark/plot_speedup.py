"""Speed-up over text, over passages and batch, beside what the machine's floors allow."""

from __future__ import annotations

import textwrap
from pathlib import Path

from cocom.benchmark.figures import (
    context_order,
    is_rate,
    kind_text,
    new_figure,
    save,
    titled,
    usual_tokens,
)
from cocom.benchmark.grid import Field, Grid, Scale, draw_grid, number_text
from cocom.benchmark.result import Cell, Report

__all__ = ["draw_speed_up"]


def draw_speed_up(report: Report, what: str, path: Path) -> Path | None:
    """How many times faster than with text, measured and at most, for each rate."""
    kind = (what, "cocom", usual_tokens(report, what))
    cells = [c for c in report.cells if (c.what, c.way, c.new_tokens) == kind]
    texts = {(c.passages, c.batch): c for c in cells if c.context == "text"}
    pairs = {
        (c.context, c.passages, c.batch): (c, texts[c.passages, c.batch])
        for c in cells
        if is_rate(c.context) and (c.passages, c.batch) in texts
    }
    if not pairs:
        return None
    rates = context_order(context for context, _, _ in pairs)
    passages = sorted({count for _, count, _ in pairs}, reverse=True)
    batches = sorted({batch for _, _, batch in pairs})
    grids: list[tuple[str, Grid]] = []
    for rate in rates:
        places = {
            (row, column): pairs[rate, count, batch]
            for row, count in enumerate(passages)
            for column, batch in enumerate(batches)
            if (rate, count, batch) in pairs
        }
        measured = {place: _measured(*pair) for place, pair in places.items()}
        floors = {place: _ceiling(*pair) for place, pair in places.items()}
        grids += [(f"{rate}: measured", measured), (f"{rate}: most that the floors allow", floors)]
    width = max(6.4, 2 * (1.0 + 0.85 * len(batches)))
    reasons = sorted({f"{c.context} skipped: {c.skipped}" for c in cells if c.skipped})
    notes = [line for reason in reasons for line in textwrap.wrap(reason, round(width * 15))]
    height = 1.1 + len(rates) * (0.8 + 0.42 * len(passages)) + 0.14 * len(notes)
    title = titled(report, f"Speed-up over text: {kind_text(report, what)}", width)
    figure, panels = new_figure(title, width, height, rows=len(rates), columns=2)
    scale = Scale(grid for _, grid in grids)
    for axes, (name, grid) in zip((a for row in panels for a in row), grids, strict=True):
        draw_grid(axes, grid, [str(p) for p in passages], [str(b) for b in batches], scale)
        axes.set_title(name)
    for row in panels:
        row[0].set_ylabel("passages")
    for axes in panels[-1]:
        axes.set_xlabel("batch")
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=7.5, x=0.02, ha="left")
    return save(figure, path)


def _measured(ours: Cell, text: Cell) -> Field:
    if ours.seconds is None:
        return Field("skipped", skipped=True)
    if text.seconds is None:
        return Field("text\nskipped", skipped=True)
    return _times(text.seconds.median / ours.seconds.median)


def _ceiling(ours: Cell, text: Cell) -> Field:
    if not ours.floor_seconds or not text.floor_seconds:
        return Field("no floor")
    return _times(text.floor_seconds / ours.floor_seconds)


def _times(faster: float) -> Field:
    return Field(f"{number_text(faster)}x", faster)
