"""Keys and values of prompts whose answers are being written, each prompt in a slot of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["HeadKeyValues", "SlotKeyValues"]

_STEP = 64  # rows; room grows by at least so many
_SLACK = 4  # times more room than is needed, at most, when it grows


class HeadKeyValues:
    """Keys and values of the rows that many prompts begin with.

    Attributes:
        layers: Of each layer, shape (1, K, P, D) each for P rows.
    """

    def __init__(self) -> None:
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep a head's keys and values, shape (P, K, D) each."""
        self.layers[layer] = (
            keys.transpose(0, 1)[None].clone(),
            values.transpose(0, 1)[None].clone(),
        )

    def read(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the head, shape (1, K, P, D) each."""
        return self.layers[layer]


class SlotKeyValues:
    """Room for B prompts of up to W rows in every layer; grows when more is needed.

    A pass says first which slots and rows its keys and values go to, with `aim`; then every layer writes
    and reads. Slots are used from the first on, so that those in use stand side by side.
    """

    def __init__(self) -> None:
        self._slots = 0
        self._rows = 0
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._at: tuple[torch.Tensor, torch.Tensor] | None = None
        self._used = 0
        self._width = 0

    def reserve(self, slots: int, rows: int) -> bool:
        """Make room for at least so many slots and rows; what these hold stays.

        Returns:
            Whether there was too little, so that everything stands elsewhere now.
        """
        if slots <= self._slots and rows <= self._rows:
            return False
        rows = -(-rows // _STEP) * _STEP
        grown = max(slots, self._slots), max(rows, self._rows)
        # Many short prompts before and a long one now are no reason for many long ones.
        much = grown[0] * grown[1] > _SLACK * slots * rows
        before = self._slots, self._rows
        self._slots, self._rows = (slots, rows) if much else grown
        try:
            for layer, (keys, values) in self._layers.items():
                self._layers[layer] = (self._grown(keys), self._grown(values))
        except Exception:  # no memory for all: there is as much room as in the smallest layer
            self._slots, self._rows = min(before[0], self._slots), min(before[1], self._rows)
            raise
        return True

    def aim(self, slots: torch.Tensor, rows: torch.Tensor, *, used: int, width: int) -> None:
        """Say where the next pass writes and what it reads.

        Args:
            slots: Slot of each new row, shape (T,).
            rows: Its place in that slot, shape (T,).
            used: Slots that are read: the first so many.
            width: Rows that are read of each: the first so many.
        """
        self._at = (slots, rows)
        self._used, self._width = used, width

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep the keys and values of new rows, shape (T, K, D) each, where `aim` said."""
        assert self._at is not None
        if layer not in self._layers:
            self._layers[layer] = (self._room(keys), self._room(values))
        for kept, new in zip(self._layers[layer], (keys, values), strict=True):
            kept.transpose(1, 2).index_put_(self._at, new)

    def read(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the slots in use, shape (B, K, W, D) each."""
        keys, values = self._layers[layer]
        part = (slice(self._used), slice(None), slice(self._width))
        return keys[part], values[part]

    def move(self, source: int, target: int, rows: int) -> None:
        """Put the first rows of one slot into another."""
        for keys, values in self._layers.values():
            for part in (keys, values):
                part[target, :, :rows].copy_(part[source, :, :rows])
                part[target, :, rows:] = 0

    def arrange(self, sources: Sequence[int], rows: int) -> None:
        """Let the first slots go on with what others hold.

        Args:
            sources: The slot that each of the first slots takes the place of; several may take one's.
            rows: How many of its first rows to put there.
        """
        moved = [(source, target) for target, source in enumerate(sources) if source != target]
        if not moved:
            return
        for parts in self._layers.values():
            for part in parts:
                source, target = torch.tensor(moved, device=part.device).T
                part[target, :, :rows] = part[source, :, :rows]
                part[target, :, rows:] = 0

    def clear(self, slots: slice) -> None:
        """Empty slots that are taken anew.

        Rows that are hidden are computed with nevertheless, and what is not finite would show.
        """
        for keys, values in self._layers.values():
            keys[slots] = 0
            values[slots] = 0

    def begin(self, slots: slice, head: HeadKeyValues) -> None:
        """Let slots begin with a head's rows."""
        for layer, parts in head.layers.items():
            if layer not in self._layers:
                keys, values = (part[0].transpose(0, 1) for part in parts)
                self._layers[layer] = (self._room(keys), self._room(values))
            for kept, part in zip(self._layers[layer], parts, strict=True):
                kept[slots, :, : part.shape[2]] = part

    def _room(self, rows: torch.Tensor) -> torch.Tensor:
        """Room for rows like these (T, K, D).

        It is zeros, because what is hidden is computed with nevertheless and must be finite.
        """
        return rows.new_zeros((self._slots, rows.shape[1], self._rows, rows.shape[2]))

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        new = old.new_zeros((self._slots, old.shape[1], self._rows, old.shape[3]))
        slots, rows = min(old.shape[0], self._slots), min(old.shape[2], self._rows)
        new[:slots, :, :rows].copy_(old[:slots, :, :rows])
        return new
