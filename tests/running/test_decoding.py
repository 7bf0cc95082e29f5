"""The decode loop: answers side by side are those of each alone, whoever comes, ends, fails or waits."""

from __future__ import annotations

import dataclasses
import faulthandler
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from cocom import (
    Answer,
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    GenerationOptions,
    Turn,
    Window,
)
from cocom.errors import SlotMismatchError
from cocom.exclusive import ExclusiveModule
from cocom.key_values import SlotKeyValues
from cocom.passes import Passes
from cocom.reader import ReadRequest
from cocom.running import decoding
from cocom.running.line import Line
from cocom.testing import tiny_cocom
from tests.running.lines import Asked, nothing_finite, run, tokens_of, warm, written

STOP = tuple("aeinost ,.;0123456789")


@pytest.fixture(scope="module")
def model() -> Cocom:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    assert warm(model)
    return model


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(["Ada was born in Rome.", "The river is long.", "x" * 150])


@pytest.fixture(scope="module")
def who(model: Cocom) -> ReadRequest:
    return model.chat_request("Who?")


@pytest.fixture(scope="module")
def long(model: Cocom) -> ReadRequest:
    return model.chat_request("Where was it, then, and why did nobody say so before?" * 3)


@pytest.fixture(autouse=True)
def not_for_ever() -> Iterator[None]:
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def most(count: int, **options: Any) -> GenerationOptions:
    return GenerationOptions(max_new_tokens=count, **options)


def alone(model: Cocom, request: ReadRequest, options: GenerationOptions) -> Answer:
    """What the other runner writes, which shares nothing with this one."""
    return written(model, [request], options, runner=model._reader._generating)[0]


def broken(model: Cocom, context: ContextEmbeddings) -> ReadRequest:
    cut = dataclasses.replace(context, windows=(Window(tokens=400, embeddings=100),))
    return model.chat_request([Turn("user", [cut, "Who?"])])


@contextmanager
def passes(model: Cocom, at: Callable[[int], None] | None = None) -> Iterator[list[int]]:
    """Answers of each pass through the model; `at` is called with the number of the pass."""
    sizes: list[int] = []

    def seen(_: Any, __: Any, logits: torch.Tensor) -> None:
        sizes.append(logits.shape[0] * logits.shape[1])
        if at is not None:
            at(len(sizes))

    head: Any = model.backbone.model.get_output_embeddings()
    hook = head.register_forward_hook(seen)
    try:
        yield sizes
    finally:
        hook.remove()


# --- company ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_the_same_whoever_comes_and_goes(
    model: Cocom, contexts: list[ContextEmbeddings], seed: int
) -> None:
    draw = random.Random(seed)
    asked = []
    for i in range(14):
        turns = [
            Turn("system", draw.choices(contexts, k=draw.randrange(3))),
            Turn("user", f"Who is number {i}" + "?" * draw.randrange(40)),
        ]
        options = most(draw.randint(1, 14), stop=STOP if draw.random() < 0.5 else ())
        asked.append(Asked(model.chat_request(turns), options, after=draw.randrange(12)))
    asked.sort(key=lambda one: one.after)
    asked[0].options = most(20)
    seen = run(model, asked, most=draw.randint(2, 6))
    assert max(seen) > 1
    for one in asked:
        assert one.answer == alone(model, one.request, one.options)


def test_who_comes_later_joins_those_that_are_being_written(
    model: Cocom, who: ReadRequest, long: ReadRequest
) -> None:
    first, later = Asked(long, most(20)), Asked(who, most(4), after=5)
    with passes(model) as sizes:
        seen = run(model, [first, later])
    assert tokens_of([first, later]) == [
        alone(model, long, most(20)).token_ids,
        alone(model, who, most(4)).token_ids,
    ]
    # Five tokens of the one; then the other's prompt, and three steps of both.
    assert sizes == [*[1] * 5, 1, *[2] * 3, *[1] * 12]
    assert seen[:2] == [0, 1]
    assert max(seen) == 2


def test_many_short_answers_pass_by_a_long_one(
    model: Cocom, who: ReadRequest, long: ReadRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots: list[int] = []
    real = SlotKeyValues.reserve

    def reserve(self: SlotKeyValues, count: int, rows: int) -> bool:
        slots.append(count)
        return real(self, count, rows)

    monkeypatch.setattr(SlotKeyValues, "reserve", reserve)
    options = most(60)
    ended: list[int] = []
    told: list[int] = []
    asked = [Asked(long, options, on_token=told.append)]
    asked += [Asked(who, most(3)) for _ in range(30)]
    with passes(model, at=lambda _: ended.append(sum(a.answer is not None for a in asked))):
        run(model, asked, most=3)
    assert asked[0].answer == alone(model, long, options)
    assert told == list(asked[0].answer.token_ids)
    short = alone(model, who, most(3))
    assert all(one.answer == short for one in asked[1:])
    assert max(slots) == 3  # slots of those that left are used again
    assert ended[45] >= 25  # nobody waits for the long one


def test_one_token_each(model: Cocom, who: ReadRequest, long: ReadRequest) -> None:
    want = [alone(model, request, most(1)) for request in (who, long, who)]
    assert written(model, [who, long, who], most(1)) == want
    assert written(model, [who, long, who], most(1), most=1) == want
    assert written(model, [], most(1)) == []


def test_a_run_ends_only_when_nobody_waits_any_more(model: Cocom, who: ReadRequest) -> None:
    asked = [Asked(who, most(n)) for n in (3, 3, 1, 1, 2, 2, 4)]
    for size in (1, 2, 3):
        run(model, asked, most=size)  # which makes sure that all were taken
        assert all(one.answer == alone(model, who, one.options) for one in asked)


def test_who_is_not_wanted_any_more_leaves_at_once(
    model: Cocom, who: ReadRequest, long: ReadRequest
) -> None:
    left = Asked(who, most(40))

    def listen(token: int) -> None:
        left.told.append(token)
        left.stop = len(left.told) == 5

    left.on_token = listen
    other = Asked(long, most(12))
    with passes(model) as sizes:
        run(model, [left, other])
    assert other.answer == alone(model, long, most(12))
    assert left.answer is not None
    assert left.answer.token_ids == alone(model, who, most(40)).token_ids[:5]
    assert sizes == [*[2] * 5, *[1] * 7]


# --- prompts and room ------------------------------------------------------------------------------


def test_prompts_of_too_many_rows_are_read_in_several_passes(
    model: Cocom, who: ReadRequest, long: ReadRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [who, who, long, who, who, who]
    want = [alone(model, request, most(5)) for request in requests]
    monkeypatch.setattr(decoding, "_PROMPT_ROWS", who.rows * 2)
    read: list[int] = []
    real = Passes.first

    def first(self: Passes, rows: Any, embeds: torch.Tensor, **options: Any) -> torch.Tensor:
        read.append(len(rows.lengths))
        return real(self, rows, embeds, **options)

    monkeypatch.setattr(Passes, "first", first)
    assert written(model, requests, most(5)) == want
    assert read == [2, 1, 2, 1]


def test_what_is_kept_stays_when_room_grows(
    model: Cocom, who: ReadRequest, long: ReadRequest
) -> None:
    # The first has little room; more slots, and rows beyond what was reserved, come later.
    asked = [Asked(who, most(30)), Asked(long, most(9), after=3), Asked(who, most(150), after=6)]
    asked += [Asked(long, most(2), after=9), Asked(who, most(5), after=9)]
    run(model, asked)
    for one in asked:
        assert one.answer == alone(model, one.request, one.options)


def test_slots_grow_and_keep_what_is_in_them() -> None:
    kept = SlotKeyValues()
    assert kept.reserve(2, 3)
    slots, rows = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    kept.aim(slots, rows, used=2, width=2)
    keys, values = torch.randn(2, 3, 4, 5)
    kept.write(0, keys, values)
    before = [part.clone() for part in kept.read(0)]
    assert torch.equal(before[0][0, :, 0], keys[0])
    assert torch.equal(before[1][1, :, 0], values[2])
    assert not kept.reserve(2, 3)
    assert not kept.reserve(1, 60)
    for slots_, rows_ in ((3, 3), (1, 200), (5, 300)):
        assert kept.reserve(slots_, rows_)
        assert all(torch.equal(a, b) for a, b in zip(before, kept.read(0), strict=True))
    kept.move(0, 4, 2)
    kept.aim(slots, rows, used=5, width=300)
    for part, old in zip(kept.read(0), before, strict=True):
        assert torch.equal(part[4, :, :2], old[0])
        assert not part[4, :, 2:].any()
        assert not part[2:4].any()
    kept.clear(slice(0, 2))
    assert not any(part[:2].any() for part in kept.read(0))
    assert all(part[4].any() for part in kept.read(0))


def test_numbers_that_are_none_stay_with_the_request_that_brought_them(
    model: Cocom, who: ReadRequest, long: ReadRequest, contexts: list[ContextEmbeddings]
) -> None:
    bad = nothing_finite(model.chat_request([Turn("user", [contexts[2], "Who?"])]))
    asked = [
        Asked(long, most(40)),
        Asked(bad, most(2)),
        Asked(who, most(9), after=4),  # takes its slot
        Asked(bad, most(6), after=15),
        Asked(who, most(9), after=15),  # moves into its slot
        Asked(bad, most(2), after=22),
    ]
    run(model, asked, most=3)
    good = [one for one in asked if one.request is not bad]
    assert [one.answer for one in good] == [alone(model, one.request, one.options) for one in good]


# --- failing ---------------------------------------------------------------------------------------


def test_a_request_that_cannot_be_read_fails_alone(
    model: Cocom, who: ReadRequest, long: ReadRequest, contexts: list[ContextEmbeddings]
) -> None:
    bad = broken(model, contexts[0])
    asked = [Asked(request, most(6)) for request in (who, bad, long, bad)]
    run(model, asked)
    assert [isinstance(one.error, SlotMismatchError) for one in asked] == [False, True] * 2
    assert asked[0].answer == alone(model, who, most(6))
    assert asked[2].answer == alone(model, long, most(6))


@pytest.mark.parametrize("every", [2, 3, 5])
def test_those_being_written_go_on_when_one_that_joins_fails(
    model: Cocom,
    who: ReadRequest,
    long: ReadRequest,
    contexts: list[ContextEmbeddings],
    every: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked_for = 0

    def wanted(_: ExclusiveModule) -> bool:  # another thread asks for the model now and then
        nonlocal asked_for
        asked_for += 1
        return asked_for % every == 0

    monkeypatch.setattr(ExclusiveModule, "wanted", property(wanted))
    asked = [Asked(long, most(20)), Asked(broken(model, contexts[0]), most(3), after=5)]
    asked += [Asked(who, most(4), after=8), Asked(broken(model, contexts[0]), most(3), after=9)]
    run(model, asked)
    assert asked[0].answer == alone(model, long, most(20))
    assert asked[2].answer == alone(model, who, most(4))
    assert [isinstance(one.error, SlotMismatchError) for one in asked] == [False, True] * 2


def failing(at: int) -> Callable[[int], None]:
    def fail(number: int) -> None:
        if number == at:
            raise RuntimeError("no more memory")

    return fail


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_pass_that_fails_is_the_end_of_those_that_were_told_tokens(
    model: Cocom, who: ReadRequest, long: ReadRequest, at: int
) -> None:
    told: list[int] = []
    asked = [Asked(who, most(6)), Asked(long, most(6), on_token=told.append), Asked(who, most(5))]
    with passes(model, at=failing(at)):
        run(model, asked)
    for one in (asked[0], asked[2]):
        assert one.answer == alone(model, who, one.options)
    want = alone(model, long, most(6))
    if at == 1:  # nobody had been told anything
        assert asked[1].answer == want
        assert told == list(want.token_ids)
    else:
        assert str(asked[1].error) == "no more memory"
        assert told == list(want.token_ids[: at - 1])


def test_what_joins_after_a_failed_step_is_read_as_if_nothing_had_been(
    model: Cocom, who: ReadRequest, long: ReadRequest
) -> None:
    told: list[int] = []
    asked = [Asked(long, most(6), on_token=told.append)]
    asked += [Asked(who, most(6)), Asked(long, most(3))]
    with passes(model, at=failing(3)):
        run(model, asked, most=1)
    assert str(asked[0].error) == "no more memory"
    assert [one.answer for one in asked[1:]] == [
        alone(model, who, most(6)),
        alone(model, long, most(3)),
    ]


def test_what_fails_every_time_is_told(model: Cocom, who: ReadRequest) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("no more memory")

    asked = [Asked(who, most(6)) for _ in range(3)]
    with passes(model, at=fail) as sizes:
        run(model, asked)
    assert [str(one.error) for one in asked] == ["no more memory"] * 3
    assert sizes == [3, 1, 1, 1]
    assert written(model, [who], most(3)) == [alone(model, who, most(3))]


def test_a_listener_that_fails_fails_its_own_line(
    model: Cocom, who: ReadRequest, long: ReadRequest
) -> None:
    def listener(after: int) -> Callable[[int], None]:
        told: list[int] = []

        def fail(token: int) -> None:
            told.append(token)
            if len(told) == after:
                raise ValueError("the listener is ill")

        return fail

    asked = [Asked(who, most(6), on_token=listener(n)) for n in (1, 3, 6, 99)]
    asked.insert(1, Asked(long, most(6)))
    with passes(model) as sizes:
        run(model, asked)
    assert [type(one.error) for one in asked] == [
        ValueError,
        type(None),
        *[ValueError] * 2,
        type(None),
    ]
    assert asked[1].answer == alone(model, long, most(6))
    assert asked[4].answer == alone(model, who, most(6))
    assert sizes == [5, 4, 4, 3, 3, 3]


def test_an_interrupt_ends_everything_and_leaves_the_model_in_order(
    model: Cocom, who: ReadRequest
) -> None:
    def interrupt(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    attention = model.backbone.model.config._attn_implementation
    with passes(model, at=interrupt), pytest.raises(KeyboardInterrupt):
        model.answer("Who?", max_new_tokens=9)
    assert model.backbone.model.config._attn_implementation == attention
    assert not model.backbone.wanted
    assert written(model, [who], most(3)) == [alone(model, who, most(3))]


# --- threads ---------------------------------------------------------------------------------------


def test_a_thread_that_compresses_does_not_wait_for_the_end_of_an_answer(
    model: Cocom, who: ReadRequest
) -> None:
    options = most(400)
    asked = Asked(who, options)
    waited: list[float] = []
    done = threading.Event()
    begun = threading.Event()

    def compress() -> None:
        begun.wait(20)
        for n in range(5):
            started = time.monotonic()
            assert model.compress([f"Passage {n}."])
            waited.append(time.monotonic() - started)
            if asked.answer is not None:
                return
        done.set()

    def slowly(number: int) -> None:
        begun.set()
        time.sleep(0.005)

    thread = threading.Thread(target=compress)
    thread.start()
    started = time.monotonic()
    with passes(model, at=slowly):
        run(model, [asked])
    took = time.monotonic() - started
    thread.join(20)
    assert done.is_set(), "the answer was written before five passages were compressed"
    assert max(waited) < took / 4
    assert asked.answer == alone(model, who, options)


def test_calls_of_two_threads_get_the_answers_they_get_alone(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    questions = ["Who?", "Where was it, then?", "When?", "Why is it so?"]
    passages: list[list[Any]] = [[], contexts[:2], ["text", contexts[0]], [contexts[2]]]
    options: list[dict[str, Any]] = [
        {"max_new_tokens": 20},
        {"max_new_tokens": 30, "stop": STOP, "batch_size": 2},
        {"max_new_tokens": 12, "beams": 2},
    ]
    want = [model.answer_batch(questions, passages, **one) for one in options]
    start = threading.Barrier(6)

    def ask(n: int) -> bool:
        start.wait(20)
        return all(
            model.answer_batch(questions, passages, **options[i % 3]) == want[i % 3]
            for i in range(n, n + 3)
        )

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6), timeout=40)) == [True] * 6


def test_threads_that_do_everything_at_once_all_get_done(
    model: Cocom, contexts: list[ContextEmbeddings], who: ReadRequest
) -> None:
    model.configure_batching(max_batch=4, max_wait=0.001)
    text = alone(model, who, most(15))
    one = model.compress(["A passage."])[0].embeddings
    end = time.monotonic() + 2
    counts = dict.fromkeys(("compress", "answer", "stream", "batch", "leave", "beams"), 0)
    wrong: list[str] = []

    def check(name: str, right: bool) -> None:
        counts[name] += 1
        if not right:
            wrong.append(name)

    def work(name: str) -> None:
        while time.monotonic() < end or not counts[name]:
            if name == "compress":
                (found,) = model.compress(["A passage."])
                check(name, torch.equal(found.embeddings, one))
            elif name == "answer":
                check(name, model.chat("Who?", max_new_tokens=15) == text)
            elif name == "stream":
                stream = model.batcher.stream(who, most(15), timeout=30)
                check(name, "".join(stream) == text.text)
            elif name == "batch":
                found_answers = model.batcher.run([who] * 3, most(15), timeout=30)
                check(name, found_answers == [text] * 3)
            elif name == "leave":
                with model.batcher.stream(who, most(500), timeout=30) as left:
                    next(left)
                check(name, True)
            else:
                check(name, bool(model.chat("Who?", max_new_tokens=3, beams=2).token_ids))

    names = [*counts, "answer", "compress", "stream"]
    with ThreadPoolExecutor(len(names)) as pool:
        for future in [pool.submit(work, name) for name in names]:
            future.result(30)
    assert not wrong
    assert min(counts.values()) > 0
    assert not model.backbone.wanted


def test_lines_know_what_nobody_was_told(model: Cocom, who: ReadRequest) -> None:
    told: list[int] = []
    lines: Sequence[Line] = [
        Asked(who, most(5), on_token=on_token).line(model) for on_token in (None, told.append)
    ]
    for line in lines:
        assert not line.told
        line.add(70)
    assert [line.told for line in lines] == [False, True]
    lines[0].restart()
    assert lines[0].ids == []
    assert told == [70]
