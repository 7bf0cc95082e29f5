"""What the machine can do at most: how fast it copies, reads and multiplies, measured, not looked up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch

from cocom.benchmark.result import Floors, Spread
from cocom.benchmark.timing import finish, once, spread
from cocom.products import fast_products

__all__ = ["better", "measure_floors"]

_VALUES = {"cuda": 1 << 30, "cpu": 1 << 27}  # 4 GiB and 512 MiB of float32, far beyond any cache
_SIDE = {"cuda": 8192, "cpu": 2048}


def measure_floors(
    device: torch.device, dtype: torch.dtype, *, seconds: float = 0.3, rounds: int = 5
) -> Floors:
    """Measure the machine.

    Args:
        device: Where.
        dtype: Type that matrices are multiplied in.
        seconds: A round of each takes about so long.
        rounds: How many are timed.
    """
    with torch.no_grad():
        copy, read = _memory(device, seconds, rounds)
        side = _SIDE.get(device.type, _SIDE["cpu"])
        left = torch.randn(side, side, device=device).to(dtype)
        right = torch.randn(side, side, device=device).to(dtype)
        out = torch.empty_like(left)
        multiply = partial(torch.mm, left, right, out=out)
        given = (multiply, 2 * side**3, device, seconds, rounds)
        matrix = _speed(*given)
        with fast_products(device, dtype):  # a floor is the best there is
            matrix = max(matrix, _speed(*given), key=lambda speed: speed.median)
    return Floors(copy, read, matrix)


def better(first: Floors, second: Floors) -> Floors:
    """Of two measurements the faster one of each, since a floor is what the machine can do."""

    def faster(name: str) -> Spread:
        found: tuple[Spread, Spread] = (getattr(first, name), getattr(second, name))
        return max(found, key=lambda speed: speed.median)

    return Floors(faster("copy"), faster("read"), faster("matrix"))


def _memory(device: torch.device, seconds: float, rounds: int) -> tuple[Spread, Spread]:
    size = _VALUES.get(device.type, _VALUES["cpu"])
    while True:
        with suppress(torch.OutOfMemoryError, MemoryError):
            source = torch.ones(size, device=device)
            target = torch.empty_like(source)
            break
        size //= 2  # a large model leaves less
    given = size * source.element_size()
    copy = _speed(lambda: target.copy_(source), 2 * given, device, seconds, rounds)
    return copy, _speed(source.sum, given, device, seconds, rounds)


def _speed(
    work: Callable[[], object],
    amount: float,
    device: torch.device,
    seconds: float,
    rounds: int,
) -> Spread:
    """Amount a second of work that is repeated until a round is long enough."""
    work()
    finish(device)
    repeats = max(1, round(seconds / max(once(work, device), 1e-9)))

    def round_of_work() -> None:
        for _ in range(repeats):
            work()

    return spread([repeats * amount / once(round_of_work, device) for _ in range(rounds)])
