"""How a step is launched: as a CUDA graph, or compiled; both know sizes of batch and width beforehand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch

__all__ = ["Compiled", "Graphs", "Launch"]

_log = logging.getLogger(__name__)

Step = Callable[[torch.Tensor, int], torch.Tensor]
"""Ids, positions and lengths (3, slots) and the width -> logits (slots, vocabulary)."""


class Launch(Protocol):
    """Launches steps of a few sizes."""

    def __call__(self, inputs: torch.Tensor, width: int) -> torch.Tensor:
        """Logits (slots, vocabulary), valid until the next step.

        Args:
            inputs: Ids, positions and lengths, shape (3, slots).
            width: Rows of the widest slot.
        """
        ...

    def forget(self) -> None:
        """Keys and values stand elsewhere now."""
        ...


class Graphs:
    """Steps captured as CUDA graphs: the kernels of a step are launched all at once.

    One by one, launching them takes longer than running them, in a small batch several times as long.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        """Prepare; a size is captured when it is first met.

        Args:
            step: What to capture.
            device: A CUDA device.
        """
        self._step = step
        self._device = device
        self._plain = False
        self._pool: Any = None
        self._graphs: dict[tuple[int, int], tuple[Any, torch.Tensor, torch.Tensor]] = {}

    def __call__(self, inputs: torch.Tensor, width: int) -> torch.Tensor:
        """As `Launch`."""
        size = (inputs.shape[1], width)
        if self._plain:
            return self._step(inputs, width)
        if size not in self._graphs:
            try:
                self._graphs[size] = self._capture(inputs.clone(), width)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # the model waits for the device, say to route to experts
                _log.warning(
                    "steps of this model cannot be captured and are launched plainly: %s", error
                )
                self._plain = True
                return self._step(inputs, width)
        graph, given, logits = self._graphs[size]
        given.copy_(inputs, non_blocking=True)
        graph.replay()
        return logits

    def forget(self) -> None:
        """As `Launch`: graphs hold addresses."""
        self._graphs.clear()
        self._pool = None

    def _capture(
        self, given: torch.Tensor, width: int
    ) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        # Kernels choose and load themselves when they first run, which cannot be captured. A step may be
        # run again: it writes the same rows.
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(2):
                self._step(given, width)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device meanwhile.
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(
                graph, pool=self._pool, stream=side, capture_error_mode="thread_local"
            ),
        ):
            logits = self._step(given, width)
        return graph, given, logits


class Compiled:
    """Steps compiled by torch.compile, once for each size; the first of a size takes long."""

    def __init__(self, step: Step) -> None:
        """Prepare; a size is compiled when it is first met.

        Args:
            step: What to compile.
        """
        self._step: Any = torch.compile(step, dynamic=False)

    def __call__(self, inputs: torch.Tensor, width: int) -> torch.Tensor:
        """As `Launch`."""
        found: torch.Tensor = self._step(inputs, width)
        return found

    def forget(self) -> None:
        """As `Launch`: compiled steps are given where things stand."""
