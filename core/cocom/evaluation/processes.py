"""The same evaluation in several processes: on a CPU, one thread each is faster than many together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from cocom.datatypes import Answer, ContextEmbeddings
from cocom.engine import Cocom
from cocom.errors import ModelError
from cocom.evaluation.columns import (
    Column,
    Question,
    Scores,
    answer_stretch,
    scores_of,
    stretches,
)

__all__ = ["Workers", "unbroken"]

_Result = TypeVar("_Result")

# Of a worker: its model, and what it compressed already, by column.
_model: Cocom | None = None
_compressed: dict[str, dict[str, ContextEmbeddings]] = {}


def _start(loading: Mapping[str, Any]) -> None:
    import torch

    global _model
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _model = Cocom.from_pretrained(**loading)


def _end_with_parent() -> None:
    """End this process when the one that started it was killed, which no queue would tell it."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answer(
    column: Column, questions: Sequence[Question], batch_size: int
) -> tuple[list[Answer], float]:
    assert _model is not None
    own = _compressed.setdefault(column.name, {})
    return answer_stretch(_model, column, questions, own, batch_size=batch_size)


def _call(function: Callable[..., _Result], arguments: tuple[Any, ...]) -> _Result:
    assert _model is not None
    return function(_model, *arguments)


@contextmanager
def unbroken() -> Iterator[None]:
    """Say what became of processes that ended before their time."""
    try:
        yield
    except BrokenProcessPool as error:
        raise ModelError(
            "a process that answers questions ended, as when memory is short: start again with fewer "
            "--processes; what was answered for --data is kept."
        ) from error


class Workers:
    """Processes that each load a model and answer stretches of a column."""

    def __init__(self, count: int, loading: Mapping[str, Any]) -> None:
        """Start them when the first column is scored.

        Args:
            count: How many.
            loading: Arguments of `Cocom.from_pretrained`.
        """
        self._pool = ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_start, initargs=(dict(loading),)
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Call a function of a module with the process's model and some arguments."""
        return self._pool.submit(_call, function, arguments)

    def score(
        self,
        column: Column,
        questions: Sequence[Question],
        *,
        batch_size: int,
        advance: Callable[[int], None],
    ) -> Scores:
        """As `score_column`; the seconds are those of all processes together."""
        parts = stretches(column, questions, batch_size)
        answers: dict[int, Answer] = {}
        seconds = 0.0
        with unbroken():
            # The longest first, so that no process is left with one at the end.
            tasks = [
                (part, self._pool.submit(_answer, column, [questions[i] for i in part], batch_size))
                for part in reversed(parts)
            ]
            for part, task in tasks:
                found, spent = task.result()
                answers |= zip(part, found, strict=True)
                seconds += spent
                advance(len(part))
        return scores_of(column, questions, [answers[i] for i in range(len(questions))], seconds)
