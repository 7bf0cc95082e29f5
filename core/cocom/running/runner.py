"""What runs prompts: the decode loop here, transformers' generate, or, one day, a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cocom.generation import GenerationOptions
from cocom.running.line import Line

__all__ = ["Runner", "Take"]

Take = Callable[[Sequence[Line]], Sequence[Line]]
"""Given the lines that are being written, gives more to write with them; none if there are none."""


class Runner(Protocol):
    """Writes answers, many at a time."""

    def together(self, first: GenerationOptions, other: GenerationOptions) -> bool:
        """Whether lines with these options can be written at the same time."""
        ...

    def run(self, take: Take) -> None:
        """Write lines until `take` has no more and all are over and told.

        What goes wrong with one line is told to that line only; what goes wrong with all of them, such as an
        interrupt, is raised.
        """
        ...
