"""How surprising each token of a text is to a causal language model: its loss, given what is before it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cocom.baselines.kept_prefixes import KeptPrefixes
from cocom.baselines.model_locks import scoring
from cocom.baselines.plain_encoding import PlainEncoding
from cocom.errors import InputError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CausalLosses", "Losses"]

Losses = NDArray[np.float32]

_LEAST_POSITIONS = 16
_ROW_TOKENS = 4096  # tokens that go through the model together
_LOGITS = 1 << 27  # and numbers that come out
_PIECE = 512  # tokens of a long text that are scored together
_SEES = ("sliding_window", "attention_window", "attention_chunk_size", "window_size")


class CausalLosses:
    """Token losses of a causal language model, for texts of any length.

    A text stands behind the tokenizer's beginning-of-sequence token, or, without one, its end-of-sequence
    token, as between two documents. With neither, a first token has the loss of a uniform guess.

    Attributes:
        model: The model; it computes on its own device and in its own dtype.
        encoding: Its tokenizer for plain text.
        start: Tokens that stand before every text, at most one.
        positions: Most tokens that the model can read at once, None if any number.
        guess: Loss of a token that is guessed with no knowledge at all.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take a model as it is.

        Raises:
            ModelError: The tokenizer is of no use here, or the model can read next to nothing.
        """
        self.model = model
        self.encoding = PlainEncoding(tokenizer)
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        self.start = () if first is None else (int(first),)
        config: Any = model.config.get_text_config()
        self.guess = math.log(config.vocab_size)
        self._vocabulary = int(config.vocab_size)
        takes = inspect.signature(model.forward).parameters
        self.takes_positions = "position_ids" in takes
        self.takes_logits_to_keep = "logits_to_keep" in takes
        self.recurrent = _is_recurrent(model, config)
        limit = getattr(config, "max_position_embeddings", None)
        self.positions = int(limit) if limit and not self.recurrent else None
        if self.positions is not None and self.positions < _LEAST_POSITIONS:
            raise ModelError(
                f"max_position_embeddings of the model is {self.positions}: take one that reads at least "
                f"{_LEAST_POSITIONS} tokens."
            )
        windows = [getattr(config, name, None) for name in _SEES]
        self.sees = min((int(w) for w in windows if isinstance(w, int)), default=None)

    def used(self) -> AbstractContextManager[None]:
        """Hold the model, in eval mode and without gradients; everything below does so too."""
        return scoring(self.model)

    @property
    def longest(self) -> int | None:
        """Most tokens of a window that is scored in one go; longer ones are taken apart."""
        return self.longest_behind(0)

    def longest_behind(self, fixed: int) -> int | None:
        """The same, behind a prefix of which some tokens stay in any case."""
        if self.positions is None:
            return None
        left = self.positions - len(self.start) - fixed
        return min(self.positions // 2, max(1, left // 2))

    def check_question(self, tokens: int) -> None:
        """Refuse a question that leaves less than a quarter of the model's positions.

        Raises:
            InputError: It does.
        """
        if self.positions is None:
            return
        if self.positions - len(self.start) - tokens < self.positions // 4:
            raise InputError(
                f"the question takes {tokens} tokens of the {self.positions} that the model can read: "
                "shorten it, or take a model that reads more."
            )

    def check(self, ids: Sequence[int]) -> None:
        """Refuse tokens that the model does not have.

        Raises:
            ModelError: There is one.
        """
        if (most := max(ids, default=0)) >= self._vocabulary:
            raise ModelError(
                f"the tokenizer gives token {most} but the model has {self._vocabulary} of them: take the "
                "model's own tokenizer."
            )

    def together(self, prefix: int, window: int) -> int:
        """Rows that are best scored together.

        Args:
            prefix: Tokens of the longest prefix, as long as it gets.
            window: Tokens of the longest window behind it.
        """
        if (
            self.recurrent
            or not self.takes_positions
            or (self.sees is not None and prefix + window >= self.sees)
        ):
            return 1  # padding would count as tokens
        # What waits to be read again is a small part of a prefix that grows window by window.
        rows = min(_ROW_TOKENS // max(1, window), _LOGITS // (self._vocabulary * max(1, window)))
        return max(1, rows)

    def of(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Losses]:
        """Losses of tokens that stand behind others.

        Args:
            rows: For each text, the token ids before it and its own. Where a model cannot read them at once,
                a stretch of the text is scored behind as many tokens before it as fit.

        Returns:
            For each text a loss for each of its own tokens, in nats.
        """
        found: list[Losses] = [np.zeros(0, np.float32)] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i][1]) - len(rows[i][0]))
        with self.used():
            while order:
                prefix, ids = rows[order[0]]
                whole = len(prefix) + len(ids)
                size = self.together(whole, min(whole, _PIECE))
                batch, order = order[:size], order[size:]
                losses = self._along([rows[i] for i in batch])
                for i, one in zip(batch, losses, strict=True):
                    found[i] = one
        return found

    def _along(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Losses]:
        """Losses piece by piece, each behind everything before it."""
        prefixes = KeptPrefixes(self, [prefix for prefix, _ in rows])
        parts: list[list[Losses]] = [[] for _ in rows]
        size = min(_PIECE, self.longest or _PIECE)
        for at in range(0, max(len(ids) for _, ids in rows), size):
            pieces = [ids[at : at + size] for _, ids in rows]
            for part, losses in zip(parts, prefixes.read_on(pieces), strict=True):
                part.append(losses)
        return [np.concatenate(part) if part else np.zeros(0, np.float32) for part in parts]


def _is_recurrent(model: PreTrainedModel, config: Any) -> bool:
    """Whether a model carries a state that can neither be cut back nor skip padding."""
    kinds = set(getattr(config, "layer_types", None) or ())
    attention = {"full_attention", "sliding_attention", "chunked_attention"}
    return bool(getattr(model, "_is_stateful", False)) or not kinds <= attention
