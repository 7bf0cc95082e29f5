"""One answer while it is written: what is read, the tokens so far, and who follows it."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

import torch

from cocom.answer_text import AnswerText
from cocom.datatypes import Answer
from cocom.exclusive import leaving
from cocom.generation import GenerationOptions
from cocom.running.request import ReadRequest
from cocom.text_tokens import TextTokens

__all__ = ["Line", "Watcher"]


@dataclass(frozen=True)
class Watcher:
    """Who follows one answer while it is written.

    Attributes:
        stopped: Asked after every token; True ends the answer.
        on_token: Told every token, the last one included; not with beam search.
        on_answer: Told the answer when it has ended, whatever others are read with it.
        on_error: Told why there is no answer.
    """

    stopped: Callable[[], bool]
    on_answer: Callable[[Answer], None]
    on_error: Callable[[BaseException], None]
    on_token: Callable[[int], None] | None = None


class Line:
    """One answer while it is written.

    Attributes:
        request: What is read.
        options: How to decode.
        ids: Tokens so far.
        over: Whether it has ended, in an answer or an error.
        generator: Draws its tokens, if it has a seed.
    """

    def __init__(
        self,
        request: ReadRequest,
        options: GenerationOptions,
        watcher: Watcher,
        *,
        text: TextTokens,
        ends: Set[int],
    ) -> None:
        """Begin an answer.

        Args:
            request: What is read.
            options: How to decode.
            watcher: Who follows it.
            text: Makes text of tokens.
            ends: Tokens that end an answer.
        """
        self.request = request
        self.options = options
        self.generator: torch.Generator | None = None
        self.over = False
        self._watcher = watcher
        self._tokens = text
        self._ends = ends
        self._error: BaseException | None = None
        self._told = False
        self.restart()

    def restart(self) -> None:
        """Begin again; only for lines of which nobody was told a token."""
        self.ids: list[int] = []
        self.generator = None
        self._text = AnswerText(self._tokens, self.options.stop) if self.options.stop else None

    @property
    def rows(self) -> int:
        """All rows that are read for it."""
        return self.request.rows

    @property
    def told(self) -> bool:
        """Whether somebody has seen a token, so that it cannot be read again."""
        return self._watcher.on_token is not None and bool(self.ids)

    @property
    def stopped(self) -> bool:
        """Whether it is to end, because nobody wants it any more or the program ends."""
        return leaving.is_set() or self._watcher.stopped()

    def add(self, token: int) -> None:
        """Write a token, and end with it where the answer ends."""
        self.ids.append(token)
        if self._watcher.on_token is not None:
            try:
                self._watcher.on_token(token)
            except Exception as error:
                self.fail(error)
                return
        if self._text is not None:
            self._text.add(token)
        ended = token in self._ends or (self._text is not None and self._text.stopped)
        if ended or len(self.ids) >= self.options.max_new_tokens or self.stopped:
            self.finish()

    def finish(self) -> None:
        """End with the tokens so far."""
        self.over = True

    def fail(self, error: BaseException) -> None:
        """End without an answer."""
        self.over = True
        self._error = error

    def tell(self) -> None:
        """Tell the outcome, once.

        Whoever waits for it may use the model at once, so it is told when the model is free, or while others
        are being written anyway.
        """
        if self._told:
            return
        self._told = True
        if self._error is not None:
            self._watcher.on_error(self._error)
            return
        self._watcher.on_answer(self._answer())

    def _answer(self) -> Answer:
        return self.request.answer(self.ids, self.options, text=self._tokens, ends=self._ends)
