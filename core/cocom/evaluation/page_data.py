"""What the page of a comparison shows question by question: answers, and passages as they were given."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from cocom.evaluation.comparing import Comparison
from cocom.evaluation.preparing import Asked
from cocom.evaluation.systems import System

__all__ = ["page_data"]


def page_data(
    run: Comparison, systems: Sequence[System], asked: Asked, shown: int
) -> dict[str, Any]:
    """Every column's right and wrong answers, and some questions in full.

    Args:
        run: The comparison, with its files.
        systems: The columns.
        asked: The questions.
        shown: How many are given in full; drawn at random where there are more.
    """
    numbers = list(asked.questions)
    chosen = set(random.Random(run.settings.seed).sample(numbers, min(shown, len(numbers))))
    places: dict[str, int] = {}

    def place(passage: str) -> int:
        return places.setdefault(passage, len(places))

    questions = [
        {
            "n": n,
            "question": question.question,
            "answers": list(dict.fromkeys(question.answers)),
            "passages": [place(p) for p in question.passages],
            "wrong": [place(p) for p in question.wrong],
            "gold": [place(p) for p in question.gold],
        }
        for n, question in asked.questions.items()
        if n in chosen
    ]
    columns = [
        {"name": system.name, "kind": system.kind, **_answers(run, system, numbers, chosen)}
        for system in systems
    ]
    return {
        "questions": questions,
        "columns": columns,
        "passages": list(places),
        "total": len(numbers),
    }


def _answers(
    run: Comparison, system: System, numbers: Sequence[int], chosen: set[int]
) -> dict[str, Any]:
    right: dict[int, str] = {}
    full: dict[int, Mapping[str, Any]] = {}
    with run.file_of(system) as file:
        for row in file:
            right[row["n"]] = "1" if row["exact_match"] else "0"
            if row["n"] in chosen:
                full[row["n"]] = row
    return {
        "right": "".join(right[n] for n in numbers),
        "rows": [_shown(full[n]) for n in numbers if n in chosen],
    }


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        "answer": row["answer"],
        "right": bool(row["exact_match"]),
        "f1": row["f1"],
        "rows": row["passage_rows"],
    }
    return own | ({"kept": row["kept"]} if "kept" in row else {})
