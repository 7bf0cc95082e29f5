"""From texts to the tokens that BGE-M3 reads; a text that is too long is never cut unasked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cocom.errors import CheckpointError, InputError
from cocom.retrieval.hits import check_text

__all__ = ["BgeM3Tokens", "TooLong"]

TooLong = Literal["error", "truncate"]

_SPECIAL = ("cls_token_id", "eos_token_id", "pad_token_id", "unk_token_id")


class BgeM3Tokens:
    """A tokenizer that threads can share, and the most tokens that the model reads.

    Args:
        tokenizer: The model's own, a fast one.
        config: Of the backbone.
        max_length: Most tokens of a text, special ones included; None takes what the backbone reads.
        too_long: Whether a longer text is refused or cut.

    Attributes:
        max_length: Most tokens of a text.
        padding: Id that fills rows up.
        special: Ids that have no weight in the sparse form.

    Raises:
        CheckpointError: If tokenizer and backbone do not fit each other.
        InputError: If a setting is impossible.
    """

    def __init__(
        self, tokenizer: Any, config: Any, max_length: int | None, too_long: TooLong
    ) -> None:
        if too_long not in ("error", "truncate"):
            raise InputError(f"too_long is {too_long!r}, but must be 'error' or 'truncate'.")
        most = _longest(config)
        if max_length is not None and not 3 <= max_length <= most:
            raise InputError(
                f"max_length is {max_length}, but this model reads 3 to {most} tokens: choose one of these."
            )
        self._backend = _shareable(tokenizer)
        ids = [getattr(tokenizer, name) for name in _SPECIAL]
        ends = self._backend.encode("").ids
        if None in ids or ends != ids[:2]:
            raise CheckpointError(
                f"The tokenizer gives {ends} for a text without words, but BGE-M3 needs a first and a last "
                f"token, {ids[:2]}, and ids for padding and the unknown, {ids[2:]}: take the model's own."
            )
        if self._backend.get_vocab_size() > config.vocab_size:
            raise CheckpointError(
                f"The tokenizer has {self._backend.get_vocab_size()} tokens, but the model knows "
                f"{config.vocab_size}: take the model's own."
            )
        self.max_length = max_length or most
        self.padding = int(tokenizer.pad_token_id)
        self.special = frozenset(ids)
        self._too_long = too_long

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, with the special ones at both ends.

        Raises:
            InputError: If a text is too long, or no text.
        """
        if isinstance(texts, str):
            raise InputError("texts is a single text: give a list, even for one.")
        for number, text in enumerate(texts):
            check_text(f"Text {number}", text)
        rows = [encoding.ids for encoding in self._backend.encode_batch(list(texts))]
        for number, ids in enumerate(rows):
            if len(ids) <= self.max_length:
                continue
            if self._too_long == "error":
                raise InputError(
                    f"Text {number} ({texts[number][:20]!r}…) has {len(ids)} tokens, but the model reads at "
                    f"most {self.max_length}: cut it into passages, or read only its beginning with an "
                    "encoder made with too_long='truncate'."
                )
            rows[number] = [*ids[: self.max_length - 1], ids[-1]]
        return rows


def _longest(config: Any) -> int:
    """Tokens that a backbone can read; RoBERTa's positions begin behind the padding's id."""
    positions = int(config.max_position_embeddings)
    roberta = "roberta" in str(config.model_type)
    return positions - int(config.pad_token_id) - 1 if roberta else positions


def _shareable(tokenizer: Any) -> Any:
    """A copy of what is inside: calls of the original one change its settings for all threads."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise CheckpointError(
            f"The tokenizer is a {type(tokenizer).__name__}, which cannot be shared by threads: save it as "
            "tokenizer.json beside the model."
        )
    own = Tokenizer.from_str(backend.to_str())
    own.no_truncation()
    own.no_padding()
    return own
