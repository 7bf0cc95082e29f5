"""A report as text: the machine, a table for each thing that was measured, what was left out, the checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cocom.benchmark.checks import over_straightforward, over_text
from cocom.benchmark.result import Cell, Report, Spread

__all__ = ["table"]

_TITLES = {
    "compress": "Compressing: milliseconds for all passages",
    "first_token": "First token: milliseconds from the question to the first token of every answer",
    "answer": "Answering: milliseconds for all questions of a batch",
    "stream": "Streaming: milliseconds until the last piece of every answer",
}
_HEADS = ("median", "lowest", "highest", "x text", "x plain", "x floor", "MB", "GFLOP", "counted")


def table(report: Report) -> str:
    """Everything that a report holds, for people."""
    parts = [_machine(report)]
    for what in dict.fromkeys(cell.what for cell in report.cells):
        parts.append(_store(report) if what == "store" else _group(report, what))
    parts.append(_checks(report))
    return "\n\n".join(parts)


def _machine(report: Report) -> str:
    machine, model, floors = report.machine, report.model, report.floors
    passages = report.settings["passage_tokens"]
    random = "random weights" if model["random_weights"] else "trained weights"
    lines = [
        f"{model['name']}: {model['parameters'] / 1e6:,.0f} million parameters, {random}, {model['dtype']}, "
        f"{model['layers']} layers of {model['hidden']}",
        f"{machine['device']}, {machine['cores']} cores, {machine['threads']} threads, load "
        f"{'unknown' if machine['load'] is None else machine['load']} when it began; torch "
        f"{machine['torch']}, transformers {machine['transformers']}",
        f"{passages['passages']} passages of {passages['shortest']} to {passages['longest']} tokens, median "
        f"{passages['median']:g}, mean {passages['mean']:g}; {report.settings['rounds']} rounds by turns",
        "",
        "What the machine can do, measured:",
        f"  copy    {_range(floors.copy, 1e9, 'GB/s')}",
        f"  read    {_range(floors.read, 1e9, 'GB/s')}",
        f"  matrix  {_range(floors.matrix, 1e12, 'TFLOP/s')}",
    ]
    if (machine["load"] or 0) > machine["cores"] / 2 and machine["device_type"] == "cpu":
        lines += [
            "",
            "Other processes were running: figures are too high. Measure again in a quiet minute.",
        ]
    if report.settings.get("interrupted"):
        lines += ["", "The run was interrupted: what follows is not complete."]
    return "\n".join(lines)


def _range(speed: Spread, unit: float, name: str) -> str:
    return f"{speed.median / unit:.4g} {name} ({speed.low / unit:.4g} to {speed.high / unit:.4g})"


def _group(report: Report, what: str) -> str:
    cells = [cell for cell in report.cells if cell.what == what]
    speed = {"compress": ["passages/s"], "first_token": []}.get(what, ["tokens/s"])
    places = ["context", "passages"] if what == "compress" else _places(what)
    rows = [[*places, "way", *_HEADS, *speed]]
    for cell in sorted(cells, key=lambda c: (c.new_tokens, c.batch, c.passages)):
        if cell.seconds is not None:
            place = [str(getattr(cell, name.replace(" ", "_"))) for name in places]
            way = "ours" if cell.way == "cocom" else "plain"
            rows.append([*place, way, *_figures(report.cells, cell)][: len(rows[0])])
    lines = [_TITLES.get(what, what), *(_aligned(rows, left=1) if len(rows) > 1 else ())]
    lines += [f"  {_name(c)}: {note}" for c in cells for note in c.notes.values()]
    lines += [f"  left out: {_name(cell)}: {cell.skipped}" for cell in cells if cell.skipped]
    return "\n".join(lines)


def _store(report: Report) -> str:
    cells = [cell for cell in report.cells if cell.what == "store"]
    rows = [["part", "page cache", "median", "lowest", "highest", "of the answer"]]
    for cell in cells:
        if (found := cell.seconds) is not None:
            times = (f"{1000 * value:,.2f}" for value in (found.median, found.low, found.high))
            share = f"{cell.notes['share of the answer']:.1%}"
            rows.append([str(cell.notes["part"]), str(cell.notes["page cache"]), *times, share])
    first = cells[0]
    title = f"From the store on disk: milliseconds, {_name(first)}, "
    title += f"{first.notes['passages in the store']:,} passages in the store"
    left_out = [f"  left out: {c.notes['part']}: {c.skipped}" for c in cells if c.skipped]
    return "\n".join([title, *_aligned(rows, left=2), *left_out])


def _places(what: str) -> list[str]:
    return ["context", "passages", "batch"] + (["new tokens"] if what != "first_token" else [])


def _figures(cells: Sequence[Cell], cell: Cell) -> list[str]:
    assert cell.seconds is not None
    seconds = cell.seconds
    amount = cell.passages if cell.what == "compress" else cell.batch * cell.new_tokens
    return [
        *(f"{1000 * value:,.1f}" for value in (seconds.median, seconds.low, seconds.high)),
        _number(over_text(cells, cell)),
        _number(over_straightforward(cells, cell)),
        _number(cell.to_floor),
        _number(cell.peak_bytes, 1e6, ",.0f"),
        _number(cell.flops_analytic, 1e9, ",.1f"),
        _number(cell.flops_counted, 1e9, ",.1f"),
        f"{amount / seconds.median:,.1f}",
    ]


def _number(value: float | None, unit: float = 1.0, form: str = ".2f") -> str:
    return "-" if value is None else format(value / unit, form)


def _name(cell: Cell) -> str:
    way = "" if cell.way == "cocom" else ", plain"
    if cell.what == "compress":
        return f"{cell.context}, {cell.passages} passages{way}"
    return f"{cell.context}, {cell.passages} passages, batch {cell.batch}, {cell.new_tokens} tokens{way}"


def _aligned(rows: Sequence[Sequence[Any]], *, left: int) -> list[str]:
    """Columns of equal width, numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            value.ljust(width) if i < left else value.rjust(width)
            for i, (value, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _checks(report: Report) -> str:
    if not report.checks:
        return "Checks: none, because no two cells that they compare were measured."
    rows = []
    for check in report.checks:
        bound = "at least" if check.at_least else "at most"
        met = "met" if check.met else "MISSED"
        rows.append([met, check.name, f"{check.value:.2f}", f"{bound} {check.wanted:g}"])
    return "\n".join(["Checks", *_aligned(rows, left=2)])
