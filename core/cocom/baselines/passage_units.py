"""Passages as a method sees them, and the exact choice of what stays of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cocom.baselines.budget import fit
from cocom.baselines.plain_encoding import PlainEncoding
from cocom.baselines.result import HardCompression, HardPassage
from cocom.baselines.spans import Unit, kept_spans, kept_text, stripped_spans, units_of
from cocom.datatypes import Passage
from cocom.errors import ConfigError, EmptyPassageError, InputError

__all__ = ["PassageUnits", "TokenCounts", "choose", "passage_units", "unchanged"]


@dataclass(frozen=True)
class PassageUnits:
    """A passage, cut into units that are kept or dropped whole.

    Attributes:
        index: Its place among the passages given.
        text: Its text.
        ids: Its token ids.
        units: What it is cut into; they number its tokens.
        tokens: How many tokens the reader counts.
    """

    index: int
    text: str
    ids: tuple[int, ...]
    units: tuple[Unit, ...]
    tokens: int

    def holding(self, strings: Collection[str]) -> set[int]:
        """Numbers of the units that some strings stand in, wherever they do."""
        starts = [unit.start for unit in self.units]
        found: set[int] = set()
        for string in strings:
            at = self.text.find(string)
            while at >= 0:
                first = bisect_right(starts, at) - 1
                last = bisect_right(starts, at + len(string) - 1) - 1
                found.update(range(max(first, 0), last + 1))
                at = self.text.find(string, at + 1)
        return found


class TokenCounts:
    """Tokens of texts as the reader counts them, each text once."""

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        self._count = count_tokens
        self._known: dict[str, int] = {"": 0}

    def __call__(self, text: str) -> int:
        """Tokens of a text.

        Raises:
            ConfigError: The reader's count is no number of tokens.
        """
        known = self._known.get(text)
        if known is None:
            known = self._count(text)
            if isinstance(known, bool) or not isinstance(known, int) or known < 0:
                raise ConfigError(
                    f"count_tokens gave {known!r} for a text of {len(text)} characters: it must give a whole "
                    "number, 0 or more."
                )
            self._known[text] = known
        return known


def passage_units(
    passages: Sequence[str | Passage], encoding: PlainEncoding, count: TokenCounts
) -> list[PassageUnits]:
    """The passages of one question, cut into units.

    Raises:
        InputError: There are none, or one is no text.
        EmptyPassageError: One has no text.
    """
    if isinstance(passages, str | Passage):
        raise InputError("passages is a single passage: give a list of passages, even for one.")
    if not passages:
        raise InputError("there are no passages to compress: give at least one.")
    texts = [_text(passage, index) for index, passage in enumerate(passages)]
    found = []
    for index, (text, (ids, offsets)) in enumerate(zip(texts, encoding.encode(texts), strict=True)):
        units = units_of(text, offsets) or [Unit(0, len(text), (0, len(ids)))]
        found.append(PassageUnits(index, text, tuple(ids), tuple(units), count(text)))
    return found


def _text(passage: str | Passage, index: int) -> str:
    text = passage.text if isinstance(passage, Passage) else passage
    if not isinstance(text, str):
        raise InputError(
            f"passage {index} must be text, got {type(text).__name__}: pass a str or a Passage."
        )
    if not text.strip():
        raise EmptyPassageError(
            f"passage {index} has no text to compress, got {text[:20]!r}: leave it out."
        )
    return text


def unchanged(
    everything: Sequence[PassageUnits],
    order: Sequence[int],
    scores: Sequence[float] | None,
) -> HardCompression:
    """All passages as they are.

    Args:
        everything: The passages.
        order: Their places, in the order to read them in.
        scores: How much each matters, if that is known.
    """
    origin = sum(passage.tokens for passage in everything)
    kept = [
        HardPassage(
            index,
            everything[index].text,
            everything[index].text,
            ((0, len(everything[index].text)),),
            None if scores is None else scores[index],
        )
        for index in order
    ]
    return HardCompression(tuple(kept), (), origin, origin)


def choose(
    everything: Sequence[PassageUnits],
    order: Sequence[int],
    worth: Sequence[Sequence[tuple[float, float] | None]],
    forced: Sequence[Collection[int]],
    target: int,
    count: TokenCounts,
    scores: Sequence[float] | None,
) -> HardCompression:
    """Keep the units that are worth most, exactly as many as the reader has tokens for.

    Args:
        everything: The passages given.
        order: Places of those that may stay, in the order to read them in.
        worth: For each of these, what each unit is worth: compared in turn, higher is more; None if it may
            not stay unless it is forced.
        forced: For each of these, numbers of the units that stay in any case.
        target: Most tokens of all passages together.
        count: Tokens as the reader counts them.
        scores: How much each passage given matters, if that is known.

    Raises:
        InputError: The forced units alone exceed the budget.
    """
    stays = [everything[index] for index in order]
    numbers = [(place, unit) for place, one in enumerate(stays) for unit in range(len(one.units))]
    firsts = [0]
    for one in stays:
        firsts.append(firsts[-1] + len(one.units))

    def parts(kept: Collection[int]) -> list[set[int]]:
        found: list[set[int]] = [set() for _ in stays]
        for number in kept:
            place, unit = numbers[number]
            found[place].add(unit)
        return found

    def tokens(kept: Collection[int]) -> int:
        pairs = zip(stays, parts(kept), strict=True)
        return sum(count(_kept(one, units)[0]) for one, units in pairs)

    known = {n: found for n, (at, unit) in enumerate(numbers) if (found := worth[at][unit])}
    ranked = sorted(known, key=lambda n: (*(-part for part in known[n]), n))
    must = {firsts[place] + unit for place, units in enumerate(forced) for unit in units}
    room = target - sum(_tokens(stays[numbers[n][0]].units[numbers[n][1]]) for n in must)
    guess = 0
    for number in ranked:
        if number not in must:
            place, unit = numbers[number]
            room -= _tokens(stays[place].units[unit])
            if room < 0:
                break
            guess += 1
    kept = parts(fit(ranked, target, tokens, forced=must, guess=guess))
    passages = []
    for one, units in zip(stays, kept, strict=True):
        text, spans = _kept(one, units)
        if text:
            score = None if scores is None else scores[one.index]
            passages.append(HardPassage(one.index, text, one.text, spans, score))
    left = {passage.index for passage in passages}
    return HardCompression(
        passages=tuple(passages),
        dropped=tuple(one.index for one in everything if one.index not in left),
        origin_tokens=sum(one.tokens for one in everything),
        compressed_tokens=sum(count(passage.text) for passage in passages),
    )


def _tokens(unit: Unit) -> int:
    return unit.tokens[1] - unit.tokens[0]


def _kept(passage: PassageUnits, units: Collection[int]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text of some units of a passage, and where it stands; all of them are the passage as it is."""
    if len(units) == len(passage.units):
        return passage.text, ((0, len(passage.text)),)
    spans = kept_spans(passage.units, units)
    return kept_text(passage.text, spans), stripped_spans(passage.text, spans)
