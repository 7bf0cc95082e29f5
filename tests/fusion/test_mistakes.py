"""Scores, options and answers that cannot be, and prompts that are too long."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cocom import (
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    GenerationOptions,
    Turn,
)
from cocom.errors import InputError, PromptTooLongError
from cocom.generation import call_options
from cocom.requests import fused_request
from cocom.testing import tiny_cocom
from tests.fusion.tiny import FUSIONS, QUESTION, TEXTS
from tests.running.lines import warm


@pytest.fixture(scope="module")
def model() -> Cocom:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    assert warm(model)
    return model


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(TEXTS)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], "got 1 scores but 2 passages"),
        ([1.0, float("nan")], "score 1 is nan"),
        ([float("inf"), 0.0], "score 0 is inf"),
        ([-float("inf")] * 2, "all 2 scores are -inf"),
        (["a", 0.0], "must be a sequence of numbers"),
        (3.0, "must be a sequence of numbers"),
        ("12", "must be a sequence of numbers"),
        ([10**400, 0.0], "must be a sequence of numbers"),
        ({1.0, 2.0}, "must be a sequence of numbers"),
        ({0: 1.0, 1: 2.0}, "must be a sequence of numbers"),
    ],
)
def test_scores_that_cannot_be(
    model: Cocom, contexts: list[ContextEmbeddings], scores: Any, message: str
) -> None:
    for fusion in FUSIONS:
        with pytest.raises(InputError, match=message):
            model.answer(QUESTION, contexts[:2], scores=scores, fusion=fusion)


def test_scores_of_any_kind_of_number(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    wanted = model.answer(
        QUESTION, contexts[:2], scores=[1.0, 2.0], fusion="rag-token", max_new_tokens=4
    )
    for scores in (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]).numpy(), (1, 2)):
        got = model.answer(
            QUESTION,
            contexts[:2],
            scores=scores,  # type: ignore[arg-type]
            fusion="rag-token",
            max_new_tokens=4,
        )
        assert got == wanted


def test_options_that_cannot_be(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    with pytest.raises(InputError, match=r"fusion must be one of concat, rag-token, .* got 'rag'"):
        model.answer(QUESTION, contexts, fusion="rag")
    with pytest.raises(InputError, match="'rag-sequence' searches for the likeliest answer"):
        model.answer(QUESTION, contexts, fusion="rag-sequence", temperature=0.5)
    for penalty in (float("inf"), -float("inf"), 1000.0, -1000.0, 10**400):
        with pytest.raises(
            InputError, match="length_penalty must be so near to 0 that max_new_tokens 64"
        ):
            GenerationOptions(length_penalty=penalty)
    with pytest.raises(InputError, match="length_penalty must be a number"):
        GenerationOptions(length_penalty="much")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="fusion is 'concat', which reads them in one prompt"):
        model.answer(QUESTION, contexts[:1], scores=[1.0])
    with pytest.raises(InputError, match="2 questions but 1 lists of scores"):
        model.answer_batch(["a", "b"], [[], []], scores=[None], fusion="rag-token")
    with pytest.raises(InputError, match="this prompt is one, such as a conversation"):
        model.chat([Turn("user", "Who?")], fusion="rag-token")
    request = fused_request(model.backbone, model.fingerprint, QUESTION, contexts)
    with pytest.raises(InputError, match="laid out apart, but fusion is 'concat'"):
        model.batcher.run([request], GenerationOptions())


def test_frameworks_whose_passages_are_in_a_conversation_do_not_offer_fusion() -> None:
    assert call_options({"length_penalty": 0.5}) == {"length_penalty": 0.5}
    with pytest.raises(InputError, match="unknown option 'fusion'"):
        call_options({"fusion": "rag-token"})


def test_each_prompt_has_the_model_s_positions_to_itself() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32), max_position_embeddings=100)
    texts = ["Ada was born in Rome." * 2] * 6
    assert model.answer(QUESTION, texts, fusion="rag-token", max_new_tokens=4).token_ids
    with pytest.raises(PromptTooLongError, match="the prompt takes"):
        model.answer(QUESTION, texts, max_new_tokens=4)
    with pytest.raises(
        PromptTooLongError, match=r"the prompt of passage 1 takes 1\d\d positions and"
    ):
        model.answer(QUESTION, [TEXTS[0], "y" * 90, "z"], fusion="rag-token", max_new_tokens=4)
    with pytest.raises(PromptTooLongError, match="the longest answer has 91 tokens"):
        model.score(QUESTION, texts, ["y" * 89])


def test_answers_that_cannot_be_scored(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    with pytest.raises(InputError, match="got a single text: put it in a list"):
        model.score(QUESTION, contexts, "Rome")
    for bad in ([], [5, 10**6], [1.5], [True], None, b"Rome"):
        with pytest.raises(InputError, match="answer 1 must be a text, or at least one token id"):
            model.score(QUESTION, contexts, ["Rome", bad])  # type: ignore[list-item]
    assert model.score(QUESTION, contexts, []) == []


def test_what_is_scored_under_concat_is_the_one_prompt(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    (one,) = model.score(QUESTION, contexts[:1], ["Rome"], fusion="concat")
    (same,) = model.score(QUESTION, contexts[:1], ["Rome"], fusion="rag-token")
    assert one.log_probability == pytest.approx(same.log_probability, abs=1e-5)
    assert one.shares == ()
    (other,) = model.score(QUESTION, contexts[:2], ["Rome"], fusion="concat")
    assert other.log_probability != pytest.approx(one.log_probability, abs=1e-3)
