"""Rows laid end to end in one long row, without padding: the other index arithmetic beside `splice`.

Shapes: T rows of all prompts or windows together, M context embeddings in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cocom.splice import ReadRow, WindowRow, lay_out_row, slot_positions

__all__ = ["EndToEnd", "lay_prompts", "lay_windows"]


@dataclass(frozen=True)
class EndToEnd:
    """Rows of several prompts or windows, one after the other.

    Attributes:
        ids: Token ids, shape (T,).
        position_ids: Shape (T,).
        places: Where the slots of prompts, or the memory tokens of windows, are in it, shape (M,).
        lengths: Rows of each prompt or window.
    """

    ids: torch.Tensor
    position_ids: torch.Tensor
    places: torch.Tensor
    lengths: tuple[int, ...]

    @property
    def last(self) -> torch.Tensor:
        """Where the last row of each prompt is, shape (prompts,)."""
        return torch.tensor(self.lengths).cumsum(0) - 1

    def to(self, device: torch.device) -> EndToEnd:
        """The same on another device."""
        return EndToEnd(
            self.ids.to(device), self.position_ids.to(device), self.places.to(device), self.lengths
        )


def lay_windows(rows: Sequence[WindowRow], *, uniform: bool) -> EndToEnd:
    """Lay windows end to end; nothing in them is masked.

    Args:
        rows: The windows.
        uniform: Whether memory tokens take positions spread over the passage.
    """
    ids: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    for row in rows:
        assert not row.padding
        size = len(row.ids)
        text = size - row.window.embeddings
        places += range(len(ids) + text, len(ids) + size)
        ids += row.ids
        if uniform:
            offsets, _ = slot_positions(row.window, row.rate, uniform=True)
            positions += range(row.shift, row.shift + text)
            positions += [row.start + offset for offset in offsets]
        else:
            positions += range(row.shift, row.shift + size)
    return _end_to_end(ids, positions, places, [len(row.ids) for row in rows])


def lay_prompts(
    rows: Sequence[ReadRow], pad_id: int, *, uniform: bool, skip: int = 0
) -> tuple[EndToEnd, list[int]]:
    """Lay prompts end to end, leaving room for their context embeddings.

    Args:
        rows: Prompts with their contexts, without branches.
        pad_id: Id that fills slots.
        uniform: Whether embeddings take the positions of the tokens they stand for.
        skip: First rows of each prompt to leave out; none of them may be a slot.

    Returns:
        The prompts, and the position that follows each.
    """
    ids: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    lengths: list[int] = []
    following: list[int] = []
    for row in rows:
        own_ids, own_positions, _, _, slots = lay_out_row(row, pad_id, uniform=uniform)
        assert len(own_ids) > skip
        assert not slots or slots[0] >= skip
        places += [len(ids) + slot - skip for slot in slots]
        ids += own_ids[skip:]
        positions += own_positions[skip:]
        lengths.append(len(own_ids) - skip)
        following.append(own_positions[-1] + 1)
    return _end_to_end(ids, positions, places, lengths), following


def _end_to_end(
    ids: Sequence[int], positions: Sequence[int], places: Sequence[int], lengths: Sequence[int]
) -> EndToEnd:
    long = torch.long
    return EndToEnd(
        torch.tensor(ids, dtype=long),
        torch.tensor(positions, dtype=long),
        torch.tensor(places, dtype=long),
        tuple(lengths),
    )
