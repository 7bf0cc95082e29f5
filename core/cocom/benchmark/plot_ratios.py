"""Every cell beside the machine's floor, and ours beside the straightforward way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.benchmark.figures import (
    COLOURS,
    GREY,
    WORDS,
    bars,
    context_order,
    new_figure,
    save,
    scaled,
    seconds_of,
    seconds_text,
    setting_text,
    titled,
)
from cocom.benchmark.grid import Field, Scale, draw_grid, number_text
from cocom.benchmark.result import Cell, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_floors", "draw_straightforward"]

_ROW = 0.34  # inches of a pair of bars


def draw_floors(report: Report, path: Path) -> Path | None:
    """How many times longer than the machine's floor each cell took."""
    cells = [c for c in report.cells if c.floor_seconds]
    cells = [c for c in cells if c.seconds is not None or c.skipped]
    if not any(c.to_floor for c in cells):
        return None
    kinds = [what for what in WORDS if any(c.what == what for c in cells)]
    order = context_order(c.context for c in cells)
    lanes = sorted(
        {(c.context, c.way) for c in cells}, key=lambda lane: (order.index(lane[0]), lane[1])
    )
    settings = {w: sorted({_setting(c) for c in cells if c.what == w}) for w in kinds}
    rows = {w: [lane for lane in lanes if _of(cells, w, *lane)] for w in kinds}
    columns = max(map(len, settings.values()))
    width = max(6.4, 2.2 + 0.8 * columns)
    height = 1.0 + sum(0.85 + 0.34 * len(rows[w]) for w in kinds)
    title = titled(report, "Time, as a multiple of the least that the machine needs", width)
    figure, panels = new_figure(
        title,
        width,
        height,
        rows=len(kinds),
        height_ratios=[0.5 + len(rows[w]) for w in kinds],
    )
    grids = {
        what: {
            (row, settings[what].index(_setting(c))): _ratio(c)
            for row, lane in enumerate(rows[what])
            for c in _of(cells, what, *lane)
        }
        for what in kinds
    }
    scale = Scale(grids.values())
    for [axes], what in zip(panels, kinds, strict=True):
        names = [c if way == "cocom" else f"{c}, straightforward" for c, way in rows[what]]
        places = [_place(c, settings[what]) for c in settings[what]]
        draw_grid(axes, grids[what], names, places, scale, missing="")
        axes.set_xlim(-0.5, max(columns, 4) - 0.5)  # equal fields in all panels
        axes.set_title(f"{WORDS[what]}: median (lowest to highest)", loc="left")
    panels[-1][0].set_xlabel("passages x batch")
    return save(figure, path)


def _setting(cell: Cell) -> tuple[int, int, int]:
    return cell.passages, cell.batch, cell.new_tokens


def _place(setting: tuple[int, int, int], all_of_them: Sequence[tuple[int, int, int]]) -> str:
    """A setting in a few characters, with tokens only where they differ."""
    passages, batch, tokens = setting
    text = f"{passages} x {batch}"
    several = len({t for _, _, t in all_of_them}) > 1
    return f"{text}\n{tokens} tokens" if several else text


def _of(cells: Sequence[Cell], what: str, context: str, way: str) -> list[Cell]:
    return [c for c in cells if (c.what, c.context, c.way) == (what, context, way)]


def _ratio(cell: Cell) -> Field:
    if cell.seconds is None or not cell.floor_seconds:
        return Field("skipped", skipped=True)
    found = scaled(cell.seconds, 1 / cell.floor_seconds)
    median, low, high = (number_text(value) for value in (found.median, found.low, found.high))
    return Field(f"{median}x\n({low} to {high})", 1 / found.median, small=True)


def draw_straightforward(report: Report, path: Path) -> Path | None:
    """Ours beside the straightforward way, where both were measured, the latter as 1."""
    both: dict[tuple[str, str, int, int, int], dict[str, Cell]] = {}
    for c in report.cells:
        if c.seconds is not None:
            key = (c.what, c.context, c.passages, c.batch, c.new_tokens)
            both.setdefault(key, {})[c.way] = c
    pairs = [
        (found["cocom"], found["straightforward"]) for found in both.values() if len(found) == 2
    ]
    if not pairs:
        return None
    kinds = [what for what in WORDS if any(ours.what == what for ours, _ in pairs)]
    order = context_order(ours.context for ours, _ in pairs)
    pairs.sort(key=lambda pair: (_setting(pair[0]), order.index(pair[0].context)))
    chosen = {what: [pair for pair in pairs if pair[0].what == what] for what in kinds}
    width = 6.4 * len(kinds)
    title = titled(report, "Time, as a multiple of the straightforward way's", width)
    height = 1.5 + _ROW * max(map(len, chosen.values()))
    figure, [panels] = new_figure(title, width, height, columns=len(kinds))
    for axes, what in zip(panels, kinds, strict=True):
        _draw_pairs(axes, chosen[what])
        axes.set_ylim(max(map(len, chosen.values())) - 0.4, -0.6)  # equal bars in all panels
        axes.set_title(WORDS[what])
        axes.set_xlabel("time, the straightforward way's median = 1")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return save(figure, path)


def _draw_pairs(axes: Axes, pairs: Sequence[tuple[Cell, Cell]]) -> None:
    rows = range(len(pairs))
    units = [1 / seconds_of(theirs).median for _, theirs in pairs]
    for side, shift, colour, label in (
        (0, -0.2, COLOURS[0], "ours"),
        (1, 0.2, COLOURS[4], "straightforward"),
    ):
        found = [seconds_of(pair[side]) for pair in pairs]
        values = [scaled(one, unit) for one, unit in zip(found, units, strict=True)]
        bars(axes, [row + shift for row in rows], values, height=0.38, color=colour, label=label)
        for row, one, value in zip(rows, found, values, strict=True):
            text = seconds_text(one.median)
            if side == 0:
                text += f"  ({1 / value.median:.3g}x as fast)"
            axes.annotate(
                text,
                (value.high, row + shift),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
            )
    labels = [_label(ours) for ours, _ in pairs]
    axes.set_yticks(rows, labels=labels)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.axvline(1, color=GREY, linewidth=0.8, zorder=0)
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")


def _label(cell: Cell) -> str:
    text = f"{cell.context}, {setting_text((cell.passages, cell.batch))}"
    return f"{text}, {cell.new_tokens} tokens" if cell.new_tokens > 1 else text
