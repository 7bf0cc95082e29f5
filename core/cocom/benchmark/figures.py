"""What all plots share: a look, colours that everybody can tell apart, files that repeat byte for byte."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.benchmark.result import Cell, Report, Spread
from cocom.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "COLOURS",
    "GREY",
    "MARKERS",
    "WORDS",
    "Setting",
    "bars",
    "context_order",
    "is_rate",
    "kind_text",
    "log_if_wide",
    "look",
    "measured",
    "new_figure",
    "points",
    "save",
    "scaled",
    "seconds_of",
    "seconds_text",
    "setting_text",
    "styles_of",
    "tick_all",
    "titled",
    "usual_tokens",
]

Setting = tuple[int, int]
"""Passages of a question, and questions together."""

WORDS = {
    "compress": "compressing",
    "first_token": "first token",
    "answer": "answer",
    "stream": "stream",
    "store": "store",
}
"""What a cell measures, in words."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which people with any colour vision tell apart."""

GREY, BLACK = "#888888", "#000000"
MARKERS = ("o", "^", "D", "v", "P", "X")
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "cocom bench",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "errorbar.capsize": 2,
    "hatch.color": "#bbbbbb",
    "hatch.linewidth": 0.7,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw and save with our settings; the caller's own are as before afterwards.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "bench", "drawing plots") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(
    title: str, width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of some inches and its panels, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in panels]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as SVG; equal figures make equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {"Date": None, "Creator": "cocom bench"}
    figure.savefig(path, format="svg", metadata=metadata)
    return path


def context_order(contexts: Iterable[str]) -> list[str]:
    """Contexts, each once: none, text, then rates from small to large."""

    def place(context: str) -> tuple[int, int]:
        if context.startswith("rate "):
            return 2, int(context.removeprefix("rate "))
        return (0 if context == "none" else 1), 0

    return sorted(set(contexts), key=place)


def is_rate(context: str) -> bool:
    """Whether a context is context embeddings at some rate."""
    return context.startswith("rate ")


def styles_of(contexts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each context."""
    styles: dict[str, dict[str, Any]] = {}
    for i, context in enumerate(filter(is_rate, context_order(contexts))):
        styles[context] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)],
        }
    styles["text"] = {"color": BLACK, "marker": "s"}
    styles["none"] = {"color": GREY, "marker": "*"}
    return styles


def usual_tokens(report: Report, what: str) -> int:
    """Of how many tokens most answers of a kind are; of equally many, the shortest."""
    counts = Counter(c.new_tokens for c in report.cells if c.what == what)
    return max(counts, key=lambda tokens: (counts[tokens], -tokens), default=0)


def measured(report: Report, what: str) -> dict[Setting, dict[str, Cell]]:
    """Our cells of a kind that were measured, of the usual length: for each setting, by context."""
    tokens = usual_tokens(report, what)
    found: dict[Setting, dict[str, Cell]] = {}
    for cell in report.cells:
        ours = (cell.what, cell.way, cell.new_tokens) == (what, "cocom", tokens)
        if ours and cell.seconds is not None:
            found.setdefault((cell.passages, cell.batch), {})[cell.context] = cell
    return found


def kind_text(report: Report, what: str) -> str:
    """What a kind of cells measures, with the usual length of its answers."""
    tokens = usual_tokens(report, what)
    return WORDS[what] if tokens < 2 else f"{WORDS[what]} of {tokens} tokens"


def seconds_of(cell: Cell) -> Spread:
    """What a cell that was measured took."""
    assert cell.seconds is not None
    return cell.seconds


def scaled(seconds: Spread, scale: float) -> Spread:
    """Every figure of a spread multiplied."""
    rounds = tuple(one * scale for one in seconds.rounds)
    return Spread(seconds.median * scale, seconds.low * scale, seconds.high * scale, rounds)


def titled(report: Report, title: str, width: float) -> str:
    """A title for a figure of some inches, with what was measured below it."""
    model, machine = report.model, report.machine
    place = machine.get("name") or machine.get("device") or "unknown device"
    facts = [str(model.get("name", "unknown model")), str(place)]
    facts += [str(model.get("dtype") or machine.get("dtype") or "unknown dtype")]
    facts += ["random weights"] * bool(model.get("random_weights"))
    return f"{title}\n{textwrap.fill(', '.join(facts), round(width * 14))}"


def setting_text(setting: Setting) -> str:
    """A setting in words."""
    passages, batch = setting
    return f"{passages} passage{'s' * (passages != 1)}, batch {batch}"


def points(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[Spread],
    *,
    across: bool = False,
    **style: Any,
) -> None:
    """Medians with bars from the smallest to the largest.

    Args:
        axes: Where to draw.
        places: Where on the other axis.
        values: What was measured.
        across: Whether the measured goes along the horizontal axis.
        **style: Of `errorbar`.
    """
    middle = [value.median for value in values]
    style = {"markersize": 5, "elinewidth": 1, "linewidth": 1.3, **style}
    if across:
        axes.errorbar(middle, places, xerr=_ends(values), **style)
    else:
        axes.errorbar(places, middle, yerr=_ends(values), **style)


def bars(axes: Axes, places: Sequence[float], values: Sequence[Spread], **style: Any) -> None:
    """Lying bars of medians, with the smallest and largest marked."""
    middle = [value.median for value in values]
    axes.barh(places, middle, xerr=_ends(values), ecolor="#333333", **style)


def _ends(values: Sequence[Spread]) -> tuple[list[float], list[float]]:
    return [v.median - v.low for v in values], [v.high - v.median for v in values]


def log_if_wide(axes: Axes, which: str, values: Iterable[float], *, base: float = 10) -> None:
    """A logarithmic axis if positive values differ by more than ten times, else one from zero."""
    values = list(values)
    wide = bool(values) and min(values) > 0 and max(values) > 10 * min(values)
    if wide:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        getattr(axes, f"set_{which}scale")("log", base=base)
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if max(values) > 30 * min(values):
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_minor_formatter(FuncFormatter(lambda value, _: _of_few(value)))
    elif values and min(values) >= 0:
        getattr(axes, f"set_{which}lim")(**{"left" if which == "x" else "bottom": 0})


def _of_few(value: float) -> str:
    """A minor tick's label, if its first digit is 2 or 5."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def tick_all(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Mark just these values, as plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(list(values), labels=[f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def seconds_text(seconds: float) -> str:
    """Seconds in a unit that suits them, with three digits."""
    size = abs(seconds)
    unit, scale = ("s", 1.0) if size >= 1 else ("ms", 1e3) if size >= 1e-3 else ("µs", 1e6)
    value = seconds * scale
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f} {unit}"
