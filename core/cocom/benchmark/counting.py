"""Floating-point operations, counted by torch while it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_flops"]


def count_flops(work: Callable[[], object]) -> float:
    """Operations of all matrix products and attentions that a call makes in this thread.

    torch counts attention whole, also where it is causal, and leaves out the CPU's own attention kernel,
    which is counted here by the same rule. What a replayed CUDA graph or a kernel of another library
    computes is not counted.
    """
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={kernel: _attention}) as counter:
        work()
    return float(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Queries (B, H, Q, D) times keys (B, ..., L, D), then attention times values (B, ..., L, E)."""
    batch, heads, queries, size = query
    return int(2 * batch * heads * queries * key[-2] * (size + value[-1]))
