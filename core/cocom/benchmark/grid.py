"""A table of numbers in colours: as fast is white, faster is purple, slower is orange."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Field", "Grid", "Scale", "draw_grid", "number_text"]


@dataclass(frozen=True)
class Field:
    """A field of a table.

    Attributes:
        text: What stands there.
        faster: How many times faster, which decides the colour; None if there is no number.
        skipped: Whether it was to be measured and was not.
        small: Whether to write small.
    """

    text: str
    faster: float | None = None
    skipped: bool = False
    small: bool = False


Grid = Mapping[tuple[int, int], Field]
"""Fields by row and column."""

_LEAST = 4.0  # so that a difference of a few per cent is no other colour
_FACE, _EDGE = "#f4f4f4", "#c4c4c4"


class Scale:
    """Colours by powers: the largest number there is, in either direction, is the darkest."""

    def __init__(self, grids: Iterable[Grid]) -> None:
        numbers = [f.faster for grid in grids for f in grid.values() if f.faster]
        self._most = max(math.log(_LEAST), *(abs(math.log(number)) for number in numbers), 0.0)

    def __call__(self, faster: float) -> tuple[float, float, float, float]:
        """Red, green, blue and opacity."""
        from matplotlib import colormaps

        return colormaps["PuOr"](0.5 + math.log(faster) / self._most / 2)


def draw_grid(
    axes: Axes,
    grid: Grid,
    rows: Sequence[str],
    columns: Sequence[str],
    scale: Scale,
    missing: str = "not run",
) -> None:
    """Draw a table, its first row on top.

    Args:
        axes: Where.
        grid: Fields.
        rows: Their names.
        columns: Their names.
        scale: Colours.
        missing: What stands in fields that the table lacks.
    """
    from matplotlib.patches import Rectangle

    for row in range(len(rows)):
        for column in range(len(columns)):
            field = grid.get((row, column), Field(missing))
            place = (column - 0.5, row - 0.5)
            if field.faster:
                colour = scale(field.faster)
                dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5
                axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, edgecolor="white"))
                text: dict[str, Any] = {"color": "white" if dark else "black"}
                text |= {"fontsize": 7} if field.small else {}
            else:
                hatch = "////" if field.skipped else None
                axes.add_patch(
                    Rectangle(
                        place, 1, 1, facecolor=_FACE, edgecolor=_EDGE, hatch=hatch, linewidth=0.6
                    )
                )
                behind = {"facecolor": _FACE, "edgecolor": "none", "pad": 1}
                text = {"color": "#333333", "fontsize": 7, "bbox": behind}
            axes.text(column, row, field.text, ha="center", va="center", **text)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), labels=columns)
    axes.set_yticks(range(len(rows)), labels=rows)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def number_text(number: float) -> str:
    """A ratio with about three digits."""
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"
