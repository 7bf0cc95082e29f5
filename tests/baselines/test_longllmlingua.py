"""LongLLMLingua: each rule of the paper on cases worked out by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cocom.baselines import HardCompressor, LongLLMLingua, make_compressor, recover
from cocom.baselines.causal_models import load_causal_model
from cocom.baselines.ranking import STATEMENT, dynamic_shares, question_losses
from cocom.errors import ConfigError, InputError
from cocom.testing import tiny_backbone, tiny_tokenizer
from tests.baselines.stub_language_models import WordModel

WORDS = {
    "the": 1.0, "of": 2.0, "cat": 3.0, "tax": 4.0, "quark": 5.0, "zygote": 6.0, "spin": 6.0,
    **dict.fromkeys(STATEMENT.split(), 3.0),
}  # fmt: skip


def stub(**settings):
    model: Any = WordModel(WORDS, 2.0)
    return LongLLMLingua(model, tokenizer=model.tokenizer, **settings), model


def test_passages_that_explain_the_question_come_first() -> None:
    compressor, _ = stub()
    passages = ["cat of tax", "cat quark of", "quark of spin"]
    found = compressor.compress(passages, question="quark spin", rate=1)
    assert [passage.index for passage in found.passages] == [2, 1, 0]
    assert found.texts == [passages[2], passages[1], passages[0]]
    scores = [passage.score for passage in found.passages]
    # Each word of the question costs 2 less if it was read: over 2 words and the statement's 12.
    assert scores[0] - scores[1] == pytest.approx(2 / 14, abs=1e-4)
    assert scores[1] - scores[2] == pytest.approx(2 / 14, abs=1e-4)


def test_the_order_given_may_be_kept() -> None:
    compressor, _ = stub(reorder="original", context_budget=0)
    passages = ["quark of spin", "cat of tax", "cat quark of"]
    found = compressor.compress(passages, question="quark spin", rate=1)
    assert [passage.index for passage in found.passages] == [0, 1, 2]
    scores = [passage.score for passage in found.passages]
    assert sorted(scores, reverse=True) == [scores[0], scores[2], scores[1]]


def test_the_question_and_its_statement_are_scored_behind_each_passage() -> None:
    compressor, model = stub()
    compressor.compress(["the cat", "of tax"], question="quark", rate=1)
    assert sorted(model.read) == [
        f"<s> of tax quark{STATEMENT}",
        f"<s> the cat quark{STATEMENT}",
    ]


def test_passages_are_taken_until_the_budget_is_exceeded() -> None:
    compressor, model = stub(context_budget=1)
    passages = ["cat of tax", "cat quark of", "quark of spin"]
    found = compressor.compress(passages, question="quark spin", target_tokens=2)
    # 2 + 1 tokens: the best passage spends them to the last, so that the next one is still taken.
    assert model.read[-2] == "<s> quark of spin cat quark of"
    assert found.texts == ["quark spin"]
    assert found.dropped == (0, 1)


@pytest.mark.parametrize(
    ("share", "spread", "count", "expected"),
    [
        (0.5, 0.3, 4, [0.8, 0.6, 0.4, 0.2]),
        (0.5, 0.3, 5, [0.8, 0.65, 0.5, 0.35, 0.2]),
        (0.5, 0.3, 2, [0.8, 0.2]),
        (0.5, 0.3, 1, [0.5]),
        (0.9, 0.3, 3, [1.0, 0.9, 0.6]),
        (0.1, 0.3, 3, [0.4, 0.1, 0.0]),
        (0.5, 0.0, 3, [0.5, 0.5, 0.5]),
    ],
)
def test_shares_fall_linearly_with_the_rank(share, spread, count, expected) -> None:
    assert dynamic_shares(share, spread, count) == pytest.approx(expected)


def test_more_stays_of_what_explains_the_question() -> None:
    passages = ["the of tax cat", "quark spin quark spin"]
    even, _ = stub(dynamic_ratio=0.0)
    steep, _ = stub(dynamic_ratio=0.5)
    found = steep.compress(passages, question="quark spin", rate=2)
    assert found.texts == ["quark spin quark spin"]
    assert found.dropped == (0,)
    found = even.compress(passages, question="tax quark", target_tokens=2)
    assert sorted(found.texts) == ["quark", "tax"]


def test_a_token_is_worth_what_the_question_changes_of_its_loss() -> None:
    compressor, model = stub()
    found = compressor.compress(["zygote tax the of cat spin"], question="tax cat", target_tokens=2)
    # "zygote" and "spin" surprise most, but the question mentions the others.
    assert found.texts == ["tax cat"]
    assert model.read == [
        "<s> zygote tax the of cat spin",
        "<s> tax cat zygote tax the of cat spin",
    ]


def test_both_prefixes_grow_by_what_is_kept() -> None:
    compressor, model = stub(iterative_size=3)
    compressor.compress(["zygote tax the of cat spin"], question="tax zygote", rate=1.5)
    assert model.read == [
        "<s> zygote tax the",
        "<s> tax zygote zygote tax the",
        "<s> zygote tax of cat spin",
        "<s> tax zygote zygote tax of cat spin",
    ]


def few_positions(positions: int) -> LongLLMLingua:
    model = tiny_backbone("gpt_neox", max_position_embeddings=positions)
    return LongLLMLingua(model, tokenizer=tiny_tokenizer())


def test_a_passage_longer_than_the_model_reads_is_as_good_as_its_best_stretch() -> None:
    losses = few_positions(100).losses
    passage, question = tuple(range(10, 210)), tuple(range(50, 71))
    # 100 positions less the start token and the question leave 78, in steps of half of that.
    expected = min(
        float(losses.of([(passage[at : at + 78], question)])[0].mean())
        for at in (0, 39, 78, 117, 156)
    )
    found = question_losses(losses, [(passage, question)])
    assert found[passage, question] == pytest.approx(expected, abs=1e-5)


def test_a_question_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="takes 102 tokens of the 110"):
        few_positions(110).compress(["the", "of"], question="q" * 39, rate=1)


@pytest.mark.parametrize("question", [None, "", "  \n", 7])
def test_without_a_question_there_is_a_clear_error(question) -> None:
    compressor, _ = stub()
    with pytest.raises(InputError, match="LongLLMLingua compresses for a question"):
        compressor.compress(["the"], question=question, rate=2)
    with pytest.raises(InputError, match="LongLLMLingua compresses for a question"):
        compressor.compress_batch([["the"]], rate=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reorder": "random"}, "reorder must be 'sort' or 'original', got 'random'"),
        ({"dynamic_ratio": 1.5}, "dynamic_ratio must be between 0 and 1"),
        ({"dynamic_ratio": float("nan")}, "dynamic_ratio must be between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        stub(**settings)


def test_the_method_has_a_name() -> None:
    made = make_compressor("longllmlingua", dynamic_ratio=0.4)
    assert isinstance(made, LongLLMLingua)
    assert isinstance(made, HardCompressor)
    assert made.dynamic_ratio == 0.4


@pytest.fixture(scope="module")
def tiny() -> LongLLMLingua:
    model = tiny_backbone(vocab_size=2048)
    tokenizer = load_causal_model("cocom-tiny", device="cpu")[1]
    return LongLLMLingua(model, tokenizer=tokenizer, context_budget=5)


TEXTS = (
    "The Brooklyn Bridge opened on 24 May 1883. Its main span is 486 metres long.",
    "서울은 대한민국의 수도이며 가장 큰 도시이다. 인구는 약 950만 명이다.",
    "東京は日本の首都であり、世界最大の都市の一つです。",
    "In May 1884 the showman P. T. Barnum led 21 elephants across the bridge.",
    "a",
    "👨‍👩‍👧 went to กรุงเทพมหานคร with مرحبا",
)
QUESTIONS = ("How long is the main span?", "서울의 인구는?", "?")


def prompts() -> list[tuple[list[str], str]]:
    rng = random.Random(0)
    return [(rng.choices(TEXTS, k=rng.randrange(1, 9)), rng.choice(QUESTIONS)) for _ in range(12)]


@pytest.mark.parametrize("rate", [1.2, 2, 5])
def test_a_batch_is_the_same_as_one_by_one_and_meets_its_budget(rate, tiny) -> None:
    count = tiny.losses.encoding.count
    lists, questions = zip(*prompts(), strict=True)
    together = tiny.compress_batch(lists, questions=questions, rate=rate)
    for passages, question, found in zip(lists, questions, together, strict=True):
        alone = tiny.compress(passages, question=question, rate=rate)
        assert [(p.index, p.text, p.spans) for p in found.passages] == [
            (p.index, p.text, p.spans) for p in alone.passages
        ]
        target = max(1, int(sum(map(count, passages)) / rate))
        assert target - 2 <= found.compressed_tokens <= target
        assert found.compressed_tokens == sum(map(count, found.texts))
        for passage in found.passages:
            assert passage.source == passages[passage.index]
            assert passage.text == "".join(passage.source[a:b] for a, b in passage.spans)


def test_a_model_of_few_positions_compresses_long_texts() -> None:
    passages = ["some words " * 60, "other words " * 60]
    found = few_positions(160).compress(passages, question="What?", rate=3)
    assert found.compressed_tokens == 1380 // 3


def test_what_was_compressed_can_be_recovered(tiny) -> None:
    found = tiny.compress(list(TEXTS), question=QUESTIONS[0], rate=1.5)
    for passage in found.passages:
        recovered = recover(found, passage.text)
        assert isinstance(recovered, str)
        assert len(recovered) >= len(passage.text) - passage.text.count("  ")
