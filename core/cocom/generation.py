"""How answers are decoded, and where they end. Plain values and text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cocom.errors import InputError

__all__ = [
    "Fusion",
    "GenerationOptions",
    "before_stop",
    "call_options",
    "generation_options",
    "started_stop",
    "until_end",
]

Fusion = Literal["concat", "rag-token", "rag-sequence", "rag-sequence-fast"]
"""How passages are put together: in one prompt, or each in its own (RAG, arXiv 2005.11401)."""

_OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "max_new_tokens": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "seed": (int, type(None)),
    "beams": (int,),
    "length_penalty": (int, float, type(None)),
}


@dataclass(frozen=True)
class GenerationOptions:
    """How answers are decoded.

    Attributes:
        max_new_tokens: Most tokens an answer may have.
        temperature: 0 decodes greedily; above, samples.
        top_p: Keep the smallest set of tokens with this probability mass (sampling only).
        top_k: Keep this many tokens; 0 keeps all (sampling only).
        seed: Makes sampling repeatable; None draws from torch's global generator.
        beams: Beams of beam search; 1 is none.
        stop: An answer ends before the first of these strings.
        fusion: How passages are put together. "concat" reads all in one prompt; "rag-token", "rag-sequence"
            and "rag-sequence-fast" read each in a prompt of its own and weigh what these say.
        length_penalty: Answers that a search has found are compared by log-probability / tokens ** this.
            None takes 1 with "concat", as transformers does, and else 0: the probability itself.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    beams: int = 1
    stop: tuple[str, ...] = ()
    fusion: Fusion = "concat"
    length_penalty: float | None = None

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        object.__setattr__(self, "stop", stop)
        for name, kinds in _OPTION_TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or value != value:
                raise InputError(f"{name} must be a number, got {value!r}.")
        if any(not isinstance(s, str) for s in stop):
            raise InputError(f"stop must be one or more strings, got {stop!r}.")
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")
        if self.temperature < 0:
            raise InputError(f"temperature must be 0 (greedy) or above, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be in (0, 1], got {self.top_p}.")
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (all) or above, got {self.top_k}.")
        if self.beams < 1:
            raise InputError(f"beams must be at least 1, got {self.beams}.")
        if self.beams > 1 and self.temperature > 0:
            raise InputError(
                f"beams {self.beams} and temperature {self.temperature} do not go together: set one."
            )
        if "" in self.stop:
            raise InputError("stop holds an empty string, which would end every answer at once.")
        self._check_length_penalty()
        if self.fusion not in get_args(Fusion):
            raise InputError(
                f"fusion must be one of {', '.join(get_args(Fusion))}, got {self.fusion!r}."
            )
        if self.by_sequence and self.temperature > 0:
            raise InputError(
                f"fusion {self.fusion!r} searches for the likeliest answer and draws none, but temperature "
                f"is {self.temperature}: set it to 0, or fusion to 'rag-token'."
            )

    def _check_length_penalty(self) -> None:
        penalty = self.length_penalty
        if not penalty:
            return
        try:
            good = 0 < math.pow(self.max_new_tokens, penalty) < math.inf and math.isfinite(penalty)
        except OverflowError:
            good = False
        if not good:
            raise InputError(
                f"length_penalty must be so near to 0 that max_new_tokens {self.max_new_tokens} to its power "
                f"is a finite number above 0, got {penalty!r:.80}."
            )

    @property
    def by_sequence(self) -> bool:
        """Whether whole answers are weighed, rather than tokens."""
        return self.fusion in ("rag-sequence", "rag-sequence-fast")

    @property
    def in_one_piece(self) -> bool:
        """Whether an answer's text is known only when all of it is."""
        return self.beams > 1 or self.by_sequence


def generation_options(values: Mapping[str, Any]) -> GenerationOptions:
    """Options from a call's keyword arguments.

    Raises:
        InputError: An unknown name, or a value that cannot be.
    """
    try:
        return GenerationOptions(**values)
    except TypeError:
        known = sorted(GenerationOptions.__dataclass_fields__)
        unknown = sorted(set(values) - set(known))
        if not unknown:
            raise
        raise InputError(
            f"unknown option {unknown[0]!r}: expected one of {', '.join(known)}."
        ) from None


def call_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """A framework's names for options, as `CocomView.reply` calls them, without those that are None.

    Stop strings are left to the caller; a conversation's passages stand in one prompt, so there is no fusion.

    Raises:
        InputError: A name that no option has.
    """
    left_out = ("stop", "fusion")
    names = {n: n for n in GenerationOptions.__dataclass_fields__ if n not in left_out}
    names |= {"max_tokens": "max_new_tokens", "timeout": "timeout"}
    for name in values:
        if name not in names:
            raise InputError(
                f"unknown option {name!r}: a Cocom model takes {', '.join(sorted(names))} and stop."
            )
    return {names[name]: value for name, value in values.items() if value is not None}


def before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Text before the first stop string, and whether there was one."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def started_stop(text: str, stops: Sequence[str]) -> int:
    """Characters at the end of a text that may be the start of a stop string."""
    starts = (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size]))
    return max(starts, default=0)


def until_end(ids: Sequence[int], ends: Set[int]) -> list[int]:
    """Ids up to and including the first end-of-sequence token; what follows is padding."""
    for i, token in enumerate(ids):
        if token in ends:
            return list(ids[: i + 1])
    return list(ids)
