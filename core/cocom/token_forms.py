"""What each token adds to a text, for tokenizers whose decoder treats tokens one by one.

Such decoders may treat the first token in a way of its own, join bytes into characters and leave
characters out at the start of the text. All others are for their tokenizer alone to decode.
"""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cocom.text_tokens import TextTokens

__all__ = ["Form", "TokenForms", "forms_of"]

_EACH = {"Metaspace", "Replace", "Strip", "WordPiece"}  # decoders that treat every token alone

Form = str | bytes | int | None
"""What a token adds: text, bytes of the text, a byte of a run of such tokens, or nothing."""


@dataclass(frozen=True)
class _Shape:
    """How a decoder of a known kind makes text of tokens.

    Attributes:
        each: Decodes a token by itself, as the first one or not; None leaves it as it is.
        spaced: Tokens have a space between them.
        bytes: "ByteLevel", where tokens spell bytes, "ByteFallback", where some are bytes, or "".
        strip: Most characters that the text lacks at its start.
        letter: Which ones.
    """

    each: Any = None
    spaced: bool = False
    bytes: str = ""
    strip: int = 0
    letter: str = ""


class TokenForms:
    """What each token of a tokenizer adds, found when it is first asked for.

    Attributes:
        strip: Most characters that the text lacks at its start.
        letter: Which ones.
    """

    def __init__(self, tokens: TextTokens, shape: _Shape) -> None:
        from tokenizers import decoders

        self.strip, self.letter = shape.strip, shape.letter
        self._shape = shape
        backend: Any = tokens.tokenizer.backend_tokenizer
        self._name = backend.id_to_token
        added = backend.get_added_tokens_decoder().values()
        self._special = {token.content for token in added if token.special}
        self._size = tokens.vocabulary_size
        self._fallback = decoders.ByteFallback().decode
        self._first: dict[int, Form] = {}
        self._later: dict[int, Form] = {}

    def of(self, token: int, *, later: bool) -> Form:
        """What a token adds to an answer that has others, or none."""
        known = self._later if later else self._first
        if token not in known:
            known[token] = self._form(token, later)
        return known[token]

    def _form(self, token: int, later: bool) -> Form:
        name: str | None = self._name(token) if token < self._size else None
        if name is None or name in self._special:
            return None
        text = " " * (self._shape.spaced and later) + name
        if (each := self._shape.each) is not None:
            text = each(["x", name])[len(each(["x"])) :] if later else each([name])
        if self._shape.bytes == "ByteLevel":
            spelled = [_BYTES.get(letter) for letter in text]
            return text.encode() if None in spelled else bytes(b for b in spelled if b is not None)
        if self._shape.bytes and self._fallback([text]) != text:
            return int(text[3:5], 16)
        return text


def _spelled_bytes() -> dict[str, int]:
    """The characters that stand for bytes in tokens, as GPT-2 chose them: visible ones, one each."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(0x100) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + i): b for i, b in enumerate(other)}


_BYTES = _spelled_bytes()
_known: weakref.WeakKeyDictionary[TextTokens, TokenForms | None] = weakref.WeakKeyDictionary()


def forms_of(tokens: TextTokens) -> TokenForms | None:
    """What the tokens add; None where they do not each add something."""
    if tokens not in _known:
        shape = _shape_of(tokens.tokenizer)
        _known[tokens] = None if shape is None else TokenForms(tokens, shape)
    return _known[tokens]


def _shape_of(tokenizer: Any) -> _Shape | None:
    from transformers import PreTrainedTokenizerFast

    own = type(tokenizer)
    for name in ("decode", "_decode"):
        if getattr(own, name) is not getattr(PreTrainedTokenizerFast, name):
            return None
    decoder = tokenizer.backend_tokenizer.decoder
    if decoder is None:
        return _Shape(spaced=True)
    steps = _steps(json.loads(decoder.__getstate__()))
    each = list(takewhile(lambda step: step["type"] in _EACH, steps))
    rest = steps[len(each) :]
    kinds = [step["type"] for step in rest]
    kind = kinds[0] if kinds and kinds[0] in ("ByteLevel", "ByteFallback") else ""
    fused = kinds[1:] if kind else kinds  # what is left treats the text as a whole
    whole = kind == "ByteLevel" or fused[:1] == ["Fuse"]
    strips = [step for step in rest if step["type"] == "Strip"]
    if set(fused) - {"Fuse", "Strip"} or len(strips) > 1 or (strips and not whole):
        return None
    if strips and strips[0]["stop"]:
        return None
    start, letter = (strips[0]["start"], strips[0]["content"]) if strips else (0, "")
    return _Shape(_decode_each(each) if each else None, False, kind, start, letter)


def _steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder["type"] != "Sequence":
        return [decoder]
    return [step for part in decoder["decoders"] for step in _steps(part)]


def _decode_each(steps: list[dict[str, Any]]) -> Any:
    """The `decode` of some steps of a decoder, which takes tokens."""
    from tokenizers import Tokenizer, models

    settings = json.loads(Tokenizer(models.WordLevel({}, unk_token="")).to_str())
    settings["decoder"] = {"type": "Sequence", "decoders": steps}
    decoder: Any = Tokenizer.from_str(json.dumps(settings)).decoder
    return decoder.decode
