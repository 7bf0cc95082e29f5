"""The whole comparison: from a question set to a report, its plots and its page."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.evaluation.answering import Settings
from cocom.evaluation.comparing import VERSION, Comparison
from cocom.evaluation.hard import why_not
from cocom.evaluation.naming import portable
from cocom.evaluation.page import write_page
from cocom.evaluation.page_data import page_data
from cocom.evaluation.plots import draw_plots
from cocom.evaluation.preparing import Asked, Finding, drawn, prepare, read_set
from cocom.evaluation.processes import Workers
from cocom.evaluation.record_file import RecordFile, written_to
from cocom.evaluation.summary import Resampling, summarise
from cocom.evaluation.systems import System, all_systems, chosen

__all__ = ["Plan", "compare"]


@dataclass(frozen=True)
class Plan:
    """What a comparison is made of.

    Attributes:
        source: The question set: a file, a folder, `hf:owner/name@split`, or "facts".
        finding: How each question's passages are chosen.
        columns: Patterns of the columns' names; empty takes all.
        limit: Ask only so many questions, from the first.
        sample: Ask so many questions, drawn at random.
        facts: How many questions are generated for "facts".
        reconstruct: How many passages are compressed and written back at every rate.
        shown: How many questions the page shows with their passages.
    """

    source: str
    finding: Finding
    columns: tuple[str, ...] = ()
    limit: int | None = None
    sample: int | None = None
    facts: int = 1000
    reconstruct: int = 40
    shown: int = 300

    def __post_init__(self) -> None:
        for name, least in (("facts", 1), ("reconstruct", 0), ("shown", 0)):
            if (value := getattr(self, name)) < least:
                raise InputError(f"{name} must be at least {least}, got {value}.")


def compare(
    model: Cocom,
    plan: Plan,
    settings: Settings,
    out: str | Path,
    *,
    workers: Workers | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Compare all systems on the same questions; a run that was stopped goes on.

    Args:
        model: The reader, and the compressor of the context embeddings.
        plan: What is compared.
        settings: How questions are asked.
        out: Folder of the results, the report and the page.
        workers: Processes that answer in place of this one; they have loaded the same model.
        progress: Whether to show progress bars.

    Returns:
        The report, as it stands in report.json.

    Raises:
        InputError: The folder holds results of other settings, or an option cannot be.
        DataError: The question set cannot be used.
    """
    out = Path(out)
    everything = all_systems(model.config.rates)
    wanted = chosen(everything, plan.columns) if plan.columns else everything
    questions = read_set(plan.source, plan.finding, facts=plan.facts)
    numbers = drawn(
        len(questions.records), limit=plan.limit, sample=plan.sample, seed=plan.finding.seed
    )
    fixed = {
        "model": model.fingerprint,
        "dtype": str(model.backbone.dtype).removeprefix("torch."),
        "data": questions.hash,
        "seed": plan.finding.seed,
        **plan.finding.fixed,
        "max_new_tokens": settings.max_new_tokens,
    }
    run = Comparison(model, settings, out, fixed, workers, progress)
    asked = prepare(
        questions,
        numbers,
        plan.finding,
        open_file=run.file,
        progress=progress,
    )
    usable = run.leave_out(wanted, lambda system: _why_not(system, settings, asked))
    finished = run.ask(usable, asked.questions)
    passages = _to_write_back(asked, plan)
    rates = run.write_back(model.config.rates, passages) if passages else []
    report = _report(run, plan, asked, finished, rates, passages)
    plots = draw_plots(report)
    data = page_data(run, finished, asked, plan.shown)
    with written_to(out):
        (out / "report.json").write_text(
            json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        for plot in plots:
            (out / f"{plot.name}.svg").write_text(plot.standalone, encoding="utf-8")
        write_page(out / "report.html", report, plots, data)
    return report


def _why_not(system: System, settings: Settings, asked: Asked) -> str:
    if system.kind == "hard":
        return why_not(settings.hard, system.method)
    if system.kind == "wrong" and not all(q.wrong for q in asked.questions.values()):
        return "some questions have no passage that is not their own: take a larger set."
    return ""


def _to_write_back(asked: Asked, plan: Plan) -> dict[int, str]:
    if not plan.reconstruct:
        return {}
    numbers = drawn(len(asked.pool), limit=None, sample=plan.reconstruct, seed=plan.finding.seed)
    return {n: asked.pool[n] for n in numbers}


def _report(
    run: Comparison,
    plan: Plan,
    asked: Asked,
    finished: Sequence[System],
    rates: Sequence[int],
    passages: Mapping[int, str],
) -> dict[str, Any]:
    rows = {s.name: _rows(run.file_of(s), asked.questions) for s in finished}
    online = run.model.reads_query
    each = [len(question.passages) for question in asked.questions.values()]
    summaries = summarise(finished, rows, soft_is_online=online)
    return {
        "cocom_evaluation": VERSION,
        "model": {
            "fingerprint": run.model.fingerprint,
            "dtype": run.fixed["dtype"],
            "rates": list(run.model.config.rates),
        },
        "data": {
            "name": portable(asked.name),
            "hash": asked.hash,
            "questions": len(asked.questions),
            "passages": len(asked.pool),
            "passages_each": [min(each), max(each)],
        },
        "settings": {
            **plan.finding.fixed,
            "seed": plan.finding.seed,
            "max_new_tokens": run.settings.max_new_tokens,
            "batch_size": run.settings.batch_size,
            "small_model": portable(run.settings.hard.small_model),
            "llmlingua2": portable(run.settings.hard.classifier),
        },
        "machine": {"processor": platform.machine(), "device": str(run.model.backbone.device)},
        "retrieval": _retrieval(asked),
        "columns": [summary.to_dict() for summary in summaries],
        "reconstruction": [
            _reconstruction(rate, _rows(run.file(f"reconstruction rate {rate}"), passages))
            for rate in rates
        ],
        "skipped": [{"column": name, "reason": why} for name, why in run.skipped.items()],
    }


def _rows(file: RecordFile, numbers: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The rows of some numbers, in their order, without what stayed of each passage."""
    rows = {
        row["n"]: {key: value for key, value in row.items() if key != "kept"}
        for row in file
        if row["n"] in numbers
    }
    return [rows[n] for n in numbers]


def _retrieval(asked: Asked) -> dict[str, Any]:
    known, found = list(asked.recall().values()), list(asked.answer_recall().values())
    values: dict[str, list[float]] = {"answer_recall": found}
    if known:
        values["recall"] = known
    if asked.seconds:
        values["seconds"] = list(asked.seconds.values())
    return {
        name: {"questions": len(own), **vars(Resampling(len(own)).figure(own))}
        for name, own in values.items()
    }


def _reconstruction(rate: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [row["rouge_l"] for row in rows]
    return {
        "rate": rate,
        "passages": len(rows),
        "rouge_l": vars(Resampling(len(scores)).figure(scores)),
    }
