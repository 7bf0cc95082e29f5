"""Parts of one text, each kept as it is, compressed at a rate of its own, or to what the budget leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cocom.baselines.budget import target_of
from cocom.baselines.result import HardCompressor
from cocom.errors import ConfigError, InputError

__all__ = ["Part", "compress_parts"]

_ROUNDS = 6  # parts put together may take more or fewer tokens than they do one by one


@dataclass(frozen=True)
class Part:
    """A stretch of text.

    Attributes:
        text: What it says; white space at its ends stays in any case.
        compress: Whether it may lose words.
        rate: Its tokens for each that is kept; None leaves it what the others do not take.
    """

    text: str
    compress: bool = True
    rate: float | None = None

    @property
    def free(self) -> bool:
        """Whether it shares what the budget leaves."""
        return self.compress and self.rate is None and bool(self.text.strip())


def compress_parts(
    compressor: HardCompressor,
    parts: Sequence[Part],
    whole: Callable[[Sequence[str]], str],
    count_tokens: Callable[[str], int],
    *,
    question: str | None = None,
    rate: float | None = None,
    target_tokens: int | None = None,
) -> list[str]:
    """The texts of the parts, so that the whole of them is within the budget.

    Parts with a rate are compressed to it one by one. The others share what is left and are compressed
    together. Without a budget, every part needs a rate.

    Args:
        compressor: Compresses.
        parts: The parts.
        whole: Puts the parts' texts together.
        count_tokens: Tells how many tokens a text has.
        question: What the text is read for.
        rate: Tokens of the whole for each that is kept.
        target_tokens: Most tokens of the whole.

    Raises:
        ConfigError: There is a part without a rate, and no budget; or both kinds of budget.
        InputError: What is to stay exceeds the budget.
    """
    free = [number for number, part in enumerate(parts) if part.free]
    texts = [part.text for part in parts]
    for number, part in enumerate(parts):
        if part.compress and part.rate is not None and part.text.strip():
            found = compressor.compress([part.text], question=question, rate=part.rate).texts
            texts[number] = _with_ends(part.text, found[0] if found else "")
    if rate is None and target_tokens is None:
        if free:
            raise ConfigError(
                f"{len(free)} of {len(parts)} parts have no rate of their own, and there is no budget for "
                "the whole: give rate or target_tokens."
            )
        return texts
    target = target_of(count_tokens(whole([part.text for part in parts])), rate, target_tokens)
    if count_tokens(whole(texts)) <= target:
        return texts
    for number in free:
        texts[number] = _with_ends(parts[number].text, "")
    stays = count_tokens(whole(texts))
    if stays > target:
        raise InputError(
            f"what stays in any case takes {stays} tokens, but the budget is {target}: raise the budget, or "
            "let more be compressed."
        )
    best, room, used = list(texts), max(1, target - stays), 0
    made: list[str] = []
    for _ in range(_ROUNDS):
        before, made = made, list(texts)
        found_free = compressor.compress(
            [parts[number].text for number in free], question=question, target_tokens=room
        )
        for passage in found_free.passages:
            number = free[passage.index]
            made[number] = _with_ends(parts[number].text, passage.text)
        tokens = count_tokens(whole(made))
        if used < tokens <= target:
            best, used = made, tokens
        if made == before or tokens == target:
            break
        room = max(1, room + target - tokens)
    return best


def _with_ends(source: str, text: str) -> str:
    """A text with the white space around its source."""
    if not source.strip():
        return source
    before = source[: len(source) - len(source.lstrip())]
    return before + text.strip() + source[len(source.rstrip()) :]
