"""Words of a text: what is kept or dropped as one, in any script and by any tokenizer's pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from unicodedata import category

import regex  # type: ignore[import-untyped]

from cocom.baselines.spans import Unit, units_of

__all__ = ["Word", "forced_words", "words_of"]

_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
)
_KATAKANA = regex.compile(r"[\p{Katakana}ー]")
_HANGUL = regex.compile(r"\p{Hangul}")
_GRAPHEME = regex.compile(r"\X")
_CONNECTORS = frozenset(".,'’:_-‐‑/@&+·$€£¥")  # inside 3.14, don't, and/or, a@b.org, US$5
_UNITS = frozenset("%‰°")  # behind a number
_FAR = 16  # characters of punctuation to look behind
_LONGEST = 40  # characters, a Hangul syllable as three; a longer stretch is cut between pieces


@dataclass(frozen=True)
class Word:
    """A stretch of a text that is kept or dropped as one.

    Attributes:
        unit: Where it is, white space in front of it included, and its tokens.
        probability: How likely it is to be kept, the mean over its tokens.
        forced: Whether it is kept in any case.
        token: The force token that it is, or else "".
    """

    unit: Unit
    probability: float
    forced: bool = False
    token: str = ""


def words_of(text: str, offsets: Sequence[tuple[int, int]]) -> list[Unit]:
    """Cut a text into words; together they are the text.

    Words end at white space and in front of punctuation, so that no word's pieces ("##", "▁" or bytes) are
    torn apart. Punctuation inside a number or a name belongs to it, as in 3.14 or don't, and punctuation
    right in front of a word goes with it, so that dropping words never joins two others. In scripts that put
    no space between words, every piece of the tokenizer is a word.

    Args:
        text: The text.
        offsets: First character and character behind the last of each token, in order.
    """
    edges = None if text.isascii() else {match.start() for match in _GRAPHEME.finditer(text)}
    words: list[Unit] = []
    blank = False  # whether the last word is white space so far
    for unit in units_of(text, offsets):
        if words:
            last, at = words[-1], unit.start
            inside = edges is not None and at not in edges
            if blank or inside or not _ends(text, last.start, at):
                words[-1] = Unit(last.start, unit.end, (last.tokens[0], unit.tokens[1]))
                blank = blank and text[unit.start : unit.end].isspace()
                continue
        words.append(unit)
        blank = text[unit.start : unit.end].isspace()
    if blank and len(words) > 1:
        end = words.pop()
        words[-1] = Unit(words[-1].start, end.end, (words[-1].tokens[0], end.tokens[1]))
    return words or ([Unit(0, len(text), (0, 0))] if text.strip() else [])


def _ends(text: str, start: int, at: int) -> bool:
    """Whether a word that began at `start` may end in front of the character `at`."""
    before, after = text[at - 1], text[at]
    if before.isspace() or after.isspace():
        return True
    if _unspaced(before) or _unspaced(after):
        return not (_KATAKANA.match(before) and _KATAKANA.match(after))
    if _letter(before) and _letter(after):
        return (at - start) * (3 if _HANGUL.match(before) else 1) >= _LONGEST
    if _letter(before):
        following = text[at + 1] if at + 1 < len(text) else " "
        joined = after in _CONNECTORS and _spaced_letter(following)
        return not joined and not (after in _UNITS and before.isdigit())
    return not _letter(after) or _unspaced(_behind(text, at))


def _behind(text: str, at: int) -> str:
    """What stands in front of the punctuation in front of a character."""
    for character in reversed(text[max(0, at - _FAR) : at]):
        if _letter(character) or character.isspace():
            return character
    return " "


def _letter(character: str) -> bool:
    return character.isalnum() or character == "_" or category(character).startswith("M")


def _unspaced(character: str) -> bool:
    return character >= "\u0e00" and _UNSPACED.match(character) is not None


def _spaced_letter(character: str) -> bool:
    return _letter(character) and not _unspaced(character)


def forced_words(
    text: str,
    words: Sequence[Unit],
    probabilities: Sequence[float],
    tokens: Collection[str],
    *,
    digits: bool = False,
) -> list[Word]:
    """Words with those marked that are kept in any case.

    A force token of letters and digits counts where it stands as words do. Any other one, such as a full
    stop or a newline, becomes a word of its own wherever it stands. Where that would tear a word, as in 3.14,
    or join two, the whole word is kept.

    Args:
        text: The text.
        words: Its words.
        probabilities: One for each of its tokens.
        tokens: The force tokens.
        digits: Whether words with a digit are kept in any case.
    """
    found = deque(_occurrences(text, tokens))
    result: list[Word] = []
    for word in words:
        first, last = word.tokens
        mean = sum(probabilities[first:last]) / (last - first) if last > first else 0.0
        inside = list(takewhile(lambda span: span[0] < word.end, found))  # noqa: B023
        for start, end, token, forced in _parts(text, word, inside):
            always = forced or (digits and any(c.isdigit() for c in text[start:end]))
            result.append(Word(Unit(start, end, word.tokens), mean, always, token))
        while found and found[0][1] <= word.end:
            found.popleft()
    return result


def _occurrences(text: str, tokens: Collection[str]) -> list[tuple[int, int]]:
    """Where force tokens stand: first character, and behind the last; the longest where several do."""
    if not tokens:
        return []
    names = sorted(tokens, key=lambda token: (-len(token), token))
    patterns = (
        (r"(?<![\p{L}\p{M}\p{N}_])" if _spaced_letter(name[0]) else "")
        + regex.escape(name)
        + (r"(?![\p{L}\p{M}\p{N}_])" if _spaced_letter(name[-1]) else "")
        for name in names
    )
    return [match.span() for match in regex.finditer("|".join(patterns), text)]


def _parts(
    text: str, word: Unit, found: Sequence[tuple[int, int]]
) -> list[tuple[int, int, str, bool]]:
    """A word cut at the force tokens in it: first character, behind the last, token, whether kept."""
    if not found:
        return [(word.start, word.end, "", False)]
    if any(
        start < word.start or end > word.end or _embedded(text, word, start, end)
        for start, end in found
    ):
        return [(word.start, word.end, "", True)]
    parts: list[tuple[int, int, str, bool]] = []
    at = word.start
    for start, end in found:
        if text[at:start].strip():
            parts.append((at, start, "", False))
            at = start
        parts.append((at, end, text[start:end], True))
        at = end
    if text[at : word.end].strip():
        parts.append((at, word.end, "", False))
    elif at < word.end:
        start, _, token, forced = parts.pop()
        parts.append((start, word.end, token, forced))
    return parts


def _embedded(text: str, word: Unit, start: int, end: int) -> bool:
    """Whether a force token is so much inside a word that taking it out would tear or join words."""
    before, after = text[word.start : start].strip(), text[end : word.end].strip()
    token = text[start:end]
    if token.isspace():
        return False
    if before and after and _letter(before[-1]) and _letter(after[0]):
        return True
    return bool((before and _spaced_letter(token[0])) or (after and _spaced_letter(token[-1])))
