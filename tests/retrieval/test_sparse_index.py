"""An index of sparse vectors gives exact dot products, whatever is empty in it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import sparse  # type: ignore[import-untyped]

from cocom.errors import InputError, MissingExtraError
from cocom.retrieval.sparse_index import SparseIndex

# Three passages and four terms; the second passage has none of them, nobody has the last term.
WEIGHTS = np.array([[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 4, 0]], dtype=np.float32)


def row(*weights: float) -> sparse.csr_array:
    return sparse.csr_array(np.array([weights], dtype=np.float32))


@pytest.fixture
def index() -> SparseIndex:
    return SparseIndex(sparse.csr_array(WEIGHTS))


def test_scores_are_dot_products(index) -> None:
    assert index.scores(row(1, 0, 0, 0)).tolist() == [1, 0, 0]
    assert index.scores(row(2, 10, 0.5, 7)).tolist() == [3, 0, 32]
    assert index.scores(row(1, 1, 1, 1)).dtype == np.float32


def test_a_question_without_a_term_scores_0(index) -> None:
    assert index.scores(row(0, 0, 0, 0)).tolist() == [0, 0, 0]
    assert index.scores(row(0, 0, 0, 5)).tolist() == [0, 0, 0]


def test_every_kind_of_sparse_row_gives_the_same(index) -> None:
    weights = np.array([2, 10, 0.5, 7])
    expected = index.scores(row(*weights)).tolist()
    for kind in (sparse.csc_array, sparse.coo_array, sparse.csr_matrix, sparse.coo_matrix):
        assert index.scores(kind(weights[None])).tolist() == expected
    assert index.scores(sparse.coo_array(weights)).tolist() == expected


def test_a_weight_given_in_two_parts_is_their_sum(index) -> None:
    parts = sparse.coo_array(([1.0, 2.0], ([0, 0], [2, 2])), shape=(1, 4))
    assert index.scores(parts).tolist() == [6, 0, 12]
    split = sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [2, 2, 1])), shape=(2, 4))
    assert SparseIndex(split).scores(row(0, 0, 1, 0)).tolist() == [3, 0]
    assert SparseIndex(split).weights == 1


def test_random_vectors_score_as_dense_ones() -> None:
    generator = np.random.default_rng(0)
    passages, queries = (
        np.where(generator.random(shape) < 0.03, generator.random(shape), 0).astype(np.float32)
        for shape in ((500, 300), (20, 300))
    )
    index = SparseIndex(sparse.csr_array(passages))
    for query in queries:
        expected = (passages.astype(np.float64) @ query).astype(np.float32)
        np.testing.assert_allclose(index.scores(row(*query)), expected, rtol=2e-7)


def test_small_weights_are_not_lost_beside_large_ones() -> None:
    weights = np.full((1, 4097), 2.0**-12, dtype=np.float32)
    weights[0, 0] = 2.0**12
    query = sparse.csr_array(np.ones((1, 4097), dtype=np.float32))
    assert SparseIndex(sparse.csr_array(weights)).scores(query)[0] == 4097.0


def test_shared_terms_add_up_to_the_score(index) -> None:
    query = row(2, 10, 0.5, 7)
    assert index.contributions(query, 2) == {1: (10, 3), 2: (0.5, 4)}
    assert index.contributions(query, 1) == {}
    for number, score in enumerate(index.scores(query).tolist()):
        assert sum(a * b for a, b in index.contributions(query, number).values()) == score


def test_what_was_given_can_be_changed_afterwards() -> None:
    given = sparse.csc_array(WEIGHTS)
    index = SparseIndex(given)
    given.data[:] = 0
    assert index.scores(row(1, 1, 1, 1)).tolist() == [3, 0, 7]


def test_sizes(index) -> None:
    assert (len(index), index.terms, index.weights) == (3, 4, 4)
    assert 0 < index.bytes < 200
    empty = SparseIndex(sparse.csr_array((0, 4)))
    assert empty.scores(row(1, 2, 3, 4)).shape == (0,)


def test_unusable_vectors(index) -> None:
    with pytest.raises(InputError, match="got a ndarray, but it needs a two-dimensional SciPy"):
        SparseIndex(WEIGHTS)
    with pytest.raises(InputError, match="infinite or not a number"):
        SparseIndex(sparse.csr_array([[np.nan, 1]]))
    with pytest.raises(InputError, match=r"of shape \(1, 3\), but the index has 4 terms"):
        index.scores(row(1, 2, 3))
    with pytest.raises(InputError, match="query has a weight that is infinite or not a number"):
        index.scores(row(1, np.nan, 0, 0))
    with pytest.raises(InputError, match=r"query is a ndarray of shape \(4,\)"):
        index.scores(np.ones(4))
    with pytest.raises(InputError, match="no row 3, it has 3: count rows from 0 to 2"):
        index.contributions(row(1, 0, 0, 0), 3)


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cocom\[retrieval\]'"):
        SparseIndex(WEIGHTS)
