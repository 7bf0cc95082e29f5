"""One answer, piece by piece: for threads and for event loops, errors and cancelling passed on."""

from __future__ import annotations

import asyncio
import os
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress

from cocom.answer_text import AnswerText
from cocom.datatypes import Answer
from cocom.errors import AnswerTimeoutError, InputError

__all__ = ["AnswerFuture", "AnswerStream", "AsyncAnswerStream", "Start", "check_timeout", "late"]


class AnswerFuture(Future[Answer]):
    """An answer on its way, which can also be taken back while it is being written."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False

    def stop(self) -> None:
        """Ask for an end with the next token; takes no lock, so that a collector may call it anywhere."""
        self.stopped = True

    def cancel(self) -> bool:
        """Take the answer back: not written at all, or ended with the next token."""
        self.stop()
        return super().cancel() or not self.done()


Start = Callable[[Callable[[int], None]], AnswerFuture]
"""Starts generating: hands every token to the function it is given, and the answer to the future."""


class AnswerStream(Iterator[str]):
    """The pieces of one answer's text as they are written; afterwards, the answer.

    Generation starts with the first piece that is asked for. Close the stream (or leave its `with`
    block) to stop it early.
    """

    def __init__(
        self,
        start: Start,
        text: AnswerText,
        *,
        timeout: float | None = None,
    ) -> None:
        """Prepare a stream.

        Args:
            start: Starts generating.
            text: Makes pieces of the tokens.
            timeout: Seconds the whole answer may take, from the first piece asked for.
        """
        self._start = start
        self._timeout = timeout
        self._end: float | None = None
        self._text = text
        self._answer: Answer | None = None
        self._tokens: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._future: AnswerFuture | None = None
        self._ended = False
        self._process = os.getpid()

    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        if self._future is not None and self._process != os.getpid():
            raise InputError(
                "the stream is written in the process that forked this one: read it there."
            )
        if self._future is None:
            self._end = None if self._timeout is None else time.monotonic() + self._timeout
            tokens = self._tokens  # not self, so that a stream nobody holds can be collected
            self._future = self._start(tokens.put)
            self._future.add_done_callback(lambda _: tokens.put(None))
        try:
            while (token := self._next_token()) is not None:
                if piece := self._text.add(token):
                    return piece
            self._ended = True
            self._answer = self._future.result()
            if piece := self._text.finish(self._answer.text):
                return piece
        except CancelledError:  # somebody closed the stream
            self._ended = True
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def _next_token(self) -> int | None:
        if self._end is None:
            return self._tokens.get()
        try:
            return self._tokens.get(timeout=max(0.0, self._end - time.monotonic()))
        except queue.Empty:
            raise late(self._timeout) from None

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._future is not None:
            self._future.stop()

    def close(self) -> None:
        """Stop generating, and wait until it has stopped: a token at most."""
        self._ended = True
        if self._future is not None and self._process == os.getpid():
            self._future.cancel()
            wait([self._future])

    @property
    def answer(self) -> Answer:
        """The whole answer with its usage.

        Raises:
            InputError: The stream has not been read to its end.
        """
        return _need(self._answer)


class AsyncAnswerStream(AsyncIterator[str]):
    """`AnswerStream` for an event loop: waiting for the next piece blocks no thread.

    Generation starts with the first piece that is asked for, and stops when the stream is closed, left
    or collected, or its task cancelled.
    """

    def __init__(
        self,
        start: Callable[[Callable[[int], None]], AnswerFuture | None],
        text: AnswerText,
        *,
        timeout: float | None = None,
    ) -> None:
        """Prepare a stream.

        Args:
            start: Starts generating, or gives None where there is no room just now; never waits.
            text: Makes pieces of the tokens.
            timeout: Seconds the whole answer may take, from the first piece asked for.
        """
        self._start = start
        self._timeout = timeout
        self._end: float | None = None
        self._text = text
        self._answer: Answer | None = None
        self._tokens: asyncio.Queue[int | None] = asyncio.Queue()
        self._future: AnswerFuture | None = None
        self._ended = False

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        try:
            if self._end is None and self._timeout is not None:
                self._end = asyncio.get_running_loop().time() + self._timeout
            async with asyncio.timeout_at(self._end):
                if self._future is None:
                    await self._begin()
                while (token := await self._tokens.get()) is not None:
                    if piece := self._text.add(token):
                        return piece
            assert self._future is not None
            self._ended = True
            self._answer = self._future.result()
            if piece := self._text.finish(self._answer.text):
                return piece
        except CancelledError:  # somebody closed the stream: asyncio has an error of its own
            self._ended = True
        except TimeoutError as error:
            self.close()
            raise late(self._timeout) from error
        except BaseException:
            self.close()
            raise
        raise StopAsyncIteration

    async def _begin(self) -> None:
        loop, tokens = asyncio.get_running_loop(), self._tokens

        def put(token: int | None) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(tokens.put_nowait, token)

        while (future := self._start(put)) is None:
            await asyncio.sleep(0.005)
        self._future = future
        future.add_done_callback(lambda _: put(None))

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._future is not None:
            self._future.stop()

    async def aclose(self) -> None:
        """Stop generating, as `contextlib.aclosing` calls it."""
        self.close()

    def close(self) -> None:
        """Stop generating."""
        self._ended = True
        if self._future is not None:
            self._future.cancel()

    @property
    def answer(self) -> Answer:
        """The whole answer with its usage.

        Raises:
            InputError: The stream has not been read to its end.
        """
        return _need(self._answer)


def _need(answer: Answer | None) -> Answer:
    if answer is None:
        raise InputError("the stream has not been read to its end: iterate over it first.")
    return answer


def check_timeout(timeout: float | None) -> None:
    """Make sure that a time limit is one.

    Raises:
        InputError: It is not.
    """
    good = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0
    if timeout is not None and not good:
        raise InputError(f"timeout must be a number of seconds above 0, or None, got {timeout!r}.")


def late(timeout: float | None) -> AnswerTimeoutError:
    """The error of an answer that was not there in time."""
    return AnswerTimeoutError(
        f"the answer was not there after {timeout} s: allow more time, fewer max_new_tokens or shorter "
        "prompts."
    )
