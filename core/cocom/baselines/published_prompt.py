"""A prompt as the package llmlingua leaves it, taken apart into passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cocom.baselines.passage_units import PassageUnits, TokenCounts
from cocom.baselines.result import HardCompression, HardPassage
from cocom.baselines.spans import kept_spans, kept_text, stripped_spans, units_of

__all__ = ["SEPARATOR", "PublishedPrompt", "compression_of"]

SEPARATOR = "\n\n"
"""What stands between passages."""


@dataclass(frozen=True)
class PublishedPrompt:
    """A prompt and what is kept of it.

    Attributes:
        text: The passages that were taken, one behind the other.
        order: Places of these passages.
        offsets: First character and character behind the last of each token.
        kept: Numbers of the tokens that are kept.
        ids: Their ids.
    """

    text: str
    order: list[int]
    offsets: list[tuple[int, int]]
    kept: list[int]
    ids: list[int]


def compression_of(
    prompt: PublishedPrompt, everything: Sequence[PassageUnits], count: TokenCounts
) -> HardCompression:
    """What is kept of a prompt, passage by passage; a character stays whole if any of its tokens stays.

    Args:
        prompt: What the package keeps.
        everything: The passages given.
        count: Tokens as the reader counts them.
    """
    left = set(prompt.kept)
    found = []
    start = 0
    for place in prompt.order:
        source = everything[place].text
        end = start + len(source)
        tokens = [i for i, (a, b) in enumerate(prompt.offsets) if a < end and b > start]
        places = [
            (max(0, a - start), min(len(source), b - start))
            for a, b in (prompt.offsets[i] for i in tokens)
        ]
        units = units_of(source, places)
        kept = {
            number
            for number, unit in enumerate(units)
            if any(tokens[i] in left for i in range(*unit.tokens))
        }
        spans = kept_spans(units, kept)
        if text := kept_text(source, spans):
            found.append(HardPassage(place, text, source, stripped_spans(source, spans)))
        start = end + len(SEPARATOR)
    stays = {passage.index for passage in found}
    return HardCompression(
        passages=tuple(found),
        dropped=tuple(one.index for one in everything if one.index not in stays),
        origin_tokens=sum(one.tokens for one in everything),
        compressed_tokens=sum(count(passage.text) for passage in found),
    )
