"""Figures that say what they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Basis", "Figure", "asked", "computed", "given"]

Basis = Literal["measured", "given", "computed", "assumed"]


@dataclass(frozen=True)
class Figure:
    """A number, and what it rests on.

    Attributes:
        value: The number.
        unit: Its unit.
        basis: "measured", "given" by whoever asks, "computed" from such figures and the model's config,
            or "assumed": itself, or something that it was computed from.
        note: How it came about.
        assumes: Options that nobody gave and that it therefore rests on; empty unless it is assumed.
    """

    value: float
    unit: str
    basis: Basis
    note: str
    assumes: tuple[str, ...] = ()


def given(value: float, unit: str) -> Figure:
    """A figure that whoever asks knows."""
    return Figure(value, unit, "given", "as asked")


def asked(option: str, value: float | None, unit: str, assumed: float, note: str) -> Figure:
    """A figure that was given, or what is assumed in its place, and why."""
    if value is not None:
        return given(value, unit)
    return Figure(assumed, unit, "assumed", note, (option,))


def computed(value: float, unit: str, note: str, *parents: Figure) -> Figure:
    """A figure computed from others; what any of them assumes, it assumes too."""
    assumes = tuple(dict.fromkeys(name for parent in parents for name in parent.assumes))
    return Figure(value, unit, "assumed" if assumes else "computed", note, assumes)
