"""Retrieval with BGE-M3: by meaning, by weighted words and token by token, in one score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval.bge_m3_encoder import BgeM3Encoder, VectorType
from cocom.retrieval.bge_m3_scores import EQUAL_WEIGHTS, BgeM3Scores, check_weights, hybrid
from cocom.retrieval.hits import Hit, check_passages, check_request
from cocom.retrieval.multi_vectors import MultiVectors
from cocom.retrieval.sparse_index import SparseIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BgeM3Hit", "BgeM3Retriever"]


@dataclass(frozen=True)
class BgeM3Hit(Hit):
    """A passage found for a question, and how well it matches in each form.

    Attributes:
        dense: Cosine of the two texts' vectors.
        sparse: Sum over shared tokens of the products of their weights.
        multi_vector: Mean over the question's tokens of the best cosine in the passage; None where
            it was not needed, because it has no weight.
    """

    dense: float
    sparse: float
    multi_vector: float | None


class BgeM3Retriever:
    """Finds passages by BGE-M3's weighted mean of three scores.

    All passages are compared in the dense and the sparse form. The multi-vector form is compared for
    the best `rerank_depth` of them, which are the only ones that can become hits. Threads may use one
    retriever at the same time.

    Args:
        passages: What to search, at least one; equal scores are returned in this order.
        model: A folder, the name of a model on the Hugging Face hub, or an encoder already loaded.
        weights: Of the dense, the sparse and the multi-vector score in a hit's. A form of weight 0
            does not count. All 1 is what the published code takes.
        rerank_depth: How many passages to compare in the multi-vector form, or `k` if that is more.
            Where the other two have no weight, their plain mean decides which.
        keep: Type in which the passages' token vectors stay in memory. None keeps none, and the best
            passages are encoded again for every question: little memory, but slow.

    Raises:
        InputError: If there are no passages, one of them is too long, or a setting is impossible.
        CheckpointError: If there is no such model, or it cannot be loaded.
        MissingExtraError: If SciPy is not installed.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        model: str | Path | BgeM3Encoder = "BAAI/bge-m3",
        *,
        weights: Sequence[float] = EQUAL_WEIGHTS,
        rerank_depth: int = 200,
        keep: VectorType | None = "float32",
    ) -> None:
        self._passages = check_passages(passages)
        self._weights = check_weights(weights)
        if rerank_depth < 1:
            raise InputError(f"rerank_depth is {rerank_depth}, but must be at least 1.")
        if keep not in ("float32", "float16", None):
            raise InputError(f"keep is {keep!r}, but must be 'float32', 'float16' or None.")
        self._depth = rerank_depth
        self._encoder = (
            model if isinstance(model, BgeM3Encoder) else BgeM3Encoder.from_pretrained(model)
        )
        made = self._encoder.encode(
            [passage.text for passage in self._passages],
            multi_vectors=keep is not None and self._weights[2] > 0,
            vector_type=keep or "float32",
        )
        self._dense = made.dense
        self._sparse = SparseIndex(made.sparse)
        self._multi_vectors = made.multi_vectors

    def retrieve(self, question: str, k: int = 5) -> list[BgeM3Hit]:
        """Finds the passages that match a question best.

        Args:
            question: What to look for.
            k: How many passages to return; all of them if there are fewer.

        Returns:
            Hits, the best one first, each with its score in every form that was computed.

        Raises:
            InputError: If the question is empty or too long, or ``k`` is less than 1.
        """
        import numpy as np

        check_request(question, k)
        in_all_forms = self._weights[2] > 0
        asked = self._encoder.encode([question], multi_vectors=in_all_forms)
        dense = self._dense @ asked.dense[0]
        sparse = self._sparse.scores(asked.sparse)
        if not in_all_forms:
            nothing = np.zeros_like(dense)
            scores = hybrid(self._weights, dense, sparse, nothing)
            best = _best(scores, k)
            return [self._hit(i, scores[i], dense[i], sparse[i], None, rank) for rank, i in best]
        assert asked.multi_vectors is not None
        chosen = self._chosen(dense, sparse, max(self._depth, k))
        compared = self._compared(asked.multi_vectors, chosen)
        scores = hybrid(self._weights, dense[chosen], sparse[chosen], compared)
        return [
            self._hit(i := chosen[at], scores[at], dense[i], sparse[i], compared[at], rank)
            for rank, at in _best(scores, k)
        ]

    def scores(self, question: str, passages: Sequence[str | Passage]) -> list[BgeM3Scores]:
        """Compares a question with given passages in all three forms, with the retriever's weights.

        Args:
            question: What is looked for.
            passages: Any passages, also others than those that are searched.

        Returns:
            Scores in the order of the passages.

        Raises:
            InputError: If a text is too long.
        """
        return self._encoder.scores(question, passages, weights=self._weights)

    def _chosen(
        self, dense: NDArray[np.float32], sparse: NDArray[np.float32], depth: int
    ) -> list[int]:
        """The best passages by the first two forms, in the order in which they were given."""
        first, second, _ = self._weights if any(self._weights[:2]) else EQUAL_WEIGHTS
        scores = first * dense + second * sparse
        return sorted(at for _, at in _best(scores, depth))

    def _compared(self, asked: MultiVectors, chosen: list[int]) -> NDArray[np.float32]:
        """Multi-vector scores of some passages."""
        if self._multi_vectors is not None:
            return self._multi_vectors.scores(asked[0], chosen)
        made = self._encoder.encode([self._passages[i].text for i in chosen]).multi_vectors
        assert made is not None
        return made.scores(asked[0])

    def _hit(
        self,
        index: int,
        score: np.float32,
        dense: np.float32,
        sparse: np.float32,
        multi_vector: np.float32 | None,
        rank: int,
    ) -> BgeM3Hit:
        third = None if multi_vector is None else float(multi_vector)
        return BgeM3Hit(
            self._passages[index], float(score), rank, float(dense), float(sparse), third
        )


def _best(scores: NDArray[np.float32], k: int) -> list[tuple[int, int]]:
    """Ranks from 1 and places of the largest scores; of equal ones the first."""
    return list(enumerate((-scores).argsort(kind="stable")[:k].tolist(), start=1))
