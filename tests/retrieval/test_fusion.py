"""Several retrievers as one, by scores and by ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval import BlendedReranker, BM25Retriever, FusedRetriever, Hit, RerankedHit
from cocom.retrieval.hits import rerank_hits


class Fixed:
    """Finds the same passages for every question."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores
        self.asked: list[int] = []

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        self.asked.append(k)
        ranked = sorted(self.scores, key=lambda text: -self.scores[text])[:k]
        return [Hit(Passage(text), self.scores[text], rank) for rank, text in enumerate(ranked, 1)]


def found(retriever: FusedRetriever, k: int = 9) -> list[tuple[str, Any]]:
    return [(hit.passage.text, pytest.approx(hit.score)) for hit in retriever.retrieve("q", k)]


def test_scores_are_stretched_and_weighted() -> None:
    first, second = Fixed(a=30, b=20, c=10), Fixed(c=0.9, b=0.8, d=0.4)
    # first: a 1, b 1/2, c 0; second: c 1, b 4/5, d 0
    assert found(FusedRetriever([first, second])) == [("b", 0.65), ("a", 0.5), ("c", 0.5), ("d", 0)]
    assert found(FusedRetriever([first, second], weights=[1, 3])) == [
        ("c", 0.75),
        ("b", 0.725),
        ("a", 0.25),
        ("d", 0.0),
    ]
    assert found(FusedRetriever([first, second], weights=[1, 0]), k=2) == [("a", 1.0), ("b", 0.5)]


def test_scores_that_are_all_equal_tell_nothing() -> None:
    same = Fixed(a=2.0, b=2.0, c=2.0)
    assert found(FusedRetriever([same, Fixed(b=1, c=3)])) == [("c", 0.5), ("a", 0.0), ("b", 0.0)]


def test_ranks_are_fused_reciprocally() -> None:
    first, second = Fixed(a=30, b=20, c=10), Fixed(c=0.9, b=0.8, d=0.4)
    fused = FusedRetriever([first, second], by="ranks")
    assert found(fused) == [
        ("c", (1 / 63 + 1 / 61) / 2),
        ("b", (1 / 62 + 1 / 62) / 2),
        ("a", 1 / 61 / 2),
        ("d", 1 / 63 / 2),
    ]
    assert [hit.rank for hit in fused.retrieve("q", 9)] == [1, 2, 3, 4]


def test_equal_scores_share_their_ranks() -> None:
    fused = FusedRetriever([Fixed(a=1.0, b=0.0, c=0.0)], by="ranks")
    assert found(fused) == [("a", 1 / 61), ("b", 1 / 62.5), ("c", 1 / 62.5)]


def test_the_place_in_the_corpus_is_worth_nothing() -> None:
    passages = [Passage(f"filler {number}") for number in range(50)]
    passages[30] = Passage("q")
    meaning = Fixed(**{"filler 40": 0.9, "q": 0.8, "filler 2": 0.7})
    fused = FusedRetriever([BM25Retriever(passages), meaning], by="ranks", candidates=10)
    # Of the passages without the word, filler 2 is among BM25's ten and filler 40 is not.
    assert found(fused, k=4) == [
        ("q", (1 / 61 + 1 / 62) / 2),
        ("filler 40", 1 / 61 / 2),
        ("filler 2", 1 / 63 / 2),
        ("filler 0", 0.0),
    ]


def test_equal_scores_count_where_nothing_was_cut_off() -> None:
    fused = FusedRetriever([Fixed(a=1.0, b=1.0)], by="ranks", candidates=3)
    assert found(fused, k=3) == [("a", 1 / 61.5), ("b", 1 / 61.5)]
    assert found(FusedRetriever([Fixed(a=2.0, b=1.0)], by="ranks", candidates=2), k=2) == [
        ("a", 1 / 61),
        ("b", 1 / 62),
    ]


def test_scores_that_cannot_be_stretched() -> None:
    odd = Fixed(a=1.0, b=float("-inf"))
    with pytest.raises(
        InputError, match="has the score -inf, which cannot be combined with others"
    ):
        FusedRetriever([odd]).retrieve("q")
    assert found(FusedRetriever([odd], by="ranks")) == [("a", 1 / 61), ("b", 1 / 62)]


def test_equal_passages_are_told_apart_and_none_is_lost() -> None:
    passages = [Passage("same words"), Passage("same words"), Passage("other")]
    retriever = BM25Retriever(passages)
    hits = FusedRetriever([retriever, retriever]).retrieve("words", k=5)
    assert [hit.passage for hit in hits] == passages
    assert hits[0].passage is passages[0]
    assert hits[1].passage is passages[1]


def test_enough_candidates_are_asked_for() -> None:
    retriever = Fixed(a=1, b=2, c=3)
    FusedRetriever([retriever], candidates=7).retrieve("q", k=2)
    FusedRetriever([retriever], candidates=2).retrieve("q", k=3)
    assert retriever.asked == [7, 3]


class Nothing:
    def retrieve(self, question: str, k: int = 5) -> Sequence[Hit]:
        return []


def test_a_retriever_that_finds_nothing() -> None:
    for by in ("scores", "ranks"):
        fused = FusedRetriever([Nothing(), Fixed(a=1, b=0)], by=by)
        assert [hit.passage.text for hit in fused.retrieve("q")] == ["a", "b"]
    assert FusedRetriever([Nothing()]).retrieve("q") == []


def test_unusable_settings() -> None:
    one: Any = Nothing()
    with pytest.raises(InputError, match="no retrievers to combine"):
        FusedRetriever([])
    with pytest.raises(InputError, match="are 1 weights for 2 retrievers: give one for each"):
        FusedRetriever([one, one], weights=[1])
    for weights in ([0, 0], [1, -1], [1, float("nan")]):
        with pytest.raises(InputError, match="give numbers of 0 or more, one of them above 0"):
            FusedRetriever([one, one], weights=weights)
    with pytest.raises(InputError, match="by 'scores' or 'ranks', not by 'votes'"):
        FusedRetriever([one], by="votes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="candidates is 0: combine at least 1"):
        FusedRetriever([one], candidates=0)
    with pytest.raises(InputError, match="question is empty"):
        FusedRetriever([one]).retrieve(" ")


class Given:
    """A reranker with the scores it was given."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        return rerank_hits(hits, [self.scores[hit.passage.text] for hit in hits], k)


def test_a_blend_is_the_weighted_mean_of_both_stages() -> None:
    hits = Fixed(a=30, b=25, c=10).retrieve("q")
    reranker = Given(a=0.1, b=0.8, c=0.9)
    # the retriever: a 1, b 3/4, c 0; the reranker: a 0, b 7/8, c 1
    blended = BlendedReranker(reranker).rerank("q", hits)
    assert [hit.passage.text for hit in blended] == ["b", "c", "a"]
    assert [hit.score for hit in blended] == pytest.approx([0.8125, 0.5, 0.5])
    assert [(hit.rank, hit.first_rank, hit.first_score) for hit in blended] == [
        (1, 2, 25),
        (2, 3, 10),
        (3, 1, 30),
    ]
    texts = [
        "".join(hit.passage.text for hit in BlendedReranker(reranker, weight).rerank("q", hits))
        for weight in (0, 0.1, 0.8, 1)
    ]
    assert texts == ["abc", "abc", "bca", "cba"]
    assert len(BlendedReranker(reranker).rerank("q", hits, k=1)) == 1
    assert BlendedReranker(reranker).rerank("q", []) == []


def test_unusable_weights_of_a_blend() -> None:
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"weight is .*: give a number from 0 to 1"):
            BlendedReranker(Given(), weight)
    with pytest.raises(InputError, match="k is 0, but"):
        BlendedReranker(Given()).rerank("q", [], k=0)
