"""Answers of exactly so many tokens: no end of sequence while a benchmark runs, and counting to be sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from cocom.engine import Cocom
from cocom.errors import ModelError
from cocom.passes import passes_of

__all__ = ["check_lengths", "endless"]


@contextmanager
def endless(model: Cocom) -> Iterator[None]:
    """Within it no answer ends before `max_new_tokens`: ids that end one are never the likeliest."""
    passes_of(
        model.backbone
    ).usable()  # found out by comparing logits, of which some are infinite now
    head: Any = model.backbone.model.get_output_embeddings()
    ends = torch.tensor(sorted(model._reader.ends), device=head.weight.device)

    def block(_: Any, __: Any, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill_(-1, ends, float("-inf"))

    handle = head.register_forward_hook(block)
    model._reader.forget()  # captured steps were captured without the hook, and later with it
    try:
        yield
    finally:
        handle.remove()
        model._reader.forget()


def check_lengths(lengths: Sequence[int], wanted: int) -> None:
    """Make sure that answers are as long as they were to be, or their times mean nothing.

    Raises:
        ModelError: They are not.
    """
    wrong = [length for length in lengths if length != wanted]
    if wrong:
        raise ModelError(
            f"{len(wrong)} of {len(lengths)} answers have another length, such as {wrong[0]} tokens where "
            f"{wanted} were asked for: the model ends answers in a way that the benchmark does not know."
        )
