"""Opens retrievers and rerankers by a name, as the command line and settings give it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval.hits import Retriever, SupportsRerank

__all__ = ["open_reranker", "open_retriever"]

_RETRIEVERS = ("dense", "splade", "late", "bge-m3")
_RERANKERS = ("cross", "dense", "late")


def open_retriever(name: str, passages: Sequence[Passage]) -> Retriever:
    """Makes a retriever over passages.

    Args:
        name: "bm25"; or how to retrieve and with which model, a folder or a name on the hub:
            "dense:MODEL" (a vector a passage), "splade:MODEL" (weighted terms), "late:MODEL" (a
            vector a token), "bge-m3:MODEL" (all three). A model alone is taken for "dense".
        passages: What to search, at least one.

    Raises:
        InputError: If there are no passages, or no such way to retrieve.
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, it cannot be loaded, or it is of another kind.
    """
    if name.casefold() == "bm25":
        from cocom.retrieval.bm25 import BM25Retriever

        return BM25Retriever(passages)
    kind, model = _parts(name, _RETRIEVERS, "retriever", "bm25, ")
    if kind == "splade":
        from cocom.retrieval.sparse import SparseRetriever

        return SparseRetriever(passages, model)
    if kind == "late":
        from cocom.retrieval.late_interaction import LateInteractionRetriever

        return LateInteractionRetriever(passages, model)
    if kind == "bge-m3":
        from cocom.retrieval.bge_m3 import BgeM3Retriever

        return BgeM3Retriever(passages, model)
    from cocom.retrieval.dense import DenseRetriever

    return DenseRetriever(passages, model)


def open_reranker(name: str) -> SupportsRerank:
    """Loads a reranker.

    Args:
        name: How to rerank and with which model, a folder or a name on the hub: "cross:MODEL" (reads
            question and passage together), "late:MODEL" (a vector a token), "dense:MODEL" (a vector
            a passage). A model alone is taken for "cross".

    Raises:
        InputError: If there is no such way to rerank.
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, it cannot be loaded, or it is of another kind.
    """
    kind, model = _parts(name, _RERANKERS, "reranker", "")
    if kind == "dense":
        from cocom.retrieval.rerank import SimilarityReranker

        return SimilarityReranker(model)
    if kind == "late":
        from cocom.retrieval.late_interaction import LateInteractionReranker

        return LateInteractionReranker(model)
    from cocom.retrieval.rerank import Reranker

    return Reranker(model)


def _parts(name: str, kinds: Sequence[str], what: str, others: str) -> tuple[str | None, str]:
    """The kind and the model that a name consists of; no kind where it names a model only."""
    try:
        if name and Path(name).exists():
            return None, name
    except OSError as error:  # a name that is too long, or a folder that may not be read
        raise InputError(
            f"The name of the {what}, {name[:40]!r}…, cannot be used ({error.strerror}): give {others}a "
            "folder or the name of a model."
        ) from error
    kind, colon, model = name.partition(":")
    if colon and kind in kinds and model:
        return kind, model
    # A letter before a colon is a drive of Windows.
    if not name or (colon and len(kind) > 1) or name.casefold() in ("bm25", *kinds):
        known = ", ".join(f"{each}:MODEL" for each in kinds)
        raise InputError(
            f"There is no {what} {name!r}: give {others}{known}, or a folder or the name of a model."
        )
    return None, name
