"""A comparison as one page of HTML that needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from cocom.evaluation.comparison_table import notes
from cocom.evaluation.plots import STYLE, Plot

__all__ = ["embedded", "write_page"]

_HEAD = (
    "column",
    "rows of passages",
    "rows read",
    "tokens of passages",
    "exact match",
    "F1",
    "match",
    "exact match against text",
    "against the same rows as context embeddings",
    "compress, s",
    "answer, s",
)


def write_page(
    path: Path, report: Mapping[str, Any], plots: Sequence[Plot], data: Mapping[str, Any]
) -> None:
    """Write the page.

    Args:
        path: Where to.
        report: As `compare` returns it.
        plots: Its drawings.
        data: What is shown question by question, as `page_data` returns it.
    """
    template = Template(files("cocom.evaluation").joinpath("page.html").read_text(encoding="utf-8"))
    name = Path(report["data"]["name"]).name
    model = report["model"]
    about = (
        f"Model {model['fingerprint'][:12]} in {model['dtype']} on {report['machine']['device']}; greedy "
        f"answers of at most {report['settings']['max_new_tokens']} tokens."
    )
    page = template.substitute(
        title=escape(f"Comparison on {name}"),
        about=escape(about),
        table=_table(report),
        plot_style=STYLE,
        plots="".join(
            f'<figure data-quality="{plot.quality}">{plot.inline}</figure>' for plot in plots
        ),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes(report)),
        data=embedded(data),
    )
    # Half a surrogate pair, as broken data have it, is written as JSON writes it.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def embedded(value: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _table(report: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEAD)
    rows = "".join(_row(column) for column in report["columns"])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(column: Mapping[str, Any]) -> str:
    figures, against = column["figures"], column["against"]
    others = [name for name in against if name != "text"]
    compress = "" if column["compression"] == "none" else _plain(figures["compress_seconds"], 4)
    compress = compress.replace("<small>", f" {column['compression']}<small>")
    cells = [
        escape(column["column"]),
        _plain(figures["passage_rows"], 1),
        _plain(figures["prompt_rows"], 1),
        _plain(figures["passage_tokens"], 1),
        *(_shares(figures[name]) for name in ("exact_match", "f1", "match")),
        _shares(against["text"]["exact_match"], "+") if "text" in against else "",
        _shares(against[others[0]]["exact_match"], "+") if others else "",
        compress,
        _plain(figures["answer_seconds"], 4),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _plain(figure: Mapping[str, float], digits: int) -> str:
    low, high = figure["low"], figure["high"]
    return f"{figure['mean']:.{digits}f}<small>{low:.{digits}f} to {high:.{digits}f}</small>"


def _shares(figure: Mapping[str, float], sign: str = "") -> str:
    mean, low, high = (100 * figure[end] for end in ("mean", "low", "high"))
    return f"{mean:{sign}.2f}<small>{low:{sign}.2f} to {high:{sign}.2f}</small>"
