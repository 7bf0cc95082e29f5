"""Strings that are to stay, also in passages and sentences that are ranked out."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cocom.baselines import LLMLingua, LongLLMLingua
from cocom.baselines.ranking import STATEMENT
from cocom.errors import ConfigError, InputError
from cocom.testing import tiny_backbone, tiny_tokenizer
from tests.baselines.stub_language_models import WordModel

WORDS = {
    "the": 1.0, "of": 2.0, "cat": 3.0, "tax": 4.0, "quark": 5.0, "zygote": 6.0, "spin": 6.0,
    "of.": 2.0, "tax.": 4.0, **dict.fromkeys(STATEMENT.split(), 3.0),
}  # fmt: skip


def plain(**settings) -> LLMLingua:
    model: Any = WordModel(WORDS)
    return LLMLingua(model, tokenizer=model.tokenizer, context_budget=0, **settings)


def asked(**settings) -> LongLLMLingua:
    model: Any = WordModel(WORDS, 2.0)
    return LongLLMLingua(model, tokenizer=model.tokenizer, context_budget=0, **settings)


def test_of_a_passage_that_is_ranked_out_only_the_string_stays() -> None:
    found = plain().compress(
        ["cat of the", "zygote quark zygote tax"], target_tokens=3, force_tokens=["of"]
    )
    assert found.texts == ["of", "zygote zygote"]
    assert [passage.index for passage in found.passages] == [0, 1]
    assert found.dropped == ()
    assert [passage.score is None for passage in found.passages] == [False, False]
    assert found.compressed_tokens == 3


def test_nothing_else_of_it_fills_the_budget() -> None:
    # Behind "of" and "zygote" four characters are left: " the" fits, " quark" does not.
    found = plain(count_tokens=len).compress(
        ["of the", "zygote quark quark"], target_tokens=12, force_tokens=["of"]
    )
    assert found.texts == ["of", "zygote"]


@pytest.mark.parametrize("best", [0, 1, 2])
def test_what_explains_the_question_best_is_read_first(best) -> None:
    passages = ["cat of tax"] * 3
    passages[best] = "quark of spin"
    found = asked().compress(passages, question="quark spin", target_tokens=5, force_tokens=["of"])
    places = [passage.index for passage in found.passages]
    assert places == [best, *(place for place in range(3) if place != best)]
    assert found.texts == ["quark of spin", "of", "of"]
    given = asked(reorder="original").compress(
        passages, question="quark spin", target_tokens=5, force_tokens=["of"]
    )
    assert [passage.index for passage in given.passages] == [0, 1, 2]


def test_passages_that_are_ranked_out_stay_in_their_rank() -> None:
    passages = ["cat of tax", "cat of quark", "quark of spin"]
    found = asked().compress(passages, question="quark spin", target_tokens=5, force_tokens=["of"])
    assert [passage.index for passage in found.passages] == [2, 1, 0]
    scores = [passage.score or 0.0 for passage in found.passages]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) < max(scores) < 0


def test_strings_stay_in_sentences_that_are_left_out() -> None:
    compressor = plain(sentence_budget=1.0)
    text = "the cat the of. quark quark quark tax."
    assert compressor.compress([text], target_tokens=3).texts == ["quark quark quark"]
    found = compressor.compress([text], target_tokens=3, force_tokens=["cat"])
    assert found.texts == ["cat quark quark"]
    model: Any = compressor.losses.model
    assert model.read[-1] == "<s> cat quark quark quark tax."  # what stays of it is read too


def test_one_string_in_the_other_and_across_words() -> None:
    text = "the quark of zygote the tax"
    found = plain().compress([text], target_tokens=4, force_tokens=["quark of", "ark"])
    assert "quark of" in found.texts[0]
    assert found.compressed_tokens == 4
    with pytest.raises(InputError, match="takes 6 tokens but the budget is 5"):
        plain().compress([text], target_tokens=5, force_tokens=[text])


def test_a_batch_forces_as_one_by_one_and_meets_its_budget() -> None:
    rng = random.Random(4)
    names = [word for word in WORDS if word not in STATEMENT.split()]
    lists = [
        [" ".join(rng.choices(names, k=rng.randrange(2, 9))) for _ in range(rng.randrange(1, 6))]
        for _ in range(12)
    ]
    together = asked().compress_batch(
        lists, questions=["quark spin"] * 12, target_tokens=14, force_tokens=["cat", "zygote"]
    )
    for passages, found in zip(lists, together, strict=True):
        alone = asked().compress(
            passages, question="quark spin", target_tokens=14, force_tokens=["cat", "zygote"]
        )
        assert found == alone
        assert found.compressed_tokens == min(14, found.origin_tokens)
        stays = {passage.index: passage.text for passage in found.passages}
        for place, text in enumerate(passages):
            for string in ("cat", "zygote"):
                assert stays.get(place, "").count(string) == text.count(string)


def test_strings_and_places_may_be_read_only_once() -> None:
    passages = ["cat of the", "zygote quark zygote"]
    once: Any = iter(["of"])
    assert plain().compress(passages, target_tokens=3, force_tokens=once).texts[0] == "of"
    once = iter(["of"])
    batch = plain().compress_batch([passages, passages], target_tokens=3, force_tokens=once)
    assert [found.texts[0] for found in batch] == ["of", "of"]
    places: Any = iter([0])
    found = plain().compress(passages, target_tokens=5, force_passages=places)
    assert found.dropped == ()


def test_the_package_forces_nothing() -> None:
    model, tokenizer = tiny_backbone(), tiny_tokenizer()
    compressor = LLMLingua(model, tokenizer=tokenizer, compat="llmlingua")
    for forced in ({"force_tokens": ["a"]}, {"force_passages": [0]}):
        with pytest.raises(ConfigError, match="leave them or compat='llmlingua' out"):
            compressor.compress(["a b"], rate=2, **forced)
    with pytest.raises(ConfigError, match="leave them or compat='llmlingua' out"):
        compressor.compress_batch([["a b"]], rate=2, force_tokens=["a"])
