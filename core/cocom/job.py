"""A request on its way through the queue, from its caller to the row that answers it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

from cocom.datatypes import Answer
from cocom.generation import GenerationOptions
from cocom.reader import ReadRequest, Watcher
from cocom.streaming import AnswerFuture

__all__ = ["Job"]


class Job(AnswerFuture):
    """A request, how to decode it, and who waits for it.

    Attributes:
        request: What to read.
        options: How to decode.
        told: Whether somebody has seen a token, so that it cannot be read again.
    """

    def __init__(
        self,
        request: ReadRequest,
        options: GenerationOptions,
        on_token: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.request = request
        self.options = options
        self.told = False
        self._on_token = on_token

    def watcher(self) -> Watcher:
        """Follows this job's row."""
        on_token = None if self._on_token is None else self._tell
        return Watcher(lambda: self.stopped, on_token, self.finish)

    def finish(self, answer: Answer) -> None:
        """Hand over the answer, if it is still wanted and was not handed over yet."""
        if not self.done():
            if self.stopped:
                self.set_exception(CancelledError())
            else:
                self.set_result(answer)

    def _tell(self, token: int) -> None:
        assert self._on_token is not None
        self.told = True
        self._on_token(token)
