"""A comparison drawn: quality against the rows that the reader reads, and against the time it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["STYLE", "Plot", "draw_plots"]

_WIDTH, _HEIGHT = 720, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 36, 52
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 20

# Light and dark; neighbours differ in lightness too, and each family has a marker of its own.
_COLOURS = (
    ("#0b66c3", "#6cb2ff"),
    ("#c2410c", "#ff9a5c"),
    ("#15803d", "#5fd38d"),
    ("#7c3aed", "#b79bff"),
    ("#b0125b", "#ff7fb5"),
    ("#0e7490", "#52d0e6"),
    ("#854d0e", "#dcb04a"),
    ("#475569", "#a8b5c7"),
)
_MARKERS = ("circle", "square", "triangle", "diamond", "cross")

STYLE = "".join(
    [
        ".plot{--ink:#1c2430;--faint:#cfd6de;--paper:#fff;font:13px system-ui,sans-serif}",
        *(f".plot{{--c{i}:{light}}}" for i, (light, _) in enumerate(_COLOURS)),
        "@media(prefers-color-scheme:dark){.plot{--ink:#e3e8ee;--faint:#3a444f;--paper:#14181d}",
        *(f".plot{{--c{i}:{dark}}}" for i, (_, dark) in enumerate(_COLOURS)),
        "}",
        ".plot text{fill:var(--ink)}.plot .axis{stroke:var(--ink)}.plot .grid{stroke:var(--faint)}",
        ".plot .paper{fill:var(--paper)}.plot .line{fill:none;stroke-width:1.5;opacity:.55}",
        ".plot .title{font-weight:600;font-size:15px}",
        *(
            f".plot .s{i}{{stroke:var(--c{i});fill:var(--c{i})}}.plot .line.s{i}{{fill:none}}"
            for i in range(len(_COLOURS))
        ),
    ]
)


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Attributes:
        name: Of its file.
        quality: What is drawn upwards: "exact_match" or "f1".
        inline: The drawing for a page that has `STYLE`.
    """

    name: str
    quality: str
    inline: str

    @property
    def standalone(self) -> str:
        """The drawing as a file of its own."""
        head, _, rest = self.inline.partition(">")
        return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}\n'


@dataclass(frozen=True)
class _Point:
    name: str
    family: str
    x: float
    y: float
    low: float
    high: float


_WORDS = {"exact_match": "exact match", "f1": "F1"}
_ACROSS = {
    "prompt_rows": ("rows", "rows that the reader reads for a question"),
    "online_seconds": ("time", "seconds from question to answer, without what is done beforehand"),
}


def draw_plots(report: Mapping[str, Any]) -> list[Plot]:
    """Draw a report.

    Args:
        report: As `compare` returns it.

    Returns:
        Quality against rows and against time, once for exact match and once for F1.
    """
    plots: list[Plot] = []
    for quality, word in _WORDS.items():
        for measure, (short, label) in _ACROSS.items():
            points = [
                _Point(
                    column["column"],
                    column["family"],
                    column["figures"][measure]["mean"],
                    *(100 * column["figures"][quality][end] for end in ("mean", "low", "high")),
                )
                for column in report["columns"]
                if column["figures"][measure]["mean"] > 0
            ]
            if points:
                inline = _draw(points, f"{word} against {short}", label, f"{word} (%)")
                plots.append(Plot(f"{quality}_{short}", quality, inline))
    return plots


def _draw(points: Sequence[_Point], title: str, across: str, up: str) -> str:
    families = list(dict.fromkeys(point.family for point in points))
    legend_rows = -(-len(families) // _LEGEND_COLUMNS)
    height = _HEIGHT + 14 + legend_rows * _LEGEND_ROW
    x_of, x_ticks = _log_scale([p.x for p in points])
    y_of, y_ticks = _linear_scale(max(p.high for p in points))
    bottom = _HEIGHT - _BOTTOM
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        _text(_LEFT, 20, title, kind="title"),
    ]
    for value, label in x_ticks:
        x = x_of(value)
        parts.append(_line(x, _TOP, x, bottom, "grid"))
        parts.append(_text(x, bottom + 16, label, anchor="middle"))
    for value, label in y_ticks:
        y = y_of(value)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "grid"))
        parts.append(_text(_LEFT - 6, y + 4, label, anchor="end"))
    parts += [
        _line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "axis"),
        _line(_LEFT, _TOP, _LEFT, bottom, "axis"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 36, across + " (log)", anchor="middle"),
        f'<text transform="translate(14 {(_TOP + bottom) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(up)}</text>',
    ]
    for number, family in enumerate(families):
        own = sorted((p for p in points if p.family == family), key=lambda p: p.x)
        parts += _series(own, number, x_of, y_of)
        column, row = number % _LEGEND_COLUMNS, number // _LEGEND_COLUMNS
        x = _LEFT + column * (_WIDTH - _LEFT - _RIGHT) / _LEGEND_COLUMNS
        y = _HEIGHT + 10 + row * _LEGEND_ROW
        parts += [_marker(x, y, number), _text(x + 12, y + 4, family)]
    return "".join([*parts, "</svg>"])


def _series(own: Sequence[_Point], number: int, x_of: Any, y_of: Any) -> Iterable[str]:
    colour = f"s{number % len(_COLOURS)}"
    if len(own) > 1:
        path = " ".join(f"{x_of(p.x):.1f},{y_of(p.y):.1f}" for p in own)
        yield f'<polyline class="line {colour}" points="{path}"/>'
    for p in own:
        x = x_of(p.x)
        yield _line(x, y_of(p.low), x, y_of(p.high), colour)
        tip = f"{p.name}: {p.y:.2f} % ({p.low:.2f} to {p.high:.2f}) at {p.x:.4g}"
        yield f"<g><title>{escape(tip)}</title>{_marker(x, y_of(p.y), number)}</g>"


def _marker(x: float, y: float, number: int) -> str:
    colour = f's{number % len(_COLOURS)}" data-family="{number}'
    shape = _MARKERS[number % len(_MARKERS)]
    if shape == "circle":
        return f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == "square":
        return f'<rect class="{colour}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    corners = {
        "triangle": ((0, -5.5), (5, 4), (-5, 4)),
        "diamond": ((0, -6), (5, 0), (0, 6), (-5, 0)),
        "cross": (
            *((-5, -1.5), (-1.5, -1.5), (-1.5, -5), (1.5, -5), (1.5, -1.5), (5, -1.5)),
            *((5, 1.5), (1.5, 1.5), (1.5, 5), (-1.5, 5), (-1.5, 1.5), (-5, 1.5)),
        ),
    }[shape]
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="{colour}" points="{path}"/>'


def _log_scale(values: Sequence[float]) -> tuple[Any, list[tuple[float, str]]]:
    low, high = min(values) / 1.15, max(values) * 1.15
    span = math.log(high) - math.log(low)

    def place(value: float) -> float:
        share = (math.log(value) - math.log(low)) / span
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 500 else (1,)
    ticks = [m * 10.0**d for d in decades for m in steps]
    return place, [(tick, f"{tick:g}") for tick in ticks if low <= tick <= high]


def _linear_scale(highest: float) -> tuple[Any, list[tuple[float, str]]]:
    top = max(highest * 1.05, 0.01)
    rough = 10.0 ** math.floor(math.log10(top / 4))
    step = next(s for m in (1, 2, 5, 10) if top / (s := m * rough) <= 6)
    bottom = _HEIGHT - _BOTTOM

    def place(value: float) -> float:
        return bottom - value / top * (bottom - _TOP)

    return place, [(i * step, f"{i * step:g}") for i in range(int(top / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
