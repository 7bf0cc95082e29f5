"""The columns of COCOM's tables: the same questions, with the passages in different forms."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cocom.datatypes import Answer, ContextEmbeddings
from cocom.engine import Cocom
from cocom.evaluation.metrics import bootstrap_interval, exact_match, f1, match

__all__ = [
    "Column",
    "Question",
    "Scores",
    "answer_stretch",
    "columns_of",
    "score_column",
    "scores_of",
    "stretches",
]


_BATCH_ROWS = 8192


@dataclass(frozen=True)
class Question:
    """One question of an evaluation.

    Attributes:
        question: What is asked.
        passages: The answer's passage among others.
        wrong: As many passages, without the answer's.
        answers: Accepted answers.
        gold: The passages that hold the answer, whether or not among `passages`; empty if unknown.
        scores: The retriever's score of each of `passages`; None if no retriever chose them.
    """

    question: str
    passages: tuple[str, ...]
    wrong: tuple[str, ...]
    answers: tuple[str, ...]
    gold: tuple[str, ...] = ()
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Column:
    """How the passages are given to the reader.

    Attributes:
        name: Shown in tables.
        rate: Compression rate; None is text.
        passages: "right", "wrong" (the control) or "none" (the lower bound).
    """

    name: str
    rate: int | None
    passages: str = "right"


@dataclass(frozen=True)
class Scores:
    """Means over the questions of one column, with 95 % bootstrap intervals.

    Attributes:
        exact_match: SQuAD's exact match.
        f1: SQuAD's token F1.
        match: The paper's match: an accepted answer stands in the prediction.
        prompt_rows: Rows the reader read for a question, on average.
        seconds: Reading and answering all questions, compression left out.
    """

    column: str
    questions: int
    exact_match: float
    exact_match_interval: tuple[float, float]
    f1: float
    f1_interval: tuple[float, float]
    match: float
    prompt_rows: float
    seconds: float

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Scores:
        """Rebuild from a row of the report that `cocom eval --json` writes."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        return cls(**values)


def columns_of(model: Cocom) -> list[Column]:
    """Text (upper bound), every rate of the model, no passage (lower bound), wrong passages."""
    rates = [Column(f"rate {rate}", rate) for rate in model.config.rates]
    wrong = [
        Column(f"wrong passages, rate {model.config.rates[0]}", model.config.rates[0], "wrong")
    ]
    return [Column("text", None), *rates, Column("no passage", None, "none"), *wrong]


def score_column(
    model: Cocom,
    column: Column,
    questions: Sequence[Question],
    *,
    max_new_tokens: int = 24,
    batch_size: int = 32,
    advance: Callable[[int], None] | None = None,
) -> Scores:
    """Ask every question with its passages in one form.

    Args:
        model: Compresses and answers.
        column: The form.
        questions: What is asked.
        max_new_tokens: Most tokens of an answer.
        batch_size: Questions decoded at a time.
        advance: Called with the number of questions done, after each stretch.
    """
    answers: dict[int, Answer] = {}
    compressed: dict[str, ContextEmbeddings] = {}
    seconds = 0.0
    for part in stretches(column, questions, batch_size):
        own = [questions[i] for i in part]
        found, spent = answer_stretch(
            model, column, own, compressed, max_new_tokens=max_new_tokens, batch_size=batch_size
        )
        seconds += spent
        answers |= zip(part, found, strict=True)
        if advance is not None:
            advance(len(part))
    return scores_of(column, questions, [answers[i] for i in range(len(questions))], seconds)


def stretches(column: Column, questions: Sequence[Question], batch_size: int) -> list[list[int]]:
    """Indices of the questions in stretches of like length."""
    lengths = [sum(map(len, _passages(question, column))) for question in questions]
    order = sorted(range(len(questions)), key=lambda i: lengths[i])
    size = batch_size * 8
    return [order[start : start + size] for start in range(0, len(order), size)]


def answer_stretch(
    model: Cocom,
    column: Column,
    questions: Sequence[Question],
    compressed: dict[str, ContextEmbeddings],
    *,
    max_new_tokens: int = 24,
    batch_size: int = 32,
) -> tuple[list[Answer], float]:
    """Answer some questions of a column.

    Args:
        model: Compresses and answers.
        column: How the passages are given.
        questions: What is asked.
        compressed: Passages of this column that are compressed already; grows.
        max_new_tokens: Most tokens of an answer.
        batch_size: Most questions decoded at a time; fewer if they are long.

    Returns:
        The answers, and the seconds it took to read and answer.
    """
    chosen = [_passages(question, column) for question in questions]
    if column.rate is not None:
        new = dict.fromkeys(t for texts in chosen for t in texts if t not in compressed)
        made = model.compress(list(new), rate=column.rate, keep_text=False) if new else []
        compressed |= zip(new, made, strict=True)
    # On a CPU, batches that leave the cache are slower than smaller ones.
    longest = max(sum(map(len, texts)) for texts in chosen) // 3 // (column.rate or 1)
    began = time.perf_counter()
    found = model.answer_batch(
        [question.question for question in questions],
        [[compressed.get(text, text) for text in texts] for texts in chosen],
        max_new_tokens=max_new_tokens,
        batch_size=max(1, min(batch_size, _BATCH_ROWS // max(1, longest))),
    )
    return found, time.perf_counter() - began


def scores_of(
    column: Column, questions: Sequence[Question], answers: Sequence[Answer], seconds: float
) -> Scores:
    """Means and intervals of a column's answers."""
    pairs = [(a.text, q.answers) for a, q in zip(answers, questions, strict=True)]
    exact = [exact_match(text, gold) for text, gold in pairs]
    overlap = [f1(text, gold) for text, gold in pairs]
    return Scores(
        column=column.name,
        questions=len(questions),
        exact_match=statistics.fmean(exact),
        exact_match_interval=bootstrap_interval(exact),
        f1=statistics.fmean(overlap),
        f1_interval=bootstrap_interval(overlap),
        match=statistics.fmean(match(text, gold) for text, gold in pairs),
        prompt_rows=statistics.fmean(a.usage.prompt_rows for a in answers),
        seconds=seconds,
    )


def _passages(question: Question, column: Column) -> tuple[str, ...]:
    return {"right": question.passages, "wrong": question.wrong, "none": ()}[column.passages]
