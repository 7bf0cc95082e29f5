"""Retrieve many, rerank, keep few, compress: each stage gets what the one before it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval import (
    BM25Retriever,
    Hit,
    RerankedHit,
    RetrievalPipeline,
    Retriever,
    SwappableRetriever,
)
from cocom.retrieval.hits import rank_hits, rerank_hits

PASSAGES = [Passage("river " * (n + 1) + f"number {n}", id=str(n)) for n in range(60)]


class Asked:
    """Finds the first passages, and keeps how many were asked for."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        self.counts.append(k)
        return [Hit(p, 100.0 - rank, rank) for rank, p in enumerate(PASSAGES[:k], start=1)]


class Longest:
    """Likes long passages."""

    def rerank(
        self, question: str, hits: Sequence[Hit], k: int | None = None
    ) -> Sequence[RerankedHit]:
        return rerank_hits(hits, [float(len(hit.passage.text)) for hit in hits], k)


def test_fifty_candidates_are_reranked_and_five_are_kept() -> None:
    first = Asked()
    hits = RetrievalPipeline(first, reranker=Longest()).retrieve("river")
    assert first.counts == [50]
    assert [hit.passage.id for hit in hits] == ["49", "48", "47", "46", "45"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert [(h.first_rank, h.first_score) for h in hits if isinstance(h, RerankedHit)] == [
        (n, 100.0 - n) for n in (50, 49, 48, 47, 46)
    ]


def test_other_numbers() -> None:
    first = Asked()
    pipeline = RetrievalPipeline(first, reranker=Longest(), candidates=10, k=2)
    assert [hit.passage.id for hit in pipeline.retrieve("river")] == ["9", "8"]
    assert [hit.passage.id for hit in pipeline.retrieve("river", 1)] == ["9"]
    assert len(pipeline.retrieve("river", k=20)) == 20
    assert first.counts == [10, 10, 20]


def test_without_a_reranker_only_what_is_kept_is_retrieved() -> None:
    first = Asked()
    hits = RetrievalPipeline(first, k=3).retrieve("river")
    assert first.counts == [3]
    assert [hit.passage.id for hit in hits] == ["0", "1", "2"]


def test_it_is_a_retriever() -> None:
    inner: Retriever = RetrievalPipeline(BM25Retriever(PASSAGES), reranker=Longest())
    outer = RetrievalPipeline(SwappableRetriever(inner), k=1)
    assert outer.retrieve("river")[0].passage.id == "59"


def test_what_is_kept_is_compressed_in_order() -> None:
    seen: dict[str, Any] = {}

    def compress(passages: Sequence[Passage], **options: Any) -> list[Any]:
        seen.update(options)
        return [f"context {passage.id}" for passage in passages]

    pipeline = RetrievalPipeline(Asked(), reranker=Longest(), k=2, compress=compress)
    found = pipeline.contexts("river", rate=16)
    assert list(map(str, found.contexts)) == ["context 49", "context 48"]
    assert [hit.passage.id for hit in found.hits] == ["49", "48"]
    assert found.scores == [hit.score for hit in found.hits]
    assert seen == {"rate": 16}
    assert len(pipeline.contexts("river", k=4).contexts) == 4


def test_unusable_settings_and_requests() -> None:
    with pytest.raises(InputError, match="k is 0, but a search returns at least 1"):
        RetrievalPipeline(Asked(), k=0)
    with pytest.raises(InputError, match="candidates is 3, but 5 hits are to be kept"):
        RetrievalPipeline(Asked(), candidates=3)
    pipeline = RetrievalPipeline(Asked(), compress=lambda passages: [])
    with pytest.raises(InputError, match="question is empty"):
        pipeline.retrieve("")
    with pytest.raises(InputError, match="k is -1, but"):
        pipeline.retrieve("river", k=-1)
    with pytest.raises(InputError, match="compress gave 0 results for 5 passages"):
        pipeline.contexts("river")
    with pytest.raises(InputError, match="nothing to compress with: make it with compress="):
        RetrievalPipeline(Asked()).contexts("river")


def test_the_best_hits_of_many_equal_ones_keep_their_order() -> None:
    generator = np.random.default_rng(0)
    passages = [Passage(str(n)) for n in range(200)]
    for k in (1, 7, 199, 200, 500):
        scores = generator.integers(0, 5, 200).astype(np.float32)
        expected = sorted(range(200), key=lambda n: (-scores[n], n))[:k]
        assert [hit.passage.text for hit in rank_hits(passages, scores, k)] == [
            str(n) for n in expected
        ]
    scores = np.array([1.0, np.nan, 3.0, 2.0], dtype=np.float32)
    assert [hit.passage.text for hit in rank_hits(passages[:4], scores, 3)] == ["2", "3", "0"]


def test_context_embeddings_of_a_real_model() -> None:
    from cocom import Cocom

    model = Cocom.from_pretrained("cocom-tiny")
    texts = ["Alan Turing was born in Maida Vale in 1912.", "The bridge opened in 1883."]
    pipeline = RetrievalPipeline(
        BM25Retriever([Passage(text) for text in texts]), k=1, compress=model.compress
    )
    found = pipeline.contexts("Where was Alan Turing born?", rate=4)
    (direct,) = model.compress(texts[:1], rate=4)
    assert found.contexts[0].embeddings.equal(direct.embeddings)
    assert found.contexts[0].passage is found.hits[0].passage
