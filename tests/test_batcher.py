"""Requests of many callers: batches, order, a queue with an end, failing, cancelling, event loops."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

from cocom import (
    Answer,
    Cocom,
    CocomConfig,
    CocomView,
    ContextEmbeddings,
    GenerationOptions,
    Turn,
    Window,
)
from cocom.batcher import MicroBatcher
from cocom.errors import AnswerTimeoutError, InputError, PromptTooLongError, SlotMismatchError
from cocom.job import Job
from cocom.passes import passes_of
from cocom.reader import ReadRequest, Request
from cocom.running.line import Line
from cocom.running.runner import Take
from cocom.shared import default_store
from cocom.streaming import AnswerStream, AsyncAnswerStream
from cocom.testing import tiny_cocom

SHORT = GenerationOptions(max_new_tokens=4)
LONG = GenerationOptions(max_new_tokens=2000)
MODEL = tiny_cocom(CocomConfig(rates=(4,), window=32))
TOKEN, LETTER = MODEL.backbone.text.encode_text("N")[0], "N"


@pytest.fixture(scope="module")
def model() -> Cocom:
    return MODEL


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(["Ada was born in Rome.", "The river is long.", "x" * 50])


@pytest.fixture
def who(model: Cocom) -> ReadRequest:
    return model.chat_request("Who?")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    wait_until(lambda: not threads())


@dataclasses.dataclass
class Batch:
    """What began to be read together."""

    requests: list[ReadRequest]
    options: list[GenerationOptions]

    def __len__(self) -> int:
        return len(self.requests)


class Batches(list[Batch]):
    """What was read, batch by batch; while `held`, the first one waits, and others queue up.

    Attributes:
        most: Answers that were being written at the same time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.free = threading.Event()
        self.free.set()

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self]

    @contextmanager
    def held(self, batcher: MicroBatcher, request: ReadRequest) -> Iterator[Job]:
        """While one request is being read, as it seems."""
        self.free.clear()
        before = len(self)
        try:
            job = batcher.submit(request, GenerationOptions(max_new_tokens=1))
            wait_until(lambda: len(self) > before)
            yield job
        finally:
            self.free.set()


@pytest.fixture
def batches(model: Cocom, monkeypatch: pytest.MonkeyPatch) -> Batches:
    return recorded(model, monkeypatch)


def recorded(model: Cocom, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """What a model's queue has read from now on."""
    found = Batches()
    assert passes_of(model.backbone).usable()
    for runner in (model._reader._decoding, model._reader._generating):
        monkeypatch.setattr(runner, "run", partial(_recorded, found, runner.run))
    return found


def _recorded(found: Batches, run: Callable[[Take], None], take: Take) -> None:
    def watched(writing: Sequence[Line]) -> Sequence[Line]:
        more = take(writing)
        if more and threading.current_thread() in threads():
            found.append(Batch([line.request for line in more], [line.options for line in more]))
            found.most = max(found.most, len(writing) + len(more))
            assert found.free.wait(20)
        return more

    run(watched)


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "cocom-batcher"]


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


@contextmanager
def endless(
    model: Cocom, *, seconds: float = 0.003, fail_at: int | None = None
) -> Iterator[list[int]]:
    """The model writes one letter without end; yields a list that grows by the answers of a pass.

    2000 tokens would take more than six seconds.
    """
    assert passes_of(model.backbone).usable()
    steps: list[int] = []

    def write(_: Any, __: Any, logits: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        # (1, prompts, vocabulary) where prompts are read, (answers, 1, vocabulary) afterwards.
        steps.append(logits.shape[0] * logits.shape[1])
        if len(steps) == fail_at:
            raise RuntimeError("no more memory")
        forced = torch.full_like(logits, -100.0)
        forced[..., TOKEN] = 100.0
        return forced

    head: Any = model.backbone.model.get_output_embeddings()
    hook = head.register_forward_hook(write)
    try:
        yield steps
    finally:
        hook.remove()


def assert_stops(model: Cocom, steps: list[int]) -> None:
    """The model is free long before 2000 tokens are written, and writes no more."""
    wait_until(lambda: not threads(), 3)
    with model.backbone.used():
        done = len(steps)
    assert done < 700
    time.sleep(0.03)
    assert len(steps) == done


def alone(model: Cocom, request: Request, options: GenerationOptions = SHORT) -> Answer:
    return model._reader.read([request], options)[0]


def varied(model: Cocom, contexts: list[ContextEmbeddings], count: int) -> list[ReadRequest]:
    """Conversations of all lengths, with and without contexts."""
    draw = random.Random(0)
    return [
        model.chat_request(
            [
                Turn("system", draw.choices(contexts, k=draw.randrange(4))),
                Turn("user", f"Who is number {i}" + "?" * draw.randrange(30)),
            ]
        )
        for i in range(count)
    ]


# --- batches ---------------------------------------------------------------------------------------


def test_answers_to_many_threads_are_those_given_one_by_one(
    model: Cocom, contexts: list[ContextEmbeddings], batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_batch=8)
    requests = varied(model, contexts, 64)
    choices = [SHORT, GenerationOptions(max_new_tokens=9), GenerationOptions(stop=("a", "\n"))]
    options = [choices[i % 3] for i in range(64)]
    expected = [alone(model, r, o) for r, o in zip(requests, options, strict=True)]
    start = threading.Barrier(64)

    def ask(i: int) -> Answer:
        start.wait()
        if i % 2:
            return batcher.run([requests[i]], options[i])[0]
        stream = batcher.stream(requests[i], options[i])
        assert "".join(stream) == stream.answer.text
        return stream.answer

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, range(64))) == expected
    assert sum(batches.sizes) == 64
    assert 1 < batches.most <= 8
    given = {id(r): o for r, o in zip(requests, options, strict=True)}
    read = [pair for batch in batches for pair in zip(batch.requests, batch.options, strict=True)]
    assert all(given[id(request)] == one for request, one in read)


def test_what_waits_is_read_together(model: Cocom, who: ReadRequest, batches: Batches) -> None:
    batcher = MicroBatcher(model._reader, max_batch=4)
    with batches.held(batcher, who):
        jobs = [batcher.submit(who, SHORT) for _ in range(6)]
    assert {job.result().text for job in jobs} == {alone(model, who).text}
    assert batches.sizes == [1, 4, 2]


def test_a_full_batch_does_not_wait_for_more(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_batch=3, max_wait=60)
    assert len(batcher.run([who] * 3, SHORT, timeout=20)) == 3
    assert batches.sizes == [3]
    assert MicroBatcher(model._reader, max_wait=0).run([who], SHORT)


def test_requests_with_any_options_are_read_together_in_their_order(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_batch=3)
    a, b, c = (GenerationOptions(max_new_tokens=n) for n in (2, 3, 4))
    warm = GenerationOptions(max_new_tokens=5, temperature=0.7)
    order = [a, b, a, c, b, warm, a]
    with batches.held(batcher, who):
        jobs = [batcher.submit(who, options) for options in order]
    for job in jobs:
        assert job.result().usage.generated_tokens <= job.options.max_new_tokens
    assert batches[1].options == [a, b, a]
    assert [options for batch in batches[1:] for options in batch.options] == order
    assert batches.most == 3
    assert len(batches) > 3  # places are taken as they become free, not batch by batch


def test_a_beam_search_waits_for_its_turn_and_so_does_what_came_later(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    beams, others = (GenerationOptions(beams=n, max_new_tokens=4) for n in (2, 3))
    order = [SHORT, SHORT, beams, beams, others, SHORT, beams]
    with batches.held(batcher, who):
        jobs = [batcher.submit(who, options) for options in order]
    assert [job.result() for job in jobs] == [alone(model, who, options) for options in order]
    read = [batch.options for batch in batches[1:]]
    assert read == [[SHORT] * 2, [beams] * 2, [others], [SHORT], [beams]]


def test_a_request_joins_others_that_are_being_written(
    model: Cocom, contexts: list[ContextEmbeddings], who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader, max_batch=3)
    with endless(model) as steps:
        long = batcher.submit(who, LONG)
        wait_until(lambda: len(steps) > 3)
        answer = batcher.submit(who, SHORT).result(5)
        assert answer.token_ids == (TOKEN,) * 4
        assert not long.done()
        assert 2 in steps
        wait_until(lambda: steps[-1] == 1)
        more = [batcher.submit(who, SHORT) for _ in range(4)]  # two at a time
        assert [job.result(5).token_ids for job in more] == [(TOKEN,) * 4] * 4
        assert max(steps) == 3
        assert not long.done()
        long.cancel()
        assert_stops(model, steps)


def test_seeded_requests_repeat_in_any_company(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    seeded = GenerationOptions(max_new_tokens=8, temperature=1.5, seed=7)
    free = dataclasses.replace(seeded, seed=None)
    cold = GenerationOptions(max_new_tokens=8, seed=7)  # a seed that decides nothing
    with batches.held(batcher, who):
        jobs = [batcher.submit(who, o) for o in (seeded, seeded, free, free, cold, cold)]
    answers = [job.result() for job in jobs]
    assert answers[0] == answers[1] == alone(model, who, seeded)
    assert answers[4] == answers[5] == alone(model, who, cold)
    assert answers[2] != answers[3]
    assert batches.sizes[1:] == [6]


def test_rows_of_a_batch_are_limited(model: Cocom, batches: Batches) -> None:
    short, long = model.chat_request("Who?"), model.chat_request("Who is it?" * 20)
    limit = short.rows * 3
    assert long.rows > limit
    batcher = MicroBatcher(model._reader, max_rows=limit)
    with batches.held(batcher, short):
        jobs = [batcher.submit(r, SHORT) for r in (short, short, long, short, short, long)]
    assert [job.result() for job in jobs] == [alone(model, job.request) for job in jobs]
    read = [[r.rows for r in batch.requests] for batch in batches[1:]]
    # What cannot join waits, and nothing overtakes it.
    assert read == [[short.rows] * 2, [long.rows], [short.rows] * 2, [long.rows]]


def test_room_for_rows_is_used_while_others_are_written(model: Cocom, batches: Batches) -> None:
    short = model.chat_request("Who?")
    batcher = MicroBatcher(model._reader, max_rows=short.rows * 3)
    two, six = GenerationOptions(max_new_tokens=2), GenerationOptions(max_new_tokens=6)
    with batches.held(batcher, short):
        jobs = [batcher.submit(short, o) for o in (six, two, two, two, two)]
    assert [job.result() for job in jobs] == [alone(model, short, job.options) for job in jobs]
    assert batches.sizes == [1, 3, 2]
    assert batches.most == 3


def test_streams_share_batches_with_others(
    model: Cocom, contexts: list[ContextEmbeddings], batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    first, *requests = varied(model, contexts, 7)
    options = GenerationOptions(max_new_tokens=12)
    with batches.held(batcher, first), ThreadPoolExecutor(3) as pool:
        streams = [batcher.stream(request, options) for request in requests[:3]]
        texts = [pool.submit("".join, stream) for stream in streams]
        jobs = [batcher.submit(request, options) for request in requests[3:]]
        wait_until(lambda: len(batcher._waiting) == 6)
        batches.free.set()
        pieces = [text.result() for text in texts]
    expected = [alone(model, request, options) for request in requests]
    assert [*(s.answer for s in streams), *(j.result() for j in jobs)] == expected
    assert pieces == [answer.text for answer in expected[:3]]
    assert batches.sizes == [1, 6]


def test_a_model_has_one_batcher(monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where several threads are the first to ask; from Python 3.12 on, cached_property has no lock.
    def slowly(reader: Any) -> MicroBatcher:
        time.sleep(0.02)
        return MicroBatcher(reader)

    monkeypatch.setattr("cocom.engine.MicroBatcher", slowly)
    fresh = copy.copy(MODEL)
    start = threading.Barrier(8)

    def ask(_: int) -> MicroBatcher:
        start.wait()
        return fresh.batcher

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_a_model_is_copied_and_pickled_without_its_queue(model: Cocom, who: ReadRequest) -> None:
    expected = model.batcher.run([who], SHORT)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.batcher is not model.batcher
        assert other.batcher.run([other.chat_request("Who?")], SHORT) == expected


def test_the_thread_ends_with_the_last_request_and_comes_back(
    model: Cocom, who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader)
    assert not threads()
    for _ in range(3):
        answer = batcher.submit(who, SHORT).result()
        wait_until(lambda: not threads())
    assert answer == alone(model, who)
    with endless(model) as steps:
        jobs = [batcher.submit(who, LONG) for _ in range(2)]
        wait_until(lambda: len(steps) > 3)
        assert len(threads()) == 1
        for job in jobs:
            job.cancel()
        assert_stops(model, steps)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_batch": 0}, "max_batch must be at least 1, got 0"),
        ({"max_rows": 0}, "max_rows must be at least 1, got 0"),
        ({"max_wait": -1}, "max_wait must be at least 0, got -1"),
        ({"max_queue": 0}, "max_queue must be at least 1, got 0"),
    ],
)
def test_limits_that_cannot_be(model: Cocom, limits: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MicroBatcher(model._reader, **limits)


# --- the queue's end -------------------------------------------------------------------------------


def test_a_full_queue_lets_callers_wait_or_refuses(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_queue=2)
    with batches.held(batcher, who):
        waiting = [batcher.try_submit(who, SHORT) for _ in range(3)]
        assert [job is None for job in waiting] == [False, False, True]
        start = time.monotonic()
        with pytest.raises(AnswerTimeoutError, match=r"held 2 requests for all of 0\.05 s"):
            batcher.submit(who, SHORT, timeout=0.05)
        assert 0.04 < time.monotonic() - start < 5
        with pytest.raises(AnswerTimeoutError, match="held 2 requests"):
            batcher.run([who], SHORT, timeout=0.05)
        with pytest.raises(AnswerTimeoutError, match="held 2 requests"):
            next(batcher.stream(who, SHORT, timeout=0.05))
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(batcher.run, [who], SHORT)
            time.sleep(0.02)
            assert not late.done()
            batches.free.set()
            assert late.result() == [alone(model, who)]
    assert [job.result() for job in waiting if job] == [alone(model, who)] * 2


def test_more_requests_of_one_call_than_the_queue_holds(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader, max_queue=2, max_batch=2)
    assert batcher.run([who] * 9, SHORT, timeout=60) == [alone(model, who)] * 9


def test_room_that_cancelled_requests_leave_is_given_to_who_waits(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_queue=1)
    answers: list[Answer] = []
    with batches.held(batcher, who) as running:
        waiting = batcher.submit(who, SHORT)
        caller = threading.Thread(
            target=lambda: answers.append(batcher.submit(who, SHORT).result()), daemon=True
        )
        caller.start()
        time.sleep(0.02)
        assert waiting.cancel()
        batches.free.set()
        running.result()
    # Nobody else comes who could wake the caller.
    caller.join(3)
    stuck = caller.is_alive()
    if stuck:
        batcher.submit(who, SHORT).result()
    assert not stuck
    assert answers == [alone(model, who)]


def test_cancelled_requests_take_no_room(model: Cocom, who: ReadRequest, batches: Batches) -> None:
    batcher = MicroBatcher(model._reader, max_queue=1)
    with batches.held(batcher, who):
        batcher.submit(who, SHORT).cancel()
        job = batcher.try_submit(who, SHORT)
        assert job is not None
    assert job.result() == alone(model, who)


def test_requests_that_cannot_be_read_are_refused_before_they_are_queued(
    model: Cocom, who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader)
    long = model.chat_request("x" * 5000)
    for refused in (batcher.submit, batcher.try_submit, batcher.stream, batcher.astream):
        with pytest.raises(PromptTooLongError, match="the model reads 4096"):
            refused(long, SHORT)
    with pytest.raises(PromptTooLongError):
        batcher.run([who, long], SHORT)
    assert not threads()


async def test_a_beam_search_streams_as_one_piece(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    beams = GenerationOptions(beams=2, max_new_tokens=8)
    want = alone(model, who, beams)
    stream = batcher.stream(who, beams)
    assert list(stream) == [want.text]
    assert stream.answer == want
    assert [piece async for piece in batcher.astream(who, beams)] == [want.text]


def test_a_row_that_ends_does_not_wait_for_its_neighbours(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader, max_wait=0.2)
    with endless(model) as steps:
        long = batcher.submit(who, LONG)
        stream = batcher.stream(who, LONG)
        assert next(stream)
        wait_until(lambda: steps[-1] == 2)
        before = len(steps)
        stream.close()
        assert len(steps) - before < 20
        assert not long.done()
        started = time.monotonic()
        with pytest.raises(AnswerTimeoutError):
            list(batcher.stream(who, LONG, timeout=0.1))
        with pytest.raises(AnswerTimeoutError):
            batcher.run([who], LONG, timeout=0.1)
        assert time.monotonic() - started < 1
        long.cancel()
        assert_stops(model, steps)


def test_a_thread_that_cannot_start_fails_one_request_only(
    model: Cocom, who: ReadRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = MicroBatcher(model._reader)
    with monkeypatch.context() as patch:

        def no_more(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="new thread"):
            batcher.submit(who, SHORT)
    assert batcher.submit(who, SHORT).result(20) == alone(model, who)


def test_asking_in_the_thread_that_reads_is_refused(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    refused: list[BaseException] = []

    def ask(_: Any) -> None:
        try:
            batcher.run([who], SHORT)
        except InputError as error:
            refused.append(error)
        batcher.close()  # nor does it wait for itself here

    job = batcher.submit(who, SHORT)
    job.add_done_callback(ask)
    job.result(20)
    wait_until(lambda: bool(refused) or not threads())
    assert len(refused) == 1 or not threads()


def test_batching_can_be_configured(who: ReadRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    before = model.batcher
    model.configure_batching(max_batch=3, max_wait=0.5)
    assert model.batcher is not before
    batches = recorded(model, monkeypatch)
    assert model.batcher.run([who] * 7, SHORT) == [alone(model, who)] * 7
    assert batches.sizes == [3, 3, 1]
    with pytest.raises(InputError, match="max_batch must be at least 1, got 0"):
        model.configure_batching(max_batch=0)


@pytest.mark.parametrize("beams", [1, 2])
def test_what_a_failed_batch_held_is_let_go_before_it_is_tried_again(
    model: Cocom, who: ReadRequest, beams: int
) -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []
    alive: list[bool] = []
    options = dataclasses.replace(SHORT, beams=beams)
    want = alone(model, who, options)

    def read(_: Any, __: Any, logits: torch.Tensor) -> None:
        alive.extend(ref() is not None for ref in held)
        if logits.shape[0] * logits.shape[1] > beams:
            large = Large()
            held.append(weakref.ref(large))
            raise MemoryError("too much at once")

    head: Any = model.backbone.model.get_output_embeddings()
    hook = head.register_forward_hook(read)
    try:
        batcher = MicroBatcher(model._reader, max_wait=0.2)
        jobs = [batcher.submit(who, options) for _ in range(3)]
        assert [job.result(20) for job in jobs] == [want] * 3
    finally:
        hook.remove()
    assert alive
    assert not any(alive)


LEAVING = """
import sys
from cocom.errors import AnswerTimeoutError
from cocom.testing import tiny_cocom
model = tiny_cocom()
if sys.argv[1] == "stream":
    stream = model.stream("Who?", max_new_tokens=3000)
    next(stream)
elif sys.argv[1] == "thread":
    import threading, time
    ask = lambda: model.chat("Who?", max_new_tokens=3000)
    threading.Thread(target=ask, daemon=True).start()
    time.sleep(0.3)
else:
    from cocom import GenerationOptions
    options = GenerationOptions(max_new_tokens=3000)
    job = model.batcher.submit(model.request("Who?", []), options)
print("leaving")
"""


@pytest.mark.parametrize("way", ["stream", "job", "thread"])
def test_a_program_may_end_while_an_answer_is_written(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, way], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "leaving\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_queue_of_its_own(model: Cocom, who: ReadRequest) -> None:
    attention = model.backbone.model.config._attn_implementation
    beams = dataclasses.replace(SHORT, beams=2)
    with endless(model) as steps:
        want = alone(model, who, beams)
        stream = MicroBatcher(model._reader).stream(who, LONG)
        assert next(stream)
        view = CocomView(model)
        with default_store()._kept.lock:  # as if another thread were just using it
            child = os.fork()
        if child == 0:  # the parent's thread reads on in the parent only
            try:
                with pytest.raises(InputError, match="read it there"):
                    next(stream)
                stream.close()
                view.compress(["A passage that the parent does not know."])
                found = model.batcher.run(
                    [who], dataclasses.replace(LONG, max_new_tokens=3), timeout=20
                )
                # The language model itself is as it was, too.
                beam = model.backbone.model.config._attn_implementation, alone(model, who, beams)
                ok = len(found[0].token_ids) == 3 and beam == (attention, want)
                os._exit(0 if ok else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stream.close()
        assert_stops(model, steps)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_model_is_copied_and_pickled_while_it_writes(
    model: Cocom, who: ReadRequest, beams: int
) -> None:
    options = dataclasses.replace(SHORT, beams=beams)
    want = alone(model, who, options)
    with MicroBatcher(model._reader).stream(who, LONG) as stream:
        next(stream)
        copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    for other in copies:
        assert other.batcher.run([who], options, timeout=20) == [want]
        assert alone(other, who, options) == want


@pytest.mark.parametrize("stop", [(), ("e", "\n", "zz")])
def test_beam_searches_share_batches(
    model: Cocom, contexts: list[ContextEmbeddings], stop: tuple[str, ...]
) -> None:
    options = GenerationOptions(beams=3, max_new_tokens=6, stop=stop)
    requests = varied(model, contexts, 4)
    expected = [alone(model, request, options) for request in requests]
    assert MicroBatcher(model._reader).run(requests, options) == expected


def test_a_beam_search_can_be_stopped(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        jobs = [batcher.submit(who, dataclasses.replace(LONG, beams=2)) for _ in range(2)]
        wait_until(lambda: len(steps) > 3, 3)
        for job in jobs:
            job.cancel()
        assert_stops(model, steps)


# --- failing ---------------------------------------------------------------------------------------


def broken(model: Cocom, context: ContextEmbeddings) -> ReadRequest:
    cut = dataclasses.replace(context, windows=(Window(tokens=400, embeddings=100),))
    return model.chat_request([Turn("user", [cut, "Who?"])])


def test_a_request_that_fails_does_not_fail_its_batch(
    model: Cocom, contexts: list[ContextEmbeddings], batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    first, *good = varied(model, contexts, 5)
    with batches.held(batcher, first):
        jobs = [batcher.submit(request, SHORT) for request in good]
        bad = batcher.submit(broken(model, contexts[0]), SHORT)
    with pytest.raises(SlotMismatchError):
        bad.result()
    assert [job.result() for job in jobs] == [alone(model, request) for request in good]
    assert batches.sizes == [1, 5]  # the tries that follow need nobody to give the requests again
    with pytest.raises(SlotMismatchError):
        batcher.run([good[0], broken(model, contexts[0])], SHORT)
    assert batcher.run(good, SHORT) == [alone(model, request) for request in good]


def test_an_error_in_the_midst_of_a_batch_fails_only_who_was_told_tokens(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    told: list[int] = []
    with endless(model, fail_at=4) as steps:
        with batches.held(batcher, who):
            stream = batcher.submit(who, SHORT, told.append)
            job = batcher.submit(who, SHORT)
        with pytest.raises(RuntimeError, match="no more memory"):
            stream.result()
        assert job.result().usage.generated_tokens == 4
    assert steps == [1, 2, 2, 2, 1, 1, 1, 1]  # the first is the one that held them up
    assert told == [TOKEN] * 2  # and not told them twice
    assert batcher.run([who], SHORT) == [alone(model, who)]


def test_what_comes_after_a_failed_answer_is_read_as_if_nothing_had_been(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_batch=1)
    other = model.chat_request("Where is it, then?")
    told: list[int] = []
    with endless(model, fail_at=4), batches.held(batcher, who):
        stream = batcher.submit(who, SHORT, told.append)
        following = [batcher.submit(r, SHORT) for r in (other, who)]
        batches.free.set()
        with pytest.raises(RuntimeError, match="no more memory"):
            stream.result()
        assert [job.result(20).token_ids for job in following] == [(TOKEN,) * 4] * 2
    assert len(told) == 2
    assert batcher.run([other], SHORT) == [alone(model, other)]


def test_a_listener_that_fails_does_not_fail_others(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    def fail(token: int) -> None:
        raise ValueError("the listener is ill")

    batcher = MicroBatcher(model._reader)
    with batches.held(batcher, who):
        bad = batcher.submit(who, SHORT, fail)
        good = batcher.submit(who, SHORT)
    with pytest.raises(ValueError, match="the listener is ill"):
        bad.result()
    assert good.result() == alone(model, who)


# --- cancelling ------------------------------------------------------------------------------------


def test_a_request_that_waits_can_be_taken_back(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    other = model.chat_request("Where?")
    with batches.held(batcher, who):
        job, kept = batcher.submit(other, SHORT), batcher.submit(who, SHORT)
        assert job.cancel()
        assert job.cancelled()
    with pytest.raises(CancelledError):
        job.result()
    assert kept.result() == alone(model, who)
    assert all(request is not other for batch in batches for request in batch.requests)
    assert not kept.cancel()
    assert kept.result() == alone(model, who)


def test_a_request_that_is_read_can_be_stopped_and_others_go_on(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    options = GenerationOptions(max_new_tokens=40)
    told: list[int] = []
    with endless(model) as steps:
        with batches.held(batcher, who):
            stopped = batcher.submit(who, options, told.append)
            other = batcher.submit(who, options)
        wait_until(lambda: len(told) > 3)
        assert stopped.cancel()
        assert other.result().token_ids == (TOKEN,) * 40
    with pytest.raises(CancelledError):
        stopped.result()
    assert len(told) < 40
    # The one that was stopped leaves at once.
    assert steps == [1, *[2] * len(told), *[1] * (40 - len(told))]


def test_a_batch_whose_requests_are_all_stopped_ends(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader, max_wait=0.05)
    with endless(model) as steps:
        jobs = [batcher.submit(who, LONG) for _ in range(4)]
        wait_until(lambda: len(steps) > 3)
        for job in jobs:
            assert job.cancel()
        assert_stops(model, steps)
    for job in jobs:
        with pytest.raises(CancelledError):
            job.result()


def test_a_call_that_fails_takes_its_other_requests_back(
    model: Cocom, who: ReadRequest, contexts: list[ContextEmbeddings]
) -> None:
    batcher = MicroBatcher(model._reader, max_batch=1)
    with endless(model) as steps:
        with pytest.raises(SlotMismatchError):
            batcher.run([broken(model, contexts[0]), who, who], LONG)
        assert_stops(model, steps)


# --- streams of threads ----------------------------------------------------------------------------


def left_by_break(batcher: MicroBatcher, request: ReadRequest) -> AnswerStream:
    with batcher.stream(request, LONG) as stream:
        for _ in stream:
            break
    return stream


def test_leaving_a_stream_stops_it(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        stream = left_by_break(batcher, who)
        assert_stops(model, steps)
    assert list(stream) == []
    with pytest.raises(InputError, match="has not been read to its end"):
        _ = stream.answer


def test_a_stream_that_nobody_holds_any_more_stops(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        stream = batcher.stream(who, LONG)
        next(stream)
        del stream
        gc.collect()
        assert_stops(model, steps)


def test_a_stream_can_be_closed_while_another_thread_reads_it(
    model: Cocom, who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps, ThreadPoolExecutor(1) as pool:
        stream = batcher.stream(who, LONG)
        pieces = pool.submit(list, stream)
        wait_until(lambda: len(steps) > 3)
        stream.close()
        assert set(pieces.result(5)) == {LETTER}
        assert_stops(model, steps)


def test_closing_a_stream_that_waits_does_not_wait_for_others(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader)
    with batches.held(batcher, who), ThreadPoolExecutor(2) as pool:
        stream = batcher.stream(who, SHORT)
        pieces = pool.submit(list, stream)
        wait_until(lambda: len(batcher._waiting) == 1)
        closing = pool.submit(stream.close)
        try:
            closing.result(2)
        finally:
            batches.free.set()
        assert pieces.result(5) == []


# --- event loops -----------------------------------------------------------------------------------


async def ticks(until: asyncio.Event) -> list[float]:
    """When the loop got round to us, again and again."""
    times = []
    while not until.is_set():
        times.append(time.monotonic())
        await asyncio.sleep(0.002)
    return times


async def test_the_event_loop_goes_on_while_answers_are_written(
    model: Cocom, who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader)
    options = GenerationOptions(max_new_tokens=40)
    for streaming in (False, True):
        done = asyncio.Event()
        ticker = asyncio.create_task(ticks(done))
        with endless(model, seconds=0.01):
            if streaming:
                stream = batcher.astream(who, options)
                assert len([piece async for piece in stream]) >= 38
                answer = stream.answer
            else:
                answer = await batcher.arun(who, options)
        done.set()
        times = await ticker
        assert answer.token_ids == (TOKEN,) * 40
        # A loop that waits for the answer ticks once or twice; on a busy machine 0.4 s are less.
        assert len(times) > 25


async def test_the_event_loop_goes_on_while_a_model_is_tried_out(who: ReadRequest) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    batcher = MicroBatcher(model._reader)
    held, free = threading.Event(), threading.Event()

    def hold() -> None:  # as a long compression does
        with model.backbone.used():
            held.set()
            assert free.wait(20)

    holder = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(held.wait, 20)
    done = asyncio.Event()
    ticker = asyncio.create_task(ticks(done))
    asking = [asyncio.create_task(batcher.arun(who, SHORT)) for _ in range(2)]
    await asyncio.sleep(0.1)
    asking += [asyncio.create_task(batcher.arun(who, SHORT)) for _ in range(2)]
    threading.Timer(0.4, free.set).start()
    await asyncio.sleep(0.1)
    assert not free.is_set(), "the loop stood still until the model was free"
    answers = await asyncio.gather(*asking)
    done.set()
    await asyncio.gather(ticker, holder)
    assert answers == [alone(model, who)] * 4


async def test_many_tasks_share_batches(
    model: Cocom, contexts: list[ContextEmbeddings], batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_queue=10)
    requests = varied(model, contexts, 40)
    expected = [alone(model, request) for request in requests]

    async def streamed(request: ReadRequest) -> Answer:
        async with batcher.astream(request, SHORT) as stream:
            text = "".join([piece async for piece in stream])
            assert text == stream.answer.text
            return stream.answer

    asked = [streamed(r) if i % 2 else batcher.arun(r, SHORT) for i, r in enumerate(requests)]
    assert list(await asyncio.gather(*asked)) == expected
    assert sum(batches.sizes) == 40
    assert batches.most > 1


async def test_tasks_wait_for_room_without_holding_up_the_loop(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_queue=1)
    with batches.held(batcher, who):
        job = batcher.submit(who, SHORT)
        with pytest.raises(AnswerTimeoutError, match=r"not there after 0\.05 s"):
            await batcher.arun(who, SHORT, timeout=0.05)
        with pytest.raises(AnswerTimeoutError, match=r"not there after 0\.05 s"):
            await anext(batcher.astream(who, SHORT, timeout=0.05))
        waits = asyncio.create_task(batcher.arun(who, SHORT))
        stream = batcher.astream(who, SHORT)
        streams = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.03)
        assert not waits.done()
        assert not streams.done()
        batches.free.set()
        assert await waits == alone(model, who)
        rest = [await streams, *[piece async for piece in stream]]
    assert "".join(rest) == stream.answer.text == alone(model, who).text
    assert job.result() == stream.answer


async def read_into(pieces: list[str], stream: AsyncAnswerStream) -> None:
    async for piece in stream:
        pieces.append(piece)


async def test_errors_reach_the_task(
    model: Cocom, who: ReadRequest, contexts: list[ContextEmbeddings]
) -> None:
    batcher = MicroBatcher(model._reader)
    bad = broken(model, contexts[0])
    with pytest.raises(SlotMismatchError):
        await batcher.arun(bad, SHORT)
    with pytest.raises(SlotMismatchError):
        await anext(batcher.astream(bad, SHORT))
    pieces: list[str] = []
    with endless(model, fail_at=4):
        stream = batcher.astream(who, LONG)
        with pytest.raises(RuntimeError, match="no more memory"):
            await read_into(pieces, stream)
    assert "".join(pieces) == LETTER * 3
    assert [piece async for piece in stream] == []
    with pytest.raises(InputError, match="has not been read to its end"):
        _ = stream.answer


async def test_leaving_an_async_stream_stops_it(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        async with batcher.astream(who, LONG) as stream:
            async for _ in stream:
                break
        await asyncio.to_thread(assert_stops, model, steps)
    assert [piece async for piece in stream] == []


async def test_closing_an_async_stream_stops_it(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        stream = batcher.astream(who, LONG)
        async for _ in stream:
            break
        stream.close()
        await asyncio.to_thread(assert_stops, model, steps)
    stream.close()
    assert [piece async for piece in stream] == []


async def test_an_async_stream_that_nobody_holds_any_more_stops(
    model: Cocom, who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        async for _ in batcher.astream(who, LONG):
            break
        gc.collect()
        await asyncio.to_thread(assert_stops, model, steps)


@pytest.mark.parametrize("streaming", [False, True])
async def test_cancelling_the_task_stops_the_row(
    model: Cocom, who: ReadRequest, streaming: bool
) -> None:
    batcher = MicroBatcher(model._reader)
    pieces: list[str] = []
    seen: list[AsyncAnswerStream] = []

    async def ask() -> None:
        if not streaming:
            await batcher.arun(who, LONG)
            return
        stream = batcher.astream(who, LONG)
        seen.append(stream)  # so that its end is not what stops it
        await read_into(pieces, stream)

    with endless(model) as steps:
        task = asyncio.create_task(ask())
        while len(steps) < 4:
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(assert_stops, model, steps)
    assert bool(pieces) == streaming
    assert await batcher.arun(who, SHORT) == alone(model, who)


async def test_a_timeout_of_the_caller_s_own_stops_the_row_too(
    model: Cocom, who: ReadRequest
) -> None:
    batcher = MicroBatcher(model._reader)
    with endless(model) as steps:
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.1):
                await batcher.arun(who, LONG)
        assert not isinstance(raised.value, AnswerTimeoutError)
        await asyncio.to_thread(assert_stops, model, steps)


async def test_cancelling_a_task_that_waits_in_the_queue(
    model: Cocom, who: ReadRequest, batches: Batches
) -> None:
    batcher = MicroBatcher(model._reader, max_queue=1)
    other = model.chat_request("Where?")
    with batches.held(batcher, who):
        queued = asyncio.create_task(batcher.arun(other, SHORT))
        await asyncio.sleep(0.02)
        outside = asyncio.create_task(batcher.arun(other, SHORT))
        await asyncio.sleep(0.02)
        for task in (queued, outside):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert await batcher.arun(who, SHORT) == alone(model, who)
    assert all(request is not other for batch in batches for request in batch.requests)


def test_a_loop_that_ends_in_the_midst_of_a_stream(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)
    kept: list[AsyncAnswerStream] = []

    async def start() -> None:
        kept.append(batcher.astream(who, LONG))
        await anext(kept[0])

    with endless(model) as steps:
        asyncio.run(start())
        done = len(steps)
        wait_until(lambda: len(steps) > done + 3)  # nobody listens, and nothing breaks
        kept[0].close()
        assert_stops(model, steps)
    assert batcher.run([who], SHORT) == [alone(model, who)]


def test_loops_of_several_threads(model: Cocom, who: ReadRequest) -> None:
    batcher = MicroBatcher(model._reader)

    def ask(_: int) -> Answer:
        return asyncio.run(batcher.arun(who, SHORT, timeout=60))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [alone(model, who)] * 16


async def test_pieces_of_async_streams_are_those_of_threads(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    batcher = MicroBatcher(model._reader)
    for request in varied(model, contexts, 4):
        for options in (GenerationOptions(max_new_tokens=30), GenerationOptions(stop=("e", "\n"))):
            expected = list(batcher.stream(request, options))
            assert [piece async for piece in batcher.astream(request, options)] == expected
            assert "".join(expected) == alone(model, request, options).text
