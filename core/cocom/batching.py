"""Batches of like length: less padding, the same results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["batches_by_length"]


def batches_by_length(
    lengths: Sequence[int], budget: int, *, least: float = 0.0
) -> Iterator[list[int]]:
    """Group indices, longest first, so that a batch's padded size stays within a budget.

    Args:
        lengths: One for each item.
        budget: Rows in a batch, padding included; a longer item makes a batch of its own.
        least: An item shorter than this share of the batch's longest starts a new batch.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else 0
        if batch and (longest * (len(batch) + 1) > budget or lengths[i] < least * longest):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
