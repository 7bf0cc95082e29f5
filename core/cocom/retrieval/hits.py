"""What every retriever returns, and what all of them check and order in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cocom.datatypes import Passage
from cocom.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Hit", "Retriever", "check_passages", "check_request", "rank_hits"]


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


class Retriever(Protocol):
    """Anything that finds passages for a question."""

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the ``k`` passages that match the question best, the best one first."""
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


def check_request(question: str, k: int) -> None:
    """Makes sure that there is something to search for.

    Raises:
        InputError: If the question has no text or ``k`` is less than 1.
    """
    if not question.strip():
        raise InputError("The question is empty: give a text to search for.")
    if k < 1:
        raise InputError(f"k is {k}, but a search returns at least 1 passage: give a larger k.")


def rank_hits(passages: Sequence[Passage], scores: NDArray[np.floating[Any]], k: int) -> list[Hit]:
    """Orders passages by score, equal scores in the order of the passages.

    Returns:
        The best ``k`` hits, or all where there are fewer passages.
    """
    best = (-scores).argsort(kind="stable")[:k]
    return [
        Hit(passages[index], float(scores[index]), rank)
        for rank, index in enumerate(best.tolist(), start=1)
    ]
