"""The text of an answer while it is written: each token costs the same, however long the answer is.

Most decoders turn tokens into text one by one, apart from the first token and from bytes that become
characters together. Their text grows here by what each token adds. A tokenizer with another decoder,
or with a `decode` of its own, has all tokens decoded anew with each.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from cocom.generation import before_stop, started_stop
from cocom.token_forms import TokenForms, forms_of

if TYPE_CHECKING:
    from cocom.text_tokens import TextTokens

__all__ = ["AnswerText"]

_LOST = "\ufffd"  # stands for bytes that are no character, or not yet


class AnswerText:
    """The text of tokens that come one by one, in pieces that no later token changes.

    Joined, the pieces are the text before the first stop string, without whitespace at its ends.
    """

    def __init__(self, tokens: TextTokens, stop: Sequence[str] = ()) -> None:
        """Begin an answer.

        Args:
            tokens: Decodes.
            stop: The text ends before the first of these strings.
        """
        forms = forms_of(tokens)
        stop = tuple(stop)
        self._text = _DecodedAnew(tokens, stop) if forms is None else _Grown(forms, stop)
        self._sent: list[str] = []

    def add(self, token: int) -> str:
        """What this token settles, often nothing: no part of a character or of a stop string."""
        piece = self._text.add(token)
        if piece:
            self._sent.append(piece)
        return piece

    def finish(self, text: str) -> str:
        """What the pieces so far lack of the answer's text."""
        piece = _rest(text, "".join(self._sent))
        self._sent.append(piece)
        return piece

    @property
    def stopped(self) -> bool:
        """Whether the text so far holds a stop string; text that may change counts, too."""
        return self._text.stopped

    @property
    def text(self) -> str:
        """All text so far, up to the first stop string; its end may change."""
        return self._text.text


class _Grown:
    """The text of a decoder whose tokens each add something."""

    def __init__(self, forms: TokenForms, stop: tuple[str, ...]) -> None:
        self._forms = forms
        self._stop = stop
        self._starts = {letter for string in stop for letter in string[:-1]}
        self._begun = False
        self._strip = forms.strip  # characters that may still be missing at the start
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._run = bytearray()
        self._lost = 0  # signs of lost bytes at the end of what is decoded
        self._firm: list[str] = []  # the text before them, which nothing changes
        self._seen = _Seen()  # stop strings in it
        self._held = ""  # its end, if that may be the start of a stop string
        self._blank: str | None = None  # whitespace after the last piece; None before the first one

    def add(self, token: int) -> str:
        form = self._forms.of(token, later=self._begun)
        if form is None:
            return ""
        self._begun = True
        if isinstance(form, int):
            self._run.append(form)
            return ""
        text = self._utf8.decode(form) if isinstance(form, bytes) else form
        if self._run:
            text = self._run_text() + text
            self._run.clear()
        missing = self._stripped(text)
        text = text[missing:]
        self._strip = 0 if text else self._strip - missing
        firm = text.rstrip(_LOST)
        if not firm:
            self._lost += len(text)
            return ""
        added = _LOST * self._lost + firm
        self._lost = len(text) - len(firm)
        self._firm.append(added)
        return self._piece(self._release(added))

    @property
    def stopped(self) -> bool:
        return self._seen.cut is not None or (bool(self._stop) and self._all_seen().cut is not None)

    @property
    def text(self) -> str:
        return ("".join(self._firm) + self._open())[: self._all_seen().cut]

    def _all_seen(self) -> _Seen:
        return self._seen.then(self._open(), self._stop)

    def _open(self) -> str:
        """What the tokens so far say, but may change."""
        waiting = self._utf8.getstate()[0]
        text = waiting.decode(errors="replace") if waiting else self._run_text()
        return _LOST * self._lost + text[self._stripped(text) :]

    def _run_text(self) -> str:
        """Bytes of a run become text together or not at all."""
        try:
            return self._run.decode()
        except UnicodeDecodeError:
            return _LOST * len(self._run)

    def _stripped(self, text: str) -> int:
        """How many characters are missing from the start of a text that may be the first."""
        if not self._strip:
            return 0
        letter = self._forms.letter
        return sum(1 for _ in takewhile(letter.__eq__, text[: self._strip]))

    def _release(self, added: str) -> str:
        """Firm text that starts no stop string."""
        if not self._stop:
            return added
        before, self._seen = self._seen, self._seen.then(added, self._stop)
        if self._seen.cut is None:
            text = self._held + added
            end = len(text) - (started_stop(text, self._stop) if text[-1] in self._starts else 0)
            self._held = text[end:]
            return text[:end]
        if before.cut is not None:
            return ""
        text = "".join(self._firm)[: self._seen.cut]
        end = len(text) - started_stop(text, self._stop)
        return text[before.size - len(self._held) : end]

    def _piece(self, text: str) -> str:
        """Text without whitespace at the start of the answer, or at what is its end so far."""
        if self._blank is None:
            text = text.lstrip()
        piece = text.rstrip()
        if not piece:
            if self._blank is not None:
                self._blank += text
            return ""
        blank, self._blank = self._blank or "", text[len(piece) :]
        return blank + piece


class _DecodedAnew:
    """The text of any decoder."""

    def __init__(self, tokens: TextTokens, stop: tuple[str, ...]) -> None:
        self._tokens = tokens
        self._stop = stop
        self._ids: list[int] = []
        self._sent = ""

    def add(self, token: int) -> str:
        self._ids.append(token)
        text, _ = before_stop(self._tokens.decode_settled(self._ids), self._stop)
        piece = _rest(text[: len(text) - started_stop(text, self._stop)].strip(), self._sent)
        self._sent += piece
        return piece

    @property
    def stopped(self) -> bool:
        return bool(self._stop) and before_stop(self._tokens.decode(self._ids), self._stop)[1]

    @property
    def text(self) -> str:
        return before_stop(self._tokens.decode(self._ids), self._stop)[0]


@dataclass(frozen=True)
class _Seen:
    """What a search for stop strings knows of a text.

    Attributes:
        size: Characters.
        end: The last ones, in which a stop string may have begun.
        cut: Where the first stop string begins.
    """

    size: int = 0
    end: str = ""
    cut: int | None = None

    def then(self, text: str, stop: tuple[str, ...]) -> _Seen:
        """The same after more text, of which only that and `end` are searched."""
        if not text or not stop:
            return self
        text = self.end + text
        start = self.size - len(self.end)
        cuts = [start + at for string in stop if (at := text.find(string)) >= 0]
        if self.cut is not None:
            cuts.append(self.cut)
        keep = max(map(len, stop)) - 1
        return _Seen(start + len(text), text[-keep:] if keep else "", min(cuts, default=None))


def _rest(text: str, start: str) -> str:
    """What a text has after a start; nothing if it has another one."""
    return text[len(start) :] if text.startswith(start) else ""
