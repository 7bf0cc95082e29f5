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

__all__ = ["by_turns", "finish", "once", "spread", "take_turns"]

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
    if warm:
        for subject in subjects.values():
            subject()
    seconds: dict[Name, list[float]] = {name: [] for name in subjects}
    take_turns(
        dict.fromkeys(subjects, rounds),
        lambda name, _: seconds[name].append(once(subjects[name], device)),
    )
    return {name: spread(seconds[name]) for name in subjects}


def take_turns(rounds: Mapping[Name, int], turn: Callable[[Name, int], object]) -> None:
    """Give everybody their turns, in another order every round.

    Args:
        rounds: How many turns each has; those that have fewer have the first rounds.
        turn: Called for each turn with the name and the number of the round, from 0.
    """
    names = list(rounds)
    order = random.Random(0)
    for number in range(max(rounds.values(), default=0)):
        order.shuffle(names)
        for name in names:
            if number < rounds[name]:
                turn(name, number)


def once(subject: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until the device is done with it."""
    finish(device)
    started = time.perf_counter()
    subject()
    finish(device)
    return time.perf_counter() - started


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of some values."""
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
