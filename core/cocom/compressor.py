"""Passages -> context embeddings: windows, batches of like length, one result a passage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Protocol

import torch
from tqdm import tqdm

from cocom.batching import batches_by_length
from cocom.config import CocomConfig
from cocom.datatypes import ContextEmbeddings, Passage, Window
from cocom.errors import EmptyPassageError, InputError
from cocom.splice import WindowRow
from cocom.text_tokens import TextTokens
from cocom.windows import TextWindow

__all__ = ["Compressor", "WindowCompressor"]


class WindowCompressor(Protocol):
    """What turns windows into embeddings: the language model itself, or a light encoder."""

    def windows(self, text: str, query: str | None = None) -> list[TextWindow]:
        """Cut a passage into windows, each after the query if there is one."""
        ...

    def row(self, ids: Sequence[int], rate: int, before: Sequence[int] = ()) -> WindowRow:
        """Lay out one window for the forward pass, after the tokens of a query."""
        ...

    def embed(self, rows: Sequence[WindowRow], *, train: bool = False) -> torch.Tensor:
        """Context embeddings of windows, one after the other, shape (M, H)."""
        ...


class Compressor:
    """Compresses passages, each on its own, in batches of windows of like length."""

    def __init__(
        self, windows: WindowCompressor, config: CocomConfig, reader_text: TextTokens
    ) -> None:
        self._windows = windows
        self._config = config
        self._reader_text = reader_text

    def compress(
        self,
        passages: Sequence[Passage],
        *,
        rate: int | None,
        fingerprint: str,
        query: str | None = None,
        batch_tokens: int = 8192,
        keep_text: bool = True,
        progress: bool = False,
    ) -> list[ContextEmbeddings]:
        """Compress passages, in their order.

        Args:
            passages: What to compress.
            rate: Passage tokens per embedding; None takes the model's first rate.
            fingerprint: Mark of the model, put into every result.
            query: What the passages are compressed for, if the compressor reads that.
            batch_tokens: Rows in one forward pass, padding included.
            keep_text: Whether results carry their passage.
            progress: Show a progress bar.

        Raises:
            ConfigError: The model does not serve `rate`.
            EmptyPassageError: A passage without text.
            InputError: `batch_tokens` is not positive, or a query that cannot be read.
        """
        rate = self._config.check_rate(rate)
        if batch_tokens < 1:
            raise InputError(f"batch_tokens must be at least 1, got {batch_tokens}.")
        rows: list[WindowRow] = []
        owners: list[int] = []
        for i, passage in enumerate(passages):
            for window in self._windows_of(passage, i, query):
                rows.append(self._windows.row(window.ids, rate, window.before))
                owners.append(i)
        states: list[torch.Tensor | None] = [None] * len(rows)
        with torch.no_grad(), _bar(len(rows), progress) as bar:
            for batch in batches_by_length([len(row.ids) for row in rows], batch_tokens):
                embedded = self._windows.embed([rows[i] for i in batch])
                sizes = [rows[i].window.embeddings for i in batch]
                for i, part in zip(batch, embedded.split(sizes), strict=True):
                    states[i] = part.clone()
                bar.update(len(batch))
        parts: list[list[torch.Tensor]] = [[] for _ in passages]
        windows: list[list[Window]] = [[] for _ in passages]
        for owner, row, state in zip(owners, rows, states, strict=True):
            assert state is not None
            parts[owner].append(state)
            windows[owner].append(row.window)
        return [
            ContextEmbeddings(
                embeddings=torch.cat(parts[i]),
                rate=rate,
                windows=tuple(windows[i]),
                text_tokens=len(self._reader_text.encode_text(passage.text)),
                fingerprint=fingerprint,
                passage=passage if keep_text else None,
            )
            for i, passage in enumerate(passages)
        ]

    def _windows_of(self, passage: Passage, index: int, query: str | None) -> list[TextWindow]:
        if not isinstance(passage.text, str):
            raise InputError(
                f"passage {index} must be text, got {type(passage.text).__name__}: pass a str or a Passage."
            )
        windows = self._windows.windows(passage.text, query) if passage.text.strip() else []
        if not windows or not windows[0].ids:
            name = f" (id {passage.id!r})" if passage.id is not None else ""
            raise EmptyPassageError(
                f"passage {index}{name} has no text to compress, got {passage.text[:20]!r}: leave it out."
            )
        return windows


def _bar(total: int, show: bool) -> tqdm[NoReturn]:
    return tqdm(total=total, desc="compress", unit="window", disable=not show)
