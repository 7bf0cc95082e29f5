"""Several retrievers as one: what one overlooks, another finds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval.hits import (
    Hit,
    RerankedHit,
    Retriever,
    SupportsRerank,
    check_request,
    rerank_hits,
)

__all__ = ["BlendedReranker", "FusedRetriever"]

# How little the first ranks differ in reciprocal rank fusion (Cormack et al. 2009).
_RANK_CONSTANT = 60


class FusedRetriever:
    """Combines the hits of several retrievers over the same passages.

    By "scores", each retriever's scores for its candidates are stretched to the range from 0 to 1,
    and a passage gets their weighted mean; a retriever that did not find it counts 0, and so does
    one whose candidates all score the same. By "ranks", a passage gets the weighted mean of
    1 / (60 + rank) (reciprocal rank fusion); equal scores share the mean of their ranks. Where the
    candidates end amid equal scores, such as those of passages without a word of the question, these
    count 0: which of them are among the candidates says nothing.

    Fusion finds more, but with two retrievers of very different quality the first hits are often
    worse than those of the better one alone, unless a reranker follows.

    Args:
        retrievers: At least one.
        weights: How much each counts; None counts all the same.
        by: What is combined, "scores" or "ranks".
        candidates: How many hits of each are combined; at least as many as are asked for.

    Raises:
        InputError: If there is no retriever, or weights, `by` or candidates cannot be used.
    """

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        *,
        weights: Sequence[float] | None = None,
        by: Literal["scores", "ranks"] = "scores",
        candidates: int = 100,
    ) -> None:
        if not retrievers:
            raise InputError("There are no retrievers to combine: give at least one.")
        weights = [1.0] * len(retrievers) if weights is None else list(weights)
        if len(weights) != len(retrievers):
            raise InputError(
                f"There are {len(weights)} weights for {len(retrievers)} retrievers: give one for each."
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
            raise InputError(
                f"The weights are {weights}: give numbers of 0 or more, one of them above 0."
            )
        if by not in ("scores", "ranks"):
            raise InputError(f"Retrievers are combined by 'scores' or 'ranks', not by {by!r}.")
        if candidates < 1:
            raise InputError(f"candidates is {candidates}: combine at least 1 hit of each.")
        self._retrievers = tuple(retrievers)
        self._weights = tuple(weight / sum(weights) for weight in weights)
        self._by = by
        self._candidates = candidates

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the passages that the retrievers together rate highest.

        Args:
            question: What to look for.
            k: How many passages to return; fewer if the retrievers find fewer.

        Returns:
            Hits, the best one first, with scores from 0 to 1; equal scores in the order in which the
            retrievers found them.

        Raises:
            InputError: If the question is empty, ``k`` is less than 1, or scores to be combined are not
                finite.
        """
        check_request(question, k)
        scores: dict[Hashable, float] = {}
        passages: dict[Hashable, Passage] = {}
        depth = max(k, self._candidates)
        for retriever, weight in zip(self._retrievers, self._weights, strict=True):
            hits = retriever.retrieve(question, depth)
            shares = (
                _stretched([hit.score for hit in hits])
                if self._by == "scores"
                else _reciprocal_ranks(hits, depth)
            )
            for key, hit, share in zip(_keys(hits), hits, shares, strict=True):
                passages.setdefault(key, hit.passage)
                scores[key] = scores.get(key, 0.0) + weight * share
        best = sorted(scores, key=lambda key: -scores[key])[:k]
        return [Hit(passages[key], scores[key], rank) for rank, key in enumerate(best, start=1)]


class BlendedReranker:
    """Lets a reranker correct the retriever's order instead of replacing it.

    Both scores are stretched to the range from 0 to 1 over the hits, and a hit gets their weighted
    mean. A weak reranker, such as `SimilarityReranker` behind BM25, does better so than alone.

    Args:
        reranker: Scores the hits.
        weight: How much its scores count, from 0 to 1; the retriever's count the rest.

    Raises:
        InputError: If the weight is not between 0 and 1.
    """

    def __init__(self, reranker: SupportsRerank, weight: float = 0.5) -> None:
        if not 0 <= weight <= 1:
            raise InputError(f"The reranker's weight is {weight}: give a number from 0 to 1.")
        self._reranker = reranker
        self._weight = weight

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        """Scores hits again, and keeps what the retriever gave them.

        Args:
            question: What was looked for.
            hits: What a retriever found.
            k: How many to return; None returns all.

        Returns:
            The best hits, the best one first, with scores from 0 to 1; equal scores in the order in
            which the reranker put them.

        Raises:
            InputError: As the reranker's `rerank`.
        """
        check_request(question, k)
        reranked = self._reranker.rerank(question, hits)
        own = _stretched([hit.score for hit in reranked])
        first = _stretched([hit.first_score for hit in reranked])
        blend = [
            self._weight * mine + (1 - self._weight) * theirs
            for mine, theirs in zip(own, first, strict=True)
        ]
        return rerank_hits(reranked, blend, k)


def _keys(hits: Sequence[Hit]) -> list[Hashable]:
    """What tells passages apart: id and text, and for equal ones which of them it is."""
    seen: Counter[tuple[str | None, str]] = Counter()
    keys: list[Hashable] = []
    for hit in hits:
        own = (hit.passage.id, hit.passage.text)
        keys.append((*own, seen[own]))
        seen[own] += 1
    return keys


def _stretched(scores: Sequence[float]) -> list[float]:
    for score in scores:
        if not math.isfinite(score):
            raise InputError(
                f"A hit has the score {score}, which cannot be combined with others: give finite scores, or "
                "combine by ranks."
            )
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 0.0 for score in scores]


def _reciprocal_ranks(hits: Sequence[Hit], depth: int) -> list[float]:
    ranks: dict[float, list[int]] = {}
    for hit in hits:
        ranks.setdefault(hit.score, []).append(hit.rank)
    shared = {score: sum(own) / len(own) for score, own in ranks.items()}
    shares = {score: 1.0 / (_RANK_CONSTANT + rank) for score, rank in shared.items()}
    if len(hits) >= depth and len(ranks[hits[-1].score]) > 1:
        shares[hits[-1].score] = 0.0
    return [shares[hit.score] for hit in hits]
