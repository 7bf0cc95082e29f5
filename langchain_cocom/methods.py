"""Which method compresses: context embeddings, or one that leaves out tokens of the text."""

from __future__ import annotations

from os import PathLike
from typing import Any, Self

from pydantic import Field, PrivateAttr, field_serializer

from cocom.errors import ConfigError, InputError
from cocom.hard_writer import HardWriter, Method, check_options, written_name
from langchain_cocom.bound import BoundToModel

__all__ = ["WithMethod"]


class WithMethod(BoundToModel):
    """A component that compresses, with a Cocom model or by leaving out tokens, which needs none.

    Attributes:
        method: "cocom" writes references to context embeddings; the hard methods "llmlingua", "longllmlingua"
            and "llmlingua2" leave out tokens, so that any language model can read what stays.
        compression_rate: Tokens for each embedding, or for each token that stays; with "cocom", None takes
            the model's first rate.
        target_tokens: Most tokens of all documents together, in the place of a rate (hard methods).
        scorer: The small model of a hard method: a folder or name, or a `HardCompressor` that is ready; None
            takes the one that ships, which is for trying. Equal names share one.
        method_settings: Further arguments of the method's class (hard methods).
        count_tokens: Counts as the model that reads the result, such as its `get_num_tokens`; None counts as
            the small model does (hard methods).
    """

    method: Method = "cocom"
    compression_rate: int | float | None = None
    target_tokens: int | None = None
    scorer: Any = None
    method_settings: dict[str, Any] = Field(default_factory=dict)
    count_tokens: Any = Field(default=None, repr=False)

    _writer_kept: HardWriter | None = PrivateAttr(default=None)

    @property
    def _is_hard(self) -> bool:
        """Whether tokens are left out; makes sure that the settings go together."""
        check_options(self.method, vars(self))
        return self.method != "cocom"

    @property
    def _soft_rate(self) -> int | None:
        """The rate as a Cocom model takes it; one that is no whole number it refuses itself."""
        rate: Any = self.compression_rate
        return int(rate) if isinstance(rate, float) and rate.is_integer() else rate

    @property
    def _hard_writer(self) -> HardWriter:
        assert self.method != "cocom"
        if self.engine != type(self).model_fields["engine"].default:
            raise ConfigError(
                f"engine is given, but method {self.method!r} uses none: leave it out; to count tokens as a "
                "model does, give count_tokens=."
            )
        writer = HardWriter(
            self.method,
            self.scorer,
            self.compression_rate,
            self.target_tokens,
            self.method_settings,
            self.count_tokens,
            self.namespace,
        )
        kept = self._writer_kept
        if kept != writer:  # it holds what it loaded
            self._writer_kept = kept = writer
        assert kept is not None
        return kept

    @field_serializer("scorer", "count_tokens")
    def _name(self, value: Any) -> str | None:
        return written_name(value)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        memo[id(self.scorer)] = self.scorer
        memo[id(self.count_tokens)] = self.count_tokens
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        if not isinstance(self.scorer, str | PathLike | None):
            raise InputError(
                f"{type(self).__name__} works with a scorer object of this process and cannot go into "
                "another: give it the scorer's name."
            )
        return super().__getstate__()
