"""What quantised context embeddings cost: bytes and errors, and answers that change with their scores.

    python benchmarks/quantization.py --out benchmarks/results/quantization.json

Answers generated questions from passages compressed at every rate of a model, once from the embeddings
as the model made them and once from each quantised form, as a store would hand them back.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from cocom import Cocom
from cocom.datatypes import Answer, ContextEmbeddings
from cocom.errors import CocomError
from cocom.evaluation.columns import Column, Question, answer_stretch, scores_of, stretches
from cocom.evaluation.metrics import exact_match, f1, match, paired_bootstrap
from cocom.evaluation.suites import fact_questions
from cocom.store.quantization import Quantization, dequantize, quantize

__all__ = ["main"]

BATCH_SIZE = 32
MEASURES: dict[str, Callable[[str, Sequence[str]], float]] = {
    "exact_match": exact_match,
    "f1": f1,
    "match": match,
}


@dataclasses.dataclass(frozen=True)
class Stored:
    """Passages as a store hands them back, and what that took.

    Attributes:
        contexts: By the text of the passage.
        bytes_per_passage: Values and scales, on average.
        relative_error: RMS of the differences over RMS of the embeddings.
    """

    contexts: dict[str, ContextEmbeddings]
    bytes_per_passage: float
    relative_error: float


def stored(contexts: Mapping[str, ContextEmbeddings], how: Quantization) -> Stored:
    """Quantise passages one at a time, and turn them into embeddings again."""
    taken = 0
    difference = 0.0
    size = 0.0
    again: dict[str, ContextEmbeddings] = {}
    for text, context in contexts.items():
        exact = context.embeddings
        values, scales = quantize(exact, how)
        taken += values.nbytes + (0 if scales is None else scales.nbytes)
        embeddings = dequantize(values, scales, exact.dtype)
        difference += float((embeddings.double() - exact.double()).square().sum())
        size += float(exact.double().square().sum())
        again[text] = dataclasses.replace(context, embeddings=embeddings)
    return Stored(again, taken / len(contexts), (difference / size) ** 0.5)


def answered(
    model: Cocom,
    column: Column,
    questions: Sequence[Question],
    contexts: dict[str, ContextEmbeddings],
) -> tuple[list[Answer], float]:
    """The answers in the order of the questions, and the seconds they took."""
    answers: dict[int, Answer] = {}
    seconds = 0.0
    for part in stretches(column, questions, BATCH_SIZE):
        own = [questions[i] for i in part]
        found, spent = answer_stretch(model, column, own, contexts, batch_size=BATCH_SIZE)
        answers |= zip(part, found, strict=True)
        seconds += spent
    return [answers[i] for i in range(len(questions))], seconds


def differences(
    questions: Sequence[Question], answers: Sequence[Answer], exact: Sequence[Answer]
) -> dict[str, dict[str, Any]]:
    """How much higher each measure is than with exact embeddings, with its 95 % interval."""
    found: dict[str, dict[str, Any]] = {}
    for name, measure in MEASURES.items():
        own, theirs = (
            [measure(a.text, q.answers) for a, q in zip(some, questions, strict=True)]
            for some in (answers, exact)
        )
        found[name] = {
            "difference": (sum(own) - sum(theirs)) / len(questions),
            "interval": paired_bootstrap(own, theirs),
        }
    return found


def measure_rate(model: Cocom, rate: int, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """One row for each quantisation; passages are compressed once."""
    texts = list(dict.fromkeys(text for question in questions for text in question.passages))
    made = model.compress(texts, rate=rate, keep_text=False)
    contexts = dict(zip(texts, made, strict=True))
    rows: list[dict[str, Any]] = []
    exact: list[Answer] | None = None
    for how in get_args(Quantization):
        form = stored(contexts, how)
        column = Column(f"rate {rate}, {how}", rate)
        answers, seconds = answered(model, column, questions, form.contexts)
        exact = exact or answers  # "none" is the first
        rows.append(
            {
                "rate": rate,
                "quantization": how,
                "passages": len(texts),
                "bytes_per_passage": form.bytes_per_passage,
                "relative_error": form.relative_error,
                "changed_answers": sum(
                    one.text != other.text for one, other in zip(answers, exact, strict=True)
                ),
                "scores": dataclasses.asdict(scores_of(column, questions, answers, seconds)),
                "against_exact": differences(questions, answers, exact),
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table; differences are in points of a hundred, with 95 % intervals."""
    lines = [
        "| rate | stored as | bytes a passage | relative error | answers changed | exact match | "
        "difference | match | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        scores = row["scores"]
        cells = [
            str(row["rate"]),
            row["quantization"],
            f"{row['bytes_per_passage']:.0f}",
            f"{row['relative_error']:.2%}",
            f"{row['changed_answers']} of {scores['questions']}",
        ]
        for name in ("exact_match", "match"):
            against = row["against_exact"][name]
            low, high = (100 * end for end in against["interval"])
            cells += [
                f"{scores[name]:.1%}",
                f"{100 * against['difference']:+.1f} ({low:+.1f} to {high:+.1f})",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write the results as JSON"
    )
    parser.add_argument("--questions", type=int, default=1000, metavar="N", help="how many to ask")
    parser.add_argument("--model", default="cocom-tiny", metavar="NAME", help="name or folder")
    options = parser.parse_args()
    if options.questions < 1:
        parser.error(f"--questions must be at least 1, got {options.questions}")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    try:
        model = Cocom.from_pretrained(options.model)
        questions = fact_questions(options.questions)
        rows = [row for rate in model.config.rates for row in measure_rate(model, rate, questions)]
    except CocomError as error:
        parser.exit(1, f"{error}\n")
    sys.stdout.write(table(rows) + "\n")
    if options.out is not None:
        report = {
            "model": options.model,
            "fingerprint": model.fingerprint,
            "dtype": str(model.backbone.dtype).removeprefix("torch."),
            "hidden": model.backbone.hidden_size,
            "questions": len(questions),
            "seconds": time.perf_counter() - began,
            "machine": machine(),
            "rows": rows,
        }
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
