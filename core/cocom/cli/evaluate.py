"""`cocom eval`: what each rate keeps of the score that reading text gives."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cocom.cli import shared

__all__ = ["command"]


class Suite(StrEnum):
    """Question sets."""

    shipped = "shipped"


def command(
    suite: Annotated[Suite, typer.Option(help="Which question sets.")] = Suite.shipped,
    squad: Annotated[
        Path | None,
        typer.Option(
            help="SQuAD dev as JSONL with title, passage, question, answers (also .gz); without it "
            "only the generated set is measured.",
            envvar="COCOM_SQUAD",
        ),
    ] = None,
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
    """Measure a model: text, every rate, no passage and wrong passages on the same questions."""
    from cocom.evaluation.processes import Workers
    from cocom.evaluation.report import evaluate, table
    from cocom.evaluation.suites import fact_questions, squad_questions

    engine = shared.load_model(model, device, dtype, base)
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
    with ExitStack() as stack:
        workers = None
        if processes > 1:
            loading = {"base": shared.bases(base), "device": device, "dtype": dtype}
            workers = stack.enter_context(Workers(processes, {"name_or_path": model, **loading}))
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
