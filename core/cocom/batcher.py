"""Requests that arrive together are read together: one queue with an end, one thread that reads."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

from cocom.datatypes import Answer
from cocom.errors import AnswerTimeoutError, InputError
from cocom.forks import renew_after_fork
from cocom.generation import GenerationOptions
from cocom.job import Job
from cocom.reader import Reader, Request
from cocom.running.line import Line
from cocom.running.runner import Runner
from cocom.streaming import AnswerStream, AsyncAnswerStream, check_timeout, late

__all__ = ["MicroBatcher"]


class MicroBatcher:
    """Reads what many callers ask for, together: who comes later joins while others are written.

    Requests are read in the order they came. The answers are those each would get alone.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        max_batch: int = 16,
        max_rows: int = 32768,
        max_wait: float = 0.002,
        max_queue: int = 256,
    ) -> None:
        """Prepare; the thread starts with the first request and ends when there are no more.

        Args:
            reader: Reads.
            max_batch: Requests in a batch.
            max_rows: Rows in a batch, padding included; a longer request is read alone.
            max_wait: Seconds that a first request waits for others.
            max_queue: Requests that may wait; further ones wait outside, or are refused.

        Raises:
            InputError: A limit is out of range.
        """
        for name, value, least in (
            ("max_batch", max_batch, 1),
            ("max_rows", max_rows, 1),
            ("max_wait", max_wait, 0),
            ("max_queue", max_queue, 1),
        ):
            if value < least:
                raise InputError(f"{name} must be at least {least}, got {value}.")
        self._reader = reader
        self._max_batch = max_batch
        self._max_rows = max_rows
        self._max_wait = max_wait
        self._max_queue = max_queue
        self.renew()
        _batchers.add(self)
        renew_after_fork(self)

    def renew(self) -> None:
        """An empty queue that no thread serves yet."""
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """Take back whatever waits or is being read, wait for that, and accept no more."""
        with self._changed:
            self._closed = True
            jobs, thread = [*self._waiting, *self._running], self._thread
        for job in jobs:
            job.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def submit(
        self,
        request: Request,
        options: GenerationOptions,
        on_token: Callable[[int], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Job:
        """Queue a request, waiting for room if need be.

        Args:
            request: What to read.
            options: How to decode.
            on_token: Told every token of the answer, in the reading thread; not where it comes in one piece.
            timeout: Seconds to wait for room; None waits as long as it takes.

        Raises:
            PromptTooLongError: Prompt and answer do not fit the model.
            AnswerTimeoutError: There was no room in time.
        """
        self.check(request, options)
        job = Job(request, options, on_token)
        with self._changed:
            room = self._changed.wait_for(lambda: len(self._waiting) < self._max_queue, timeout)
            if not room:
                raise AnswerTimeoutError(
                    f"the queue held {self._max_queue} requests for all of {timeout} s: send fewer at "
                    "once, or allow more time."
                )
            self._queue(job)
        return job

    def try_submit(
        self,
        request: Request,
        options: GenerationOptions,
        on_token: Callable[[int], None] | None = None,
    ) -> Job | None:
        """As `submit`, but never waits: None if there is no room."""
        self.check(request, options)
        job = Job(request, options, on_token)
        with self._changed:
            if len(self._waiting) >= self._max_queue:
                return None
            self._queue(job)
        return job

    def run(
        self,
        requests: Sequence[Request],
        options: GenerationOptions,
        *,
        timeout: float | None = None,
    ) -> list[Answer]:
        """Read requests and wait for their answers, in order.

        Args:
            requests: What to read; all are checked before the first is queued.
            options: How to decode.
            timeout: Seconds that all of it may take; None waits as long as it takes.

        Raises:
            AnswerTimeoutError: The answers were not there in time; reading is stopped.
            CocomError: As `submit`.
        """
        check_timeout(timeout)
        for request in requests:
            self.check(request, options)
        end = None if timeout is None else time.monotonic() + timeout
        jobs: list[Job] = []
        try:
            for request in requests:
                jobs.append(self.submit(request, options, timeout=_left(end)))
            return [job.result(_left(end)) for job in jobs]
        except AnswerTimeoutError:
            raise
        except TimeoutError as error:
            raise late(timeout) from error
        finally:
            for job in jobs:
                job.cancel()

    async def arun(
        self, request: Request, options: GenerationOptions, *, timeout: float | None = None
    ) -> Answer:
        """`run` for an event loop and one request: neither the loop nor a thread waits."""
        check_timeout(timeout)
        try:
            async with asyncio.timeout(timeout):
                while (job := self.try_submit(request, options)) is None:
                    await asyncio.sleep(0.005)
                return await asyncio.wrap_future(job)
        except TimeoutError as error:
            raise late(timeout) from error

    def stream(
        self, request: Request, options: GenerationOptions, *, timeout: float | None = None
    ) -> AnswerStream:
        """Read a request piece by piece; errors of the request at once, others while reading.

        A beam search and RAG-Sequence, whose text is known at its end only, are one piece.
        """
        check_timeout(timeout)
        self.check(request, options)
        whole = options.in_one_piece
        return AnswerStream(
            lambda told: self.submit(request, options, None if whole else told, timeout=timeout),
            self._reader.text_of(options),
            timeout=timeout,
        )

    def astream(
        self, request: Request, options: GenerationOptions, *, timeout: float | None = None
    ) -> AsyncAnswerStream:
        """`stream` for an event loop."""
        check_timeout(timeout)
        self.check(request, options)
        whole = options.in_one_piece
        return AsyncAnswerStream(
            lambda told: self.try_submit(request, options, None if whole else told),
            self._reader.text_of(options),
            timeout=timeout,
        )

    def check(self, request: Request, options: GenerationOptions) -> None:
        """Make sure that a request can be read; raises as `submit` does, before anything is queued."""
        if self._thread is threading.current_thread():
            raise InputError(
                "an answer was asked for in the thread that reads, such as by a callback of another one, and "
                "would wait for itself: ask in a thread of your own."
            )
        self._reader.check(request, options)

    def _queue(self, job: Job) -> None:
        if self._closed:
            raise InputError("the queue is closed, because the program ends: ask earlier.")
        self._waiting.append(job)
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="cocom-batcher", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                self._waiting.remove(job)
                raise
            self._thread = thread
        job.add_done_callback(self._forget)
        self._changed.notify_all()

    def _forget(self, job: Future[Answer]) -> None:
        """Give away the place of a job that was cancelled before its turn came."""
        if not job.cancelled():
            return
        with self._changed:
            try:
                self._waiting.remove(job)  # type: ignore[arg-type]
            except ValueError:  # it is being taken just now
                return
            job.set_running_or_notify_cancel()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._gather()
                if not self._waiting:
                    self._thread = None
                    return
                first = self._waiting[0]
            try:
                runner = self._reader.runner(first.options)  # may take a moment, for the first one
                runner.run(partial(self._take, runner))
            except BaseException as error:
                traceback.clear_frames(error.__traceback__)
                with self._changed:
                    jobs, self._running = self._running, []
                    if not jobs and self._waiting:  # it did not even begin
                        jobs = [self._waiting.popleft()]
                        jobs[0].set_running_or_notify_cancel()
                for job in jobs:
                    job.fail(error)

    def _gather(self) -> None:
        """Give others a moment to arrive."""
        until = time.monotonic() + self._max_wait
        while 0 < len(self._waiting) < self._max_batch:
            left = until - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _take(self, runner: Runner, writing: Sequence[Line]) -> list[Line]:
        """Jobs that wait and can be written together with what is being written, in their order."""
        if not self._waiting and writing:  # this is asked after every token
            return []
        taken: list[Job] = []
        with self._changed:
            self._running = [job for job in self._running if not job.done()]
            longest = max((line.rows for line in writing), default=0)
            first = writing[0].options if writing else None
            while self._waiting and len(writing) + len(taken) < self._max_batch:
                job = self._waiting[0]
                longest = max(longest, job.request.rows)
                many = len(writing) + len(taken) + 1
                # What cannot join waits, and so does what came later: it is its turn next.
                if self._reader.runner(job.options) is not runner:
                    break
                if first is not None and not runner.together(first, job.options):
                    break
                if many > 1 and longest * many > self._max_rows:
                    break
                self._waiting.popleft()
                if job.stopped:  # its stream was collected
                    job.cancel()
                if job.set_running_or_notify_cancel():
                    taken.append(job)
                    first = first or job.options
            self._running += taken
            self._changed.notify_all()  # there is room
        return [self._reader.line(job.request, job.options, job.watcher()) for job in taken]


def _left(end: float | None) -> float | None:
    """Seconds until a time of the monotonic clock."""
    return None if end is None else max(0.0, end - time.monotonic())


_batchers: weakref.WeakSet[MicroBatcher] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is inside torch when the interpreter goes away would abort the process."""
    for batcher in list(_batchers):
        batcher.close()
