"""Late interaction (ColBERT): a vector for every token, each of the question finding its best match."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.datatypes import Passage
from cocom.retrieval.hits import (
    Hit,
    RerankedHit,
    check_finite,
    check_passages,
    check_request,
    rank_hits,
    rerank_hits,
)
from cocom.retrieval.loading import check_kind, load_model, lock_of
from cocom.retrieval.multi_vectors import MultiVectors
from cocom.retrieval.pieces import check_question, cut
from cocom.retrieval.prompts import Prompts, prompts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import MultiVectorEncoder

__all__ = ["LateInteractionReranker", "LateInteractionRetriever"]


class LateInteractionRetriever:
    """Finds passages whose tokens match those of a question, by the sum of the best matches (MaxSim).

    It keeps a vector for each token of every passage, some hundred times what one vector a passage
    takes: for large collections, take `LateInteractionReranker` behind a lighter retriever. A
    passage longer than the model reads at once is read in pieces, and has the tokens of them all.

    Args:
        passages: What to search, at least one; equal scores are returned in this order.
        model: A folder, the name of a model on the Hugging Face hub such as
            lightonai/GTE-ModernColBERT-v1, or a `MultiVectorEncoder` already loaded.
        prompts: What the model reads in front of texts; None takes its own, if it has any.
        device: Where the model computes; None takes a GPU if there is one.
        batch_size: Passages in one forward pass.

    Raises:
        InputError: If there are no passages, or the model is of another kind.
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, it cannot be loaded, or it is of another kind.
        ModelError: If the model gave values that are not finite.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        model: str | Path | MultiVectorEncoder,
        *,
        prompts: Prompts | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._passages = check_passages(passages)
        self._encoder = _TokenEncoder(model, prompts, device, batch_size)
        self._vectors = self._encoder.passages([passage.text for passage in self._passages])

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the passages whose tokens match those of a question best.

        Args:
            question: What to look for.
            k: How many passages to return; all of them if there are fewer.

        Returns:
            Hits, the best one first, with MaxSim as scores; their mean over the question's tokens
            where the model was trained so.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
            ModelError: If the model gave values that are not finite.
        """
        check_request(question, k)
        scores = self._encoder.scores(question, self._vectors)
        return rank_hits(self._passages, scores, k)


class LateInteractionReranker:
    """Puts a retriever's hits in order by late interaction; nothing is kept between questions.

    Args:
        model: As for `LateInteractionRetriever`, and so are the other arguments and the errors.
        prompts: What the model reads in front of texts; None takes its own, if it has any.
        device: Where the model computes; None takes a GPU if there is one.
        batch_size: Passages in one forward pass.
    """

    def __init__(
        self,
        model: str | Path | MultiVectorEncoder,
        *,
        prompts: Prompts | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._encoder = _TokenEncoder(model, prompts, device, batch_size)

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        """Scores hits by MaxSim, and keeps what the retriever gave them.

        Args:
            question: What was looked for.
            hits: What a retriever found.
            k: How many to return; None returns all.

        Returns:
            The best hits, the best one first; equal scores in the order they came.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
            ModelError: If the model gave values that are not finite.
        """
        check_request(question, k)
        if not hits:
            return []
        vectors = self._encoder.passages([hit.passage.text for hit in hits])
        return rerank_hits(hits, self._encoder.scores(question, vectors).tolist(), k)


class _TokenEncoder:
    """Turns texts into vectors of tokens, and scores them as their model says."""

    def __init__(
        self, model: Any, prompts: Prompts | None, device: str | None, batch_size: int
    ) -> None:
        self._model = model
        if isinstance(model, str | Path):
            self._model = load_model("MultiVectorEncoder", model, device=device)
        else:
            check_kind("MultiVectorEncoder", model)
        self._prompts = prompts or prompts_of(getattr(self._model, "prompts", None) or {}, None)
        self._options = {
            "batch_size": batch_size,
            "show_progress_bar": False,
            "convert_to_numpy": True,
        }

    def passages(self, texts: Sequence[str]) -> MultiVectors:
        import numpy as np

        with lock_of(self._model):
            pieces = cut(texts, self._model, before=self._prompts.passage)
            found = self._model.encode_document(
                pieces.texts, prompt=self._prompts.passage, **self._options
            )
        ends = [*pieces.starts[1:], len(found)]
        counts = [
            sum(map(len, found[start:end])) for start, end in zip(pieces.starts, ends, strict=True)
        ]
        for passage, count in enumerate(counts):
            if not count:  # the model leaves out every token of it: it matches nothing
                found[pieces.starts[passage]] = np.zeros_like(
                    found[0], shape=(1, found[0].shape[1])
                )
                counts[passage] = 1
        vectors = np.concatenate(found).astype(np.float32, copy=False)
        check_finite(vectors)
        return MultiVectors(vectors, counts)

    def scores(self, question: str, vectors: MultiVectors) -> NDArray[np.float32]:
        import numpy as np

        with lock_of(self._model):
            check_question(question, self._model, before=self._prompts.query)
            own = self._model.encode_query(question, prompt=self._prompts.query, **self._options)
        asked = np.asarray(own, dtype=np.float32)
        check_finite(asked)
        means = vectors.scores(asked)
        if self._model.similarity_fn_name == "meanmaxsim":
            return means
        return means * np.float32(len(own))
