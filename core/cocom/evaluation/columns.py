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

__all__ = ["Column", "Question", "Scores", "columns_of", "score_column"]


@dataclass(frozen=True)
class Question:
    """One question of an evaluation.

    Attributes:
        question: What is asked.
        passages: The answer's passage among others.
        wrong: As many passages, without the answer's.
        answers: Accepted answers.
    """

    question: str
    passages: tuple[str, ...]
    wrong: tuple[str, ...]
    answers: tuple[str, ...]


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
    chosen = [_passages(question, column) for question in questions]
    compressed = _compress(model, column, chosen)
    answers: dict[int, Answer] = {}
    seconds = 0.0
    # Like lengths together over the whole set, in stretches that show progress.
    order = sorted(range(len(questions)), key=lambda i: sum(map(len, chosen[i])))
    stretch = batch_size * 8
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        began = time.perf_counter()
        found = model.answer_batch(
            [questions[i].question for i in part],
            [[compressed.get(text, text) for text in chosen[i]] for i in part],
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )
        seconds += time.perf_counter() - began
        answers |= zip(part, found, strict=True)
        if advance is not None:
            advance(len(part))
    pairs = [(answers[i].text, question.answers) for i, question in enumerate(questions)]
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
        prompt_rows=statistics.fmean(a.usage.prompt_rows for a in answers.values()),
        seconds=seconds,
    )


def _passages(question: Question, column: Column) -> tuple[str, ...]:
    return {"right": question.passages, "wrong": question.wrong, "none": ()}[column.passages]


def _compress(
    model: Cocom, column: Column, chosen: Sequence[tuple[str, ...]]
) -> dict[str, ContextEmbeddings]:
    if column.rate is None:
        return {}
    texts = list(dict.fromkeys(text for passages in chosen for text in passages))
    made = model.compress(texts, rate=column.rate, keep_text=False)
    return dict(zip(texts, made, strict=True))
