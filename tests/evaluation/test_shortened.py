"""The simple ways to shorten text: never more tokens than allowed, and nothing but the source."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cocom.baselines.spans import kept_text
from cocom.evaluation.shortened import first_tokens, random_words

TEXTS = [
    "Ada was born in Rome, and she never left it again.",
    "a  b\n\nc",
    "서울은 대한민국의 수도이다. 한강이 흐른다.",
    "東京は日本の首都であり、とても大きい都市で、多くの人々が住んでいる場所である。",
    "word " * 40,
    "e\u0301\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 x",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("make", [first_tokens, random_words])
def test_the_budget_holds_and_what_stays_is_the_sources_own(cocom_tiny, text, make) -> None:
    tokens = cocom_tiny.backbone.text

    def count(part: str) -> int:
        return len(tokens.encode_text(part))

    offsets = tokens.offsets(text)
    for budget in range(1, len(offsets) + 2):
        spans = make(text, offsets, budget, count)
        assert count(kept_text(text, spans)) <= budget
        assert all(a < b for a, b in spans)
        assert all(b < c for (_, b), (c, _) in pairwise(spans))
    assert kept_text(text, spans) == text.strip()


def test_truncated_text_is_the_longest_beginning_that_fits(cocom_tiny) -> None:
    tokens = cocom_tiny.backbone.text
    text = TEXTS[0]
    spans = first_tokens(text, tokens.offsets(text), 4, lambda t: len(tokens.encode_text(t)))
    ((start, end),) = spans
    assert start == 0
    assert len(tokens.encode_text(text[:end])) == 4


def test_random_words_differ_by_seed_and_are_the_same_again(cocom_tiny) -> None:
    tokens = cocom_tiny.backbone.text
    text = " ".join(f"w{i}" for i in range(60))

    def drawn(seed: int):
        return random_words(
            text, tokens.offsets(text), 20, lambda t: len(tokens.encode_text(t)), seed=seed
        )

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1)[-1][1] > len(text) / 2, "words of the whole text are drawn"
