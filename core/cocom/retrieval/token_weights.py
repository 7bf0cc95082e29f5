"""The sparse form of texts: which tokens they have, and how much each weighs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from cocom.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TokenWeights", "largest", "sparse_array", "stacked"]

TokenWeights: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.float32]]"
"""The tokens of one text, in the order of their ids, and their weights."""


def largest(
    ids: Sequence[int], weights: NDArray[np.float32], special: Collection[int]
) -> TokenWeights:
    """The largest weight of each token of a text; special tokens and weights of 0 are left out.

    Args:
        ids: Tokens, shape (T,).
        weights: Of each, 0 or more, shape (T,).
        special: Ids that never have a weight.
    """
    import numpy as np

    tokens, places = np.unique(np.asarray(ids, dtype=np.int64), return_inverse=True)
    best = np.zeros(len(tokens), dtype=np.float32)
    np.maximum.at(best, places, weights)
    kept = (best > 0) & ~np.isin(tokens, list(special))
    return tokens[kept], best[kept]


def stacked(rows: Sequence[TokenWeights], vocabulary: int) -> Any:
    """The weights of many texts as one SciPy array, shape (texts, vocabulary)."""
    import numpy as np

    starts = np.cumsum([0] + [len(tokens) for tokens, _ in rows])
    tokens = np.concatenate([np.empty(0, np.int64), *(tokens for tokens, _ in rows)])
    weights = np.concatenate([np.empty(0, np.float32), *(weights for _, weights in rows)])
    return sparse_array()((weights, tokens, starts), shape=(len(rows), vocabulary))


def sparse_array() -> Any:
    """SciPy's class of sparse arrays by rows.

    Raises:
        MissingExtraError: If SciPy is not installed.
    """
    try:
        from scipy.sparse import csr_array  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("scipy", "retrieval", "BGE-M3") from error
    return csr_array
