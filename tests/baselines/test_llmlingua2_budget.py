"""Budgets hold whatever the text is, and no text is too odd."""

from __future__ import annotations

import random
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from cocom.baselines.llmlingua2 import LLMLingua2
from cocom.baselines.words import words_of
from cocom.errors import InputError

from .known_classifier import known

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def compressor_of(**settings: Any) -> LLMLingua2:
    """Pieces of one or two letters, digits and signs, each with a probability of its own."""
    rng = random.Random(11)
    pieces = [
        *LETTERS,
        *(f"##{c}" for c in LETTERS),
        *"0123456789.,!?-'",
        *(f"##{c}" for c in "0123456789"),
    ]
    pieces += ["the", "of", "not", *(a + b for a in "aeiou" for b in LETTERS[:12])]
    return known({piece: rng.uniform(0.01, 0.99) for piece in pieces}, **settings)[0]


def prompt_of(rng: random.Random) -> list[str]:
    def word() -> str:
        kind = rng.random()
        if kind < 0.25:
            return rng.choice(["the", "of", "not", "ab", "eb"])
        if kind < 0.35:
            return str(rng.randrange(2000)) + rng.choice(["", ".5", "-x"])
        return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(1, 7)))

    return [
        "".join(
            word() + rng.choice([" ", " ", " ", ". ", ", ", "\n", "-"])
            for _ in range(rng.randrange(1, 25))
        )
        for _ in range(rng.randrange(1, 5))
    ]


def needed(compressor: LLMLingua2, passages: list[str]) -> int:
    """Tokens of what is forced to stay; of what is not, nothing is needed."""
    try:
        return compressor.compress(passages, target_tokens=1).compressed_tokens
    except InputError as error:
        found = re.search(r"takes (\d+) tokens", str(error))
        return int(found[1]) if found else 0


def test_a_thousand_prompts_hold_the_budget() -> None:
    plain = compressor_of()
    forcing = compressor_of(force_tokens=["not", ".", "\n"], force_reserve_digit=True)
    rng = random.Random(1)
    refused = 0
    for number in range(1000):
        passages = prompt_of(rng)
        compressor = forcing if number % 3 == 0 else plain
        count = compressor.count_tokens
        origin = sum(map(count, passages))
        target = rng.randrange(1, origin + 5)
        if needed(compressor, passages) > target:
            with pytest.raises(InputError, match=f"the budget is {target}"):
                compressor.compress(passages, target_tokens=target)
            refused += 1
            continue
        found = compressor.compress(passages, target_tokens=target)
        assert found.compressed_tokens == sum(map(count, found.texts)) <= target
        assert found.origin_tokens == origin
        left = {passage.index: passage for passage in found.passages}
        assert sorted([*left, *found.dropped]) == list(range(len(passages)))
        missing = min(target, origin) - found.compressed_tokens
        for index, passage in enumerate(passages):
            spans = left[index].spans if index in left else ()
            text = left[index].text if index in left else ""
            kept = "".join(passage[a:b] for a, b in spans)
            assert kept == text
            if compressor is forcing:
                for pattern in (r"\d+", r"\bnot\b", r"\."):
                    assert re.findall(pattern, kept) == re.findall(pattern, passage)
                within = passage[spans[0][0] : spans[-1][1]] if spans else ""
                assert kept.count("\n") == within.count("\n")
            if missing <= 1:
                continue
            for word in words_of(passage, compressor.classifier.pieces(passage).offsets):
                start = word.end - len(passage[word.start : word.end].lstrip())
                if not any(a < word.end and start < b for a, b in spans):
                    more = sorted([*spans, (word.start, word.end)])
                    whole = "".join(passage[a:b] for a, b in more).strip()
                    assert count(whole) - count(text) > missing
    assert 10 < refused < 300


ODD = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "odd_texts.py"))["ODD_TEXTS"]


@pytest.fixture(scope="module")
def compressors() -> list[LLMLingua2]:
    return [
        compressor_of(),
        compressor_of(positions=8, drop_consecutive=True, filter_passages=True),
        compressor_of(compat="llmlingua"),
    ]


@pytest.mark.parametrize("number", range(len(ODD)))
def test_odd_texts(compressors: list[LLMLingua2], number: int) -> None:
    text = ODD[number]
    for compressor in compressors:
        exact = compressor.published is None
        several = [[text, "abc the of not", text]] if len(text) < 1000 else []
        for passages in ([text], *several):
            whole = compressor.compress(passages, rate=1)
            assert whole.texts == passages
            for settings in ({"target_tokens": 1}, {"rate": 2}, {"rate": 1e9}):
                found = compressor.compress(passages, **settings)
                most = settings.get("target_tokens") or max(
                    1, found.origin_tokens / settings["rate"]
                )
                assert not exact or found.compressed_tokens <= most
                for passage in found.passages:
                    kept = "".join(
                        text_ for a, b in passage.spans if (text_ := passage.source[a:b])
                    )
                    assert kept == passage.text != ""


def test_there_are_fifty() -> None:
    assert len(ODD) == len(set(ODD)) == 50
