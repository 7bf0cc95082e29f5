"""What every retriever and reranker returns, and what all of them check and order in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cocom.datatypes import Passage
from cocom.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Hit",
    "RerankedHit",
    "Retriever",
    "SupportsRerank",
    "check_passages",
    "check_request",
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
        InputError: If there are no passages.
    """
    if not passages:
        raise InputError("There are no passages to search: give the retriever at least one.")
    return tuple(passages)


def check_request(question: str, k: int | None = None) -> None:
    """Makes sure that there is something to search for.

    Raises:
        InputError: If the question has no text or ``k`` is less than 1.
    """
    if not question.strip():
        raise InputError("The question is empty: give a text to search for.")
    if k is not None and k < 1:
        raise InputError(f"k is {k}, but a search returns at least 1 passage: give a larger k.")


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
    """Orders hits by new scores, equal scores in the order of the hits.

    A hit that was reranked before keeps the score and the rank of the retriever.

    Returns:
        The best ``k`` hits, or all where ``k`` is None or there are fewer.
    """
    order = sorted(range(len(hits)), key=lambda index: -scores[index])[:k]
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
