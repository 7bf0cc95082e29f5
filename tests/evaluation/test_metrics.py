"""The scores against cases worked out by hand, the original SQuAD rules, and their own laws."""

from __future__ import annotations

import re
import string
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocom.errors import InputError, MissingExtraError
from cocom.evaluation import metrics
from cocom.evaluation.metrics import (
    bootstrap_interval,
    exact_match,
    f1,
    match,
    normalize_answer,
    paired_bootstrap,
    rouge_l,
)

PRINTABLE = st.text(
    st.sampled_from(string.ascii_letters + string.digits + string.punctuation + " \t")
)
WORDS = st.lists(
    st.sampled_from(["a", "The", "paris", "Tower", "1889", "東京", "서울은", "état", "-", "don't"])
).map(" ".join)
SCORES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


def squad_normalize(text: str) -> str:
    """Apply the normalisation rules of the SQuAD scorer as published, for text in ASCII."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


class TestNormalizeAnswer:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("The Eiffel Tower!", "eiffel tower"),
            ("  an   apple a day ", "apple day"),
            ("U.S.", "us"),
            ("don't", "dont"),
            ("well-known", "wellknown"),
            ("theatre", "theatre"),
            ("", ""),
            ("the", ""),
        ],
    )
    def test_english(self, text: str, expected: str) -> None:
        assert normalize_answer(text) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("don’t", "dont"),  # typographic apostrophe, as the typewriter one
            ("1914–1918", "19141918"),
            ("«Война и мир»", "война и мир"),
            ("¿Qué?", "qué"),
            ("e\u0301tat", "état"),  # a letter and its accent apart, as the composed one
            ("á", "á"),  # not the article
            ("a\u0301", "á"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("２０２４年", "2024年"),
            ("北京。", "北京"),
            ("हिन्दी।", "हिन्दी"),
            ("co\u00adoperate", "cooperate"),  # soft hyphen
        ],
    )
    def test_other_languages(self, text: str, expected: str) -> None:
        assert normalize_answer(text) == expected

    @given(PRINTABLE)
    def test_agrees_with_squad_on_ascii(self, text: str) -> None:
        assert normalize_answer(text) == squad_normalize(text)

    @given(st.text())
    def test_leaves_single_spaces_and_no_punctuation(self, text: str) -> None:
        normalized = normalize_answer(text)
        assert normalized == " ".join(normalized.split())
        assert not set(normalized) & set(string.punctuation)


class TestExactMatch:
    def test_any_gold_answer_is_right(self) -> None:
        assert exact_match("the Paris.", ["London", "Paris"]) == 1.0
        assert exact_match("Paris, France", ["London", "Paris"]) == 0.0

    def test_article_as_an_answer(self) -> None:
        assert exact_match("A", ["a"]) == 1.0
        assert exact_match("the", ["A"]) == 0.0
        assert exact_match("", ["A"]) == 0.0

    def test_symbol_as_an_answer(self) -> None:
        assert exact_match("+", ["+"]) == 1.0
        assert exact_match("-", ["+"]) == 0.0

    def test_no_answer_expected(self) -> None:
        assert exact_match("", [""]) == 1.0
        assert exact_match("Paris", [""]) == 0.0

    def test_one_string_is_one_answer(self) -> None:
        assert exact_match("Paris", "Paris") == 1.0
        assert match("r", "Paris") == 0.0


class TestF1:
    def test_by_hand(self) -> None:
        # Two of three predicted words are right, two of two gold words are found: 2 * 2 / (3 + 2).
        assert f1("big Eiffel Tower", ["the Eiffel Tower"]) == pytest.approx(0.8)

    def test_repeated_words_count_once_each(self) -> None:
        assert f1("york york", ["new york"]) == pytest.approx(0.5)

    def test_best_gold_answer_counts(self) -> None:
        assert f1("New York", ["London", "New York City"]) == pytest.approx(0.8)

    def test_nothing_in_common(self) -> None:
        assert f1("Rome", ["Paris"]) == 0.0
        assert f1("", ["Paris"]) == 0.0
        assert f1("", [""]) == 1.0

    def test_script_without_spaces(self) -> None:
        # Two of three characters, two of two: 2 * 2 / (3 + 2).
        assert f1("北京市", ["北京"]) == pytest.approx(0.8)
        assert f1("ไทย", ["ไท"]) == pytest.approx(0.8)

    @given(WORDS, WORDS)
    def test_lies_between_exact_match_and_one(self, prediction: str, gold: str) -> None:
        assert exact_match(prediction, [gold]) <= f1(prediction, [gold]) <= 1.0


class TestMatch:
    @pytest.mark.parametrize(
        ("prediction", "gold", "expected"),
        [
            ("The capital of France is Paris.", "Paris", 1.0),
            ("It was built in 1889, by Eiffel.", "in 1889", 1.0),
            ("a party", "art", 0.0),
            ("1889", "188", 0.0),
            ("the tower of Eiffel", "Eiffel Tower", 0.0),
            ("The new big York", "New York", 0.0),
            ("The blood group is A.", "A", 1.0),
            ("The blood group is B.", "A", 0.0),
            ("首都是北京市。", "北京", 1.0),
            ("서울은 한국의 수도이다", "서울", 1.0),
            ("Столица — Москва.", "москва", 1.0),
            ("Париж", "пари", 0.0),
            ("", "Paris", 0.0),
            ("anything", "", 0.0),
            ("", "", 1.0),
        ],
    )
    def test_by_hand(self, prediction: str, gold: str, expected: float) -> None:
        assert match(prediction, [gold]) == expected

    def test_any_gold_answer_is_right(self) -> None:
        assert match("It is New York.", ["London", "York"]) == 1.0

    @given(WORDS, WORDS)
    def test_at_least_exact_match(self, prediction: str, gold: str) -> None:
        assert match(prediction, [gold]) >= exact_match(prediction, [gold])

    @given(WORDS, WORDS, WORDS)
    def test_finds_an_answer_between_other_words(self, before: str, gold: str, after: str) -> None:
        if normalize_answer(gold):
            assert match(f"{before} {gold} {after}", [gold]) == 1.0


class TestEveryAnswerMetric:
    @pytest.mark.parametrize("metric", [exact_match, f1, match])
    def test_without_gold_answers_raises(self, metric: object) -> None:
        assert callable(metric)
        with pytest.raises(InputError, match="`answers` is empty"):
            metric("Paris", [])

    @pytest.mark.parametrize("metric", [exact_match, f1, match])
    @given(text=st.text())
    def test_a_text_answers_itself(self, metric: object, text: str) -> None:
        assert callable(metric)
        assert metric(text, [text]) == 1.0


class TestRougeL:
    def test_by_hand(self) -> None:
        # Longest common subsequence "the cat on mat": 4 of 6 reference words, 4 of 5 predicted.
        score = rouge_l("the cat lies on mat", "the cat sat on the mat")
        assert score == pytest.approx(2 * (4 / 5) * (4 / 6) / (4 / 5 + 4 / 6))

    def test_scripts_that_the_default_tokenizer_drops(self) -> None:
        assert rouge_l("Война и мир", "война и мир") == 1.0
        assert rouge_l("北京", "上海") == 0.0
        assert rouge_l("北京市", "北京") == pytest.approx(0.8)

    def test_empty(self) -> None:
        assert rouge_l("", "text") == 0.0
        assert rouge_l("text", "") == 0.0

    @given(PRINTABLE, PRINTABLE)
    def test_agrees_with_the_default_tokenizer_on_ascii(self, one: str, other: str) -> None:
        from rouge_score import rouge_scorer

        expected = rouge_scorer.RougeScorer(["rougeL"]).score(other, one)["rougeL"].fmeasure
        assert rouge_l(one, other) == pytest.approx(expected)

    def test_missing_package_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        metrics._rouge_scorer.cache_clear()
        monkeypatch.setitem(sys.modules, "rouge_score", None)
        with pytest.raises(MissingExtraError, match=r"cocom\[eval\]"):
            rouge_l("one", "other")


class TestBootstrapInterval:
    def test_equal_scores_leave_no_doubt(self) -> None:
        assert bootstrap_interval([0.5] * 7) == (0.5, 0.5)

    def test_near_the_normal_interval(self) -> None:
        scores = np.random.default_rng(1).normal(0.4, 0.2, size=400)
        low, high = bootstrap_interval(scores, resamples=4000)
        half = 1.96 * scores.std() / 20
        assert low == pytest.approx(scores.mean() - half, abs=0.002)
        assert high == pytest.approx(scores.mean() + half, abs=0.002)

    def test_seed_fixes_it(self) -> None:
        scores = [0.0, 1.0, 1.0, 0.0, 0.3]
        assert bootstrap_interval(scores, seed=3) == bootstrap_interval(scores, seed=3)

    def test_more_confidence_is_wider(self) -> None:
        scores = np.random.default_rng(2).random(50)
        low, high = bootstrap_interval(scores, confidence=0.8)
        lower, higher = bootstrap_interval(scores, confidence=0.99)
        assert lower < low < high < higher

    @given(SCORES)
    def test_stays_within_the_scores(self, scores: list[float]) -> None:
        low, high = bootstrap_interval(scores, resamples=50)
        assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"values": []}, r"`values` has shape \(0,\)"),
            ({"values": [[1.0], [2.0]]}, r"`values` has shape \(2, 1\)"),
            ({"values": [float("nan")]}, "not finite"),
            ({"values": [1.0], "confidence": 95}, "between 0 and 1, not 95"),
            ({"values": [1.0], "resamples": 0}, "at least 1, not 0"),
        ],
    )
    def test_refuses(self, arguments: dict[str, object], message: str) -> None:
        with pytest.raises(InputError, match=message):
            bootstrap_interval(**arguments)  # type: ignore[arg-type]


class TestPairedBootstrap:
    def test_constant_difference_leaves_no_doubt(self) -> None:
        first = np.arange(10) / 10
        assert paired_bootstrap(first + 0.25, first) == pytest.approx((0.25, 0.25))

    def test_narrower_than_the_systems_apart(self) -> None:
        generator = np.random.default_rng(4)
        hard = generator.random(200)
        low, high = paired_bootstrap(hard + 0.05 + 0.01 * generator.random(200), hard)
        assert 0.0 < low < high
        lower, higher = bootstrap_interval(hard)
        assert high - low < (higher - lower) / 5

    @given(SCORES)
    def test_a_system_against_itself(self, scores: list[float]) -> None:
        assert paired_bootstrap(scores, scores, resamples=20) == (0.0, 0.0)

    def test_different_lengths(self) -> None:
        with pytest.raises(InputError, match="`first` has 2 scores and `second` has 3"):
            paired_bootstrap([0.0, 1.0], [0.0, 1.0, 1.0])
