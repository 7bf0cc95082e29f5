"""Context embeddings of many questions' passages, each made once and the oldest forgotten."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cocom.datatypes import ContextEmbeddings
from cocom.engine import Cocom

__all__ = ["Soft", "SoftCache"]

_KEPT_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Soft:
    """A passage's context embeddings and the time that it took to make them."""

    contexts: ContextEmbeddings
    seconds: float


class SoftCache:
    """Compresses passages, and keeps what it made as long as there is room."""

    def __init__(self, model: Cocom, *, kept_bytes: int = _KEPT_BYTES) -> None:
        """Start empty.

        Args:
            model: Compresses.
            kept_bytes: Most bytes of context embeddings to keep.
        """
        self._model = model
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._made: OrderedDict[tuple[int, str, str], Soft] = OrderedDict()

    def of(
        self, questions: Sequence[str], passages: Sequence[Sequence[str]], rate: int
    ) -> list[list[Soft]]:
        """The context embeddings of each question's passages.

        Args:
            questions: What is asked; for models that compress for a question.
            passages: Each question's passages.
            rate: Passage tokens per embedding.
        """
        queries = questions if self._model.reads_query else [""] * len(questions)
        wanted: dict[str, dict[str, None]] = {}
        for query, texts in zip(queries, passages, strict=True):
            wanted.setdefault(query, {}).update(dict.fromkeys(texts))
        found: dict[tuple[int, str, str], Soft] = {}
        for query, distinct in wanted.items():
            keys = [(rate, query, text) for text in distinct]
            found.update((key, self._made[key]) for key in keys if key in self._made)
            found.update(self._compress([key for key in keys if key not in found]))
        for key in found:
            if key in self._made:
                self._made.move_to_end(key)
        return [
            [found[rate, query, text] for text in texts]
            for query, texts in zip(queries, passages, strict=True)
        ]

    def _compress(self, keys: Sequence[tuple[int, str, str]]) -> dict[tuple[int, str, str], Soft]:
        if not keys:
            return {}
        rate, query, _ = keys[0]
        began = time.perf_counter()
        contexts = self._model.compress(
            [text for _, _, text in keys], rate=rate, query=query or None, keep_text=False
        )
        each = (time.perf_counter() - began) / sum(c.text_tokens for c in contexts)
        made = {key: Soft(c, each * c.text_tokens) for key, c in zip(keys, contexts, strict=True)}
        self._made.update(made)
        self._bytes += sum(_bytes(soft) for soft in made.values())
        while self._bytes > self._kept_bytes:
            self._bytes -= _bytes(self._made.popitem(last=False)[1])
        return made


def _bytes(soft: Soft) -> int:
    return int(soft.contexts.embeddings.nbytes)
