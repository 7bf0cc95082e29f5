"""The paper's way from a question to context embeddings: retrieve many, rerank, keep few, compress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cocom.datatypes import ContextEmbeddings, Passage
from cocom.errors import InputError
from cocom.retrieval.hits import Hit, Retriever, SupportsRerank, check_request

__all__ = ["RetrievalPipeline", "RetrievedContexts", "check_candidates"]


@dataclass(frozen=True)
class RetrievedContexts:
    """What was found for a question, compressed.

    Attributes:
        hits: The passages found, the best one first.
        contexts: Their context embeddings, in the same order.
    """

    hits: tuple[Hit, ...]
    contexts: tuple[ContextEmbeddings, ...]

    @property
    def scores(self) -> list[float]:
        """The scores of the hits, in the same order."""
        return [hit.score for hit in self.hits]


class RetrievalPipeline:
    """Retrieves candidates, reranks them, keeps the best, and compresses these.

    The defaults are those of the COCOM paper: SPLADE finds 50 candidates, a cross-encoder puts them
    in order, and the best 5 are compressed and read:

        pipeline = RetrievalPipeline(
            SparseRetriever(passages, "naver/splade-v3"),
            reranker=Reranker("naver/trecdl22-crossencoder-debertav3"),
            compress=model.compress,
        )
        found = pipeline.contexts("Where was Ada Lovelace born?", rate=16)
        answer = model.answer("Where was Ada Lovelace born?", found.contexts)

    It is a retriever itself, so it can stand wherever one can.

    Args:
        retriever: Finds the candidates.
        reranker: Puts them in order; None keeps the retriever's.
        candidates: How many the reranker reads; more if more hits are asked for.
        k: How many hits are kept where a call does not say it.
        compress: Turns passages into context embeddings, such as `Cocom.compress`, or
            `CocomView.contexts`, which keeps them in a store.

    Raises:
        InputError: If `k` is less than 1, or `candidates` is less than `k`.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        reranker: SupportsRerank | None = None,
        candidates: int = 50,
        k: int = 5,
        compress: Callable[..., Sequence[ContextEmbeddings]] | None = None,
    ) -> None:
        check_candidates(candidates, k)
        self._retriever = retriever
        self._reranker = reranker
        self._candidates = candidates
        self._k = k
        self._compress = compress

    def retrieve(self, question: str, k: int | None = None) -> list[Hit]:
        """Finds the passages to read.

        Args:
            question: What to look for.
            k: How many passages to return; None returns as many as the pipeline keeps.

        Returns:
            Hits, the best one first; with a reranker they are `RerankedHit`, which keep the
            retriever's score and rank.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
        """
        k = self._k if k is None else k
        check_request(question, k)
        if self._reranker is None:
            return list(self._retriever.retrieve(question, k))
        candidates = self._retriever.retrieve(question, max(k, self._candidates))
        return list(self._reranker.rerank(question, candidates, k))

    def contexts(self, question: str, k: int | None = None, **options: Any) -> RetrievedContexts:
        """Finds the passages to read, and compresses them.

        Args:
            question: What to look for.
            k: How many passages to return; None returns as many as the pipeline keeps.
            **options: What else `compress` takes, for instance `rate`; and `query`, the question,
                where the model compresses for a question.

        Raises:
            InputError: If the pipeline has nothing to compress with, `compress` does not give one
                result a passage, or for the reasons of `retrieve`.
        """
        if self._compress is None:
            raise InputError(
                "The pipeline has nothing to compress with: make it with compress=model.compress, or call "
                "retrieve."
            )
        hits = self.retrieve(question, k)
        passages: list[Passage] = [hit.passage for hit in hits]
        contexts = tuple(self._compress(passages, **options)) if passages else ()
        if len(contexts) != len(hits):
            raise InputError(
                f"compress gave {len(contexts)} results for {len(hits)} passages: give a function that makes "
                "one for each."
            )
        return RetrievedContexts(tuple(hits), contexts)


def check_candidates(candidates: int, k: int) -> None:
    """Makes sure that at least one hit is kept, and not more than are reranked.

    Raises:
        InputError: If not.
    """
    if k < 1:
        raise InputError(f"k is {k}, but a search returns at least 1 passage: give a larger k.")
    if candidates < k:
        raise InputError(
            f"candidates is {candidates}, but {k} hits are to be kept: give at least as many candidates."
        )
