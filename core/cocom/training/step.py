"""One training step: compress, splice, read, loss. All of a model's weights as one module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cocom.batching import batches_by_length
from cocom.config import CocomConfig
from cocom.engine import Cocom
from cocom.errors import ConfigError
from cocom.splice import (
    IGNORE,
    ReadBatch,
    WindowRow,
    branch_attention_mask,
    fill_slots,
    pack_prompts,
)
from cocom.training.objectives import Example

__all__ = ["Collator", "TrainingModule"]

# A row shorter than this share of its batch's longest goes into another batch.
_LEAST = 0.65


@dataclass(frozen=True)
class Collator:
    """Stacks examples into the inputs of `TrainingModule`."""

    pad_id: int
    config: CocomConfig

    def __call__(self, examples: Sequence[Example | Sequence[Example]]) -> dict[str, Any]:
        """Stack examples, those of like length together; a dataset may give several at one index."""
        flat = [e for item in examples for e in ([item] if isinstance(item, Example) else item)]
        lengths = [e.row.length for e in flat]
        groups = [
            [flat[i] for i in group]
            for group in batches_by_length(lengths, sum(lengths), least=_LEAST)
        ]
        uniform = self.config.memory_positions == "uniform"
        read = [
            pack_prompts([e.row for e in group], self.pad_id, uniform=uniform, left=False)
            for group in groups
        ]
        return {"windows": [w for group in groups for e in group for w in e.windows], "read": read}


class TrainingModule(nn.Module):
    """The loss of a batch; its parameters are those of the model."""

    def __init__(self, model: Cocom, *, frozen_reader: bool = False) -> None:
        """Train `model`.

        Args:
            model: Changed in place.
            frozen_reader: Train only what compresses (the paper's ablation, section 5.3).

        Raises:
            ConfigError: The reader cannot be frozen, because compressor and reader share weights.
        """
        super().__init__()
        self.model = model
        self.parts = nn.ModuleDict(model.modules())
        backbone = model.backbone
        adapters = model.config.weights != "full"
        if frozen_reader and model.encoder is None and model.config.weights != "separate_lora":
            raise ConfigError(
                f"frozen_reader needs a compressor of its own, but weights is {model.config.weights!r}: "
                "set weights to 'separate_lora', or use a light compressor."
            )
        for name, parameter in backbone.model.named_parameters():
            trains = ".lora_" in name if adapters else not frozen_reader
            if frozen_reader and (model.encoder is not None or ".read." in name):
                trains = False
            if model.encoder is not None and ".compress." in name:
                trains = False
            parameter.requires_grad_(trains)

    def forward(self, windows: list[WindowRow], read: list[ReadBatch]) -> dict[str, torch.Tensor]:
        """Mean cross-entropy over the labelled tokens of a batch.

        Args:
            windows: What to compress, in the order of the slots.
            read: The rows that read it, in batches of like length.
        """
        device = self.model.backbone.device
        contexts = self._compress(windows) if windows else None
        losses: list[torch.Tensor] = []
        labels = torch.zeros((), device=device)
        start = 0
        for batch in (part.to(device) for part in read):
            size = batch.slot_index.shape[0]
            own = contexts[start : start + size] if contexts is not None else None
            start += size
            losses.append(self._loss(batch, own))
            labels = labels + (batch.labels[:, 1:] != IGNORE).sum()
        return {"loss": torch.stack(losses).sum() / labels}

    def _loss(self, read: ReadBatch, contexts: torch.Tensor | None) -> torch.Tensor:
        """Cross-entropy summed over the labelled tokens of rows of like length."""
        backbone = self.model.backbone
        embeds = backbone.embed(read.ids)
        if contexts is not None:
            embeds = fill_slots(embeds, read.slot_index, contexts)
        mask = read.attention_mask
        if bool((read.branch > 1).any()):
            mask = branch_attention_mask(read)
        targets = read.labels[:, 1:]
        keep = (targets != IGNORE).any(0).nonzero().squeeze(1)
        with backbone.role("read", train=self.training):
            logits = backbone.logits(embeds, mask, read.position_ids, keep)
        return nn.functional.cross_entropy(
            logits.flatten(0, 1).float(),
            targets[:, keep].flatten(),
            ignore_index=IGNORE,
            reduction="sum",
        )

    def _compress(self, windows: Sequence[WindowRow]) -> torch.Tensor:
        parts: dict[int, torch.Tensor] = {}
        lengths = [len(row.ids) for row in windows]
        for batch in batches_by_length(lengths, sum(lengths), least=_LEAST):
            rows = [windows[i] for i in batch]
            states = self.model.window_compressor.embed(rows, train=self.training)
            parts |= zip(batch, states.split([r.window.embeddings for r in rows]), strict=True)
        return torch.cat([parts[i] for i in range(len(windows))])
