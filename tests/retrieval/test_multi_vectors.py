"""Token vectors of many texts, compared by hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from cocom.errors import InputError
from cocom.retrieval import multi_vectors
from cocom.retrieval.multi_vectors import MultiVectors

ROWS = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8], [-0.6, -0.8], [0, -1]], dtype=np.float32)


def test_the_score_is_the_mean_of_the_best_products() -> None:
    kept = MultiVectors(ROWS, [2, 1, 3])
    question = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    # Text 0: best of (1, 0) is 1, of (.6, .8) is .8; text 1: -1 and -.6; text 2: .6 and 1.
    assert kept.scores(question) == pytest.approx([0.9, -0.8, 0.8])
    assert kept.scores(question, [2, 0, 2]) == pytest.approx([0.8, 0.9, 0.8])
    assert kept.scores(question, []).tolist() == []


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 9, size=40).tolist()
    rows = generator.standard_normal((sum(lengths), 8)).astype(np.float32)
    question = generator.standard_normal((5, 8)).astype(np.float32)
    kept = MultiVectors(rows, lengths)
    expected = [(question @ kept[i].T).max(axis=1).mean() for i in range(40)]
    for block in (1, 7, 16, 1 << 20):
        monkeypatch.setattr(multi_vectors, "_BLOCK", block)
        assert kept.scores(question) == pytest.approx(expected, abs=1e-5)


def test_vectors_of_one_text() -> None:
    kept = MultiVectors(ROWS, [2, 1, 3])
    assert len(kept) == 3
    assert kept.dimension == 2
    assert kept.bytes == 48
    assert kept[2].tolist() == ROWS[3:].tolist()
    with pytest.raises(IndexError, match="There are 3 texts, so there is no text 3"):
        kept[3]


@pytest.mark.parametrize("lengths", [[2, 3], [6, 0], [7, -1], []])
def test_lengths_that_do_not_fit(lengths: list[int]) -> None:
    with pytest.raises(InputError, match=r"do not divide vectors of shape \(6, 2\): give one row"):
        MultiVectors(ROWS, lengths)


@pytest.mark.parametrize("shape", [(0, 2), (1, 3), (2,)])
def test_a_question_that_cannot_be_compared(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at least one of length 2 is needed"):
        MultiVectors(ROWS, [6]).scores(np.zeros(shape, np.float32))
