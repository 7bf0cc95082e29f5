"""Answers written by a runner, without the queue: who joins when, and what each is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch

from cocom import Answer, Cocom, GenerationOptions
from cocom.passes import passes_of
from cocom.reader import ReadRequest
from cocom.running.line import Line, Watcher
from cocom.running.runner import Runner

__all__ = ["Asked", "nothing_finite", "run", "tokens_of", "written"]


@dataclasses.dataclass(eq=False)
class Asked:
    """A request, when it comes, and what became of it.

    Attributes:
        request: What is read.
        options: How to decode.
        after: Tokens that the first line has when it comes.
        on_token: Told every token.
        told: Tokens so far.
        answer: The answer, once there is one.
        error: Why there is none.
        stop: Whether nobody wants it any more.
    """

    request: ReadRequest
    options: GenerationOptions
    after: int = 0
    on_token: Callable[[int], None] | None = None
    told: list[int] = dataclasses.field(default_factory=list)
    answer: Answer | None = None
    error: BaseException | None = None
    stop: bool = False

    def line(self, model: Cocom) -> Line:
        watcher = Watcher(
            stopped=lambda: self.stop,
            on_answer=lambda answer: setattr(self, "answer", answer),
            on_error=lambda error: setattr(self, "error", error),
            on_token=self.on_token,
        )
        return model._reader.line(self.request, self.options, watcher)


def run(
    model: Cocom, asked: Sequence[Asked], *, runner: Runner | None = None, most: float = math.inf
) -> list[int]:
    """Write answers; how many lines were being written whenever more could join."""
    runner = runner or model._reader._decoding
    waiting = list(asked)
    first: list[Line] = []
    seen: list[int] = []

    def take(writing: Sequence[Line]) -> list[Line]:
        seen.append(len(writing))
        taken: list[Line] = []
        while waiting and len(writing) + len(taken) < most:
            come = not first or first[0].over or len(first[0].ids) >= waiting[0].after
            if not come and (writing or taken):
                break
            line = waiting.pop(0).line(model)
            first[:] = first or [line]
            taken.append(line)
        return taken

    runner.run(take)
    assert not waiting
    return seen


def written(
    model: Cocom,
    requests: Sequence[ReadRequest],
    options: GenerationOptions | Sequence[GenerationOptions],
    *,
    runner: Runner | None = None,
    most: float = math.inf,
) -> list[Answer]:
    """Answers to requests that all come at once."""
    each = [options] * len(requests) if isinstance(options, GenerationOptions) else options
    asked = [Asked(r, o) for r, o in zip(requests, each, strict=True)]
    run(model, asked, runner=runner, most=most)
    answers = []
    for one in asked:
        if one.error is not None:
            raise one.error
        assert one.answer is not None
        answers.append(one.answer)
    return answers


def tokens_of(asked: Sequence[Asked]) -> list[tuple[int, ...] | None]:
    """Tokens of each answer, None where there is none."""
    return [None if one.answer is None else one.answer.token_ids for one in asked]


def warm(model: Cocom) -> bool:
    """Have the model tried out, which runs a few forward passes; whether it can be used."""
    return passes_of(model.backbone).usable()


def nothing_finite(request: ReadRequest) -> ReadRequest:
    """The same request with contexts that are no numbers."""
    contexts = tuple(
        dataclasses.replace(c, embeddings=torch.full_like(c.embeddings, math.nan))
        for c in request.contexts
    )
    return dataclasses.replace(request, contexts=contexts)
