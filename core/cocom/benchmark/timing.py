"""Times taken by turns: every subject once a round, so that a slow minute is nobody's alone."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from cocom.benchmark.result import Spread

if TYPE_CHECKING:
    import torch

__all__ = ["by_turns", "finish", "spread"]

Name = TypeVar("Name", bound=Hashable)


def by_turns(
    subjects: Mapping[Name, Callable[[], object]],
    *,
    rounds: int,
    device: torch.device,
    warm: bool = True,
) -> dict[Name, Spread]:
    """Time callables by turns, in another order every round.

    Args:
        subjects: What to time.
        rounds: How often each is timed.
        device: What they compute on; each is timed until it is done there.
        warm: Whether each is called once before, untimed.

    Returns:
        Seconds of each.
    """
    names = list(subjects)
    if warm:
        for name in names:
            subjects[name]()
    seconds: dict[Name, list[float]] = {name: [] for name in names}
    order = random.Random(0)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            finish(device)
            started = time.perf_counter()
            subjects[name]()
            finish(device)
            seconds[name].append(time.perf_counter() - started)
    return {name: spread(seconds[name]) for name in subjects}


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of some values."""
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
