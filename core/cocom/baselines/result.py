"""What hard compression gives: the passages with fewer tokens, and where each of these came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cocom.datatypes import Passage

__all__ = ["HardCompression", "HardCompressor", "HardPassage"]


@dataclass(frozen=True)
class HardPassage:
    """A passage of which some text stayed.

    Attributes:
        index: Its place among the passages that were given.
        text: What stayed of it.
        source: Its whole text.
        spans: Characters of the source that stayed: first, and behind the last.
        score: How much it matters to the method, higher is more; None if the method does not say.
    """

    index: int
    text: str
    source: str
    spans: tuple[tuple[int, int], ...]
    score: float | None = None


@dataclass(frozen=True)
class HardCompression:
    """Passages compressed to a budget of tokens.

    Attributes:
        passages: Those of which something stayed, in the order to read them in.
        dropped: Places, among the passages given, of those of which nothing stayed.
        origin_tokens: Tokens of the passages given.
        compressed_tokens: Tokens of what stayed.
    """

    passages: tuple[HardPassage, ...]
    dropped: tuple[int, ...]
    origin_tokens: int
    compressed_tokens: int

    @property
    def texts(self) -> list[str]:
        """What stayed, passage by passage, in the order to read it in."""
        return [passage.text for passage in self.passages]

    @property
    def rate(self) -> float:
        """Tokens for each that stayed."""
        return self.origin_tokens / max(1, self.compressed_tokens)


@runtime_checkable
class HardCompressor(Protocol):
    """Anything that leaves out what matters least of passages, and leaves text.

    Attributes:
        count_tokens: Counts the tokens of a text, as budgets count them.
    """

    count_tokens: Callable[[str], int]

    def compress(
        self,
        passages: Sequence[str | Passage],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> HardCompression:
        """Compress the passages of one question together.

        Args:
            passages: Texts, in the order a retriever found them.
            question: What they were found for; methods that do not look at it take it too.
            rate: Tokens for each that is kept, at least 1: at rate 4 a quarter stays.
            target_tokens: Most tokens that all passages together may keep.
        """
        ...
