"""What a comparison asks: a question set, the questions drawn from it, and each one's passages."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cocom.errors import InputError
from cocom.evaluation.columns import Question
from cocom.evaluation.datasets import QuestionSet, Record, read_question_set
from cocom.evaluation.finding import Searcher, among_others
from cocom.evaluation.metrics import match, normalize_answer
from cocom.evaluation.naming import portable
from cocom.evaluation.record_file import RecordFile
from cocom.evaluation.suites import PASSAGES, fact_questions
from cocom.retrieval.opening import open_reranker, open_retriever

__all__ = ["FACTS", "GOLD", "Asked", "Finding", "drawn", "prepare", "read_set"]

FACTS = "facts"
GOLD = "gold"


@dataclass(frozen=True)
class Finding:
    """How each question's passages are chosen.

    Attributes:
        retriever: "gold" (the right passage among others), or the name of a retriever.
        passages: How many each question is asked with.
        reranker: Name of the model that orders candidates anew; empty for none.
        candidates: How many it is given.
        seed: Fixes what is drawn.
    """

    retriever: str = GOLD
    passages: int = 5
    reranker: str = ""
    candidates: int = 50
    seed: int = 7

    def __post_init__(self) -> None:
        if self.passages < 1:
            raise InputError(f"passages must be at least 1, got {self.passages}.")
        if self.reranker and self.retriever == GOLD:
            raise InputError(
                f"the reranker {self.reranker!r} has nothing to order with the retriever 'gold': "
                "name a retriever, such as bm25."
            )
        if self.reranker and self.candidates < self.passages:
            raise InputError(
                f"candidates is {self.candidates}, but {self.passages} passages are read: give more."
            )

    @property
    def fixed(self) -> dict[str, Any]:
        """What decides which passages are found, by name."""
        reranking = (
            {"reranker": portable(self.reranker), "candidates": self.candidates}
            if self.reranker
            else {}
        )
        return {"retriever": portable(self.retriever), "passages": self.passages, **reranking}


@dataclass(frozen=True)
class Asked:
    """Questions with their passages.

    Attributes:
        name: What the set was read from.
        hash: Of the whole set.
        pool: All passages.
        questions: Those that are asked, by number.
        seconds: Time to find each question's passages, by number; empty if none were searched for.
    """

    name: str
    hash: str
    pool: tuple[str, ...]
    questions: Mapping[int, Question]
    seconds: Mapping[int, float]

    def recall(self) -> dict[int, float]:
        """Share of the answer's passages that are among those asked with, where they are known."""
        return {
            n: sum(gold in q.passages for gold in q.gold) / len(q.gold)
            for n, q in self.questions.items()
            if q.gold
        }

    def answer_recall(self) -> dict[int, float]:
        """Whether an accepted answer stands in one of the passages asked with."""
        plain: dict[str, str] = {}
        found: dict[int, float] = {}
        for number, question in self.questions.items():
            for passage in question.passages:
                if passage not in plain:
                    plain[passage] = f" {normalize_answer(passage)} "
            found[number] = float(
                any(
                    _stands_in(answer, passage, plain[passage])
                    for answer in question.answers
                    for passage in question.passages
                )
            )
        return found


def read_set(source: str | Path, finding: Finding, *, facts: int = 1000) -> QuestionSet:
    """Read a question set, or make the generated one.

    Args:
        source: As for `read_question_set`, or "facts" for generated questions.
        finding: How passages are chosen.
        facts: How many questions are generated.
    """
    if str(source) != FACTS:
        return read_question_set(source)
    made = fact_questions(facts, seed=finding.seed)
    entries = [
        Record(q.question, q.answers, q.passages, tuple(map(q.passages.index, q.gold)))
        for q in made
    ]
    return QuestionSet.of(FACTS, entries)


def drawn(count: int, *, limit: int | None, sample: int | None, seed: int) -> list[int]:
    """Numbers of the questions to ask.

    Args:
        count: How many there are.
        limit: Ask only so many, from the first.
        sample: Ask so many, drawn at random.
        seed: Fixes the draw.

    Raises:
        InputError: Both are given, or there are none to ask.
    """
    if limit is not None and sample is not None:
        raise InputError(f"limit is {limit} and sample is {sample}: give one of the two.")
    for name, value in (("limit", limit), ("sample", sample)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1 question, got {value}.")
    if sample is not None:
        order = random.Random(f"{seed}/sample").sample(range(count), count)
        return sorted(order[:sample])
    return list(range(count))[:limit]


def prepare(
    questions: QuestionSet,
    numbers: Sequence[int],
    finding: Finding,
    *,
    open_file: Callable[[str], RecordFile],
    progress: bool = False,
) -> Asked:
    """Choose each question's passages.

    Args:
        questions: The set.
        numbers: Which are asked.
        finding: How passages are chosen.
        open_file: Opens the file that keeps what was found.
        progress: Whether to show a progress bar.
    """
    if finding.retriever == GOLD:
        if questions.name == FACTS:
            if finding.passages != PASSAGES:
                raise InputError(
                    f"passages is {finding.passages}, but generated questions have {PASSAGES}: leave it out, "
                    "or name a retriever, such as bm25."
                )
            made = fact_questions(len(questions.records), seed=finding.seed)
        else:
            made = among_others(questions, passages=finding.passages, seed=finding.seed)
        asked = {n: made[n] for n in numbers}
        return Asked(questions.name, questions.hash, questions.pool, asked, {})
    searcher = Searcher(
        questions,
        partial(open_retriever, finding.retriever),
        passages=finding.passages,
        reranker=open_reranker(finding.reranker) if finding.reranker else None,
        candidates=finding.candidates,
    )
    with open_file("retrieval") as file:
        missing = [n for n in numbers if n not in file.done]
        for n in tqdm(missing, desc="retrieval", disable=not progress, unit="question"):
            file.append([{"n": n, **searcher.search(questions.records[n])}])
        rows = {row["n"]: row for row in file}
    asked = {n: searcher.question(questions.records[n], rows[n]) for n in numbers}
    return Asked(
        questions.name,
        questions.hash,
        questions.pool,
        asked,
        {n: float(rows[n]["seconds"]) for n in numbers},
    )


def _stands_in(answer: str, passage: str, normalized: str) -> bool:
    plain = normalize_answer(answer)
    if not plain:  # such as "A" or "+", of which normalising leaves nothing
        return bool(match(passage, [answer]))
    # Scripts without spaces between words have no borders to find.
    return (f" {plain} " if plain.isascii() else plain) in normalized
