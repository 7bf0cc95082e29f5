"""A request on its way through the queue, from its caller to the row that answers it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

from cocom.datatypes import Answer
from cocom.generation import GenerationOptions
from cocom.reader import Request, Watcher
from cocom.streaming import AnswerFuture

__all__ = ["Job"]


class Job(AnswerFuture):
    """A request, how to decode it, and who waits for it.

    Attributes:
        request: What to read.
        options: How to decode.
    """

    def __init__(
        self,
        request: Request,
        options: GenerationOptions,
        on_token: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.request = request
        self.options = options
        self._on_token = on_token

    def watcher(self) -> Watcher:
        """Follows this job's answer."""
        return Watcher(
            stopped=lambda: self.stopped,
            on_answer=self.finish,
            on_error=self.fail,
            on_token=self._on_token,
        )

    def finish(self, answer: Answer) -> None:
        """Hand over the answer, if it is still wanted and was not handed over yet."""
        if not self.done():
            if self.stopped:
                self.set_exception(CancelledError())
            else:
                self.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Hand over why there is no answer."""
        if not self.done():
            self.set_exception(error)
