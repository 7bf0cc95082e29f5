"""Retrieval by weighted terms: SPLADE, which adds to a text the words that it might have used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval.hits import Hit, check_passages, check_request, rank_hits
from cocom.retrieval.loading import check_kind, load_model, lock_of
from cocom.retrieval.pieces import check_question, cut
from cocom.retrieval.prompts import Prompts, prompts_of
from cocom.retrieval.sparse_index import SparseIndex

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder

__all__ = ["SharedTerm", "SparseRetriever"]

# Texts turned into dense rows of the vocabulary's width at a time, before they are made sparse.
_BLOCK = 256
# Of a trained model's terms, a passage has some hundreds, a percent or so.
_MOST_TERMS = 0.25

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedTerm:
    """A term that a question and a passage both have, in their texts or added by the model.

    Attributes:
        term: The term, as the tokenizer writes it.
        question_weight: Its weight in the question.
        passage_weight: Its weight in the passage.
    """

    term: str
    question_weight: float
    passage_weight: float

    @property
    def score(self) -> float:
        """What it contributes to the score of the hit."""
        return self.question_weight * self.passage_weight


class SparseRetriever:
    """Finds passages that share weighted terms with a question, by dot product (SPLADE).

    The first stage of the COCOM paper's pipeline. The model weighs the words of a text and adds
    others that belong to it; the index keeps only weights that are not 0. A passage longer than the
    model reads at once is read in pieces, and has each term with its highest weight in any of them.

    Args:
        passages: What to search, at least one; equal scores are returned in this order.
        model: A folder, the name of a model on the Hugging Face hub such as naver/splade-v3, or a
            `SparseEncoder` already loaded.
        prompts: What the model reads in front of texts; None takes its own, if it has any.
        device: Where the model computes; None takes a GPU if there is one.
        batch_size: Passages in one forward pass.

    Raises:
        InputError: If there are no passages, or the model is of another kind.
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, it cannot be loaded, or it is of another kind.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        model: str | Path | SparseEncoder,
        *,
        prompts: Prompts | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._passages = check_passages(passages)
        self._model: Any = model
        if isinstance(model, str | Path):
            self._model = load_model("SparseEncoder", model, device=device)
        else:
            check_kind("SparseEncoder", model)
        self._prompts = prompts or prompts_of(getattr(self._model, "prompts", None) or {}, None)
        self._batch_size = batch_size
        self._index = SparseIndex(self._encode([passage.text for passage in self._passages]))
        terms = self._index.weights / len(self._index)
        if terms > _MOST_TERMS * self._index.terms:
            _log.warning(
                "A passage has %.0f of %d terms on average, far more than a trained SPLADE model gives: "
                "check that the model was trained for sparse retrieval.",
                terms,
                self._index.terms,
            )

    @property
    def index(self) -> SparseIndex:
        """The passages' weights."""
        return self._index

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the passages whose terms match those of a question best.

        Args:
            question: What to look for.
            k: How many passages to return; all of them if there are fewer.

        Returns:
            Hits, the best one first, with dot products as scores; passages that share no term with
            the question score 0 and come last, in the order they were given.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
        """
        check_request(question, k)
        return rank_hits(self._passages, self._index.scores(self._question(question)), k)

    def explain(self, question: str, hit: Hit) -> list[SharedTerm]:
        """Tells which terms made a passage a hit.

        Args:
            question: What was looked for.
            hit: One of the hits, also a reranked one.

        Returns:
            The terms that question and passage share, the one that contributes most first; their
            contributions add up to the score of the hit.

        Raises:
            InputError: If the question is empty, or the passage is not in this index.
        """
        check_request(question)
        terms = self._index.contributions(self._question(question), self._row(hit.passage))
        names = self._model.tokenizer.convert_ids_to_tokens(list(terms))
        shared = [
            SharedTerm(name, *weights) for name, weights in zip(names, terms.values(), strict=True)
        ]
        return sorted(shared, key=lambda term: -term.score)

    def _row(self, passage: Passage) -> int:
        same = [row for row, each in enumerate(self._passages) if each is passage]
        same = same or [row for row, each in enumerate(self._passages) if each == passage]
        if not same:
            raise InputError(
                f"The passage {passage.id or passage.text[:40]!r} is not among the {len(self._passages)} of "
                "this retriever: give one of its own hits."
            )
        return same[0]

    def _question(self, question: str) -> Any:
        """The weights of a question, shape (1, terms)."""
        with lock_of(self._model):
            check_question(question, self._model, before=self._prompts.query)
            weights = self._model.encode_query(
                [question], prompt=self._prompts.query, **self._options
            )
        return _sparse_rows(weights)

    def _encode(self, texts: list[str]) -> Any:
        """The weights of passages, shape (passages, terms)."""
        import numpy as np
        from scipy import sparse  # type: ignore[import-untyped]

        with lock_of(self._model):
            pieces = cut(texts, self._model, before=self._prompts.passage)
        # Texts of similar length go together, so that little is padded.
        order = sorted(range(len(pieces.texts)), key=lambda place: -len(pieces.texts[place]))
        blocks = []
        for start in range(0, len(order), _BLOCK):
            block = [pieces.texts[place] for place in order[start : start + _BLOCK]]
            with lock_of(self._model):
                weights = self._model.encode_document(
                    block, prompt=self._prompts.passage, **self._options
                )
            blocks.append(_sparse_rows(weights))
        rows = sparse.vstack(blocks, format="csr")[np.argsort(order)]
        if len(pieces.texts) == len(texts):
            return rows
        ends = [*pieces.starts[1:], len(pieces.texts)]
        merged = [
            rows[[start]]
            if end - start == 1
            else sparse.csr_array(rows[start:end].max(axis=0).reshape(1, -1))
            for start, end in zip(pieces.starts, ends, strict=True)
        ]
        return sparse.vstack(merged, format="csr")

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "batch_size": self._batch_size,
            "show_progress_bar": False,
            "convert_to_tensor": True,
            "convert_to_sparse_tensor": False,  # made sparse block by block
            "save_to_cpu": True,
        }


def _sparse_rows(weights: Any) -> Any:
    """A tensor of weights, shape (texts, terms), as a sparse array."""
    from scipy import sparse

    return sparse.csr_array(weights.float().numpy())
