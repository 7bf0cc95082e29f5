"""Against compression rate: how large a passage is and how long it takes; and quality against speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.benchmark.figures import (
    BLACK,
    COLOURS,
    GREY,
    MARKERS,
    Setting,
    context_order,
    is_rate,
    kind_text,
    log_if_wide,
    measured,
    new_figure,
    points,
    save,
    seconds_of,
    setting_text,
    styles_of,
    tick_all,
    titled,
)
from cocom.benchmark.result import Cell, Report, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["draw_quality", "draw_rates"]

_MOST_LINES = 4
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def draw_rates(report: Report, path: Path) -> Path | None:
    """Bytes of a passage, and time to the first token and of the answer, against compression rate."""
    sizes = _passage_bytes(report)
    timed = {what: found for what in ("first_token", "answer") if (found := _able(report, what))}
    if not timed and not sizes:
        return None
    settings = sorted({s for able in timed.values() for s in able}, key=lambda s: (s[0] * s[1], s))
    columns = bool(sizes) + len(timed)
    width = 3.7 * columns
    title = titled(report, "Size and time against compression rate", width)
    figure, [panels] = new_figure(title, width, 4, columns=columns)
    if sizes:
        _draw_bytes(panels.pop(0), sizes)
    chosen = _some(settings)
    for axes, (what, able) in zip(panels, timed.items(), strict=True):
        _draw_times(axes, {s: able[s] for s in chosen if s in able}, chosen)
        axes.set_title(f"time, {kind_text(report, what)}")
    if chosen:
        part = "" if chosen == settings else f", {len(chosen)} of {len(settings)} settings"
        lines = [_line(i, setting_text(s)) for i, s in enumerate(chosen)]
        lines.append(_line(None, f"the same with text{part}"))
        figure.legend(handles=lines, loc="outside lower center", ncols=3)
    return save(figure, path)


def _able(report: Report, what: str) -> dict[Setting, dict[str, Cell]]:
    """Settings in which rates were measured; only those with text too, if there are any."""
    found = {s: cells for s, cells in measured(report, what).items() if any(map(is_rate, cells))}
    return {s: cells for s, cells in found.items() if "text" in cells} or found


def _line(number: int | None, label: str) -> Line2D:
    from matplotlib.lines import Line2D

    if number is None:
        return Line2D([], [], color=GREY, linestyle="--", linewidth=1, label=label)
    return Line2D([], [], color=COLOURS[number], marker=MARKERS[number], label=label)


def _passage_bytes(report: Report) -> dict[str, float]:
    """Bytes of a passage that fills a window at each rate, and those of the text that was in the store."""
    model = report.model
    each = _BYTES.get(str(model.get("dtype")))
    hidden, window = model.get("hidden"), model.get("window")
    if not (each and hidden and window):
        return {}
    rates = {c.context: c.rate for c in report.cells if c.rate is not None}
    sizes: dict[str, float] = {
        c: -(-window // rates[c]) * hidden * each for c in context_order(rates)
    }
    texts = [c.notes["bytes of its text"] for c in report.cells if "bytes of its text" in c.notes]
    return {**sizes, "text": texts[0]} if sizes and texts else sizes


def _draw_bytes(axes: Axes, sizes: Mapping[str, float]) -> None:
    x = [_rate(context) for context in sizes if is_rate(context)]
    y = [size for context, size in sizes.items() if is_rate(context)]
    axes.plot(x, y, color=COLOURS[0], marker="o", label="context embeddings")
    for at, value in zip(x, y, strict=True):
        axes.annotate(_bytes_text(value), (at, value), (5, 4), textcoords="offset points")
    if "text" in sizes:
        label = f"mean text ({_bytes_text(sizes['text'])})"
        axes.axhline(sizes["text"], color=BLACK, linestyle="--", linewidth=1, label=label)
    axes.set_xscale("log", base=2)
    axes.margins(x=0.2, y=0.12)
    log_if_wide(axes, "y", sizes.values())
    axes.yaxis.set_major_formatter(lambda value, _: _bytes_text(value))
    axes.set_ylim(top=max(sizes.values()) * 4)
    tick_all(axes, "x", x)
    axes.set_title("room of a passage that fills a window")
    axes.set_xlabel("compression rate")
    axes.set_ylabel("bytes")
    axes.legend(loc="upper right")


def _draw_times(
    axes: Axes, able: Mapping[Setting, Mapping[str, Cell]], order: Sequence[Setting]
) -> None:
    values: list[float] = []
    for setting, found in able.items():
        i = order.index(setting)
        rates = [c for c in context_order(found) if is_rate(c)]
        seconds = [seconds_of(found[c]) for c in rates]
        style: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i]}
        points(axes, [_rate(c) for c in rates], seconds, **style)
        values += [s.median for s in seconds]
        if "text" in found:
            text = seconds_of(found["text"])
            axes.axhline(text.median, color=COLOURS[i], linestyle="--", linewidth=1)
            axes.axhspan(text.low, text.high, color=COLOURS[i], alpha=0.12, linewidth=0)
            values.append(text.median)
    axes.set_xscale("log", base=2)
    axes.margins(x=0.12)
    log_if_wide(axes, "y", values)
    tick_all(axes, "x", sorted({_rate(c) for found in able.values() for c in found if is_rate(c)}))
    axes.set_xlabel("compression rate")
    axes.set_ylabel("seconds for the batch")


def draw_quality(
    report: Report, quality: Mapping[str, float], quality_name: str, path: Path
) -> Path | None:
    """Quality against answers a second, where most of the contexts that have a score were measured."""
    found = measured(report, "answer")
    able = {s: [c for c in cells if c in quality and c != "none"] for s, cells in found.items()}
    setting = max(able, key=lambda s: (len(able[s]), s[0] * s[1], s), default=(0, 0))
    if not able.get(setting):
        return None
    cells = {c: found[setting][c] for c in context_order(able[setting])}
    # Without passages, their number is nothing.
    alone = [cells["none"] for s, cells in found.items() if "none" in cells and s[1] == setting[1]]
    if alone and "none" in quality:
        cells["none"] = alone[0]
    if len(cells) < 2:
        return None
    speed = {context: _a_second(seconds_of(cell), setting[1]) for context, cell in cells.items()}
    what = f"{kind_text(report, 'answer')}, {setting_text(setting)}"
    title = titled(report, f"Quality against speed: {what}", 6)
    figure, [[axes]] = new_figure(title, 6, 4.2)
    front = _front({c: (speed[c].median, quality[c]) for c in speed})
    x, y = zip(*front, strict=True)
    axes.step(x, y, where="pre", color=GREY, linewidth=1, label="Pareto front")
    styles = styles_of(speed)
    for context, answers in speed.items():
        style = {**styles[context], "markersize": 8, "linestyle": "none"}
        points(axes, [quality[context]], [answers], across=True, **style)
        label = f"{'no passage' if context == 'none' else context}: {quality[context]:.3g}"
        place = (answers.median, quality[context])
        aside: dict[str, Any] = {"xytext": (8, 7)}
        if place not in front:
            aside = {"xytext": (8, -13)}
        axes.annotate(label, place, textcoords="offset points", **aside)
    axes.margins(x=0.3, y=0.15)
    log_if_wide(axes, "x", [s.median for s in speed.values()])
    axes.set_xlabel("answers a second")
    axes.set_ylabel(quality_name)
    axes.set_ylim(top=max(quality[c] for c in speed) * 1.15)
    axes.legend(loc="best")
    return save(figure, path)


def _front(places: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other beats in one thing without being worse in the other."""

    def beaten(one: tuple[float, float]) -> bool:
        return any(o != one and o[0] >= one[0] and o[1] >= one[1] for o in places.values())

    return sorted(place for place in places.values() if not beaten(place))


def _a_second(seconds: Spread, batch: int) -> Spread:
    rounds = tuple(batch / one for one in seconds.rounds)
    return Spread(batch / seconds.median, batch / seconds.high, batch / seconds.low, rounds)


def _some(settings: Sequence[Setting]) -> list[Setting]:
    """As many as can be told apart in one panel, the smallest and the largest among them."""
    if len(settings) <= _MOST_LINES:
        return list(settings)
    step = (len(settings) - 1) / (_MOST_LINES - 1)
    return [settings[round(i * step)] for i in range(_MOST_LINES)]


def _rate(context: str) -> int:
    return int(context.removeprefix("rate "))


def _bytes_text(size: float) -> str:
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.3g} B"
