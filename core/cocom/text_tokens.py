"""Text to token ids without any way for user text to become a special token.

A tokenizer normally turns `</s>` or `[INST]` typed by a user into the control token of that name. Here
only *template* text can name special tokens and the control tokens of this method; passages and
questions are encoded by a copy of the tokenizer that has no special tokens at all. Control tokens are
not in the tokenizer's vocabulary: their ids follow it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cocom.errors import InputError, ModelError
from cocom.plain_tokenizer import text_only
from cocom.prompt import Piece, Slot, Template, UserText
from cocom.windows import TextWindow, cut_windows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["EncodedPrompt", "TextTokens"]

_MARKUP = re.compile(r"^[<\[].*[>\]]$", re.DOTALL)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt, with the places where context embeddings go.

    Attributes:
        ids: Token ids; control tokens have ids from the vocabulary size on.
        slots: (index into `ids` before which the embeddings stand, index of the context), in order.
    """

    ids: tuple[int, ...]
    slots: tuple[tuple[int, int], ...] = ()


class TextTokens:
    """Encodes template pieces and user text; decodes answers."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, control_names: Sequence[str] = ()
    ) -> None:
        """Wrap a fast Hugging Face tokenizer.

        Raises:
            ModelError: The tokenizer has no Rust backend to take special tokens out of.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"the tokenizer {type(tokenizer).__name__} has no fast backend, which keeping special "
                "tokens out of user text needs: load it with use_fast=True or convert it."
            )
        self.tokenizer = tokenizer
        ids = backend.get_vocab(with_added_tokens=True).values()
        self.vocabulary_size = max(len(tokenizer), max(ids, default=-1) + 1)
        self.control_ids = {name: self.vocabulary_size + i for i, name in enumerate(control_names)}
        # What a call with padding or truncation left behind does not decide how text becomes ids.
        settings = {**json.loads(backend.to_str()), "truncation": None, "padding": None}
        self._digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        markup = {
            token["content"]: int(token["id"])
            for token in settings["added_tokens"]
            if token["special"] or _MARKUP.match(token["content"])
        }
        unknown = getattr(tokenizer, "unk_token", None)
        self._special_ids = {**markup, **self.control_ids}
        self._forbidden = {i for name, i in markup.items() if name != unknown}
        around = {t["content"]: (t["lstrip"], t["rstrip"]) for t in settings["added_tokens"]}
        names = sorted(self._special_ids, key=len, reverse=True)
        patterns = (_special_pattern(name, *around.get(name, (False, False))) for name in names)
        self._special = re.compile("|".join(patterns)) if names else None
        self._first = text_only(settings, markup, "first")
        self._later = text_only(settings, markup, "later")
        self._plain = (settings, tuple(markup))
        # Bytes become characters together, also across special tokens, which decoding leaves out.
        self._unsettled = {
            int(i) for token, i in backend.get_vocab().items() if _BYTE.fullmatch(token)
        } | {int(token["id"]) for token in settings["added_tokens"] if token["special"]}

    @property
    def digest(self) -> str:
        """Hash of everything that decides how text becomes ids."""
        return self._digest

    @property
    def bos_id(self) -> int | None:
        """Id of the beginning-of-sequence token, if the tokenizer has one."""
        value = self.tokenizer.bos_token_id
        return None if value is None else int(value)

    @property
    def eos_id(self) -> int:
        """Id of the end-of-sequence token.

        Raises:
            ModelError: The tokenizer has none.
        """
        value = self.tokenizer.eos_token_id
        if value is None:
            raise ModelError(
                "the tokenizer has no eos_token, which ends passages and answers: set one."
            )
        return int(value)

    @cached_property
    def _inner(self) -> Any:
        return text_only(*self._plain, "inner")

    def encode_text(self, text: str, *, first: bool = False) -> list[int]:
        """Token ids of plain user text; nothing in it is special."""
        return self._encode(text, first)[0]

    def encode_template(self, text: str) -> list[int]:
        """Token ids of trusted text, in which special and control tokens are recognised."""
        return list(self.encode((Template(text),)).ids)

    def encode(self, pieces: Iterable[Piece]) -> EncodedPrompt:
        """Encode a prompt; text between two special tokens or slots is tokenized in one go."""
        ids: list[int] = []
        slots: list[tuple[int, int]] = []
        run: list[str] = []
        started = False

        def flush() -> None:
            nonlocal started
            text = "".join(run)
            run.clear()
            if text:
                ids.extend(self._encode(text, not started)[0])
                started = True

        for piece in pieces:
            if isinstance(piece, UserText):
                run.append(piece.text)
            elif isinstance(piece, Slot):
                flush()
                slots.append((len(ids), piece.context))
                started = True
            else:
                for part, special in self._split_special(self._fill_names(piece.text)):
                    if special is None:
                        run.append(part)
                    else:
                        flush()
                        ids.append(special)
                        started = True
        flush()
        return EncodedPrompt(tuple(ids), tuple(slots))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        text = self.tokenizer.decode(
            [i for i in ids if i < self.vocabulary_size],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        assert isinstance(text, str)
        return text

    def decode_settled(self, ids: Sequence[int]) -> str:
        """The part of `decode` that no later token can change: no bytes that wait for others."""
        end = len(ids)
        while end and (ids[end - 1] in self._unsettled or ids[end - 1] >= self.vocabulary_size):
            end -= 1
        return self.decode(ids[:end]).rstrip("\ufffd")

    def windows(self, text: str, size: int, *, first: bool = False) -> list[TextWindow]:
        """Cut a text into windows of at most `size` tokens.

        Cuts fall after the last sentence end that fits, or at a token boundary where a sentence alone
        is longer (inside a character only if it alone is longer); together the windows hold every
        token of the text, in order.
        """
        ids, offsets = self._encode(text, first=first)
        return cut_windows(text, ids, offsets, size)

    def windows_after(
        self, before: str, text: str, size: int
    ) -> tuple[list[int], list[TextWindow]]:
        """Cut a text that follows another, both tokenized in one go.

        Args:
            before: Text that stands before every window.
            text: What to cut.
            size: Most tokens of `before` and a window together.

        Returns:
            The tokens of `before`, and the windows.

        Raises:
            InputError: `before` leaves no room for the text.
        """
        ids, offsets = self._encode(before + text, first=True)
        edge = len(before)
        cut = next((i for i, (_, end) in enumerate(offsets) if end > edge), len(ids))
        if cut >= size:
            raise InputError(
                f"the query takes {cut} tokens of the {size} that query and passage have together: "
                "shorten the query."
            )
        own = [(max(start - edge, 0), end - edge) for start, end in offsets[cut:]]
        return list(ids[:cut]), cut_windows(text, ids[cut:], own, size - cut)

    def around(self, *, pair: bool = False) -> tuple[list[int], list[int], list[int]]:
        """Special tokens that the tokenizer puts before, between (of a pair) and after texts.

        Raises:
            ModelError: They cannot be told from the text.
        """
        text = self.tokenizer("a", add_special_tokens=False).input_ids
        texts = ("a", "a") if pair else ("a",)
        row = list(self.tokenizer(*texts).input_ids)
        places = [i for i in range(len(row)) if row[i : i + len(text)] == list(text)]
        if len(places) < len(texts):
            raise ModelError(
                f"the tokenizer writes {row} for {texts}: its special tokens cannot be told from the text."
            )
        first, last = places[0], places[-1]
        between = row[first + len(text) : last] if pair else []
        return row[:first], between, row[last + len(text) :]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token of `encode_text` starts and ends in characters."""
        return self._encode(text, first=False)[1]

    def _fill_names(self, template: str) -> str:
        return template.replace("{bos}", self.tokenizer.bos_token or "").replace(
            "{eos}", self.tokenizer.eos_token or ""
        )

    def _split_special(self, text: str) -> list[tuple[str, int | None]]:
        if self._special is None:
            return [(text, None)]
        parts: list[tuple[str, int | None]] = []
        at = 0
        for match in self._special.finditer(text):
            if match.start() > at:
                parts.append((text[at : match.start()], None))
            name = match[match.lastindex or 0]
            parts.append((name, self._special_ids[name]))
            at = match.end()
        if at < len(text):
            parts.append((text[at:], None))
        return parts

    def _encode(self, text: str, first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        backend = self._first if first else self._later
        try:
            encoding = backend.encode(text, add_special_tokens=False)
        except TypeError:
            if not isinstance(text, str):
                raise
            raise InputError(
                f"a text of {len(text)} characters holds half a surrogate pair, which is no character: "
                "decode its source as what it is."
            ) from None
        ids, offsets = list(encoding.ids), list(encoding.offsets)
        if self._forbidden.isdisjoint(ids):
            return ids, offsets
        # A vocabulary may hold `</s>` as an ordinary piece too: spell such text out.
        spans = [span for i, span in zip(ids, offsets, strict=True) if i in self._forbidden]
        ids, offsets = [], []
        at = 0
        for start, end in [*spans, (len(text), len(text))]:
            gap = (backend if at == 0 else self._inner).encode(
                text[at:start], add_special_tokens=False
            )
            if self._forbidden.isdisjoint(gap.ids):
                ids += gap.ids
                offsets += [(a + at, b + at) for a, b in gap.offsets]
            else:
                self._spell(text, at, start, ids, offsets)
            self._spell(text, start, end, ids, offsets)
            at = end
        return ids, offsets

    def _spell(
        self, text: str, start: int, end: int, ids: list[int], offsets: list[tuple[int, int]]
    ) -> None:
        for at in range(start, end):
            part = list(self._inner.encode(text[at], add_special_tokens=False).ids)
            if not self._forbidden.isdisjoint(part):
                raise ModelError(
                    f"the tokenizer turns the character {text[at]!r} into a special token."
                )
            ids += part
            offsets += [(at, at + 1)] * len(part)


def _special_pattern(name: str, lstrip: bool, rstrip: bool) -> str:
    """What stands for a special token in a template; some swallow the whitespace around them."""
    return (r"\s*" if lstrip else "") + f"({re.escape(name)})" + (r"\s*" if rstrip else "")
