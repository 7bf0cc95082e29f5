"""What every retriever and reranker returns, and what all of them check and order in the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cocom.datatypes import Passage
from cocom.errors import InputError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Hit",
    "RerankedHit",
    "Retriever",
    "SupportsRerank",
    "check_finite",
    "check_passages",
    "check_request",
    "check_text",
    "rank_hits",
    "rerank_hits",
]


@dataclass(frozen=True)
class Hit:
    """A passage found for a question.

    Attributes:
        passage: The passage itself.
        score: How well it matches, higher is better; comparable within one retriever only.
        rank: Place among the hits for this question, from 1.
    """

    passage: Passage
    score: float
    rank: int


@dataclass(frozen=True)
class RerankedHit(Hit):
    """A hit that a reranker scored; `score` and `rank` are the reranker's.

    Attributes:
        first_score: What the retriever gave it.
        first_rank: Its place among the retriever's hits, from 1.
    """

    first_score: float
    first_rank: int


class Retriever(Protocol):
    """Anything that finds passages for a question."""

    def retrieve(self, question: str, k: int = 5) -> Sequence[Hit]:
        """Finds the ``k`` passages that match the question best, the best one first."""
        ...


class SupportsRerank(Protocol):
    """Anything that puts a retriever's hits into a better order."""

    def rerank(
        self, question: str, hits: Sequence[Hit], k: int | None = None
    ) -> Sequence[RerankedHit]:
        """Scores all hits again and returns the ``k`` best, or all, the best one first."""
        ...


def check_passages(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Makes sure that there is something to search in.

    Returns:
        The passages, in an order that nobody can change any more.

    Raises:
        InputError: If there are no passages, or one of them is no `Passage`.
    """
    found = tuple(passages)
    if not found:
        raise InputError("There are no passages to search: give the retriever at least one.")
    for number, passage in enumerate(found):
        if not isinstance(passage, Passage):
            raise InputError(
                f"Passage {number} is a {type(passage).__name__}: give a Passage, for instance Passage(text)."
            )
    return found


def check_request(question: str, k: int | None = None) -> None:
    """Makes sure that there is something to search for.

    Raises:
        InputError: If the question is no text or an empty one, or ``k`` is less than 1.
    """
    if not isinstance(question, str):
        raise InputError(f"The question is a {type(question).__name__}: give a string.")
    if not question.strip():
        raise InputError("The question is empty: give a text to search for.")
    if k is not None and k < 1:
        raise InputError(f"k is {k}, but a search returns at least 1 passage: give a larger k.")


def check_text(name: str, text: object) -> None:
    """Makes sure that a tokenizer can read a text; it would say nothing of use.

    Args:
        name: What to call the text.
        text: What is given for it.

    Raises:
        InputError: If it is no string, or holds half a character.
    """
    if not isinstance(text, str):
        raise InputError(f"{name} is a {type(text).__name__}: give a string.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{name} holds half a surrogate pair, which is no character: decode its source as what it is."
        ) from None


def check_finite(values: NDArray[np.floating[Any]]) -> None:
    """Makes sure that hits can be put in order by what a model gave.

    Raises:
        ModelError: If it gave something infinite or not a number.
    """
    import numpy as np

    if not np.isfinite(values).all():
        raise ModelError(
            "The retrieval model gave values that are infinite or not a number: load it in float32 or "
            "bfloat16, or check its weights."
        )


def rank_hits(passages: Sequence[Passage], scores: NDArray[np.floating[Any]], k: int) -> list[Hit]:
    """Orders passages by score, equal scores in the order of the passages.

    Returns:
        The best ``k`` hits, or all where there are fewer passages.
    """
    import numpy as np

    places = np.arange(len(scores))
    negative = -scores  # so that what is not a number comes last
    if k < len(scores):  # leave out early what is not among the best, equal ones included
        least = np.partition(negative, k - 1)[k - 1]
        places = places if np.isnan(least) else np.flatnonzero(negative <= least)
    best = places[negative[places].argsort(kind="stable")[:k]]
    return [
        Hit(passages[index], float(scores[index]), rank)
        for rank, index in enumerate(best.tolist(), start=1)
    ]


def rerank_hits(hits: Sequence[Hit], scores: Sequence[float], k: int | None) -> list[RerankedHit]:
    """Orders hits by new scores, equal scores in the order of the hits, what is not a number last.

    A hit that was reranked before keeps the score and the rank of the retriever.

    Returns:
        The best ``k`` hits, or all where ``k`` is None or there are fewer.
    """
    order = sorted(range(len(hits)), key=lambda i: (math.isnan(scores[i]), -scores[i]))[:k]
    reranked = []
    for rank, index in enumerate(order, start=1):
        hit = hits[index]
        first = (
            (hit.first_score, hit.first_rank)
            if isinstance(hit, RerankedHit)
            else (hit.score, hit.rank)
        )
        reranked.append(RerankedHit(hit.passage, scores[index], rank, *first))
    return reranked
