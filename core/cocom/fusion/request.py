"""What is read apart: a prompt for each passage of one question, and how much each counts."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from cocom.datatypes import Answer, FusionScores, Usage
from cocom.generation import GenerationOptions
from cocom.running.request import ReadRequest
from cocom.text_tokens import TextTokens

__all__ = ["FusedRequest", "Request"]


@dataclass(frozen=True)
class FusedRequest:
    """A question with each of its passages in a prompt of its own.

    Attributes:
        prompts: What is read; one without a passage where there are none.
        prior: log p(z|x) of each prompt's passage.
        places: Which passage each prompt holds; those that count for nothing are in none.
        passages: How many passages were given.
    """

    prompts: tuple[ReadRequest, ...]
    prior: tuple[float, ...]
    places: tuple[int, ...]
    passages: int

    @property
    def rows(self) -> int:
        """All rows of all prompts."""
        return sum(prompt.rows for prompt in self.prompts)

    def answer(
        self,
        ids: Sequence[int],
        options: GenerationOptions,
        *,
        text: TextTokens,
        ends: Set[int],
    ) -> Answer:
        """The answer that generated ids are; its usage counts the rows of all prompts."""
        answer = self.prompts[0].answer(ids, options, text=text, ends=ends)
        usage = Usage(
            self.rows,
            sum(prompt.context_rows for prompt in self.prompts),
            sum(prompt.replaced_tokens for prompt in self.prompts),
            len(ids),
        )
        return replace(answer, usage=usage)

    def scores(self, log_probability: float, shares: Sequence[float]) -> FusionScores:
        """What is said of an answer, from the share of each prompt."""
        found = [0.0] * self.passages
        for place, share in zip(self.places, shares, strict=False):
            found[place] = share
        return FusionScores(log_probability, tuple(found))


Request = ReadRequest | FusedRequest
"""What can be asked for an answer."""
