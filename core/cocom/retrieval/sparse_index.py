"""An in-memory index of sparse vectors: which passages have a term, and how much it weighs there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cocom.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SparseIndex"]


class SparseIndex:
    """Gives the dot product of a sparse question with every passage.

    The matrix is kept by columns, so a search reads only the terms of the question: what it takes
    grows with the passages that have these terms, not with all that is stored.

    Args:
        matrix: A SciPy sparse matrix or array of one row a passage and one column a term, shape
            (passages, terms). It is copied; values are kept as float32.

    Raises:
        InputError: If it is not a sparse matrix, or holds a weight that is no number.
        MissingExtraError: If SciPy is not installed.
    """

    def __init__(self, matrix: Any) -> None:
        import numpy as np

        sparse = _scipy_sparse()
        if not sparse.issparse(matrix) or matrix.ndim != 2:
            raise InputError(
                f"The index got a {type(matrix).__name__}, but it needs a two-dimensional SciPy sparse "
                "matrix, one row a passage: give for instance scipy.sparse.csr_array(weights)."
            )
        columns = sparse.csc_array(matrix, dtype=np.float32, copy=True)
        columns.sum_duplicates()  # also sorts the rows of each column
        columns.eliminate_zeros()
        if not np.isfinite(columns.data).all():
            raise InputError(
                "The index got a weight that is infinite or not a number: check the model that made it."
            )
        self._columns = columns

    def __len__(self) -> int:
        return int(self._columns.shape[0])

    @property
    def terms(self) -> int:
        """How many terms there are, in use or not."""
        return int(self._columns.shape[1])

    @property
    def weights(self) -> int:
        """How many weights are stored: pairs of a passage and a term that it has."""
        return int(self._columns.nnz)

    @property
    def bytes(self) -> int:
        """Memory that the index takes."""
        columns = self._columns
        return int(columns.data.nbytes + columns.indices.nbytes + columns.indptr.nbytes)

    def scores(self, query: Any) -> NDArray[np.float32]:
        """Multiplies every passage with a question.

        Args:
            query: A SciPy sparse matrix or array of one row, shape (1, terms) or (terms,).

        Returns:
            One dot product a passage, in the order of the rows, shape (passages,). They are summed
            in float64 and then rounded once.

        Raises:
            InputError: If the query is not one sparse row of as many terms as the index has, or holds a
                weight that is no number.
        """
        import numpy as np

        terms, weights = self._row(query)
        found: NDArray[np.float64] = self._columns[:, terms] @ weights
        return found.astype(np.float32)

    def contributions(self, query: Any, row: int) -> dict[int, tuple[float, float]]:
        """Tells which terms a question and a passage share.

        Args:
            query: As for `scores`.
            row: The passage's row, from 0.

        Returns:
            For the number of each shared term, its weight in the question and in the passage. The
            products add up to the passage's score.

        Raises:
            InputError: As for `scores`, or if there is no such row.
        """
        if not 0 <= row < len(self):
            raise InputError(
                f"The index has no row {row}, it has {len(self)}: count rows from 0 to {len(self) - 1}."
            )
        terms, weights = self._row(query)
        columns = self._columns
        shared: dict[int, tuple[float, float]] = {}
        for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
            start, end = columns.indptr[term : term + 2]
            at = start + columns.indices[start:end].searchsorted(row)
            if at < end and columns.indices[at] == row:
                shared[term] = (weight, float(columns.data[at]))
        return shared

    def _row(self, query: Any) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The terms of a question, in order and each once, with their weights."""
        import numpy as np

        if not _scipy_sparse().issparse(query) or query.shape not in (
            (1, self.terms),
            (self.terms,),
        ):
            raise InputError(
                f"The query is a {type(query).__name__} of shape {getattr(query, 'shape', None)}, but the "
                f"index has {self.terms} terms: give a SciPy sparse row of shape (1, {self.terms})."
            )
        row = query.tocoo().astype(np.float64)
        if not np.isfinite(row.data).all():
            raise InputError(
                "The query has a weight that is infinite or not a number: check the model that made it."
            )
        numbers = row.coords[-1] if hasattr(row, "coords") else row.col
        terms, places = np.unique(numbers, return_inverse=True)
        weights = np.zeros(len(terms), dtype=np.float64)
        np.add.at(weights, places, row.data)
        return terms.astype(np.intp), weights


def _scipy_sparse() -> Any:
    try:
        import scipy.sparse  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("scipy", "retrieval", "An index of sparse vectors") from error
    return scipy.sparse
