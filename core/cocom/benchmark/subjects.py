"""What a cell runs, what it costs by formula, and what memory it will need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from cocom.benchmark import straightforward
from cocom.benchmark.cost import Cost, Sizes
from cocom.benchmark.exact import check_lengths
from cocom.benchmark.options import Point
from cocom.benchmark.result import Floors
from cocom.benchmark.workload import Workload
from cocom.datatypes import Answer
from cocom.engine import Cocom
from cocom.generation import GenerationOptions
from cocom.requests import PassageLike

__all__ = ["Subject"]

_STATES = 16  # hidden sizes that a row of a forward pass takes while it is computed, about


class Subject:
    """One point of the grid on one model."""

    def __init__(self, workload: Workload, point: Point, reader: Sizes, compressor: Sizes) -> None:
        """Choose questions and passages.

        Args:
            workload: Passages, questions and the model.
            point: What is measured.
            reader: Sizes of what reads.
            compressor: Sizes of what compresses.
        """
        self._workload = workload
        self._reader = reader
        self._compressor = compressor
        self.point = point
        model = self._model = workload.model
        if point.what == "compress":
            self._rows = self._compressed_rows()
        else:
            self._rows = [model.request(q, passages).rows for q, passages in self._next()]

    @property
    def rows(self) -> int:
        """Rows that the model reads, padding not counted."""
        return sum(self._rows)

    @property
    def passes(self) -> int:
        """Forward passes, one after the other."""
        if self.point.what != "compress":
            return self.point.new_tokens
        return -(-len(self._rows) // straightforward.BATCH)

    def cost(self, floors: Floors) -> Cost:
        """What it takes at least; the same for both ways."""
        if self.point.what == "compress":
            return self._compressor.compress(self._rows, floors)
        return self._reader.read(self._rows, self.point.new_tokens, floors)

    def flops(self, floors: Floors) -> float:
        """Operations by formula that this way takes."""
        if self.point.what != "compress" or self.point.way == "cocom":
            return self.cost(floors).flops
        full = straightforward.full_rows(self._model, self._rate)
        return len(self._rows) * self._reader.prefill_flops(full, heads=full)

    def memory(self) -> int:
        """Bytes that it will take, about, so that it is not begun where it must fail."""
        sizes = self._reader
        rows, longest, vocabulary = self.rows, max(self._rows), sizes.head // sizes.hidden
        if self.point.what == "compress":
            if self.point.way == "cocom":
                return min(rows, 8192) * _STATES * sizes.hidden * sizes.value_bytes
            batch = min(straightforward.BATCH, len(self._rows))
            full = batch * straightforward.full_rows(self._model, self._rate)
            kept = vocabulary + (_STATES + sizes.layers) * sizes.hidden
            return full * kept * sizes.value_bytes
        padded = self.point.batch * longest
        kept = self.point.batch * (longest + self.point.new_tokens) * sizes.row_bytes
        mask = padded * longest if self.point.batch > 1 else 0
        states = padded * _STATES * sizes.hidden * sizes.value_bytes
        logits = 2 * self.point.batch * vocabulary * 4
        return kept + mask + states + logits

    def work(self) -> Callable[[], object]:
        """What is timed."""
        point = self.point
        if point.what == "compress":
            return self._compress if point.way == "cocom" else self._compress_straightforward
        if point.way == "straightforward":
            return self._answer_straightforward
        if point.what == "stream":
            return self._stream if point.batch == 1 else self._stream_together
        return self._answer

    @property
    def _rate(self) -> int:
        return int(self.point.context.removeprefix("rate "))

    def _compressed_rows(self) -> list[int]:
        compressor = self._model.window_compressor
        return [
            len(compressor.row(window.ids, self._rate, window.before).ids)
            for text in self._workload.passages
            for window in compressor.windows(text)
        ]

    def _compress(self) -> None:
        self._model.compress(self._workload.passages, rate=self._rate, keep_text=False)

    def _compress_straightforward(self) -> None:
        straightforward.compress(self._model, self._workload.passages, rate=self._rate)

    def _next(self) -> list[tuple[str, list[Any]]]:
        """Questions with their passages, which begin with other words every time."""
        point = self.point
        turn = next(self._workload.turns)
        asked = self._workload.asked(point.context, point.passages, point.batch, turn)
        return list(zip(*asked, strict=True))

    def _answer(self) -> None:
        questions, passages = zip(*self._next(), strict=True)
        answers = self._model.answer_batch(
            questions, passages, batch_size=self.point.batch, max_new_tokens=self.point.new_tokens
        )
        self._check([len(answer.token_ids) for answer in answers])

    def _answer_straightforward(self) -> None:
        tokens = self.point.new_tokens
        self._check(
            [
                len(straightforward.answer(self._model, question, passages, max_new_tokens=tokens))
                for question, passages in self._next()
            ]
        )

    def _stream(self) -> None:
        ((question, passages),) = self._next()
        with self._model.stream(question, passages, max_new_tokens=self.point.new_tokens) as stream:
            for _ in stream:
                pass
        self._check([stream.answer.usage.generated_tokens])

    def _stream_together(self) -> None:
        answers = asyncio.run(_streamed(self._model, self._next(), self.point.new_tokens))
        self._check([answer.usage.generated_tokens for answer in answers])

    def _check(self, lengths: Sequence[int]) -> None:
        check_lengths(lengths, self.point.new_tokens)


async def _streamed(
    model: Cocom, asked: Sequence[tuple[str, Sequence[PassageLike]]], new_tokens: int
) -> list[Answer]:
    """Answers that are streamed to as many listeners of one event loop, as a server does."""
    options = GenerationOptions(max_new_tokens=new_tokens)

    async def listen(request: Any) -> Answer:
        async with model.batcher.astream(request, options) as stream:
            async for _ in stream:
                pass
            return stream.answer

    requests = [model.request(question, passages) for question, passages in asked]
    return list(await asyncio.gather(*map(listen, requests)))
