"""Passages -> what stands for them in a prompt: references, and some as text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cocom.errors import CocomError, ConfigError, FingerprintError, InputError
from cocom.references import Reference, escape
from cocom.view import CocomView

__all__ = ["PassageWriter", "WrittenPassage"]

_log = logging.getLogger(__name__)

Reason = Literal["compressed", "best", "short", "blank", "failed"]


@dataclass(frozen=True)
class WrittenPassage:
    """What stands for a passage in a prompt.

    Attributes:
        text: A reference, or the passage's text, escaped.
        reference: The reference, if it is one.
        reason: Why it is text: among the best, too short, without text, or impossible to compress.
    """

    text: str
    reference: Reference | None
    reason: Reason


@dataclass(frozen=True)
class PassageWriter:
    """Decides which passages are compressed, and writes all of them.

    Attributes:
        view: Compresses.
        rate: Passage tokens per embedding; None takes the model's first rate.
        as_text: The best this many passages stay text (selective expansion).
        min_tokens: Passages with fewer tokens stay text.
        on_error: What becomes of a passage that cannot be compressed: "raise", or "passthrough" leaves it as
            text, with a warning in the log.
        batch_tokens: Rows in one forward pass of the compressor, padding included.
    """

    view: CocomView
    rate: int | None = None
    as_text: int = 0
    min_tokens: int = 0
    on_error: Literal["raise", "passthrough"] = "raise"
    batch_tokens: int = 8192

    def __post_init__(self) -> None:
        for name in ("as_text", "min_tokens"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        if self.batch_tokens < 1:
            raise InputError(f"batch_tokens must be at least 1, got {self.batch_tokens}.")
        if self.on_error not in ("raise", "passthrough"):
            raise InputError(f"on_error must be 'raise' or 'passthrough', got {self.on_error!r}.")
        self.view.model.config.check_rate(self.rate)

    def write(
        self,
        texts: Sequence[str],
        *,
        query: str | None = None,
        scores: Sequence[float | None] | None = None,
    ) -> list[WrittenPassage]:
        """Write passages, in order.

        Args:
            texts: The passages.
            query: What they were retrieved for; read by models that compress for a question.
            scores: How well each matches, higher is better; without all of them, the first are the best.

        Raises:
            CocomError: A passage cannot be compressed, if that is to be raised.
        """
        written: dict[int, WrittenPassage] = {}
        for i, text in enumerate(texts):
            if not text.strip():
                written[i] = WrittenPassage(text, None, "blank")
        for i in self._best([i for i in range(len(texts)) if i not in written], scores):
            written[i] = _as_text(texts[i], "best")
        for i, text in enumerate(texts):
            if i not in written and self._is_short(text):
                written[i] = _as_text(text, "short")
        rest = [i for i in range(len(texts)) if i not in written]
        compressed = self._compress([texts[i] for i in rest], query)
        written |= dict(zip(rest, compressed, strict=True))
        return [written[i] for i in range(len(texts))]

    def _best(self, candidates: list[int], scores: Sequence[float | None] | None) -> list[int]:
        found = [(scores[i], i) for i in candidates] if scores is not None else []
        ranked = [(-score, i) for score, i in found if score is not None]
        order = [i for _, i in sorted(ranked)] if len(ranked) == len(candidates) else candidates
        return order[: self.as_text]

    def _is_short(self, text: str) -> bool:
        return self.min_tokens > 0 and self.view.model.count_tokens(text) < self.min_tokens

    def _compress(self, texts: list[str], query: str | None) -> list[WrittenPassage]:
        if not self.view.model.reads_query:
            query = None
        try:
            references = self.view.compress(
                texts, rate=self.rate, query=query, batch_tokens=self.batch_tokens
            )
        except (ConfigError, FingerprintError):
            raise  # no passage's fault: reading all of them as text would hide it
        except CocomError as error:
            if self.on_error == "raise":
                raise
            if len(texts) > 1:  # the others may be fine
                return [part for text in texts for part in self._compress([text], query)]
            _log.warning("a passage stays text, because it cannot be compressed: %s", error)
            return [_as_text(text, "failed") for text in texts]
        return [WrittenPassage(str(r), r, "compressed") for r in references]


def _as_text(text: str, reason: Reason) -> WrittenPassage:
    return WrittenPassage(escape(text), None, reason)
