"""The passages that every question is asked with: the right one among others, or what a retriever finds."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from cocom.datatypes import Passage
from cocom.errors import DataError
from cocom.evaluation.columns import Question
from cocom.evaluation.datasets import QuestionSet, Record
from cocom.retrieval.hits import Hit, Retriever, SupportsRerank

__all__ = ["Searcher", "among_others", "question_of"]


_LARGEST_ARTICLE = 1000


def among_others(questions: QuestionSet, *, passages: int = 5, seed: int = 7) -> list[Question]:
    """Every question with its right passage among others of the same article.

    Articles of too few passages are filled up with passages of other articles. A question that comes
    with several passages keeps these. The wrong passages are never the question's own.

    Args:
        questions: The set.
        passages: How many each question is asked with.
        seed: Fixes which others, and their order.

    Raises:
        DataError: The set holds too few passages.
    """
    articles: dict[str, dict[str, None]] = defaultdict(dict)
    for entry in questions.records:
        articles[entry.title].update(dict.fromkeys(entry.passages))
    # Lists are drawn from in the same way as long as they hold the same.
    grouped = {title: list(own) for title, own in articles.items()}
    everything = list(questions.pool)
    largest = max((len(entry.passages) for entry in questions.records), default=1)
    if len(everything) < passages + largest:
        raise DataError(
            f"'{questions.name}' holds {len(everything)} passages, but {passages + largest} are needed to "
            "put the right one among others: take a larger file."
        )
    made: list[Question] = []
    for number, entry in enumerate(questions.records):
        rng = random.Random(f"{seed}/{number}")
        # Sets without titles are one large article: there it is quicker to draw than to shuffle.
        near = grouped[entry.title] if len(grouped[entry.title]) <= _LARGEST_ARTICLE else ()
        others = [p for p in near if p not in entry.passages]
        rng.shuffle(others)
        while len(others) < passages:
            extra = rng.choice(everything)
            if extra not in entry.passages and extra not in others:
                others.append(extra)
        chosen = list(entry.passages)
        if len(chosen) == 1:
            chosen += others[: passages - 1]
            rng.shuffle(chosen)
        made.append(question_of(entry, chosen, others[:passages]))
    return made


def question_of(
    entry: Record,
    passages: Sequence[str],
    wrong: Sequence[str],
    scores: Sequence[float] | None = None,
) -> Question:
    """A question of a set with the passages that were chosen for it."""
    gold = () if entry.gold is None else tuple(entry.passages[i] for i in entry.gold)
    return Question(
        entry.question,
        tuple(passages),
        tuple(wrong),
        entry.answers,
        gold,
        None if scores is None else tuple(scores),
    )


class Searcher:
    """Finds each question's passages among all passages of its set."""

    def __init__(
        self,
        questions: QuestionSet,
        make_retriever: Callable[[Sequence[Passage]], Retriever],
        *,
        passages: int = 5,
        reranker: SupportsRerank | None = None,
        candidates: int = 50,
    ) -> None:
        """Open the retriever over the passages.

        Args:
            questions: The set.
            make_retriever: Makes the retriever from the passages.
            passages: How many each question is asked with.
            reranker: Orders the candidates anew.
            candidates: How many it is given.
        """
        self._pool = questions.pool
        self._places = {passage: place for place, passage in enumerate(questions.pool)}
        self._retriever = make_retriever([Passage(p, str(i)) for i, p in enumerate(self._pool)])
        self._passages = passages
        self._reranker = reranker
        self._candidates = candidates

    def search(self, entry: Record) -> dict[str, Any]:
        """What is found for a question: a row that `question` reads.

        Returns:
            Places in the pool as `found` and `wrong` (found, but not the question's own), `scores` of the
            found, and `seconds`.
        """
        own = {self._places[passage] for passage in entry.passages}
        began = time.perf_counter()
        wanted = self._passages + len(own)
        hits = self._retriever.retrieve(
            entry.question, max(wanted, self._candidates) if self._reranker else wanted
        )
        if self._reranker is not None:
            hits = list(self._reranker.rerank(entry.question, hits, len(hits)))
        seconds = time.perf_counter() - began
        places = [self._place(hit) for hit in hits]
        best = hits[: self._passages]
        return {
            "found": places[: self._passages],
            "wrong": [p for p in places if p not in own][: self._passages],
            "scores": [round(float(hit.score), 6) for hit in best],
            "seconds": round(seconds, 6),
        }

    def question(self, entry: Record, row: dict[str, Any]) -> Question:
        """The question with what was found for it."""
        return question_of(
            entry,
            [self._pool[place] for place in row["found"]],
            [self._pool[place] for place in row["wrong"]],
            row["scores"],
        )

    def _place(self, hit: Hit) -> int:
        return self._places[hit.passage.text]
