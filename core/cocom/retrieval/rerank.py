"""Reranking: a slower model reads a retriever's best hits again, and puts them in a better order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.errors import CheckpointError
from cocom.retrieval.dense import DenseEncoder
from cocom.retrieval.hits import Hit, RerankedHit, check_finite, check_request, rerank_hits
from cocom.retrieval.loading import check_kind, first_line, load_model, lock_of
from cocom.retrieval.pieces import cut
from cocom.retrieval.prompts import Pooling, Prompts

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

__all__ = ["Reranker", "SimilarityReranker"]


class Reranker:
    """Scores question and passage read together by a cross-encoder.

    Its scores are what the model gives after its own activation function: with a sigmoid they lie
    between 0 and 1, without one they are any numbers. Where question and passage are longer together
    than the model reads, the passage is read in pieces, and the best piece counts.

    Args:
        model: A folder, the name of a model on the Hugging Face hub, or a `CrossEncoder` already
            loaded. It must give one score a pair.
        device: Where the model computes; None takes a GPU if there is one.
        batch_size: Pairs in one forward pass.

    Raises:
        InputError: If a loaded model is of another kind.
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, it cannot be loaded, is of another kind or gives
            more than one score.
    """

    def __init__(
        self,
        model: str | Path | CrossEncoder,
        *,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._model: Any = model
        name = str(model) if isinstance(model, str | Path) else type(model).__name__
        if isinstance(model, str | Path):
            self._model = load_model("CrossEncoder", model, device=device)
        else:
            check_kind("CrossEncoder", model)
        if self._model.num_labels != 1:
            raise CheckpointError(
                f"The model '{name}' gives {self._model.num_labels} scores for a pair, but a reranker needs "
                "1: give a cross-encoder that was trained for ranking."
            )
        self._batch_size = batch_size

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        """Scores hits again, and keeps what the retriever gave them.

        Args:
            question: What was looked for.
            hits: What a retriever found.
            k: How many to return; None returns all.

        Returns:
            The best hits, the best one first; equal scores in the order they came.

        Raises:
            InputError: If the question is empty, ``k`` is less than 1, or the question leaves no room
                for a passage in what the model reads.
            CheckpointError: If its files do not say how to fill up pairs that are read together.
            ModelError: If the model gave a score that is not finite.
        """
        check_request(question, k)
        if not hits:
            return []
        return rerank_hits(hits, self.scores(question, [hit.passage.text for hit in hits]), k)

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """Scores texts for a question, in their order; errors as `rerank`."""
        import numpy as np

        if not texts:
            return []
        with lock_of(self._model):
            pieces = cut(texts, self._model, before=self._prompt, beside=question)
            try:
                scores = self._model.predict(
                    [(question, text) for text in pieces.texts],
                    batch_size=self._batch_size,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
            except ValueError as error:  # a decoder whose files do not say how to fill up rows
                raise CheckpointError(
                    f"The cross-encoder cannot read several pairs at once ({first_line(error)}): set the "
                    "padding token that it was trained with in its tokenizer and its config.json."
                ) from error
        check_finite(scores)
        best: list[float] = np.maximum.reduceat(scores, pieces.starts).tolist()
        return best

    @property
    def _prompt(self) -> str:
        """What the model puts in front of a pair of its own accord."""
        prompts = getattr(self._model, "prompts", None) or {}
        return prompts.get(getattr(self._model, "default_prompt_name", None)) or ""


class SimilarityReranker:
    """Scores passages by the cosine of their vectors with the question's.

    Weaker than a cross-encoder, but any model of `DenseRetriever` serves, and it puts the hits of
    retrieval by words in a better order without an index of vectors.

    Args:
        model: As for `DenseRetriever`, and so are the other arguments and the errors.
        prompts: What the model reads in front of texts; None takes its own, or its family's.
        pooling: How the vectors of a text's tokens become one; None takes what is known.
        device: Where the model computes; None takes a GPU if there is one.
        batch_size: Passages in one forward pass.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        *,
        prompts: Prompts | None = None,
        pooling: Pooling | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._encoder = DenseEncoder(
            model, prompts=prompts, pooling=pooling, device=device, batch_size=batch_size
        )

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        """As `Reranker.rerank`, with cosine similarities (-1 to 1) as scores."""
        check_request(question, k)
        if not hits:
            return []
        vectors = self._encoder.passages([hit.passage.text for hit in hits])
        scores = vectors.scores(self._encoder.question(question))
        return rerank_hits(hits, scores.tolist(), k)
