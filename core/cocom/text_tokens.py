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
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cocom.errors import ModelError
from cocom.prompt import Piece, Slot, Template, UserText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["EncodedPrompt", "TextTokens", "TextWindow"]

_MARKUP = re.compile(r"^[<\[].*[>\]]$", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？]|\n+")


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt, with the places where context embeddings go.

    Attributes:
        ids: Token ids; control tokens have ids from the vocabulary size on.
        slots: (index into `ids` before which the embeddings stand, index of the context), in order.
    """

    ids: tuple[int, ...]
    slots: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class TextWindow:
    """A stretch of a text: its token ids, and where it starts and ends in characters."""

    ids: list[int]
    start: int
    end: int


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
        self.vocabulary_size = len(tokenizer)
        self.control_ids = {
            name: self.vocabulary_size + i for i, name in enumerate(control_names)
        }
        settings = json.loads(backend.to_str())
        self._digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        markup = {
            token["content"]: int(token["id"])
            for token in settings["added_tokens"]
            if token["special"] or _MARKUP.match(token["content"])
        }
        unknown = getattr(tokenizer, "unk_token", None)
        self._special_ids = {**markup, **self.control_ids}
        self._forbidden = {i for name, i in markup.items() if name != unknown}
        names = sorted(self._special_ids, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names))) if names else None
        self._first = _text_only(settings, markup, first=True)
        self._later = _text_only(settings, markup, first=False)

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
            raise ModelError("the tokenizer has no eos_token, which ends passages and answers: set one.")
        return int(value)

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
            [i for i in ids if i < self.vocabulary_size], skip_special_tokens=True
        )
        assert isinstance(text, str)
        return text

    def windows(self, text: str, size: int) -> list[TextWindow]:
        """Cut a text into windows of at most `size` tokens.

        Cuts fall after the last sentence end that fits, or at a token boundary where a sentence alone
        is longer; together the windows hold every token of the text, in order.
        """
        ids, offsets = self._encode(text, first=False)
        cuts = [0]
        boundaries: list[int] = []
        if len(ids) > size:
            boundaries = _tokens_at(offsets, [m.end() for m in _SENTENCE_END.finditer(text)])
        position = 0
        while len(ids) - cuts[-1] > size:
            cut = cuts[-1] + size
            while position < len(boundaries) and boundaries[position] <= cut:
                position += 1
            if position and boundaries[position - 1] > cuts[-1]:
                cut = boundaries[position - 1]
            cuts.append(cut)
        starts = [0, *(offsets[cut][0] for cut in cuts[1:])]
        return [
            TextWindow(ids[a:b], start, end)
            for (a, b), (start, end) in zip(
                pairwise([*cuts, len(ids)]), pairwise([*starts, len(text)]), strict=True
            )
        ]

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
            parts.append((match.group(), self._special_ids[match.group()]))
            at = match.end()
        if at < len(text):
            parts.append((text[at:], None))
        return parts

    def _encode(self, text: str, first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        backend = self._first if first else self._later
        encoding = backend.encode(text, add_special_tokens=False)
        ids, offsets = list(encoding.ids), list(encoding.offsets)
        if self._forbidden.isdisjoint(ids):
            return ids, offsets
        # A vocabulary may hold `</s>` as an ordinary piece too: spell such text out.
        ids, offsets = [], []
        for at, character in enumerate(text):
            part = list(self._later.encode(character, add_special_tokens=False).ids)
            if not self._forbidden.isdisjoint(part):
                raise ModelError(f"the tokenizer turns the character {character!r} into a special token.")
            ids += part
            offsets += [(at, at + 1)] * len(part)
        return ids, offsets


def _text_only(settings: dict[str, Any], markup: Iterable[str], *, first: bool) -> Any:
    from tokenizers import Tokenizer

    drop = set(markup)
    plain = json.loads(json.dumps(settings))
    plain["added_tokens"] = [t for t in plain["added_tokens"] if t["content"] not in drop]
    plain["post_processor"] = plain["truncation"] = plain["padding"] = None
    if not first:
        _without_first_prefix(plain.get("pre_tokenizer"))
    return Tokenizer.from_str(json.dumps(plain))


def _without_first_prefix(part: dict[str, Any] | None) -> None:
    """Metaspace with prepend_scheme 'first' marks the start of the whole string only."""
    if part is None:
        return
    for inner in part.get("pretokenizers", ()):
        _without_first_prefix(inner)
    if part.get("type") == "Metaspace" and part.get("prepend_scheme") == "first":
        part["prepend_scheme"] = "never"


def _tokens_at(offsets: Sequence[tuple[int, int]], ends: Sequence[int]) -> list[int]:
    """Index of the first token that starts at or after each character position, ascending."""
    found: list[int] = []
    token = 0
    for end in ends:
        while token < len(offsets) and offsets[token][1] <= end:
            token += 1
        if token < len(offsets) and (not found or token > found[-1]):
            found.append(token)
    # A character of several byte tokens must stay in one window.
    whole = {i + 1 for i, (a, b) in enumerate(pairwise(offsets)) if a != b}
    return [i for i in found if i in whole]
