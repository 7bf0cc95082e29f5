"""Threads that share a model get what one alone gets, although a tokenizer can serve one at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cocom.datatypes import Passage
from cocom.retrieval import (
    DenseRetriever,
    Hit,
    LateInteractionReranker,
    LateInteractionRetriever,
    Reranker,
    SimilarityReranker,
    SparseRetriever,
)
from tests.retrieval.models import (
    bert,
    bert_tokenizer,
    save_cross_encoder,
    save_late,
    save_plain,
    save_splade,
)

LONG = "the brooklyn bridge is on the east river. " * 9
PASSAGES = [Passage(text) for text in ("marie curie was born in warsaw.", "the east.", LONG)]
HITS = [Hit(passage, 1.0, rank) for rank, passage in enumerate(PASSAGES, start=1)]
QUESTIONS = [" ".join(["who", "was", "born", "in", "warsaw"][: n % 5 + 1]) for n in range(40)]

Search = Callable[[str], Any]


def dense(folder: Any) -> list[Search]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(save_plain(folder / "e5", bert(), bert_tokenizer())))
    reranker = SimilarityReranker(model)
    return [DenseRetriever(PASSAGES, model).retrieve, lambda q: reranker.rerank(q, HITS)]


def splade(folder: Any) -> list[Search]:
    return [SparseRetriever(PASSAGES, save_splade(folder)).retrieve]


def late(folder: Any) -> list[Search]:
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(save_late(folder)))
    reranker = LateInteractionReranker(model)
    return [LateInteractionRetriever(PASSAGES, model).retrieve, lambda q: reranker.rerank(q, HITS)]


def cross(folder: Any) -> list[Search]:
    reranker = Reranker(save_cross_encoder(folder))
    return [lambda q: reranker.rerank(q, HITS)]


@pytest.mark.parametrize("made", [dense, splade, late, cross])
def test_threads_get_what_one_alone_gets(made, tmp_path) -> None:
    searches = made(tmp_path)
    alone = [[search(question) for question in QUESTIONS] for search in searches]
    with ThreadPoolExecutor(4) as pool:
        asked = [[pool.submit(search, q) for q in QUESTIONS] for search in searches]
        together = [[future.result() for future in row] for row in asked]
    assert together == alone
