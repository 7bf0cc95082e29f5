"""Products of a few rows with large matrices on a CPU, such as each decode step is made of.

Such a product has to read the whole matrix for little arithmetic, and should be as fast as memory is. The
usual order of its factors, rows times transposed matrix, is not in float32: BLAS libraries split it badly,
and a single row takes another, slower way altogether. The matrix times the transposed rows, two of them at
least, can be several times as fast. Which is faster on this machine is measured once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import nn
from torch.nn.functional import linear

__all__ = ["ThinProducts", "matrix_first_is_faster"]

_MOST = 64  # rows; more are arithmetic, which the usual order is good at
_measuring = threading.Lock()


class ThinProducts:
    """The linear layers of a model, to be computed in the order that suits few rows."""

    def __init__(self, model: nn.Module) -> None:
        """Find them.

        Args:
            model: Its linear layers in float32 on a CPU are taken.
        """
        self._layers = [
            module
            for module in model.modules()
            if type(module) is nn.Linear
            and module.weight.device.type == "cpu"
            and module.weight.dtype == torch.float32
            and "forward" not in module.__dict__  # something else has its hands in it
        ]

    @contextmanager
    def used(self, rows: int) -> Iterator[None]:
        """Compute the layers matrix first, if there are few rows and that is faster."""
        if not self._layers or rows > _MOST or not matrix_first_is_faster(rows):
            yield
            return
        for layer in self._layers:
            layer.forward = partial(_matrix_first, layer)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.forward


def _matrix_first(layer: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    found = _product(rows.reshape(-1, rows.shape[-1]), layer.weight)
    if layer.bias is not None:
        found = found + layer.bias
    return found.view(*rows.shape[:-1], -1)


def _product(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    count = len(rows)
    if count == 1:
        rows = torch.cat([rows, rows])
    return torch.mm(matrix, rows.t()).t()[:count].contiguous()


def matrix_first_is_faster(rows: int) -> bool:
    """Whether this machine multiplies so few rows faster in the other order; measured once."""
    with _measuring:
        return _measured(1 << (rows - 1).bit_length(), torch.get_num_threads())


@cache
def _measured(rows: int, threads: int) -> bool:
    # Enough matrices that no cache holds them all, as with the layers of a model.
    matrices = torch.randn(32, 1024, 1024, generator=torch.Generator().manual_seed(0))
    given = torch.ones(rows, 1024)
    ways: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = [_product, linear]
    best = []
    for way in ways:
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            for matrix in matrices:
                way(given, matrix)
            seconds.append(time.perf_counter() - started)
        best.append(min(seconds))
    return best[0] < 0.9 * best[1]
