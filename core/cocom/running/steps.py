"""Prompts and steps on the device: where keys and values stay, and how a step is launched."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cocom.attention import Stepped
from cocom.key_values import HeadKeyValues, SlotKeyValues
from cocom.passes import Passes
from cocom.running.launching import Compiled, Graphs, Launch
from cocom.running.request import BuiltPrompts

__all__ = ["Steps"]

_WIDTHS = 256  # rows; widths of captured and compiled steps are multiples of it


class Steps:
    """Passes over prompts and steps of their answers, and the keys and values between them.

    Where steps are captured or compiled, that is once for each size of batch and width, so sizes are rounded
    up to a few.
    """

    def __init__(
        self,
        passes: Passes,
        device: torch.device,
        dtype: torch.dtype,
        *,
        compile: bool = False,
        graphs: bool = True,
    ) -> None:
        """Prepare.

        Args:
            passes: Of the model.
            device: Where it computes.
            dtype: In which type.
            compile: Compile the decode step with torch.compile.
            graphs: Capture the decode step, on CUDA.
        """
        self._passes = passes
        self._device = device
        self._dtype = dtype
        self._kept = SlotKeyValues()
        self._launch: Launch | None = None
        if compile:
            self._launch = Compiled(self._one)
        elif graphs and device.type == "cuda":
            self._launch = Graphs(self._one, device)

    def suits(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether the model still computes where and as it did."""
        return (device, dtype) == (self._device, self._dtype)

    def forget(self) -> None:
        """Launch anew: the weights stand elsewhere now."""
        if self._launch is not None:
            self._launch.forget()

    def read(
        self,
        prompts: BuiltPrompts,
        first: int,
        room: int,
        skipped: int,
        head: HeadKeyValues | None,
    ) -> torch.Tensor:
        """Read prompts into slots.

        Args:
            prompts: What to read.
            first: The slot of the first; the others follow.
            room: Rows that the longest of all slots needs until its answer ends.
            skipped: Rows of the head that they begin with.
            head: Its keys and values.

        Returns:
            Logits behind each prompt, shape (prompts, vocabulary).
        """
        lengths = torch.tensor(prompts.rows.lengths)
        count = len(lengths)
        if self._kept.reserve(*self._sizes(first + count, room)) and self._launch is not None:
            self._launch.forget()
        self._kept.clear(slice(first, first + count))
        if head is not None:
            self._kept.begin(slice(first, first + count), head)
        slots = torch.arange(first, first + count).repeat_interleave(lengths)
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        places = torch.arange(len(slots)) - starts + skipped
        self._kept.aim(slots.to(self._device), places.to(self._device), used=0, width=0)
        return self._passes.first(prompts.rows, prompts.embeds, keep=self._kept, head=head)

    def step(
        self, ids: Sequence[int], positions: Sequence[int], lengths: Sequence[int]
    ) -> torch.Tensor:
        """Read one token of each answer.

        Args:
            ids: The tokens.
            positions: Their positions.
            lengths: Rows of each slot before them.

        Returns:
            Logits behind them, shape (slots, vocabulary).
        """
        count, width = len(ids), max(lengths) + 1
        even = min(lengths) == max(lengths)
        inputs = torch.tensor([ids, positions, lengths])
        if self._launch is None:
            with self._passes.products().used(count):
                return self._one(inputs.to(self._device), width, even=even)
        slots, width = self._sizes(count, width)
        # A slot beyond those in use reads a row of its own that nobody looks at.
        inputs = torch.nn.functional.pad(inputs, (0, slots - count))
        if self._kept.reserve(slots, width):
            self._launch.forget()
        return self._launch(inputs.to(self._device), width)[:count]

    def _one(self, inputs: torch.Tensor, width: int, *, even: bool = False) -> torch.Tensor:
        """Logits behind a step: ids, positions and lengths (3, slots), rows of the widest slot."""
        every = torch.arange(inputs.shape[1], device=inputs.device)
        self._kept.aim(every, inputs[2], used=inputs.shape[1], width=width)
        layout = Stepped(self._kept, inputs[2], width, even=even)
        return self._passes.step(inputs[0], inputs[1], layout)

    def move(self, source: int, target: int, rows: int) -> None:
        """Put the rows of one slot into another."""
        self._kept.move(source, target, rows)

    def arrange(self, sources: Sequence[int], rows: int, room: int) -> None:
        """Let the first slots go on with what others hold.

        Args:
            sources: The slot that each of the first slots takes the place of; several may take one's.
            rows: Rows of the longest of them.
            room: As `read`.
        """
        slots = max(len(sources), *(source + 1 for source in sources))
        if self._kept.reserve(*self._sizes(slots, room)) and self._launch is not None:
            self._launch.forget()
        self._kept.arrange(sources, rows)

    @property
    def kept(self) -> SlotKeyValues:
        """The keys and values of all slots."""
        return self._kept

    def rest(self, *, all: bool = False) -> None:
        """Let go of keys and values that nothing relies on.

        Args:
            all: Also of those that captured steps rely on, and so of these.
        """
        if self._launch is None or all:
            self._kept = SlotKeyValues()
        if all:
            self.forget()

    def _sizes(self, slots: int, rows: int) -> tuple[int, int]:
        if self._launch is None:
            return slots, rows
        return 1 << (slots - 1).bit_length(), -(-rows // _WIDTHS) * _WIDTHS
