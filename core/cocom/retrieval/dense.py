"""Retrieval by meaning: passages and questions as vectors of a sentence-transformers model."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.datatypes import Passage
from cocom.errors import CheckpointError
from cocom.retrieval.hits import Hit, check_finite, check_passages, check_request, rank_hits
from cocom.retrieval.loading import check_kind, describe, load_model, lock_of
from cocom.retrieval.pieces import check_question, cut
from cocom.retrieval.prompts import Family, Pooling, Prompts, family_of, prompts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

__all__ = ["DenseEncoder", "DenseRetriever", "PassageVectors"]

_DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_log = logging.getLogger(__name__)


class DenseRetriever:
    """Finds passages that mean something close to a question, by cosine similarity.

    All vectors are held in memory and compared with the question one by one, which is fast up to
    some hundred thousand passages. A passage longer than the model reads at once is read in pieces,
    and the piece closest to the question counts.

    E5 models get the prompts and the pooling that they were trained with, also from a folder without
    files of sentence-transformers; other models get what their files say.

    Args:
        passages: What to search, at least one; equal scores are returned in this order.
        model: A folder, the name of a model on the Hugging Face hub, or a model already loaded.
            The default is small and made for English.
        prompts: What the model reads in front of texts; None takes its own, or its family's.
        pooling: How the vectors of a text's tokens become one: "mean", "cls" or "lasttoken". Needed
            only for a plain transformer whose files do not say it; None takes what is known.
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
        model: str | Path | SentenceTransformer = _DEFAULT_MODEL,
        *,
        prompts: Prompts | None = None,
        pooling: Pooling | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._passages = check_passages(passages)
        self._encoder = DenseEncoder(
            model, prompts=prompts, pooling=pooling, device=device, batch_size=batch_size
        )
        self._vectors = self._encoder.passages([passage.text for passage in self._passages])

    @property
    def prompts(self) -> Prompts:
        """What the model reads in front of questions and passages."""
        return self._encoder.prompts

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the passages that are closest in meaning to a question.

        Args:
            question: What to look for.
            k: How many passages to return; all of them if there are fewer.

        Returns:
            Hits, the best one first, with cosine similarities (-1 to 1) as scores.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
            ModelError: If the model gave values that are not finite.
        """
        check_request(question, k)
        scores = self._vectors.scores(self._encoder.question(question))
        return rank_hits(self._passages, scores, k)


@dataclass(frozen=True)
class PassageVectors:
    """Passages as unit vectors, one for each piece.

    Attributes:
        vectors: Shape (pieces, dimensions).
        starts: For each passage, the row of its first piece.
    """

    vectors: NDArray[np.float32]
    starts: list[int]

    def scores(self, question: NDArray[np.float32]) -> NDArray[np.float32]:
        """The highest cosine of each passage's pieces with a question, shape (passages,)."""
        import numpy as np

        cosines: NDArray[np.float32] = self.vectors @ question
        found: NDArray[np.float32] = np.maximum.reduceat(cosines, self.starts)
        return found


class DenseEncoder:
    """Turns texts into vectors with the prompts and the pooling of their model.

    Arguments and errors are those of `DenseRetriever`.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer = _DEFAULT_MODEL,
        *,
        prompts: Prompts | None = None,
        pooling: Pooling | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._model: Any
        if isinstance(model, str | Path):
            self._model, family = _load(str(model), pooling, device)
        else:
            check_kind("SentenceTransformer", model)
            self._model, family = model, family_of(_name(model))
            if pooling is not None:
                _pool(model, pooling)
        self.prompts = prompts or prompts_of(getattr(self._model, "prompts", None) or {}, family)
        self._batch_size = batch_size

    def passages(self, texts: Sequence[str]) -> PassageVectors:
        """Vectors of passages, those that are too long in pieces."""
        with lock_of(self._model):
            pieces = cut(texts, self._model, before=self.prompts.passage)
            vectors = self._model.encode_document(
                pieces.texts, prompt=self.prompts.passage, **self._options
            )
        return PassageVectors(_unit(vectors), pieces.starts)

    def question(self, question: str) -> NDArray[np.float32]:
        """The vector of a question, shape (dimensions,)."""
        with lock_of(self._model):
            check_question(question, self._model, before=self.prompts.query)
            vector = self._model.encode_query(question, prompt=self.prompts.query, **self._options)
        return _unit(vector)

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "batch_size": self._batch_size,
            "normalize_embeddings": True,  # in the model's type, so `_unit` does it again
            "show_progress_bar": False,
            "convert_to_numpy": True,
        }


def _unit(vectors: Any) -> NDArray[np.float32]:
    """Vectors of length 1 in float32, also where a model of half the precision made them."""
    import numpy as np

    found = np.asarray(vectors, dtype=np.float32)
    check_finite(found)
    lengths: NDArray[np.float32] = np.linalg.norm(found, axis=-1, keepdims=True).astype(np.float32)
    lengths[lengths == 0] = 1
    return found / lengths


def _load(name: str, pooling: Pooling | None, device: str | None) -> tuple[Any, Family | None]:
    """Loads a model, and completes a plain transformer by what is known of its family."""
    checkpoint = describe("SentenceTransformer", name)
    model = load_model("SentenceTransformer", name, device=device, checkpoint=checkpoint)
    tokenizer: Any = getattr(model, "tokenizer", None)
    if getattr(tokenizer, "eos_token", None) and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # only fills up rows, where nothing is read
    plain = checkpoint.kind is None
    family = family_of(name, checkpoint.backbone if plain else None)
    if family is not None:
        _log.info("The retrieval model '%s' is used as %s.", name, family.name)
        if family.ends:
            _end_texts(model.tokenizer, name)
        if plain:
            # A decoder's chat template, which the library would put around every text, is not for this.
            getattr(model[0], "modality_config", {}).pop("message", None)
            model.max_seq_length = min(model.max_seq_length, family.max_tokens or math.inf)
    if pooling is not None or (plain and family is not None):
        _pool(model, pooling or (family.pooling if family else "mean"))
    elif plain:
        _log.warning(
            "The retrieval model '%s' is a plain transformer that does not say how the vectors of its tokens "
            "become one, so '%s' is assumed: give `pooling` and `prompts` to say it.",
            name,
            next((m.pooling_mode for m in model if hasattr(m, "pooling_mode")), "its own"),
        )
    return model, family


def _pool(model: Any, pooling: Pooling) -> None:
    for module in model:
        if hasattr(module, "pooling_mode"):
            module.pooling_mode = pooling
            return
    raise CheckpointError(
        f"The retrieval model has no layer that pools tokens, but pooling is '{pooling}': leave it out."
    )


def _end_texts(tokenizer: Any, name: str) -> None:
    """Makes sure that every text ends with the token whose state is read."""
    ids = tokenizer("a").input_ids
    end = tokenizer.eos_token_id
    if end is not None and ids[-1] == end:
        return
    if end is None or not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            f"The tokenizer of '{name}' cannot end texts with its end-of-sequence token, whose state is the "
            "text's vector: give a fast tokenizer that has one."
        )
    from tokenizers.processors import TemplateProcessing

    special = [(tokenizer.eos_token, end)]
    template = f"$A {tokenizer.eos_token}"
    if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id:
        special.append((tokenizer.bos_token, tokenizer.bos_token_id))
        template = f"{tokenizer.bos_token} {template}"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=special
    )


def _name(model: object) -> str:
    """The name that a loaded model had when it was loaded."""
    config = getattr(getattr(model, "transformers_model", None), "config", None)
    return str(getattr(config, "_name_or_path", "") or "")
