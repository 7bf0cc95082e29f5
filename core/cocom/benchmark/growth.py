"""Growth: an answer's time against passages and against the store's size, each beside a formula."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from cocom.benchmark.cost import Sizes, sizes_of
from cocom.benchmark.exact import check_lengths, endless
from cocom.benchmark.fitting import Fit, fit
from cocom.benchmark.result import Cell
from cocom.benchmark.store_overhead import fill_store
from cocom.benchmark.timing import by_turns
from cocom.benchmark.workload import Workload
from cocom.datatypes import ContextEmbeddings
from cocom.engine import Cocom
from cocom.errors import InputError, PromptTooLongError
from cocom.requests import PassageLike
from cocom.store import DiskStore
from cocom.view import CocomView

__all__ = ["grow_passages", "grow_store"]

DISTINCT = 20
"""Passages that are compressed; a question with more of them reads these again."""

OPERATIONS, BYTES = "prefill operations", "bytes read"
GETS, DOUBLINGS = "gets", "doublings of the store"
EXPECTED = "expected seconds"
_ENOUGH = 6  # cells that tell how long others will take
_GETS = 50  # for one round of an answer, which takes far longer


def grow_passages(
    model: Cocom,
    *,
    passages: Sequence[int] = (1, 2, 5, 10, 20, 50, 100, 200),
    rates: Sequence[int] | None = None,
    new_tokens: int = 32,
    rounds: int = 3,
    most_seconds: float = 20.0,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Cell], Fit]:
    """Time answers from more and more passages: text, and context embeddings at each rate.

    Args:
        model: Compresses and reads.
        passages: Numbers of passages, from small to large.
        rates: Compression rates; None takes all of the model.
        new_tokens: Of every answer, exactly.
        rounds: How often each is timed.
        most_seconds: An answer that would take longer is left out, and its cell says so.
        progress: Told what is done.

    Returns:
        Cells of "answer" with the expected seconds in their notes, and the constants behind these.

    Raises:
        InputError: A bad number.
        ModelError: Answers are not as long as they were to be.
    """
    _check(passages, new_tokens, rounds)
    sizes, workload = sizes_of(model, "read"), Workload(model, DISTINCT)
    chosen = model.config.rates if rates is None else rates
    contexts = ["text", *(f"rate {rate}" for rate in chosen)]
    cells: list[Cell] = []
    with endless(model):
        for count in passages:
            progress(f"answers from {count} passages")
            ready: dict[str, Callable[[], object]] = {}
            for context in contexts:
                [question], [read] = workload.asked(context, count, 1)
                work = _Asked(model, workload, context, count, new_tokens)
                rows = model.request(question, read).rows
                cell = _cell("answer", context, count, rows, new_tokens, sizes)
                cell = replace(cell, skipped=_too_long(cells, cell, most_seconds))
                if not cell.skipped:
                    try:
                        work()
                        ready[context] = work
                    except PromptTooLongError as error:
                        cell = replace(cell, skipped=str(error))
                cells.append(cell)
            seconds = by_turns(ready, rounds=rounds, device=model.backbone.device, warm=False)
            cells = [
                replace(cell, seconds=seconds[cell.context])
                if cell.passages == count and cell.context in seconds
                else cell
                for cell in cells
            ]
    return _fitted(cells)


def grow_store(
    model: Cocom,
    folder: Path,
    answer: Fit,
    *,
    sizes: Sequence[int] = (100, 1_000, 10_000, 100_000),
    passages: int = 20,
    rate: int = 16,
    new_tokens: int = 32,
    rounds: int = 5,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Cell], Fit]:
    """Time getting passages from larger and larger stores, alone and with the answer from them.

    Each store holds some passages that were compressed, and synthetic ones by the same model; which of them
    all are read is drawn anew every time. The files are in the page cache.

    Args:
        model: Compresses and reads.
        folder: Empty; the stores are made there.
        answer: Constants of `grow_passages`.
        sizes: Passages of each store.
        passages: Read for one question.
        rate: Compression rate.
        new_tokens: Of every answer, exactly.
        rounds: How often each answer is timed; `get` alone is timed fifty times as often.
        progress: Told what is done.

    Returns:
        Cells of "store" with the expected seconds in their notes, and the constants of `get`.

    Raises:
        InputError: A bad number.
        ModelError: Answers are not as long as they were to be.
    """
    _check([*sizes, passages], new_tokens, rounds)
    if min(sizes) < max(passages, DISTINCT):
        least = max(passages, DISTINCT)
        raise InputError(
            f"sizes must be at least {least}, got {min(sizes)}: a store is to hold what is read."
        )
    workload, shape = Workload(model, DISTINCT), sizes_of(model, "read")
    device, [question, *_] = model.backbone.device, workload.questions
    gets: dict[int, Callable[[], object]] = {}
    answers: dict[int, Callable[[], object]] = {}
    rows = 0
    with ExitStack() as stack, endless(model):
        for size in sizes:
            progress(f"a store of {size} passages")
            store = stack.enter_context(DiskStore.create(folder / str(size)))
            read = CocomView(model, store=store).contexts(workload.passages, rate=rate)
            # All alike, so that it is no matter which are drawn.
            fill_store(store, max(read, key=len), size - store.count())
            store.compact()
            draw = _Drawn(store, passages)
            gets[size] = draw.get
            answers[size] = partial(_answer_from, model, question, draw, new_tokens)
            rows = model.request(question, [max(read, key=len)] * passages).rows
        progress("getting passages from the stores")
        alone = by_turns(gets, rounds=_GETS * rounds, device=device)
        progress("answering from the stores")
        whole = by_turns(answers, rounds=rounds, device=device)
    cell = _cell("store", f"rate {rate}", passages, rows, new_tokens, shape)
    amounts = [{GETS: 1.0, DOUBLINGS: math.log2(size)} for size in sizes]
    found = fit(amounts, [alone[size].median for size in sizes])
    answering = answer.expected(cell.notes)
    cells = []
    for size, amount in zip(sizes, amounts, strict=True):
        getting = found.expected(amount)
        for part, seconds, expected in (
            ("get", alone[size], getting),
            ("get and answer", whole[size], getting + answering),
        ):
            notes = {"part": part, "passages in the store": size, EXPECTED: expected}
            cells.append(replace(cell, seconds=seconds, notes={**notes, **amount}))
    return cells, found


class _Asked:
    """A question with passages, which begins with other words every time, so that no prompt is known."""

    def __init__(
        self, model: Cocom, workload: Workload, context: str, passages: int, new_tokens: int
    ) -> None:
        self._model, self._workload, self._new_tokens = model, workload, new_tokens
        self._context, self._passages, self._turn = context, passages, 0

    def __call__(self) -> None:
        """Answer it."""
        [question], [read] = self._workload.asked(self._context, self._passages, 1, self._turn)
        self._turn += 1
        _answer(self._model, question, read, self._new_tokens)


class _Drawn:
    """Passages of a store, others each time."""

    def __init__(self, store: DiskStore, passages: int) -> None:
        self._store, self._passages = store, passages
        self._ids = list(store.ids())
        self._order = random.Random(0)

    def get(self) -> list[ContextEmbeddings]:
        """Get as many as a question has."""
        entries = self._store.get(self._order.sample(self._ids, self._passages), texts=False)
        return [
            entry.contexts for entry in entries if entry is not None and entry.contexts is not None
        ]


def _answer_from(model: Cocom, question: str, draw: _Drawn, new_tokens: int) -> None:
    _answer(model, question, draw.get(), new_tokens)


def _answer(model: Cocom, question: str, passages: Sequence[PassageLike], new_tokens: int) -> None:
    answer = model.answer(question, passages, max_new_tokens=new_tokens)
    check_lengths([len(answer.token_ids)], new_tokens)


def _cell(what: str, context: str, passages: int, rows: int, new_tokens: int, sizes: Sizes) -> Cell:
    """A cell that was not measured yet, with what the formula counts."""
    operations = sizes.prefill_flops(rows, causal=True)
    # The weights once for each token; keys and values of all rows before it.
    kept = sum(rows + step for step in range(1, new_tokens))
    read = new_tokens * sizes.weight_bytes + kept * sizes.row_bytes
    return Cell(
        what=what,
        way="cocom",
        context=context,
        passages=passages,
        batch=1,
        new_tokens=new_tokens,
        seconds=None,
        rows=rows,
        notes={OPERATIONS: operations, BYTES: float(read)},
    )


def _too_long(cells: Sequence[Cell], cell: Cell, most_seconds: float) -> str:
    """Why a cell is left out, told by those before it; empty if it is not."""
    before = [c for c in cells if c.context == cell.context]
    if not before:
        return ""
    last = before[-1]
    if last.seconds is None:
        return last.skipped
    # Only what is computed grows with the passages, so this is the most that it can take.
    seconds = last.seconds.median * cell.notes[OPERATIONS] / last.notes[OPERATIONS]
    if sum(c.seconds is not None for c in cells) >= _ENOUGH:
        seconds = min(seconds, _fitted(cells)[1].expected(cell.notes))
    if seconds <= most_seconds:
        return ""
    return (
        f"an answer would take about {seconds:.0f} s, above the {most_seconds:g} s that one may take: allow "
        "more seconds."
    )


def _fitted(cells: Sequence[Cell]) -> tuple[list[Cell], Fit]:
    measured = [(cell.notes, cell.seconds.median) for cell in cells if cell.seconds is not None]
    amounts = [{name: notes[name] for name in (OPERATIONS, BYTES)} for notes, _ in measured]
    found = fit(amounts, [seconds for _, seconds in measured])
    return [
        replace(cell, notes={**cell.notes, EXPECTED: found.expected(cell.notes)}) for cell in cells
    ], found


def _check(numbers: Sequence[int], new_tokens: int, rounds: int) -> None:
    for number in (*numbers, new_tokens, rounds):
        if number < 1:
            raise InputError(f"numbers of passages, tokens and rounds start at 1, got {number}.")
