"""Several answers behind prompts that were read before, in one pass: each sees its prompt and itself.

Shapes: B prompts, R rows of all answers together, W rows of the longest prompt; heads as in `attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from cocom.attention import KeyValues

__all__ = ["Branches", "LaidAnswers", "lay_branches"]


@dataclass(frozen=True)
class LaidAnswers:
    """Answers end to end: each token but the last is read, each but the first looked for.

    Attributes:
        ids: What is read, shape (R,).
        targets: What is to follow, shape (R,).
        offsets: Place of each row in its answer, shape (R,).
        branch: Number of its answer, shape (R,).
    """

    ids: torch.Tensor
    targets: torch.Tensor
    offsets: torch.Tensor
    branch: torch.Tensor

    def to(self, device: torch.device) -> LaidAnswers:
        """The same on another device."""
        return LaidAnswers(
            self.ids.to(device),
            self.targets.to(device),
            self.offsets.to(device),
            self.branch.to(device),
        )


def lay_branches(answers: Sequence[Sequence[int]]) -> LaidAnswers:
    """Lay answers end to end."""
    return LaidAnswers(
        torch.tensor([token for ids in answers for token in ids[:-1]]),
        torch.tensor([token for ids in answers for token in ids[1:]]),
        torch.tensor([place for ids in answers for place in range(len(ids) - 1)]),
        torch.tensor([number for number, ids in enumerate(answers) for _ in ids[1:]]),
    )


class Branches:
    """The same answers behind each of several prompts; see `cocom.attention.Layout`."""

    def __init__(
        self, kept: KeyValues, slots: torch.Tensor, lengths: torch.Tensor, laid: LaidAnswers
    ) -> None:
        """Lay out a pass.

        Args:
            kept: Keys and values of the prompts.
            slots: Which of them are read, shape (B,).
            lengths: Rows of each prompt, shape (B,).
            laid: The answers.
        """
        self._kept = kept
        self._slots = slots
        self._lengths = lengths
        self._laid = laid
        self._masks: dict[int | None, torch.Tensor] = {}

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """As `Layout.attend`."""
        before = (part.index_select(0, self._slots) for part in self._kept.read(layer))
        keys, values = (torch.cat(pair, 2) for pair in zip(before, (key, value), strict=True))
        if window not in self._masks:
            self._masks[window] = self._seen(keys.shape[2] - key.shape[2], window)
        found = scaled_dot_product_attention(
            query,
            keys,
            values,
            attn_mask=self._masks[window],
            scale=scale,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        return found.transpose(1, 2)

    def _seen(self, width: int, window: int | None) -> torch.Tensor:
        """Which rows (B, 1, R, W + R) are seen."""
        offsets, branch = self._laid.offsets, self._laid.branch
        places = torch.arange(width, device=offsets.device)
        prompt = (places < self._lengths[:, None])[:, None].expand(-1, len(offsets), -1)
        behind = offsets[:, None] - offsets
        own = (branch[:, None] == branch) & (behind >= 0)
        if window is not None:
            last = self._lengths[:, None] + offsets
            prompt = prompt & (places > last[:, :, None] - window)
            own = own & (behind < window)
        return torch.cat([prompt, own.expand(len(prompt), -1, -1)], 2)[:, None]
