"""Logits -> the next token of each line, greedily or drawn; every line by its own options."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from cocom.generation import GenerationOptions
from cocom.running.line import Line

__all__ = ["next_tokens"]


def next_tokens(logits: torch.Tensor, lines: Sequence[Line]) -> list[int]:
    """Choose a token for each line.

    A line with a seed draws from a generator of its own, so that it draws the same whatever is written
    beside it; the others draw from torch's.

    Args:
        logits: Shape (lines, vocabulary).
        lines: What they are for.
    """
    tokens = logits.argmax(-1)
    drawn: dict[tuple[float, int, float], list[int]] = defaultdict(list)
    for i, line in enumerate(lines):
        if line.options.temperature > 0:
            options = line.options
            drawn[options.temperature, options.top_k, options.top_p].append(i)
    for rows in drawn.values():
        at = torch.tensor(rows, device=logits.device)
        chances = _chances(logits[at], lines[rows[0]].options)
        tokens[at] = torch.stack(
            [_draw(chance, lines[i]) for i, chance in zip(rows, chances, strict=True)]
        )
    chosen: list[int] = tokens.tolist()
    return chosen


def _chances(logits: torch.Tensor, options: GenerationOptions) -> torch.Tensor:
    scores: Any = logits.float()
    none: Any = None  # these do not look at the tokens so far
    scores = TemperatureLogitsWarper(float(options.temperature))(none, scores)
    if options.top_k:
        scores = TopKLogitsWarper(options.top_k)(none, scores)
    if options.top_p < 1:
        scores = TopPLogitsWarper(options.top_p)(none, scores)
    chances: torch.Tensor = scores.softmax(-1)
    return chances


def _draw(chances: torch.Tensor, line: Line) -> torch.Tensor:
    if line.options.seed is not None and line.generator is None:
        line.generator = torch.Generator(chances.device).manual_seed(line.options.seed)
    return torch.multinomial(chances, 1, generator=line.generator)[0]
