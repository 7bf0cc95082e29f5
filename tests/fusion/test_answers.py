"""Answers from passages that are read apart: what has to hold whatever the model says."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch

from cocom import (
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    GenerationOptions,
    Window,
)
from cocom.errors import SlotMismatchError
from cocom.fusion import writing
from cocom.fusion.mixture import mix
from cocom.fusion.streams import SlotStreams
from cocom.requests import fused_request
from cocom.testing import tiny_cocom
from tests.fusion.tiny import FUSIONS, QUESTION, STOP, TEXTS, WAYS, near, scored
from tests.running.lines import Asked, nothing_finite, run, warm


@pytest.fixture(scope="module")
def model() -> Cocom:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    assert warm(model)
    return model


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(TEXTS)


# --- one passage, no passage, passages that count for nothing --------------------------------------


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("given", [{}, {"stop": STOP}, {"beams": 3, "length_penalty": 1.0}])
def test_at_most_one_passage_answers_as_concat(
    model: Cocom, contexts: list[ContextEmbeddings], fusion: str, count: int, given: dict[str, Any]
) -> None:
    for passage in (contexts[0], TEXTS[1], contexts[2]):
        read = [passage][:count]
        wanted = model.answer(QUESTION, read, max_new_tokens=9, **given)
        got = model.answer(QUESTION, read, max_new_tokens=9, fusion=fusion, **given)
        assert dataclasses.replace(got, fusion=None) == wanted
        assert got.fusion is not None
        assert got.fusion.shares == (1.0,) * count


@pytest.mark.parametrize("seed", range(4))
def test_one_passage_is_drawn_from_as_concat_draws(
    model: Cocom, contexts: list[ContextEmbeddings], seed: int
) -> None:
    drawn: dict[str, Any] = {"temperature": 1.5, "seed": seed, "top_p": 0.95, "max_new_tokens": 12}
    wanted = model.answer(QUESTION, contexts[:1], **drawn)
    got = model.answer(QUESTION, contexts[:1], fusion="rag-token", **drawn)
    assert got.token_ids == wanted.token_ids


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_passage_with_all_the_weight_answers_alone(
    model: Cocom, contexts: list[ContextEmbeddings], fusion: str
) -> None:
    never = -float("inf")
    for scores in ([never, 2.0, never], [-1e6, 0.0, -1e6]):
        got = model.answer(QUESTION, contexts[:3], scores=scores, fusion=fusion, max_new_tokens=8)
        wanted = model.answer(QUESTION, contexts[1:2], max_new_tokens=8)
        assert got.fusion is not None
        assert got.fusion.shares == pytest.approx((0, 1, 0))
        if fusion != "rag-sequence-fast" or never in scores:
            assert got.token_ids == wanted.token_ids
    # What counts for nothing is not even read.
    unread = model.answer(
        QUESTION, contexts[:3], scores=[never, 0, never], fusion=fusion, max_new_tokens=8
    )
    assert unread.usage == wanted.usage


@pytest.mark.parametrize("given", WAYS)
def test_equal_passages_answer_as_one(
    model: Cocom, contexts: list[ContextEmbeddings], given: dict[str, Any]
) -> None:
    one = model.answer(QUESTION, contexts[:1], max_new_tokens=8, **given)
    many = model.answer(QUESTION, [contexts[0]] * 4, scores=[1, 2, 0, 3], max_new_tokens=8, **given)
    assert many.token_ids == one.token_ids
    assert one.fusion is not None
    assert many.fusion is not None
    assert many.fusion.log_probability == pytest.approx(one.fusion.log_probability, abs=1e-4)
    assert many.usage.prompt_rows == 4 * one.usage.prompt_rows


@pytest.mark.parametrize("given", WAYS)
def test_the_order_of_passages_changes_nothing(
    model: Cocom, contexts: list[ContextEmbeddings], given: dict[str, Any]
) -> None:
    read: list[str | ContextEmbeddings] = [*contexts[:3], *TEXTS[3:]]
    scores = [0.5, 1.5, -1.0, 2.0, 0.0]
    wanted = model.answer(QUESTION, read, scores=scores, max_new_tokens=8, **given)
    order = [3, 0, 4, 2, 1]
    got = model.answer(
        QUESTION,
        [read[i] for i in order],
        scores=[scores[i] for i in order],
        max_new_tokens=8,
        **given,
    )
    assert got.token_ids == wanted.token_ids
    assert wanted.fusion is not None
    shares = [wanted.fusion.shares[i] for i in order]
    assert scored(got) == pytest.approx([wanted.fusion.log_probability, *shares], abs=1e-4)


def test_the_passages_here_have_answers_of_their_own(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    alone = [model.answer(QUESTION, [c], max_new_tokens=8).token_ids for c in contexts]
    assert len(set(alone)) > 3


# --- company ---------------------------------------------------------------------------------------


def many(
    contexts: list[ContextEmbeddings], draw: random.Random
) -> tuple[list[str], list[list[str | ContextEmbeddings]], list[list[float] | None]]:
    """Questions with their passages, context embeddings and texts mixed, and scores."""
    questions: list[str] = []
    passages: list[list[str | ContextEmbeddings]] = []
    scores: list[list[float] | None] = []
    for i in range(9):
        count = draw.randrange(6)
        pairs: list[list[str | ContextEmbeddings]] = [
            list(p) for p in zip(contexts, TEXTS, strict=True)
        ]
        read = [draw.choice(pairs[j]) for j in draw.sample(range(5), count)]
        questions.append(f"What is number {i}" + "?" * draw.randint(1, 20))
        passages.append(read)
        scores.append([draw.gauss(0, 1) for _ in read] if draw.random() < 0.7 else None)
    return questions, passages, scores


@pytest.mark.parametrize("given", WAYS)
def test_many_questions_are_answered_as_one_at_a_time(
    model: Cocom, contexts: list[ContextEmbeddings], given: dict[str, Any]
) -> None:
    questions, passages, scores = many(contexts, random.Random(len(str(given))))
    alone = [
        model.answer(q, p, scores=s, max_new_tokens=7, **given)
        for q, p, s in zip(questions, passages, scores, strict=True)
    ]
    for size in (4, 16):
        together = model.answer_batch(
            questions, passages, scores=scores, batch_size=size, max_new_tokens=7, **given
        )
        assert all(map(near, together, alone))


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_the_same_whoever_comes_and_goes(
    model: Cocom, contexts: list[ContextEmbeddings], seed: int
) -> None:
    draw = random.Random(seed)
    questions, passages, scores = many(contexts, draw)
    asked = []
    for question, read, weights in zip(questions, passages, scores, strict=True):
        given = {**draw.choice(WAYS), "max_new_tokens": draw.randint(1, 9)}
        options = GenerationOptions(**given)
        request = model.request_for(question, read, options, weights)
        asked.append(Asked(request, options, after=draw.randrange(5)))  # type: ignore[arg-type]
    asked.sort(key=lambda one: one.after)
    runner = model._reader.runner(asked[0].options)
    seen = run(model, asked, runner=runner, most=draw.randint(2, 6))
    assert max(seen) > 1
    for one in asked:
        (answer,) = model._reader.read([one.request], one.options)
        assert one.answer is not None
        assert near(one.answer, answer)


def test_a_bad_question_harms_no_other(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    options = GenerationOptions(fusion="rag-sequence", beams=2, max_new_tokens=6)
    good = model.request_for(QUESTION, contexts[:3], options)
    cut = dataclasses.replace(contexts[0], windows=(Window(tokens=400, embeddings=100),))
    bad = model.request_for(QUESTION, [contexts[1], cut], options)
    poisoned = fused_request(model.backbone, model.fingerprint, QUESTION, contexts[:2])
    prompts = (nothing_finite(poisoned.prompts[0]), poisoned.prompts[1])
    poisoned = dataclasses.replace(poisoned, prompts=prompts)
    asked = [Asked(r, options) for r in (good, bad, poisoned, good)]  # type: ignore[arg-type]
    run(model, asked, runner=model._reader.runner(options))
    (wanted,) = model._reader.read([good], options)
    assert isinstance(asked[1].error, SlotMismatchError)
    for one in (asked[0], asked[3]):
        assert one.answer is not None
        assert near(one.answer, wanted)
    assert asked[2].answer is not None or asked[2].error is not None


def test_a_batch_that_fails_is_tried_one_by_one(
    model: Cocom, contexts: list[ContextEmbeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = model.answer(QUESTION, contexts[:3], fusion="rag-token", max_new_tokens=5)
    real: Any = model.backbone.model.forward

    def forward(*given: Any, **named: Any) -> Any:
        ids = named.get("input_ids")
        if ids is not None and len(ids) > 3:
            raise torch.OutOfMemoryError("too many")
        return real(*given, **named)

    monkeypatch.setattr(model.backbone.model, "forward", forward)
    got = model.answer_batch(
        [QUESTION] * 3, [contexts[:3]] * 3, fusion="rag-token", max_new_tokens=5
    )
    assert all(near(answer, wanted) for answer in got)
    with pytest.raises(torch.OutOfMemoryError):
        model.answer(QUESTION, contexts[:4], fusion="rag-token", max_new_tokens=5)


def test_what_is_tried_for_one_answer_fails_no_other(
    model: Cocom, contexts: list[ContextEmbeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    streamed = GenerationOptions(fusion="rag-token", max_new_tokens=9)
    tried = GenerationOptions(fusion="rag-sequence", max_new_tokens=3)
    asked = [
        Asked(model.request_for(QUESTION, contexts[:2], streamed), streamed, on_token=told.append),  # type: ignore[arg-type]
        Asked(model.request_for(QUESTION, contexts[2:], tried), tried, after=2),  # type: ignore[arg-type]
    ]
    wanted = [model._reader.read([one.request], one.options)[0] for one in asked]
    real = SlotStreams.behind
    calls: list[int] = []

    def behind(self: SlotStreams, *given: Any) -> Any:
        calls.append(self.rows)
        if self.rows > 3:  # there is no memory for it beside others
            raise torch.OutOfMemoryError("too many")
        return real(self, *given)

    monkeypatch.setattr(SlotStreams, "behind", behind)
    run(model, asked, runner=model._reader.runner(streamed))
    assert calls == [5, 3]
    for one, answer in zip(asked, wanted, strict=True):
        assert one.answer is not None
        assert near(one.answer, answer)
    assert tuple(told) == wanted[0].token_ids


def test_what_is_over_when_others_fail_is_told_as_a_whole(
    model: Cocom, contexts: list[ContextEmbeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = GenerationOptions(fusion="rag-token", max_new_tokens=1)
    asked = [Asked(model.request_for(QUESTION, contexts[:n], options), options) for n in (1, 2)]  # type: ignore[arg-type]
    wanted = [model._reader.read([one.request], options)[0] for one in asked]
    calls: list[int] = []

    def mixed(logits: torch.Tensor, prior: torch.Tensor) -> Any:
        calls.append(logits.shape[1])
        if calls == [1, 2]:
            raise torch.OutOfMemoryError("too many")
        return mix(logits, prior)

    monkeypatch.setattr(writing, "mix", mixed)
    run(model, asked, runner=model._reader.runner(options))
    assert calls == [1, 2, 2]
    for one, answer in zip(asked, wanted, strict=True):
        assert one.answer is not None
        assert near(one.answer, answer)
