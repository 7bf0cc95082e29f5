"""Scores of one answer against its gold answers, and intervals for the mean of many scores.

Exact match and F1 follow the SQuAD scorer, `match` is the measure of the COCOM paper, and all of
them agree with the originals on English text. Where the originals only know ASCII, this module goes
on: every script's punctuation counts as punctuation, and scripts written without spaces between
words (Chinese, Japanese, Thai and others) are compared character by character; so is Hangul, as
KorQuAD does it, because particles stick to its words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cocom.errors import InputError, MissingExtraError
from cocom.evaluation.words import folded, letters_only, plain, units, without_articles

__all__ = [
    "bootstrap_interval",
    "exact_match",
    "f1",
    "match",
    "normalize_answer",
    "paired_bootstrap",
    "rouge_l",
]


def normalize_answer(text: str) -> str:
    """Reduce an answer to what counts when answers are compared.

    These are the rules of the SQuAD scorer: lower case, no punctuation, no English articles, single
    spaces. Text beyond ASCII is brought to one Unicode form first, and its punctuation goes too.

    Args:
        text: An answer, as given or as generated.

    Returns:
        The words that count, with one space between them.
    """
    return " ".join(without_articles(plain(text).split()))


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Say whether a prediction is one of the gold answers, after normalisation.

    Args:
        prediction: The generated answer.
        answers: The gold answers, any of which is right.

    Returns:
        1.0 or 0.0.

    Raises:
        InputError: `answers` is empty.
    """

    def score(predicted: list[str], gold: list[str]) -> float:
        return float(predicted == gold)

    return _best(score, prediction, answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Measure how far the words of a prediction and of the nearest gold answer agree.

    Args:
        prediction: The generated answer.
        answers: The gold answers, any of which is right.

    Returns:
        The highest harmonic mean of precision and recall over words, from 0.0 to 1.0.

    Raises:
        InputError: `answers` is empty.
    """
    return _best(_overlap, prediction, answers)


def match(prediction: str, answers: Sequence[str]) -> float:
    """Say whether a prediction contains one of the gold answers, after normalisation.

    This is the measure of the COCOM paper (section 4), where generated answers are longer than gold
    ones. A gold answer counts as whole words only: "art" is not found in "party".

    Args:
        prediction: The generated answer.
        answers: The gold answers, any of which is right.

    Returns:
        1.0 or 0.0.

    Raises:
        InputError: `answers` is empty.
    """

    def score(predicted: list[str], gold: list[str]) -> float:
        if not gold:
            return float(not predicted)
        starts = range(len(predicted) - len(gold) + 1)
        return float(any(predicted[start : start + len(gold)] == gold for start in starts))

    return _best(score, prediction, answers)


def rouge_l(prediction: str, reference: str) -> float:
    """Measure the longest common subsequence of words of a prediction and a reference text.

    Args:
        prediction: The generated text.
        reference: The text it should resemble.

    Returns:
        ROUGE-L as F-measure, from 0.0 to 1.0, without stemming.

    Raises:
        MissingExtraError: The package `rouge-score` is not installed.
    """
    return float(_rouge_scorer().score(reference, prediction)["rougeL"].fmeasure)


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Estimate how far the mean of some scores would move with other questions.

    The scores are drawn again with replacement, and the interval leaves out equal shares of the
    resulting means at either end (percentile bootstrap).

    Args:
        values: One score per question.
        confidence: The share of means that the interval holds, between 0 and 1.
        resamples: How many times the scores are drawn.
        seed: Fixes the draws: equal arguments give equal intervals.

    Returns:
        The lower and the upper end.

    Raises:
        InputError: `values` is empty, not one-dimensional or not finite, `confidence` is not
            between 0 and 1, or `resamples` is below 1.
    """
    scores = _scores(values, "values")
    if not 0.0 < confidence < 1.0:
        raise InputError(
            f"`confidence` must lie between 0 and 1, not {confidence}: give e.g. 0.95."
        )
    if resamples < 1:
        raise InputError(f"`resamples` must be at least 1, not {resamples}: give e.g. 1000.")
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):
        means[index] = scores[generator.integers(0, scores.size, scores.size)].mean()
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Estimate how much better one system is than another on the same questions.

    Every draw takes both systems' scores of the same questions, so that what makes a question hard
    falls out. An interval without 0 says that the difference is more than luck with the questions.

    Args:
        first: One score per question of the first system.
        second: The second system's scores of the same questions, in the same order.
        confidence: The share of mean differences that the interval holds, between 0 and 1.
        resamples: How many times the questions are drawn.
        seed: Fixes the draws: equal arguments give equal intervals.

    Returns:
        The lower and the upper end of the mean of `first - second`.

    Raises:
        InputError: The two differ in length, or for the reasons of `bootstrap_interval`.
    """
    one, other = _scores(first, "first"), _scores(second, "second")
    if one.size != other.size:
        raise InputError(
            f"`first` has {one.size} scores and `second` has {other.size}: "
            "give the scores of the same questions in the same order."
        )
    return bootstrap_interval(one - other, confidence=confidence, resamples=resamples, seed=seed)


# --- Answers -------------------------------------------------------------------------------------


def _best(
    score: Callable[[list[str], list[str]], float], prediction: str, answers: Sequence[str]
) -> float:
    golds = [answers] if isinstance(answers, str) else list(answers)
    if not golds:
        raise InputError("`answers` is empty: give at least one gold answer.")
    return max(score(*_comparable(prediction, gold)) for gold in golds)


def _comparable(prediction: str, gold: str) -> tuple[list[str], list[str]]:
    """Return the units of both, by the strictest rules that leave anything of the gold answer.

    An answer such as "A" (a blood group) or "+" would otherwise equal every empty prediction.
    """
    rules: tuple[Callable[[str], list[str]], ...] = (
        lambda text: without_articles(plain(text).split()),
        lambda text: plain(text).split(),
        lambda text: folded(text).split(),
    )
    for rule in rules:
        if found := units(rule(gold)):
            return units(rule(prediction)), found
    return units(rules[0](prediction)), []


def _overlap(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = (Counter(predicted) & Counter(gold)).total()
    return 2.0 * common / (len(predicted) + len(gold))


# --- ROUGE ---------------------------------------------------------------------------------------


@cache
def _rouge_scorer() -> Any:
    try:
        from rouge_score import rouge_scorer, tokenizers
    except ImportError as error:
        raise MissingExtraError("rouge-score", "eval", "ROUGE-L") from error

    class EveryScript(tokenizers.Tokenizer):  # type: ignore[misc]
        """Splits like the default tokenizer, which would drop all but a-z and 0-9."""

        def tokenize(self, text: str) -> list[str]:
            return units(letters_only(text).split())

    return rouge_scorer.RougeScorer(["rougeL"], tokenizer=EveryScript())


# --- Scores --------------------------------------------------------------------------------------


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise InputError(f"`{name}` has shape {scores.shape}: give a list of one score or more.")
    if not np.isfinite(scores).all():
        raise InputError(f"`{name}` holds a score that is not finite: leave such questions out.")
    return scores
