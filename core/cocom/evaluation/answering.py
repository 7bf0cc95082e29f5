"""Questions asked in a system's form: a row of results for each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cocom.datatypes import Answer
from cocom.engine import Cocom
from cocom.errors import CocomError, InputError
from cocom.evaluation.columns import Question
from cocom.evaluation.giving import Given, Giver
from cocom.evaluation.hard import HardSettings, open_hard
from cocom.evaluation.metrics import exact_match, f1, match, rouge_l
from cocom.evaluation.systems import System

__all__ = ["Done", "Settings", "answer_some", "write_back_some"]

_BATCH_ROWS = 8192


@dataclass(frozen=True)
class Settings:
    """What every column of a comparison has in common.

    Attributes:
        hard: Models of the hard methods.
        max_new_tokens: Most tokens of an answer.
        batch_size: Most questions decoded at a time; fewer if they are long.
        seed: Fixes everything that is drawn.
    """

    hard: HardSettings
    max_new_tokens: int = 24
    batch_size: int = 32
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")


@dataclass(frozen=True)
class Done:
    """What became of some questions.

    Attributes:
        rows: A row of results each, as they are written to the column's file.
        error: Why the system cannot be used for them; empty if it can.
    """

    rows: tuple[dict[str, Any], ...]
    error: str = ""


# What a process needs again for the next questions: the model's giver, and the settings it is for.
_giver: tuple[Cocom, Settings, Giver] | None = None


def answer_some(
    model: Cocom,
    settings: Settings,
    system: System,
    numbers: Sequence[int],
    questions: Sequence[Question],
) -> Done:
    """Ask some questions of a comparison.

    Args:
        model: Compresses and answers.
        settings: What all columns have in common.
        system: The column.
        numbers: The questions' numbers.
        questions: What is asked, and the passages to it.
    """
    try:
        given = _giver_of(model, settings).give(system, questions)
        rows: list[dict[str, Any]] = []
        for part in _batches(given, settings.batch_size):
            own = [given[i] for i in part]
            asked = [questions[i] for i in part]
            began = time.perf_counter()
            answers = _answer(model, settings, system, asked, own)
            seconds = (time.perf_counter() - began) / len(part)
            rows += [
                _row(numbers[i], questions[i], given[i], answer, seconds)
                for i, answer in zip(part, answers, strict=True)
            ]
    except CocomError as error:
        return Done((), str(error))
    return Done(tuple(rows))


def write_back_some(
    model: Cocom, settings: Settings, rate: int, numbers: Sequence[int], passages: Sequence[str]
) -> Done:
    """Compress passages and write them back.

    Args:
        model: Compresses and writes.
        settings: What all columns have in common.
        rate: Compression rate.
        numbers: The passages' numbers.
        passages: What is written back.
    """
    rows: list[dict[str, Any]] = []
    try:
        for number, passage in zip(numbers, passages, strict=True):
            (contexts,) = model.compress([passage], rate=rate, keep_text=False)
            text = model.reconstruct(contexts)
            rows.append({"n": number, "text": text, "rouge_l": rouge_l(text, passage)})
    except CocomError as error:
        return Done((), str(error))
    return Done(tuple(rows))


def _giver_of(model: Cocom, settings: Settings) -> Giver:
    global _giver
    if _giver is None or _giver[0] is not model or _giver[1] != settings:
        opener = partial(open_hard, settings.hard, device=str(model.backbone.device))
        _giver = model, settings, Giver(model, opener, settings.seed)
    return _giver[2]


def _batches(given: Sequence[Given], most: int) -> list[list[int]]:
    """Questions of like length together; on a CPU, batches beyond the cache are slower than small ones."""
    order = sorted(range(len(given)), key=lambda i: given[i].rows)
    parts: list[list[int]] = []
    while order:
        size = max(1, min(most, _BATCH_ROWS // max(1, given[order[-1]].rows)))
        parts.append(order[-size:])
        del order[-size:]
    return parts


def _answer(
    model: Cocom,
    settings: Settings,
    system: System,
    questions: Sequence[Question],
    given: Sequence[Given],
) -> list[Answer]:
    options: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens}
    if system.fusion != "concat":
        scores = [one.scores for one in given]
        if any(one is None for one in scores) and any(one is not None for one in scores):
            raise InputError("some questions have scores of a retriever and others have none.")
        options |= {"fusion": system.fusion, "scores": None if None in scores else scores}
    return model.answer_batch(
        [question.question for question in questions],
        [one.passages for one in given],
        batch_size=len(given),
        **options,
    )


def _row(
    number: int, question: Question, given: Given, answer: Answer, seconds: float
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "n": number,
        "answer": answer.text,
        "exact_match": exact_match(answer.text, question.answers),
        "f1": round(f1(answer.text, question.answers), 6),
        "match": match(answer.text, question.answers),
        "prompt_rows": answer.usage.prompt_rows,
        "passage_rows": given.rows,
        "passage_tokens": given.tokens,
        "compress_seconds": round(given.seconds, 6),
        "answer_seconds": round(seconds, 6),
    }
    if given.budget is not None:
        row["budget"] = given.budget
    if given.kept is not None:
        row["kept"] = [[index, _gaps(spans)] for index, spans in given.kept]
    return row


def _gaps(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Spans as characters skipped and characters kept, in turn."""
    gaps: list[int] = []
    at = 0
    for start, end in spans:
        gaps += [start - at, end - start]
        at = end
    return gaps
