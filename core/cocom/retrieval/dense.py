"""Retrieval by meaning: passages and questions as vectors of a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, MissingExtraError
from cocom.retrieval.hits import Hit, check_passages, check_request, rank_hits

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["DenseRetriever"]

_DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class DenseRetriever:
    """Finds passages that mean something close to a question, by cosine similarity.

    All vectors are held in memory and compared with the question one by one, which is fast up to
    some hundred thousand passages. The model reads only the beginning of a passage longer than its
    own limit (256 word pieces for the default model), so give it short passages.

    Args:
        passages: What to search, at least one; equal scores are returned in this order.
        model: A folder, the name of a model on the Hugging Face hub, or a model already loaded.
            The default is small and made for English.

    Raises:
        InputError: If there are no passages.
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, or it cannot be loaded.
    """

    def __init__(
        self, passages: Sequence[Passage], model: str | Path | SentenceTransformer = _DEFAULT_MODEL
    ) -> None:
        self._passages = check_passages(passages)
        self._model = _load(model) if isinstance(model, str | Path) else model
        self._vectors = self._model.encode_document(
            [passage.text for passage in self._passages],
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the passages that are closest in meaning to a question.

        Args:
            question: What to look for.
            k: How many passages to return; all of them if there are fewer.

        Returns:
            Hits, the best one first, with cosine similarities (-1 to 1) as scores.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
        """
        check_request(question, k)
        vector = self._model.encode_query(
            question, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return rank_hits(self._passages, self._vectors @ vector, k)


def _load(model: str | Path) -> SentenceTransformer:
    """Loads a sentence-transformers model from a folder or the hub."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError(
            "sentence-transformers", "retrieval", "Retrieval by meaning"
        ) from error
    try:
        return SentenceTransformer(str(model))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The retrieval model '{model}' cannot be loaded: give the folder of a "
            f"sentence-transformers model or its name on the hub ({_first_line(error)})."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
