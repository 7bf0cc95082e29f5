"""What a benchmark found, as it is written to a file and read back for plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cocom.errors import InputError

__all__ = [
    "Cell",
    "Check",
    "Floors",
    "Report",
    "Spread",
    "Way",
    "as_dict",
    "read_report",
    "write_report",
]

FORMAT = "cocom-bench/1"

Way = Literal["cocom", "straightforward"]
"""Ours, or the straightforward way that it is compared with."""


@dataclass(frozen=True)
class Spread:
    """A figure that was measured several times.

    Attributes:
        median: Of the rounds.
        low: Smallest.
        high: Largest.
        rounds: All, in the order they were measured.
    """

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]


@dataclass(frozen=True)
class Floors:
    """What the machine can do at most, measured in the same run.

    Attributes:
        copy: Bytes a second that a large copy reads and writes, both counted.
        read: Bytes a second that a large sum reads.
        matrix: Floating-point operations a second of a large matrix product in the model's type.
    """

    copy: Spread
    read: Spread
    matrix: Spread


@dataclass(frozen=True)
class Cell:
    """One thing that was measured, or why it was not.

    Attributes:
        what: "compress", "first_token", "answer", "stream" or "store".
        way: Ours or the straightforward one.
        context: "none", "text", or "rate N" for context embeddings at a compression rate.
        passages: For each question; for "compress", how many are compressed in all.
        batch: Questions answered together; 1 is one at a time.
        new_tokens: Tokens of each answer; 0 for "compress".
        seconds: For all of it: the whole batch, or all passages; None if it was skipped.
        rows: Rows that the model reads, padding not counted, for all of it.
        flops_analytic: Floating-point operations by formula.
        flops_counted: The same, counted by torch while it ran; None if not counted.
        floor_seconds: The least time the machine needs for it by its floors.
        peak_bytes: Most memory beyond what the model itself takes; None if not measured.
        skipped: Why it was not measured; empty if it was.
        notes: Anything else worth knowing, by name.
    """

    what: str
    way: Way
    context: str
    passages: int
    batch: int
    new_tokens: int
    seconds: Spread | None
    rows: int = 0
    flops_analytic: float | None = None
    flops_counted: float | None = None
    floor_seconds: float | None = None
    peak_bytes: int | None = None
    skipped: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> int | None:
        """Compression rate; None for text and no context."""
        return int(self.context.removeprefix("rate ")) if self.context.startswith("rate ") else None

    @property
    def to_floor(self) -> float | None:
        """How many times longer than the floor it took."""
        if self.seconds is None or not self.floor_seconds:
            return None
        return self.seconds.median / self.floor_seconds


@dataclass(frozen=True)
class Check:
    """A claim about the figures, and whether they bear it out.

    Attributes:
        name: What is claimed.
        value: What was found.
        wanted: What was aimed at.
        at_least: Whether `value` is to be at least `wanted`, or at most.
    """

    name: str
    value: float
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the claim holds."""
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted


@dataclass(frozen=True)
class Report:
    """All that one run found.

    Attributes:
        machine: Name of the device, processor, threads, versions and types, by name.
        model: Name, parameters, layers, width and whether its weights are random, by name.
        settings: The options of the run.
        floors: What the machine can do at most.
        cells: What was measured.
        checks: Claims.
    """

    machine: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    floors: Floors
    cells: tuple[Cell, ...]
    checks: tuple[Check, ...] = ()


def as_dict(report: Report) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    return {"format": FORMAT, **asdict(report)}


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON; what was there before is replaced at once or not at all."""
    text = json.dumps(as_dict(report), indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read_report(path: Path) -> Report:
    """Read a report that `write_report` wrote.

    Raises:
        InputError: The file is missing or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("format") != FORMAT:
            raise ValueError
        return Report(
            machine=value["machine"],
            model=value["model"],
            settings=value["settings"],
            floors=Floors(**{name: _spread(found) for name, found in value["floors"].items()}),
            cells=tuple(Cell(**{**c, "seconds": _spread(c["seconds"])}) for c in value["cells"]),
            checks=tuple(Check(**check) for check in value["checks"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path}' holds no report of cocom bench ({type(error).__name__}): give a file that "
            "`cocom bench --out` wrote."
        ) from error


def _spread(value: Mapping[str, Any] | None) -> Any:
    return None if value is None else Spread(**{**value, "rounds": tuple(value["rounds"])})
