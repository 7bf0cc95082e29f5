"""One answer, piece by piece: generation in a thread of its own, errors and cancelling passed on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from cocom.datatypes import Answer
from cocom.errors import InputError

__all__ = ["AnswerStream"]


class AnswerStream(Iterator[str]):
    """The pieces of one answer's text as they are written; afterwards, the answer.

    Close it (or leave its `with` block) to stop the generation early.
    """

    def __init__(
        self,
        *,
        generate: Callable[[BaseStreamer, StoppingCriteria], object],
        settled: Callable[[Sequence[int]], str],
        finish: Callable[[Sequence[int]], Answer],
    ) -> None:
        """Prepare a stream; generation starts with the first piece that is asked for.

        Args:
            generate: Generates, handing tokens to the streamer, until the criterion says stop.
            settled: Text of the tokens so far that no later token can change.
            finish: The answer of all tokens.
        """
        self._pieces = _pieces(generate, settled, finish)
        self._answer: Answer | None = None

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            if end.value is not None:
                self._answer = end.value
            raise StopIteration from None

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop generating."""
        self._pieces.close()

    @property
    def answer(self) -> Answer:
        """The whole answer with its usage.

        Raises:
            InputError: The stream has not been read to its end.
        """
        if self._answer is None:
            raise InputError("the stream has not been read to its end: iterate over it first.")
        return self._answer


def _pieces(
    generate: Callable[[BaseStreamer, StoppingCriteria], object],
    settled: Callable[[Sequence[int]], str],
    finish: Callable[[Sequence[int]], Answer],
) -> Generator[str, None, Answer]:
    tokens: queue.Queue[int | BaseException | None] = queue.Queue()
    cancelled = threading.Event()

    def work() -> None:
        try:
            generate(_QueueStreamer(tokens), _Cancelled(cancelled))
        except BaseException as error:
            tokens.put(error)
        finally:
            tokens.put(None)

    thread = threading.Thread(target=work, name="cocom-stream", daemon=True)
    thread.start()
    ids: list[int] = []
    sent = ""
    try:
        while (item := tokens.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            ids.append(item)
            text = settled(ids)
            if len(text) > len(sent) and text.startswith(sent):
                yield text[len(sent) :]
                sent = text
        answer = finish(ids)
        if len(answer.text) > len(sent):
            yield answer.text[len(sent) :]
        return answer
    finally:
        cancelled.set()
        thread.join()


class _QueueStreamer(BaseStreamer):
    """Hands each new token to the thread that streams."""

    def __init__(self, tokens: queue.Queue[int | BaseException | None]) -> None:
        self._tokens = tokens
        self._prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self._prompt:  # generate() first sends the prompt's ids: none, with embeddings
            self._prompt = False
            if value.numel() == 0 or value.dim() > 1:
                return
        for token in value.flatten().tolist():
            self._tokens.put(int(token))

    def end(self) -> None:
        return None


class _Cancelled(StoppingCriteria):
    def __init__(self, flag: threading.Event) -> None:
        self._flag = flag

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full(
            (input_ids.shape[0],), self._flag.is_set(), dtype=torch.bool, device=input_ids.device
        )
