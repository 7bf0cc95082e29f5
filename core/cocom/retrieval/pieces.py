"""Passages longer than a model reads at once, cut into pieces so that no part of them is left out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cocom.errors import InputError
from cocom.retrieval.hits import check_text
from cocom.split import split_text

__all__ = ["Pieces", "check_question", "cut", "limit_of"]

# Tokens that a passage needs beside a question, to be cut into pieces worth reading.
_LEAST_ROOM = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pieces:
    """Passages as a model reads them.

    Attributes:
        texts: Pieces of all passages, in their order; a passage that fits is one piece.
        starts: For each passage, where among the pieces its own begin.
    """

    texts: list[str]
    starts: list[int]


def limit_of(model: Any, task: str) -> int | None:
    """The most tokens that a model reads at once, as "query" or "document"; None for any number."""
    reads = _first(model)
    limit = getattr(reads, f"{task}_length", None) or getattr(model, "max_seq_length", None)
    expansion = getattr(reads, "query_expansion", None) if task == "query" else None
    if expansion and expansion["strategy"] == "fixed":  # ColBERT: every question has this length
        limit = expansion["length"]
    if limit is None or not math.isfinite(limit) or not callable(_tokenizer(model)):
        return None
    return int(limit)


def cut(texts: Sequence[str], model: Any, *, before: str = "", beside: str | None = None) -> Pieces:
    """Cuts texts that are longer than a model reads at once; tells the log how many.

    Args:
        texts: What it is to read.
        model: A model of sentence-transformers.
        before: A prompt that comes before every piece.
        beside: A question that is read together with each piece, as a cross-encoder does.

    Raises:
        InputError: If the question or the prompt leaves no room for a passage beside it, or a text
            holds half a character.
    """
    for number, text in enumerate(texts):
        check_text(f"Passage {number}", text)
    if beside is not None:
        check_text("The question", beside)
    limit = limit_of(model, "document")
    if limit is None:
        return Pieces(list(texts), list(range(len(texts))))
    count = _counter(model, before, beside)
    overhead = count("")
    if beside is not None and overhead + _LEAST_ROOM > limit:
        raise InputError(
            f"The question takes {overhead} of the {limit} tokens that the model reads at once, which leaves "
            "no room for a passage beside it: ask a shorter one."
        )
    pieces: list[str] = []
    starts: list[int] = []
    long = 0
    for text in texts:
        starts.append(len(pieces))
        if _surely_fits(text, limit - overhead) or count(text) <= limit:
            pieces.append(text)
        else:
            if overhead + _LEAST_ROOM > limit:
                raise InputError(
                    f"The prompt takes {overhead} of the {limit} tokens that the model reads at once, which "
                    f"leaves no room for passage {len(starts) - 1}: give a shorter one."
                )
            long += 1
            pieces += split_text(text, limit, count_tokens=count) or [""]
    if long:
        _log.info(
            "%d of %d passages have more than the %d tokens that the model reads at once: they are read in "
            "pieces.",
            long,
            len(texts),
            limit,
        )
    return Pieces(pieces, starts)


def check_question(question: str, model: Any, *, before: str = "") -> None:
    """Warns if a question is longer than a model reads, since what is beyond has no effect.

    Raises:
        InputError: If it holds half a character.
    """
    check_text("The question", question)
    limit = limit_of(model, "query")
    if limit is None:
        return
    count = _counter(model, before, None)
    tokens = count(question)
    if tokens > limit:
        _log.warning(
            "The question has %d tokens but the model reads %d: the rest has no effect. Ask a shorter one.",
            tokens,
            limit,
        )


def _surely_fits(text: str, room: int) -> bool:
    """Whether a text fits without being counted: an ASCII character becomes no more than one token."""
    return len(text) < room and text.isascii()  # and one token may mark where the text begins


def _counter(model: Any, before: str, beside: str | None) -> Callable[[str], int]:
    tokenizer = _tokenizer(model)

    def count(text: str) -> int:
        # As lists, because a tokenizer takes a single pair with an empty text for one text.
        pair = ([before + text],) if beside is None else ([before + beside], [text])
        return len(tokenizer(*pair, truncation=False, verbose=False).input_ids[0])

    return count


def _tokenizer(model: Any) -> Any:
    return getattr(model, "tokenizer", None)


def _first(model: Any) -> Any:
    """The module of a model that reads texts; None for what is no list of modules."""
    try:
        return model[0]
    except (TypeError, IndexError, KeyError):
        return None
