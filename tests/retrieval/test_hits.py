"""What every retriever and reranker checks: passages, questions, and scores that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cocom.datatypes import Passage
from cocom.errors import InputError, ModelError
from cocom.retrieval import (
    BM25Retriever,
    DenseRetriever,
    Hit,
    LateInteractionReranker,
    LateInteractionRetriever,
    Reranker,
    SimilarityReranker,
    SparseRetriever,
)
from cocom.retrieval.hits import rerank_hits
from tests.retrieval.models import (
    bert,
    bert_tokenizer,
    save_cross_encoder,
    save_late,
    save_plain,
    save_splade,
)

PASSAGES = [Passage("marie curie was born in warsaw."), Passage("the bridge is east.")]
HALF = "the \ud83d bridge"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "dense": save_plain(folder / "e5-tiny", bert(), bert_tokenizer()),
        "splade": save_splade(folder / "1"),
        "late": save_late(folder / "2"),
        "cross": save_cross_encoder(folder / "3"),
    }


def test_passages_that_are_none() -> None:
    texts: Any = ["marie curie", "the bridge"]
    with pytest.raises(InputError, match="Passage 0 is a str: give a Passage, for instance Passa"):
        BM25Retriever(texts)
    with pytest.raises(InputError, match="Passage 1 is a NoneType"):
        BM25Retriever([PASSAGES[0], None])  # type: ignore[list-item]


def test_a_question_that_is_none() -> None:
    nothing: Any = None
    with pytest.raises(InputError, match="question is a NoneType: give a string"):
        BM25Retriever(PASSAGES).retrieve(nothing)


@pytest.mark.parametrize(
    ("kind", "make"),
    [("dense", DenseRetriever), ("splade", SparseRetriever), ("late", LateInteractionRetriever)],
)
def test_half_a_character_is_told_where_it_is(
    folders: dict[str, Path], kind: str, make: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match="Passage 2 holds half a surrogate pair"):
        make([*PASSAGES, Passage(HALF)], folders[kind])
    with pytest.raises(InputError, match="The question holds half a surrogate pair"):
        make(PASSAGES, folders[kind]).retrieve(HALF)


def test_a_reranker_tells_half_a_character_too(folders: dict[str, Path]) -> None:
    hits = [Hit(passage, 1.0, rank) for rank, passage in enumerate(PASSAGES, 1)]
    with pytest.raises(InputError, match="The question holds half a surrogate pair"):
        Reranker(folders["cross"]).rerank(HALF, hits)


def broken(kind: str, folder: Path) -> Any:
    """A model that gives no number for a text with a bridge, as half precision may."""
    import sentence_transformers

    model = getattr(sentence_transformers, kind)(str(folder))
    embeddings = dict(model.named_modules())
    (name,) = (name for name in embeddings if name.endswith("word_embeddings"))
    with torch.no_grad():
        embeddings[name].weight[bert_tokenizer().convert_tokens_to_ids("bridge")] = math.nan
    return model


def test_scores_that_are_no_numbers_are_told(folders: dict[str, Path]) -> None:
    dense = broken("SentenceTransformer", folders["dense"])
    late = broken("MultiVectorEncoder", folders["late"])
    for retriever, model in ((DenseRetriever, dense), (LateInteractionRetriever, late)):
        make: Callable[..., Any] = retriever
        with pytest.raises(ModelError, match="infinite or not a number: load it in float32"):
            make(PASSAGES, model)
        good = make(PASSAGES[:1], model)
        assert math.isfinite(good.retrieve("curie")[0].score)
        with pytest.raises(ModelError, match="infinite or not a number"):
            good.retrieve("bridge")
    cross = broken("CrossEncoder", folders["cross"])
    rerankers = (SimilarityReranker(dense), LateInteractionReranker(late), Reranker(cross))
    hits = [Hit(passage, 1.0, rank) for rank, passage in enumerate(PASSAGES, 1)]
    for reranker in rerankers:
        assert len(reranker.rerank("curie", hits[:1])) == 1
        with pytest.raises(ModelError, match="infinite or not a number"):
            reranker.rerank("curie", hits)


def test_what_is_not_a_number_comes_last() -> None:
    hits = [Hit(Passage(text), 1.0, rank) for rank, text in enumerate("abcde", 1)]
    scores = [1.0, math.nan, 3.0, math.nan, 2.0]
    assert [hit.passage.text for hit in rerank_hits(hits, scores, None)] == list("ceabd")
    assert [hit.passage.text for hit in rerank_hits(hits, scores, 2)] == list("ce")
