"""From files and a question to a sourced answer: split, retrieve, compress, read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.datatypes import Answer, ContextEmbeddings, Passage
from cocom.documents import load_documents
from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.retrieval.hits import Hit, Retriever
from cocom.retrieval.opening import open_reranker, open_retriever
from cocom.retrieval.pipeline import RetrievalPipeline, check_candidates
from cocom.split import split_text
from cocom.store import ContextStore
from cocom.view import CocomView

__all__ = ["AskResult", "ask", "load_passages", "make_retriever"]


@dataclass(frozen=True)
class AskResult:
    """An answer with where it comes from and what it cost.

    Attributes:
        answer: Text and usage.
        hits: The passages that were read, best first; those that were reranked keep the retriever's score.
        rate: Compression rate.
        as_text: How many of the best passages were read as text.
        seconds: Time of each step: "retrieve", "compress", "answer".
    """

    answer: Answer
    hits: tuple[Hit, ...]
    rate: int
    as_text: int
    seconds: dict[str, float]


def load_passages(model: Cocom, paths: Sequence[str | Path]) -> list[Passage]:
    """Read files and folders and cut them into passages of one window each.

    Each passage's id is its document's source and its number there, such as `notes.md:2`.

    Raises:
        InputError: A path that is missing or cannot be read.
    """
    count = model.count_tokens
    return [
        Passage(
            text, f"{document.source}:{number}", {**document.metadata, "source": document.source}
        )
        for document in load_documents(paths)
        for number, text in enumerate(
            split_text(document.text, model.config.window, count_tokens=count), start=1
        )
    ]


def make_retriever(
    name: str,
    passages: Sequence[Passage],
    *,
    rerank: str | None = None,
    candidates: int = 50,
    keep: int = 5,
) -> Retriever:
    """Make what finds the passages of a question.

    Args:
        name: "bm25", "dense:MODEL", "splade:MODEL", "late:MODEL", "bge-m3:MODEL", or a model alone; see
            `open_retriever`.
        passages: What to search.
        rerank: What puts the hits in a better order: "cross:MODEL", "late:MODEL", "dense:MODEL", or a
            cross-encoder alone; None leaves them as they are.
        candidates: How many hits are reranked.
        keep: How many are given where a call does not say it.

    Raises:
        InputError: No passages, no such retriever or reranker, or fewer candidates than are kept.
        CheckpointError: A model that is missing, damaged or of another kind.
        MissingExtraError: sentence-transformers is not installed.
    """
    if rerank is None:
        return open_retriever(name, passages)
    check_candidates(candidates, keep)  # before models are loaded
    reranker = open_reranker(rerank)
    return RetrievalPipeline(
        open_retriever(name, passages), reranker=reranker, candidates=candidates, k=keep
    )


def ask(
    model: Cocom,
    question: str,
    retriever: Retriever,
    *,
    rate: int | None = None,
    passages: int = 5,
    as_text: int = 0,
    store: ContextStore | str | Path | None = None,
    on_text: Callable[[str], None] | None = None,
    **options: Any,
) -> AskResult:
    """Answer a question from the passages a retriever finds for it.

    Args:
        model: Compresses and reads.
        question: What is asked.
        retriever: Finds the passages.
        rate: Passage tokens per embedding; None takes the model's first rate.
        passages: How many to read.
        as_text: Leave this many of the best ones as text.
        store: Where compressed passages are kept, or the folder or URL of a store that is there: what it has
            is not compressed again, what it lacks is put there. None keeps nothing.
        on_text: Called with each piece of the answer as it is written.
        **options: Fields of `GenerationOptions`.

    Raises:
        InputError: `as_text` is negative; else as `Cocom.answer`.
        CocomError: As `CocomView` for its store.
    """
    if as_text < 0:
        raise InputError(f"as_text must be 0 or more passages, got {as_text}.")
    rate = model.config.check_rate(rate)
    compress = model.compress if store is None else CocomView(model, store=store).contexts
    started = time.perf_counter()
    hits = tuple(retriever.retrieve(question, passages))
    retrieved = time.perf_counter()
    found = [hit.passage for hit in hits]
    read: list[Passage | ContextEmbeddings] = [
        *found[:as_text],
        *compress(found[as_text:], rate=rate, query=question if model.reads_query else None),
    ]
    compressed = time.perf_counter()
    if options.get("fusion", "concat") != "concat":  # passages read apart count by these
        options["scores"] = [hit.score for hit in hits]
    if on_text is None:
        answer = model.answer(question, read, **options)
    else:
        with model.stream(question, read, **options) as stream:
            for piece in stream:
                on_text(piece)
            answer = stream.answer
    answered = time.perf_counter()
    seconds = {
        "retrieve": retrieved - started,
        "compress": compressed - retrieved,
        "answer": answered - compressed,
    }
    return AskResult(answer, hits, rate, min(as_text, len(hits)), seconds)
