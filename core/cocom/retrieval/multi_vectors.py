"""One vector a token: many texts' vectors in one array, and the score of a question with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cocom.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MultiVectors"]

_BLOCK = 1 << 15  # vectors compared at a time


class MultiVectors:
    """The vectors of each text's tokens, all below each other.

    Args:
        vectors: Unit vectors, the first text's first, shape (tokens of all texts, dimension).
        lengths: How many belong to each text, at least one.

    Raises:
        InputError: If the lengths do not add up to the vectors, or one of them is less than 1.
    """

    def __init__(self, vectors: NDArray[np.floating[Any]], lengths: Sequence[int]) -> None:
        import numpy as np

        counts = np.asarray(lengths, dtype=np.int64).reshape(-1)
        if vectors.ndim != 2 or counts.sum() != len(vectors) or (counts < 1).any():
            raise InputError(
                f"The lengths {counts.tolist()[:5]}… of {len(counts)} texts do not divide vectors of shape "
                f"{vectors.shape}: give one row a token, and each text's number of rows, at least 1."
            )
        self._vectors = vectors
        self._starts = np.concatenate([[0], counts.cumsum()])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> NDArray[np.floating[Any]]:
        """The vectors of one text, shape (tokens, dimension)."""
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} texts, so there is no text {index}.")
        return self._vectors[self._starts[index] : self._starts[index + 1]]

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._vectors.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the vectors take."""
        return int(self._vectors.nbytes)

    def scores(
        self, query: NDArray[np.floating[Any]], indices: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Compares a question with texts: the mean over its vectors of the largest dot product.

        Args:
            query: The question's vectors, shape (tokens, dimension).
            indices: Which texts; None takes all.

        Returns:
            One score a text, in the order of the indices; computed in float32.

        Raises:
            InputError: If the question has no vectors, or vectors of another length.
        """
        import numpy as np

        if query.ndim != 2 or len(query) == 0 or query.shape[1] != self.dimension:
            raise InputError(
                f"The question's vectors have shape {query.shape}, but at least one of length "
                f"{self.dimension} is needed: encode it with the model that encoded the texts."
            )
        wanted = list(range(len(self))) if indices is None else list(indices)
        asked = query.astype(np.float32)
        scores = np.empty(len(wanted), dtype=np.float32)
        for block in _blocks([len(self[i]) for i in wanted]):
            parts = [self[wanted[place]] for place in block]
            starts = np.cumsum([0] + [len(part) for part in parts[:-1]])
            similarities = asked @ np.concatenate(parts, dtype=np.float32).T
            best = np.maximum.reduceat(similarities, starts, axis=1)
            scores[block.start : block.stop] = best.mean(axis=0)
        return scores


def _blocks(lengths: Sequence[int]) -> list[range]:
    """Neighbours that have at most `_BLOCK` vectors together, or a single text that has more."""
    blocks: list[range] = []
    start = total = 0
    for place, length in enumerate(lengths):
        if total + length > _BLOCK and place > start:
            blocks.append(range(start, place))
            start, total = place, 0
        total += length
    if start < len(lengths):
        blocks.append(range(start, len(lengths)))
    return blocks
