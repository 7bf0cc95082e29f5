"""`cocom eval`: what each rate keeps of the score that reading text gives, beside every other system."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocom.cli import shared
from cocom.errors import InputError

if TYPE_CHECKING:
    from cocom.engine import Cocom
    from cocom.evaluation.answering import Settings
    from cocom.evaluation.comparison_report import Plan
    from cocom.evaluation.processes import Workers

__all__ = ["command"]


class Suite(StrEnum):
    """Question sets."""

    shipped = "shipped"


_COMPARISON = "Comparison of all systems"


def command(
    suite: Annotated[
        Suite, typer.Option(help="Which question sets, if no --data is given.")
    ] = Suite.shipped,
    squad: Annotated[
        Path | None,
        typer.Option(
            help="SQuAD dev as JSONL with title, passage, question, answers (also .gz); without it "
            "only the generated set is measured.",
            envvar="COCOM_SQUAD",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Compare all systems on this set: a JSONL file (also .gz), a folder that datasets saved, "
            "hf:owner/name@split, or facts.",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results, report.json and report.html; a run that was stopped goes on there.",
            rich_help_panel=_COMPARISON,
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="Columns by name, with * for anything, divided by commas: 'text,rate *,llmlingua2 *'.",
            show_default="all that can run",
            rich_help_panel=_COMPARISON,
        ),
    ] = "",
    retriever: Annotated[
        str,
        typer.Option(
            help="gold (the answer's passage among others), bm25, dense:MODEL, splade:MODEL, late:MODEL or "
            "bge-m3:MODEL.",
            rich_help_panel=_COMPARISON,
        ),
    ] = "gold",
    passages: Annotated[
        int, typer.Option(help="Passages of a question.", rich_help_panel=_COMPARISON)
    ] = 5,
    rerank: Annotated[
        str,
        typer.Option(
            help="Model that orders what is found anew: cross:MODEL, dense:MODEL or late:MODEL.",
            rich_help_panel=_COMPARISON,
        ),
    ] = "",
    candidates: Annotated[
        int, typer.Option(help="How many --rerank is given.", rich_help_panel=_COMPARISON)
    ] = 50,
    small_model: Annotated[
        str,
        typer.Option(
            help="Language model of LLMLingua and LongLLMLingua, given likewise.",
            rich_help_panel=_COMPARISON,
        ),
    ] = "cocom-tiny",
    llmlingua2: Annotated[
        str,
        typer.Option(
            help="Token classifier of LLMLingua-2: the shipped one, a folder or a hub repository.",
            rich_help_panel=_COMPARISON,
        ),
    ] = "llmlingua2-tiny",
    reconstruct: Annotated[
        int,
        typer.Option(
            help="Passages to compress and write back at every rate.", rich_help_panel=_COMPARISON
        ),
    ] = 40,
    shown: Annotated[
        int,
        typer.Option(
            help="Questions that the page shows with their passages.", rich_help_panel=_COMPARISON
        ),
    ] = 300,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Ask only this many questions, drawn at random.", rich_help_panel=_COMPARISON
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Most tokens of an answer.", rich_help_panel=_COMPARISON)
    ] = 24,
    questions: Annotated[int, typer.Option(help="Generated questions.")] = 1000,
    limit: Annotated[
        int | None, typer.Option(help="Ask only this many questions of a file, from the first.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Questions decoded at a time.")] = 32,
    processes: Annotated[
        int, typer.Option(help="Processes that share the questions, one thread each, on a CPU.")
    ] = 1,
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
    as_json: shared.Json = False,
) -> None:
    """Measure a model on questions: text, every rate, no passage, wrong passages.

    With --data all systems are compared: hard compression and simpler ways to shorten text at as many rows
    as the context embeddings take, and RAG decoding.
    """
    from cocom.evaluation.processes import Workers

    if (data is None) != (out is None):
        raise InputError(
            f"--data is {data} and --out is {out}: a comparison needs both, and `cocom eval` alone neither."
        )
    if data is not None and squad is not None:
        raise InputError(f"--data {data} and --squad {squad} do not go together: give one.")
    for name, value in (("processes", processes), ("questions", questions)):
        if value < 1:
            raise InputError(f"--{name} must be at least 1, got {value}.")
    with ExitStack() as stack:
        engine = shared.load_model(model, device, dtype, base)
        workers = None
        if processes > 1:
            loading = {"base": shared.bases(base), "device": device, "dtype": dtype}
            workers = stack.enter_context(Workers(processes, {"name_or_path": model, **loading}))
        if data is None or out is None:
            _shipped(engine, suite, model, squad, questions, limit, batch_size, workers, as_json)
            return
        from cocom.evaluation.answering import Settings
        from cocom.evaluation.comparison_report import Plan
        from cocom.evaluation.hard import HardSettings
        from cocom.evaluation.preparing import Finding

        plan = Plan(
            data,
            Finding(retriever, passages, rerank, candidates),
            tuple(name.strip() for name in columns.split(",") if name.strip()),
            limit,
            sample,
            questions,
            reconstruct,
            shown,
        )
        settings = Settings(HardSettings(small_model, llmlingua2), max_tokens, batch_size)
        _compare(engine, plan, settings, out, workers, as_json)


def _compare(
    engine: Cocom,
    plan: Plan,
    settings: Settings,
    out: Path,
    workers: Workers | None,
    as_json: bool,
) -> None:
    from cocom.evaluation.comparison_report import compare
    from cocom.evaluation.comparison_table import comparison_table, notes

    report = compare(
        engine, plan, settings, out, workers=workers, progress=shared.show_progress(as_json)
    )
    if as_json:
        shared.write_json(report)
        return
    shared.write(comparison_table(report) + "\n")
    for note in notes(report):
        shared.write(f"- {note}")
    shared.write(f"\nThe page to read is {out / 'report.html'}.")


def _shipped(
    engine: Cocom,
    suite: Suite,
    model: str,
    squad: Path | None,
    questions: int,
    limit: int | None,
    batch_size: int,
    workers: Workers | None,
    as_json: bool,
) -> None:
    from cocom.evaluation.report import evaluate, table
    from cocom.evaluation.suites import fact_questions, squad_questions

    sets = {"facts": fact_questions(questions)}
    if squad is not None:
        sets["squad"] = squad_questions(squad)[:limit]
    report: dict[str, Any] = {
        "suite": suite.value,
        "model": model,
        "fingerprint": engine.fingerprint,
        "dtype": str(engine.backbone.dtype).removeprefix("torch."),
        "sets": {},
    }
    for name, asked in sets.items():
        scores = evaluate(
            engine,
            asked,
            name=name,
            batch_size=batch_size,
            progress=shared.show_progress(as_json),
            workers=workers,
        )
        report["sets"][name] = [dataclasses.asdict(score) for score in scores]
        if not as_json:
            shared.write(f"{name}: {len(asked)} questions\n{table(scores)}\n")
    if squad is None:
        report["skipped"] = {"squad": "no file given: pass --squad FILE"}
        if not as_json:
            shared.write("squad: left out, because no file was given; pass --squad FILE.")
    if as_json:
        shared.write_json(report)
