"""A retriever whose index is replaced while questions are being answered."""

from __future__ import annotations

import threading

from cocom.retrieval.hits import Hit, Retriever

__all__ = ["SwappableRetriever"]


class SwappableRetriever:
    """Stands for a retriever that another one can take the place of at any time.

    A question is answered from one index from start to end, the one that was there when it came.
    Whoever holds this object sees the new index with the next question; the old one is released as
    soon as the last question that uses it is answered.

    Args:
        retriever: The one to start with.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._swapping = threading.Lock()

    @property
    def retriever(self) -> Retriever:
        """The one that answers now."""
        return self._retriever

    def swap(self, retriever: Retriever) -> Retriever:
        """Replaces the index, without waiting for questions that are being answered.

        Args:
            retriever: The one that answers from now on, ready to.

        Returns:
            The one that answered until now.
        """
        with self._swapping:
            old, self._retriever = self._retriever, retriever
        return old

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds passages as the retriever does that is there now; errors as its own."""
        return list(self._retriever.retrieve(question, k))
