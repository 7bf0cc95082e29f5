"""A comparison as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["comparison_table", "notes"]

_HEAD = (
    "column",
    "rows of passages",
    "rows read",
    "exact match (95 %)",
    "F1 (95 %)",
    "match",
    "exact match less text's",
    "less that of the same rows",
    "compress, s",
    "answer, s",
)


def comparison_table(report: Mapping[str, Any]) -> str:
    """A row a column: quality, what the reader reads, and seconds a question.

    Args:
        report: As `compare` returns it.
    """
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for column in report["columns"]:
        figures, against = column["figures"], column["against"]
        others = [name for name in against if name != "text"]
        cells = [
            column["column"],
            f"{figures['passage_rows']['mean']:.0f}",
            f"{figures['prompt_rows']['mean']:.0f}",
            _share(figures["exact_match"]),
            _share(figures["f1"]),
            f"{100 * figures['match']['mean']:.2f}",
            _difference(against["text"]["exact_match"]) if "text" in against else "",
            _difference(against[others[0]]["exact_match"]) if others else "",
            "" if column["compression"] == "none" else _seconds(column),
            f"{figures['answer_seconds']['mean']:.4f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def notes(report: Mapping[str, Any]) -> list[str]:
    """What a reader of the table must know besides: retrieval, reconstruction, and what was skipped."""
    settings, found = report["settings"], report["retrieval"]
    least, most = report["data"].get("passages_each", [settings["passages"]] * 2)
    each = f"{most}" if least == most else f"{least} to {most}"
    lines = [
        f"{report['data']['questions']} questions of {report['data']['name']}, "
        f"{report['data']['passages']} passages; {each} for each question by {settings['retriever']}"
        + (f", reranked by {settings['reranker']}" if "reranker" in settings else "")
        + "."
    ]
    if "recall" in found:
        lines.append(
            f"The answer's passage is among them for {_share(found['recall'])} % (recall@"
            f"{most}, {found['recall']['questions']} questions)."
        )
    lines.append(f"An accepted answer stands in them for {_share(found['answer_recall'])} %.")
    lines += [
        f"Reconstruction at rate {row['rate']}: ROUGE-L {_share(row['rouge_l'])} over "
        f"{row['passages']} passages."
        for row in report["reconstruction"]
    ]
    lines += [
        f"{column['column']}: {column['over_budget']} questions over their budget of rows."
        for column in report["columns"]
        if column["over_budget"]
    ]
    lines += [f"Skipped: {row['column']}: {row['reason']}" for row in report["skipped"]]
    return lines


def _share(figure: Mapping[str, float]) -> str:
    mean, low, high = (100 * figure[end] for end in ("mean", "low", "high"))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _difference(figure: Mapping[str, float]) -> str:
    mean, low, high = (100 * figure[end] for end in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _seconds(column: Mapping[str, Any]) -> str:
    mark = " offline" if column["compression"] == "offline" else ""
    return f"{column['figures']['compress_seconds']['mean']:.4f}{mark}"
