"""What a cell computes and reads, by formula, and the least time that the machine needs for it.

With N weights that a row is multiplied with, D layers, queries of width A in each, hidden size H and
vocabulary V, in floating-point operations, where a multiplication and an addition are two:

    2 N + 4 D A L       one row that attends to L rows
    2 H V               the LM head over one row

Attention counts whole in the figures beside those that torch counts, as torch counts it: every row attends to
every row of its prompt. A floor counts what a causal model needs: row i attends to i rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cocom.benchmark.result import Floors
from cocom.engine import Cocom

__all__ = ["Cost", "Sizes", "sizes_of"]


@dataclass(frozen=True)
class Cost:
    """What something takes at least.

    Attributes:
        flops: Floating-point operations, attention counted whole, padding not counted.
        least_flops: The same with causal attention.
        floor_seconds: Of a machine with given floors.
    """

    flops: float
    least_flops: float
    floor_seconds: float


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network that decide what a row costs.

    Attributes:
        weights: Values that a row is multiplied with; neither token embeddings nor LM head.
        layers: Layers.
        attention: Values of the queries in one layer: heads times their size.
        keys: Values of keys and values in one layer, together.
        head: Values of the LM head, 0 if it is not used.
        hidden: Hidden size.
        value_bytes: Of one value.
    """

    weights: int
    layers: int
    attention: int
    keys: int
    head: int
    hidden: int
    value_bytes: int

    def prefill_flops(self, rows: int, *, heads: int = 1, causal: bool = False) -> float:
        """Operations of one prompt.

        Args:
            rows: Of the prompt.
            heads: Rows that the LM head is applied to.
            causal: Count only what a causal model needs.
        """
        pairs = rows * (rows + 1) / 2 if causal else rows**2
        return (
            2.0 * self.weights * rows + 4.0 * self.layers * self.attention * pairs
        ) + 2.0 * self.head * heads

    def step_flops(self, keys: int) -> float:
        """Operations of one more token that attends to `keys` rows, itself included."""
        return 2.0 * (self.weights + self.head) + 4.0 * self.layers * self.attention * keys

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that a step reads."""
        return (self.weights + self.head) * self.value_bytes

    @property
    def row_bytes(self) -> int:
        """Bytes of keys and values that a row leaves."""
        return self.layers * self.keys * self.value_bytes

    def read(self, rows: Sequence[int], new_tokens: int, floors: Floors) -> Cost:
        """Cost of answers.

        The first token comes out of the prefill, so there is one step less than there are new tokens.

        Args:
            rows: Of each prompt; all are answered together.
            new_tokens: Of each answer.
            floors: Of the machine.
        """
        steps = range(1, new_tokens)
        flops = sum(self.prefill_flops(r) for r in rows)
        least = sum(self.prefill_flops(r, causal=True) for r in rows)
        seconds = max(least / floors.matrix.median, self.weight_bytes / floors.read.median)
        total = sum(rows)
        for step in steps:
            keys = total + step * len(rows)
            work = sum(self.step_flops(r + step) for r in rows)
            flops, least = flops + work, least + work
            seconds += max(
                (self.weight_bytes + keys * self.row_bytes) / floors.read.median,
                work / floors.matrix.median,
            )
        return Cost(flops, least, seconds)

    def compress(self, rows: Sequence[int], floors: Floors) -> Cost:
        """Cost of hidden states of windows: no LM head.

        Args:
            rows: Of each window, memory tokens included.
            floors: Of the machine.
        """
        flops = sum(self.prefill_flops(r, heads=0) for r in rows)
        least = sum(self.prefill_flops(r, heads=0, causal=True) for r in rows)
        read = self.weights * self.value_bytes / floors.read.median
        return Cost(flops, least, max(least / floors.matrix.median, read))


def sizes_of(model: Cocom, role: str) -> Sizes:
    """Sizes of the network that plays a role.

    Args:
        model: The model.
        role: "read", or "compress", which a light compressor's encoder may do.
    """
    network: Any = model.backbone.model
    head: Any = network.get_output_embeddings().weight.numel()
    if role == "compress" and model.encoder is not None:
        network, head = model.encoder.encoder, 0
    config = network.config.get_text_config()
    heads = int(config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    groups = int(getattr(config, "num_key_value_heads", None) or heads)
    others = [name for name in model.backbone.adapter_names if name not in ("shared", role)]
    return Sizes(
        weights=_weights(network.base_model, others, getattr(config, "num_experts_per_tok", None)),
        layers=int(config.num_hidden_layers),
        attention=heads * size,
        keys=2 * groups * size,
        head=int(head),
        hidden=int(config.hidden_size),
        value_bytes=torch.empty(0, dtype=model.backbone.dtype).element_size(),
    )


def _weights(network: nn.Module, others: Sequence[str], experts: int | None) -> int:
    """Values of matrices, as `cocom.indexing.planning.shape` counts them, but for the active adapter."""
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    total = 0
    for name, weight in network.named_parameters():
        if weight.ndim < 2 or id(weight) in tables or "pooler" in name:
            continue
        if any(f".{other}." in name for other in others):
            continue
        count = int(weight.numel())
        if experts and weight.ndim == 3:  # all experts in one tensor, of which a token takes some
            count = count // weight.shape[0] * experts
        total += count
    return total
