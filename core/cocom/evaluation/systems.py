"""The systems that a comparison has as columns: how passages reach the reader, and at which rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from cocom.errors import InputError

__all__ = ["HARD_METHODS", "Kind", "System", "all_systems", "chosen"]

Kind = Literal["none", "text", "soft", "hard", "truncated", "random", "wrong"]

HARD_METHODS = ("llmlingua", "longllmlingua", "llmlingua2")
_FUSIONS = ("rag-token", "rag-sequence")
_WORDS: Mapping[Kind, str] = {
    "truncated": "truncated",
    "random": "random words",
    "wrong": "wrong passages",
}


@dataclass(frozen=True)
class System:
    """One column: how the passages of a question are given to the reader.

    Attributes:
        kind: Left out ("none"), as they are ("text"), as context embeddings ("soft"), or as text that
            was shortened to as many tokens as the context embeddings have rows: by a method ("hard"), to
            its first tokens ("truncated") or to words drawn at random ("random"). "wrong" are context
            embeddings of passages without the answer.
        rate: Compression rate, or the one whose number of rows is kept to.
        method: Name of the hard method.
        fusion: How the reader brings several passages together.
    """

    kind: Kind
    rate: int | None = None
    method: str = ""
    fusion: str = "concat"

    @property
    def name(self) -> str:
        """What tables and files call it."""
        if self.kind == "none":
            return "no passage"
        form = "text" if self.rate is None else f"rate {self.rate}"
        before = self.method or _WORDS.get(self.kind, "")
        fusion = "" if self.fusion == "concat" else self.fusion
        return " ".join(word for word in (fusion, before, form) if word)

    @property
    def family(self) -> str:
        """What all its rates share: a series in a plot."""
        if self.fusion != "concat":
            return self.fusion
        if self.kind == "soft":
            return "context embeddings"
        return self.name.rpartition(" rate")[0] or self.name

    @property
    def soft_counterpart(self) -> str | None:
        """The name of the context embeddings with the same rows, if that is another column."""
        if self.rate is None or (self.kind == "soft" and self.fusion == "concat"):
            return None
        return System("soft", self.rate).name


def all_systems(rates: Sequence[int]) -> list[System]:
    """Every system there is for a model of some rates, in the order of the table."""
    bounds = [System("text"), System("none"), System("wrong", rates[0])]
    soft = [System("soft", rate) for rate in rates]
    hard = [System("hard", rate, method) for method in HARD_METHODS for rate in rates]
    kinds: tuple[Kind, ...] = ("truncated", "random")
    simple = [System(kind, rate) for kind in kinds for rate in rates]
    fused = [
        system
        for fusion in _FUSIONS
        for system in (
            System("text", fusion=fusion),
            *(System("soft", rate, fusion=fusion) for rate in rates),
        )
    ]
    return [*bounds, *soft, *hard, *simple, *fused]


def chosen(systems: Sequence[System], patterns: Sequence[str]) -> list[System]:
    """The systems whose name one of the patterns has, in the order of the table.

    Args:
        systems: All there are.
        patterns: Names in which `*` stands for anything, such as "llmlingua2 *".

    Raises:
        InputError: A pattern that no name has.
    """
    for pattern in patterns:
        if not any(fnmatchcase(system.name, pattern) for system in systems):
            raise InputError(
                f"no column is called {pattern!r}: choose from "
                f"{', '.join(repr(system.name) for system in systems)}."
            )
    return [s for s in systems if any(fnmatchcase(s.name, pattern) for pattern in patterns)]
