"""Words of answers in every script, as they are compared."""

from __future__ import annotations

import string
import unicodedata

__all__ = ["folded", "letters_only", "plain", "units", "without_articles"]

_ARTICLES = frozenset({"a", "an", "the"})

# First and last code point of the scripts that are compared character by character.
_CHARACTER_SCRIPTS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Chinese characters, extension A
    (0x4E00, 0x9FFF),  # Chinese characters
    (0xAC00, 0xD7AF),  # Hangul
    (0xF900, 0xFAFF),  # Chinese characters, compatibility
    (0x20000, 0x3FFFF),  # Chinese characters, further extensions
)


def plain(text: str) -> str:
    """Return `text` in lower case and one Unicode form, without punctuation."""
    kept = "".join(character for character in folded(text) if not _is_dropped(character))
    return unicodedata.normalize("NFKC", kept)


def folded(text: str) -> str:
    """Return `text` in one Unicode form, in which upper and lower case are the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _is_dropped(character: str) -> bool:
    """Say whether a character is punctuation, or invisible as a soft hyphen is."""
    category = unicodedata.category(character)
    return character in string.punctuation or category.startswith("P") or category == "Cf"


def without_articles(words: list[str]) -> list[str]:
    """Return the words without English articles."""
    return [word for word in words if word not in _ARTICLES]


def units(words: list[str]) -> list[str]:
    """Return what is compared: words, and single characters of the scripts without spaces.

    A mark that belongs to a character (a Thai vowel or tone) stays with it.
    """
    found: list[str] = []
    for word in words:
        unit = ""
        for character in word:
            alone = _is_character_script(character) or (unit and _is_character_script(unit[0]))
            if alone and unit and not _is_mark(character):
                found.append(unit)
                unit = ""
            unit += character
        found.append(unit)
    return found


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _is_character_script(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in _CHARACTER_SCRIPTS)


def letters_only(text: str) -> str:
    """Return `text` in lower case with a space for all that is not a letter, mark or number."""
    return "".join(
        character if unicodedata.category(character)[0] in "LMN" else " "
        for character in folded(text)
        if unicodedata.category(character) != "Cf"
    )
