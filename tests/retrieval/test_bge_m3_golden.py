"""Agreement with the published code: all forms and scores equal FlagEmbedding's to 1e-4.

The golden numbers are made by scripts/oracles/bge_m3.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocom.retrieval.bge_m3_encoder import BgeM3Embeddings, BgeM3Encoder
from cocom.retrieval.bge_m3_scores import BgeM3Scores
from tests.retrieval.bge_m3_tiny import HIDDEN, draw, make

GOLDEN = json.loads((Path(__file__).parent / "golden" / "bge_m3.json").read_text(encoding="utf-8"))
TEXTS: list[str] = GOLDEN["texts"]
PAIRS: list[tuple[int, int]] = GOLDEN["pairs"]


def close(expected: Any) -> Any:
    """Equal to numbers none of which is further away than 1e-4."""
    return pytest.approx(expected, abs=1e-4, rel=0)


@pytest.fixture(scope="module", params=[HIDDEN, HIDDEN // 2])
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The numbers of one model; multi-vectors are as long as the hidden states, or half of that."""
    return {"dimension": request.param, **GOLDEN["models"][str(request.param)]}


@pytest.fixture(scope="module")
def encoder(golden, tmp_path_factory: pytest.TempPathFactory) -> BgeM3Encoder:
    folder = make(tmp_path_factory.mktemp("bge-m3"), dimension=golden["dimension"])
    return BgeM3Encoder.from_pretrained(folder, device="cpu", too_long="truncate")


@pytest.fixture(scope="module")
def encoded(encoder: BgeM3Encoder) -> BgeM3Embeddings:
    return encoder.encode(TEXTS)


def scores_of(encoder: BgeM3Encoder, weights=None) -> list[BgeM3Scores]:
    given = {} if weights is None else {"weights": weights}
    return [encoder.scores(TEXTS[q], [TEXTS[p]], **given)[0] for q, p in PAIRS]


def test_there_is_enough_to_compare() -> None:
    assert len(PAIRS) >= 30
    sparse = GOLDEN["models"]["32"]["scores"]["default"]["1"]["sparse"]
    assert sum(score > 0 for score in sparse) >= 15
    assert sum(score == 0 for score in sparse) >= 5


def test_dense_vectors(golden, encoded: BgeM3Embeddings) -> None:
    assert encoded.dense == close(np.array(golden["dense"]))


def test_token_weights(golden, encoded: BgeM3Embeddings) -> None:
    for i, expected in enumerate(golden["sparse"]):
        row = encoded.sparse[[i]].tocoo()
        found = dict(zip(map(str, row.coords[1].tolist()), row.data.tolist(), strict=True))
        # A weight under 1e-6 may be 0 in one and not in the other.
        assert {t: w for t, w in found.items() if w > 1e-5} == close(
            {t: w for t, w in expected.items() if w > 1e-5}
        ), TEXTS[i]


def test_token_vectors(golden, encoded: BgeM3Embeddings) -> None:
    directions = draw("directions", (2, golden["dimension"]), 1.0)
    assert encoded.multi_vectors is not None
    assert encoded.multi_vectors.dimension == golden["dimension"]
    for i, expected in enumerate(golden["multi_vectors"]):
        rows = encoded.multi_vectors[i]
        assert len(rows) == len(expected)  # the end token's is one of them
        assert rows @ directions.T == pytest.approx(np.array(expected), abs=3e-4, rel=0), TEXTS[i]


@pytest.mark.parametrize("weights", ["default", "0.4 0.2 0.4", "1 0.3 1"])
def test_scores_of_pairs(golden, encoder: BgeM3Encoder, weights: str) -> None:
    values = None if weights == "default" else tuple(map(float, weights.split()))
    found = scores_of(encoder, values)
    expected = golden["scores"][weights]["1"]
    assert [s.dense for s in found] == close(expected["dense"])
    assert [s.sparse for s in found] == close(expected["sparse"])
    assert [s.multi_vector for s in found] == close(expected["colbert"])
    assert [s.multi_vector for s in found] == close(golden["multi_vector_scores"])
    assert [s.hybrid for s in found] == close(expected["colbert+sparse+dense"])


@pytest.mark.parametrize("batch", ["5", "32"])
def test_published_scores_in_batches_are_the_same_but_for_padding(
    golden, encoder: BgeM3Encoder, encoded: BgeM3Embeddings, batch: str
) -> None:
    """The published `compute_score` takes padding in a passage for a token that scores 0."""
    expected = golden["scores"]["default"][batch]
    found = scores_of(encoder)
    assert [s.dense for s in found] == close(expected["dense"])
    assert [s.sparse for s in found] == close(expected["sparse"])
    vectors = encoded.multi_vectors
    assert vectors is not None
    longest = 0
    for place, (q, p) in enumerate(PAIRS):
        if place % int(batch) == 0:
            longest = max(len(vectors[p]) for _, p in PAIRS[place : place + int(batch)])
        best = (vectors[q] @ vectors[p].T).max(axis=1)
        padded = best if len(vectors[p]) == longest else np.maximum(best, 0)
        assert float(padded.mean()) == close(expected["colbert"][place])
