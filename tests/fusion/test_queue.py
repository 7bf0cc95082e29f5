"""Passages read apart through the queue: streams, time limits, taking back, and views."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cocom import Cocom, CocomConfig, CocomView, ContextEmbeddings, GenerationOptions, MemoryStore
from cocom.errors import AnswerTimeoutError, PromptTooLongError
from cocom.testing import tiny_cocom
from tests.fusion.tiny import FUSIONS, QUESTION, STOP, TEXTS, WAYS, near
from tests.running.lines import warm


@pytest.fixture(scope="module")
def model() -> Cocom:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    assert warm(model)
    return model


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(TEXTS)


@pytest.mark.parametrize("given", WAYS)
def test_the_pieces_of_a_stream_are_the_answer_s_text(
    model: Cocom, contexts: list[ContextEmbeddings], given: dict[str, Any]
) -> None:
    read: list[str | ContextEmbeddings] = [*contexts[:2], *TEXTS[2:4]]
    given = {**given, "scores": [1, 0, 2, 1], "max_new_tokens": 20}
    wanted = model.answer(QUESTION, read, **given)
    stream = model.stream(QUESTION, read, **given)
    pieces = list(stream)
    assert "".join(pieces) == wanted.text
    assert near(stream.answer, wanted)
    one_by_one = given["fusion"] == "rag-token" and given.get("beams", 1) == 1
    if not one_by_one:
        assert len(pieces) <= 1
    elif "stop" not in given:
        assert len(pieces) > 1


def test_a_closed_stream_ends_at_once_and_others_go_on(
    model: Cocom, contexts: list[ContextEmbeddings], slow: Callable[..., Any]
) -> None:
    wanted = model.answer(QUESTION, contexts, fusion="rag-token", max_new_tokens=12)
    calls = slow(model)
    stream = model.stream(QUESTION, contexts, fusion="rag-token", max_new_tokens=400)
    next(stream)
    other = model.stream(QUESTION, contexts, fusion="rag-token", max_new_tokens=12)
    next(other)
    stream.close()
    assert "".join(other) in wanted.text
    assert near(other.answer, wanted)
    assert calls.stopped()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("beams", [1, 2])
def test_an_answer_that_takes_too_long_is_stopped(
    model: Cocom,
    contexts: list[ContextEmbeddings],
    slow: Callable[..., Any],
    fusion: str,
    beams: int,
) -> None:
    calls = slow(model)
    options = GenerationOptions(fusion=fusion, beams=beams, max_new_tokens=400)  # type: ignore[arg-type]
    request = model.request_for(QUESTION, contexts, options)
    with pytest.raises(AnswerTimeoutError, match=r"not there after 0\.1 s"):
        model.batcher.run([request], options, timeout=0.1)
    assert calls.stopped()


def test_questions_of_many_threads_are_answered_together_as_alone(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    ways: list[dict[str, Any]] = [*WAYS, {"fusion": "concat"}, {"fusion": "concat", "beams": 2}]
    wanted = [model.answer(QUESTION, contexts[:3], **way, max_new_tokens=8) for way in ways]
    got: dict[int, Any] = {}

    def ask(i: int) -> None:
        options = GenerationOptions(**ways[i], max_new_tokens=8)
        request = model.request_for(QUESTION, contexts[:3], options)
        (got[i],) = model.batcher.run([request], options)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(ways))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, answer in enumerate(wanted):
        assert got[i] == answer or near(got[i], answer)


async def test_an_event_loop_streams_and_waits(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    options = GenerationOptions(fusion="rag-token", max_new_tokens=10)
    request = model.request_for(QUESTION, contexts, options, [2, 1, 0, 1, 2])
    wanted, *others = await asyncio.gather(
        *(model.batcher.arun(request, options) for _ in range(3))
    )
    assert all(near(other, wanted) for other in others)
    async with model.batcher.astream(request, options) as stream:
        pieces = [piece async for piece in stream]
    assert "".join(pieces) == wanted.text
    assert near(stream.answer, wanted)


def test_a_callback_that_fails_fails_only_its_own_answer(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    options = GenerationOptions(fusion="rag-token", max_new_tokens=10, stop=STOP)
    request = model.request_for(QUESTION, contexts, options)
    (wanted,) = model.batcher.run([request], options)

    def told(token: int) -> None:
        raise ZeroDivisionError("nobody listens")

    bad = model.batcher.submit(request, options, told)
    good = model.batcher.submit(request, options)
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    assert near(good.result(10), wanted)


def test_a_view_keeps_its_limits(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    options = GenerationOptions(fusion="rag-sequence", max_new_tokens=5)
    rows = max(
        prompt.rows
        for prompt in model.request_for(QUESTION, contexts, options).prompts  # type: ignore[union-attr]
    )
    view = CocomView(model, store=MemoryStore(), max_rows=rows, max_references=5)
    request = view.request_for(QUESTION, contexts, options, [1, 2, 3, 4, 5])
    wanted = model.answer(
        QUESTION, contexts, scores=[1, 2, 3, 4, 5], fusion="rag-sequence", max_new_tokens=5
    )
    (got,) = view.model.batcher.run([request], options)
    assert near(got, wanted)
    with pytest.raises(PromptTooLongError, match="max_rows"):
        view.request_for(QUESTION, contexts, GenerationOptions())
    with pytest.raises(PromptTooLongError, match="holds 6 references"):
        view.request_for(QUESTION, [*contexts, contexts[0]], options)
