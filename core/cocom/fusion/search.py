"""Beam search over what comes next; with one beam, the likeliest token each time, or a drawn one.

The rules are those of transformers' beam search: a step looks at the best (1 + end tokens) x beams
continuations; those of the best `beams` that end an answer are kept as found, those that do not go on. It is
over when nothing goes on, or when as many were found and none that goes on is as good as the worst of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cocom.fusion.mixture import Choice

__all__ = ["Search", "Written"]


@dataclass(frozen=True)
class Written:
    """An answer, or the beginning of one.

    Attributes:
        ids: Its tokens.
        log_probability: Of all of them.
        each: For each token its log-probability under each prompt.
    """

    ids: tuple[int, ...] = ()
    log_probability: float = 0.0
    each: tuple[tuple[float, ...], ...] = ()

    def then(self, choice: Choice) -> Written:
        """The same with one more token."""
        return Written(
            (*self.ids, choice.token),
            self.log_probability + choice.log_probability,
            (*self.each, choice.each),
        )

    def score(self, penalty: float) -> float:
        """What answers are compared by."""
        return penalized(self.log_probability, len(self.ids), penalty)


class Search:
    """A search for answers under one mixture of prompts.

    Attributes:
        prior: log p(z|x) of each of its prompts.
        going: Answers that go on, the best first.
        found: Answers that have ended, the best first.
        over: Whether there is nothing more to find.
    """

    def __init__(
        self, prior: Sequence[float], *, beams: int, penalty: float, end_tokens: int
    ) -> None:
        """Prepare.

        Args:
            prior: log p(z|x) of each prompt.
            beams: Answers that go on at a time, at most.
            penalty: See `GenerationOptions.length_penalty`.
            end_tokens: How many tokens end an answer.
        """
        self.prior = tuple(prior)
        self.going = [Written()]
        self.found: list[Written] = []
        self.over = False
        self._beams = beams
        self._penalty = penalty
        self.most = (1 + end_tokens) * beams

    def advance(
        self, choices: Sequence[Choice], ended: Callable[[Sequence[int]], bool]
    ) -> list[int]:
        """Go on.

        Args:
            choices: The best continuations, in their order; `beam` counts the answers that went on.
            ended: Whether an answer ends with the last of these tokens.

        Returns:
            For each answer that goes on now, the one that it continues.
        """
        going: list[Written] = []
        parents: list[int] = []
        for rank, choice in enumerate(choices):
            written = self.going[choice.beam].then(choice)
            if written.log_probability == -math.inf:  # what never comes is no answer
                continue
            if ended(written.ids):
                if rank < self._beams:
                    self.found.append(written)
            elif len(going) < self._beams:
                going.append(written)
                parents.append(choice.beam)
        self.found.sort(key=lambda w: -w.score(self._penalty))
        del self.found[self._beams :]
        full = len(self.found) == self._beams
        last = self.found[-1].score(self._penalty) if full else 0.0
        self.over = not going or (full and not going[0].score(self._penalty) > last)
        self.going = [] if self.over else going
        return [] if self.over else parents


def penalized(log_probability: float, length: int, penalty: float) -> float:
    """What answers are compared by: see `GenerationOptions.length_penalty`."""
    return log_probability / math.pow(length, penalty)
