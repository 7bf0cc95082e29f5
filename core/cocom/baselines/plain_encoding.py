"""Text to token ids and back to places in the text; nothing that a text says is a special token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cocom.errors import InputError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Encoded", "PlainEncoding"]

Encoded = tuple[list[int], list[tuple[int, int]]]
"""Token ids, and where each starts and ends in characters."""


class PlainEncoding:
    """A copy of a fast tokenizer that adds nothing to a text and sees nothing special in it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Copy a tokenizer.

        Raises:
            ModelError: The tokenizer has no Rust backend, which tells where tokens are in a text, or no
                vocabulary.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"the tokenizer {type(tokenizer).__name__} has no fast backend, which telling where tokens "
                "are in a text needs: load it with use_fast=True or convert it."
            )
        self._backend = type(backend).from_str(backend.to_str())
        self._make_plain()
        if self._backend.get_vocab_size() <= len(self._backend.get_added_tokens_decoder()):
            raise ModelError(
                f"the tokenizer {type(tokenizer).__name__} has no vocabulary but its special tokens: its "
                "files are missing where it was loaded from."
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_plain()  # a copy of the backend sees special tokens again

    def _make_plain(self) -> None:
        self._backend.encode_special_tokens = True
        self._backend.no_padding()
        self._backend.no_truncation()

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Token ids and their places, text by text.

        Raises:
            InputError: A text holds what is no character.
        """
        found = self._batch(texts)
        return [(list(one.ids), list(one.offsets)) for one in found]

    def ids(self, text: str) -> list[int]:
        """Token ids of one text; errors as `encode`."""
        return list(self._batch([text])[0].ids)

    def count(self, text: str) -> int:
        """Tokens of one text; errors as `encode`."""
        return len(self._batch([text])[0])

    def _batch(self, texts: Sequence[str]) -> list[Any]:
        try:
            found: list[Any] = self._backend.encode_batch(list(texts), add_special_tokens=False)
        except TypeError:
            raise InputError(
                "a text holds half a surrogate pair, which is no character: decode its source as what it is."
            ) from None
        return found
