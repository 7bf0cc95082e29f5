"""Probabilities of an answer under each passage -> its probability under all (RAG, section 2.1). Pure.

Passages z of a question x have a prior p(z|x), which is the softmax of their retriever's scores. Everything
here is natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from cocom.errors import InputError

__all__ = ["by_sequence", "by_token", "log_prior", "log_sum"]

_NEVER = -math.inf


def log_prior(scores: Sequence[float] | None, passages: int) -> tuple[float, ...]:
    """The prior log p(z|x) of each passage; -inf where a score is.

    Args:
        scores: The retriever's, any number that is larger for better ones; None finds all passages alike.
        passages: How many there are.

    Raises:
        InputError: Scores that are no numbers, not one for each passage, or all -inf.
    """
    if scores is None:
        return (-math.log(passages),) * passages if passages else ()
    given = _numbers(scores)
    if len(given) != passages:
        raise InputError(
            f"got {len(given)} scores but {passages} passages: give one score a passage, in their order."
        )
    for i, score in enumerate(given):
        if math.isnan(score) or score == math.inf:
            raise InputError(
                f"scores must be finite numbers, or -inf for a passage that counts for nothing, but score "
                f"{i} is {score}."
            )
    if given and max(given) == _NEVER:
        raise InputError(
            f"all {passages} scores are -inf, so that no passage counts: give one of them a number, or "
            "leave scores out."
        )
    total = log_sum(given)
    return tuple(score - total for score in given)


def _numbers(scores: Any) -> list[float]:
    try:
        if isinstance(scores, str | bytes | Set | Mapping):  # no numbers, or in no order
            raise TypeError
        return [float(score) for score in scores]
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"scores must be a sequence of numbers, one a passage, got {scores!r:.80}."
        ) from None


def log_sum(logs: Sequence[float]) -> float:
    """The logarithm of the sum of what these are logarithms of."""
    most = max(logs, default=_NEVER)
    if not math.isfinite(most):
        return most
    return most + math.log(math.fsum(math.exp(x - most) for x in logs))


def by_token(
    prior: Sequence[float], tokens: Sequence[Sequence[float]]
) -> tuple[float, tuple[float, ...]]:
    """RAG-Token: prod_i sum_z p(z|x) p(y_i|x,z,y_<i).

    Args:
        prior: log p(z|x).
        tokens: For each token its log-probability under each passage.

    Returns:
        The answer's log-probability, and the mean over its tokens of each passage's share in them.
    """
    found = [_mixed(prior, logs) for logs in tokens]
    shares = [math.fsum(column) / len(found) for column in zip(*(s for _, s in found), strict=True)]
    return math.fsum(log for log, _ in found), tuple(shares)


def by_sequence(
    prior: Sequence[float], answers: Sequence[float]
) -> tuple[float, tuple[float, ...]]:
    """RAG-Sequence: sum_z p(z|x) prod_i p(y_i|x,z,y_<i).

    Args:
        prior: log p(z|x).
        answers: The whole answer's log-probability under each passage.

    Returns:
        The answer's log-probability, and p(z|x,y) of each passage.
    """
    return _mixed(prior, answers)


def _mixed(prior: Sequence[float], logs: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    joint = [weight + log for weight, log in zip(prior, logs, strict=True)]
    total = log_sum(joint)
    if total == _NEVER:  # impossible with any passage, so it says nothing of them
        return total, tuple(math.exp(weight) for weight in prior)
    return total, tuple(math.exp(log - total) for log in joint)
