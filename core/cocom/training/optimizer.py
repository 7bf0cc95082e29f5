"""Muon for the weight matrices, AdamW for everything else, as one optimizer.

Muon (https://kellerjordan.github.io/posts/muon) orthogonalises the momentum of a matrix before it steps.
A small model that learns to look things up from nothing takes far fewer steps with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

__all__ = ["MuonWithAdamW"]


class MuonWithAdamW(torch.optim.Optimizer):
    """Steps hidden matrices with Muon and embeddings, norms and biases with AdamW.

    Both use the same learning rate: Muon's update is scaled to the size of AdamW's.
    """

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float = 0.0
    ) -> None:
        trained = [(name, p) for name, p in named if p.requires_grad]
        matrices = [p for name, p in trained if p.ndim == 2 and not _is_embedding(name)]
        rest = [p for name, p in trained if p.ndim != 2 or _is_embedding(name)]
        groups = [{"params": matrices}, {"params": rest}]
        super().__init__([g for g in groups if g["params"]], {"lr": lr})
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(
                torch.optim.Muon(
                    matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
                )
            )
        if rest:
            self._parts.append(
                torch.optim.AdamW(rest, lr=lr, weight_decay=0.0, betas=(0.9, 0.98), fused=True)
            )

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step every part at the learning rate that a scheduler set here."""
        for part, group in zip(self._parts, self.param_groups, strict=True):
            for own in part.param_groups:
                own["lr"] = group["lr"]
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """State of both parts, and the learning rates a scheduler has set."""
        rates = [group["lr"] for group in self.param_groups]
        return {"parts": [part.state_dict() for part in self._parts], "rates": rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        for group, rate in zip(self.param_groups, state_dict["rates"], strict=True):
            group["lr"] = rate


def _is_embedding(name: str) -> bool:
    return any(word in name for word in ("embed", "control", "lm_head", "memory."))
