"""Products of rows with weights in float32 on a CPU: the same numbers by the fastest way there is.

There are three ways. The *usual* one is what torch does by default. *oneDNN* can do it too, and is twice as
fast where MKL does not know the processor well, but torch asks it only if less precision is allowed; on
processors without matrix instructions it keeps full precision nevertheless. *Matrix first*, the matrix times
the transposed rows, two of them at least, is the fastest for very few rows: a decode step reads every weight
for little arithmetic, and should be as fast as memory is, which the usual order is not.

Which is the fastest depends on the machine and on the number of rows. It is measured once, and a way that is
less precise than the usual one is never taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import linear

from cocom.forks import renew_after_fork

__all__ = ["Products", "Way", "fast_products", "fastest", "usual_products"]

Way = Literal["usual", "onednn", "matrix first"]

_FEW = 64  # rows; for more, the matrix never comes first
_MANY = 512  # rows; more are computed as fast as these
_WIDTH = 1024
_TIMES = 3
_GAIN = 0.95  # what is not faster than that is not worth a change
_EXACT = 2e-6  # of the largest number


class Products:
    """The linear layers of a model, whose way is chosen for each pass by its rows."""

    def __init__(self, model: nn.Module) -> None:
        """Find them.

        Args:
            model: Its linear layers in float32 on a CPU are taken.
        """
        for module in model.modules():  # of a copy that was made during a pass
            if getattr(module.__dict__.get("forward"), "func", None) is _matrix_first:
                del module.forward
        self._layers = [
            module
            for module in model.modules()
            if type(module) is nn.Linear
            and _suits(module.weight.device, module.weight.dtype)
            and "forward" not in module.__dict__  # something else has its hands in it
        ]

    @contextmanager
    def used(self, rows: int) -> Iterator[None]:
        """Compute a pass of so many rows the fastest way."""
        way = fastest(rows) if self._layers and rows <= _FEW else None
        if way is None or way == "onednn":
            yield
            return
        with _onednn.without():
            if way == "usual":
                yield
                return
            try:
                for layer in self._layers:
                    layer.forward = partial(_matrix_first, layer)  # type: ignore[method-assign]
                yield
            finally:
                for layer in self._layers:
                    layer.__dict__.pop("forward", None)


def fast_products(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Compute products of many rows the fastest way, for as long as it is entered."""
    if _suits(device, dtype) and fastest(_MANY) == "onednn":
        return _onednn.used()
    return nullcontext()


def usual_products() -> AbstractContextManager[None]:
    """Compute products as torch does by default, also inside `fast_products`; to compare with."""
    return _onednn.without()


def fastest(rows: int) -> Way:
    """The fastest way of this machine for so many rows, measured when it is first asked for."""
    with _onednn.measuring:
        return _measured(1 << (min(rows, _MANY) - 1).bit_length(), torch.get_num_threads())


def _suits(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype == torch.float32


def _matrix_first(layer: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    found = _transposed(rows.reshape(-1, rows.shape[-1]), layer.weight)
    if layer.bias is not None:
        found = found + layer.bias
    return found.view(*rows.shape[:-1], -1)


def _transposed(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    count = len(rows)
    if count == 1:
        rows = torch.cat([rows, rows])
    return torch.mm(matrix, rows.t()).t()[:count].contiguous()


def _has_amx() -> bool:
    """As `cocom.processor` finds it out."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: True)())


class _OneDNN:
    """Torch's setting that lets oneDNN multiply in float32.

    The setting is the process's, so it is back when the last thread that uses it leaves.
    """

    def __init__(self) -> None:
        self._matmul: Any = getattr(getattr(torch.backends, "mkldnn", None), "matmul", None)
        # With AMX it would round, and so would whatever other threads compute while that is found out.
        self.available = (
            torch.backends.mkldnn.is_available()
            and hasattr(self._matmul, "fp32_precision")
            and not _has_amx()
        )
        self._users = 0
        self._before = "none"
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Of those who use the setting, none has come along into a forked process."""
        self._lock = threading.Lock()
        self.measuring = threading.Lock()
        if self._users:
            self._matmul.fp32_precision = self._before
            self._users = 0

    @contextmanager
    def used(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._before = self._matmul.fp32_precision
            self._users += 1
            self._matmul.fp32_precision = "bf16"
        try:
            yield
        finally:
            with self._lock:
                self._users = max(0, self._users - 1)  # a fork has begun anew
                if not self._users:
                    self._matmul.fp32_precision = self._before

    @contextmanager
    def without(self) -> Iterator[None]:
        """Not in what follows, though it is used around it; unless another thread relies on it.

        What others compute, such as embeddings that are stored, must not round now one way and now another.
        """
        with self._lock:
            alone = self._users == 1
            if alone:
                self._matmul.fp32_precision = self._before
        try:
            yield
        finally:
            with self._lock:
                if alone and self._users:
                    self._matmul.fp32_precision = "bf16"


_onednn = _OneDNN()


@cache
def _measured(rows: int, threads: int) -> Way:
    generator = torch.Generator().manual_seed(0)
    # Of few rows so many matrices that no cache holds them all, as with the layers of a model.
    count = 12 if rows <= _FEW else 2
    matrix = torch.randn(_WIDTH, _WIDTH, generator=generator)
    matrices = [matrix.clone() for _ in range(count)]
    given = torch.randn(rows, _WIDTH, generator=generator)
    exact = given[:8].double() @ matrix.double().t()

    def seconds(way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
        off = (way(given, matrix)[:8] - exact).abs().max() / exact.abs().max()
        if off > _EXACT:
            return float("inf")
        best = float("inf")
        for _ in range(_TIMES):
            started = time.perf_counter()
            for other in matrices:
                way(given, other)
            best = min(best, time.perf_counter() - started)
        return best

    found: dict[Way, float] = {}
    with _onednn.without():
        found["usual"] = seconds(linear) * _GAIN
        if rows <= _FEW:
            found["matrix first"] = seconds(_transposed)
    if _onednn.available:
        with _onednn.used():
            found["onednn"] = seconds(linear)
    return min(found, key=lambda way: found[way])
