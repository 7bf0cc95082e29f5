"""Logits behind the prompts of several passages -> what comes next, with all of them in mind.

Shapes: G mixtures, D prompts in each, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["Choice", "Mixture", "mix"]


@dataclass(frozen=True)
class Choice:
    """A token that may come next.

    Attributes:
        beam: The mixture it continues.
        token: Its id.
        log_probability: log sum_z p(z|x) p(token|z).
        each: log p(token|z) of each prompt.
    """

    beam: int
    token: int
    log_probability: float
    each: tuple[float, ...]


@dataclass(frozen=True)
class Mixture:
    """The tokens that may come next.

    Attributes:
        values: Log-probabilities and something that is the same for all tokens of a mixture, shape (G, V).
            Of a single prompt they are its logits, so that what they choose is what these choose.
        norms: That something, shape (G,).
        each: Log-probabilities under each prompt, shape (G, D, V); None of a single one.
    """

    values: torch.Tensor
    norms: torch.Tensor
    each: torch.Tensor | None

    def of(self, beams: torch.Tensor, tokens: torch.Tensor) -> list[Choice]:
        """Some tokens of some mixtures, ids (N,) and (N,)."""
        found = (self.values[beams, tokens] - self.norms[beams])[:, None]
        each = found if self.each is None else self.each[beams, :, tokens]
        table = torch.cat([found, each], 1).tolist()
        return [
            Choice(beam, token, row[0], tuple(row[1:]))
            for beam, token, row in zip(beams.tolist(), tokens.tolist(), table, strict=True)
        ]

    def best(self, first: int, sums: Sequence[float], most: int) -> list[Choice]:
        """The likeliest next tokens of some answers, the best first.

        Args:
            first: The mixture of the first answer; those of the others follow.
            sums: Log-probability of each answer so far.
            most: How many tokens.
        """
        some = slice(first, first + len(sums))
        scores = self.values[some] - self.norms[some, None]
        scores = scores + torch.tensor(sums, dtype=scores.dtype, device=scores.device)[:, None]
        found = scores.flatten().topk(min(most, scores.numel())).indices
        size = scores.shape[1]
        return self.of(first + found // size, found % size)


def mix(logits: torch.Tensor, prior: torch.Tensor) -> Mixture:
    """Mix what comes next.

    Args:
        logits: Shape (G, D, V).
        prior: log p(z|x) of each prompt, shape (G, D).
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    if wide.shape[1] == 1:
        alone = wide[:, 0]
        return Mixture(alone, alone.logsumexp(-1), None)
    each = wide.log_softmax(-1)
    values = (each + prior.to(each)[:, :, None]).logsumexp(1)
    return Mixture(values, values.new_zeros(len(values)), each)
