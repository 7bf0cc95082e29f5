"""Spells the open names and draws the values of the fact generator."""

from __future__ import annotations

__all__ = ["Names", "Value", "indefinite", "make_value"]

import re
from dataclasses import dataclass
from functools import cache
from random import Random

from cocom.training.facts_kinds import KINDS
from cocom.training.facts_lexicon import FLAVOURS, LISTS, Flavour, pick_list

_UGLY = re.compile(
    r"(.)\1\1|[^aeiouy]{4}|[aeiou]{4}|(..+)\2|aa|ii|uu|iy|yi|[hjvwy]{2}|q[^u]"
    r"|shit|fuc|cunt|nig|dic|rap|nazi|poo|ass$|anus"
)
_VOWEL_SOUND = re.compile(r"(?!uni|use|eu|one\b|once)[aeiou]|hour|honest|heir|8|11\b|18\b")
_MONTHS = LISTS["month"]
_CLOSED = {
    split: {name: pick_list(name, split) for name in LISTS} for split in ("train", "held_out")
}
_SYLLABLES = {
    split: frozenset(s for f in flavours for part in (f.body, f.town, f.family) for s in part)
    for split, flavours in FLAVOURS.items()
}
# "no" and "ra" would spell a listed name that the other split may own.
_LISTED = frozenset(w.lower() for entries in LISTS.values() for e in entries for w in e.split())
_ONSETS = (
    *"bcdfghjklmnpqrstvwxz",
    *"bdfgklmnprst",
    "br",
    "ch",
    "dr",
    "gl",
    "kr",
    "ph",
    "sh",
    "sk",
    "st",
    "th",
    "tr",
    "v",
)
_VOWELS = (*"aeiou", *"aeio", "y", "ae", "ai", "au", "ea", "ie", "ou")
_CODAS = (
    "",
    "",
    "",
    *"bdfgklmnprstxz",
    *"lmnrst",
    "ck",
    "ld",
    "lt",
    "nd",
    "ng",
    "nt",
    "rk",
    "rn",
    "st",
    "ss",
)
_LONGEST = max(len(s) for syllables in _SYLLABLES.values() for s in syllables)
_SLOT = re.compile(r"\{([fsgjon])\}")
_SLOT_LIST = {"f": "field", "s": "scale", "g": "trade", "j": "adjective", "o": "noun"}
_KIND_OF = {kind.noun: kind for kinds in KINDS.values() for kind in kinds}
_VALUE_KINDS = {
    "university": ("university", "university", "college"),
    "company": ("company", "firm", "manufacturer"),
    "org": ("company", "firm", "institute", "foundation", "ministry", "university"),
    "river": ("river",),
    "nature": ("river", "mountain", "island", "lake"),
}


@dataclass(frozen=True)
class Value:
    """A value as a sentence states it.

    Attributes:
        text: how it stands in a sentence, with its article if it has one.
        answer: the part of ``text`` that answers a question.
    """

    text: str
    answer: str


def indefinite(phrase: str) -> str:
    """Puts "a" or "an" before a phrase."""
    return ("an " if _VOWEL_SOUND.match(phrase.lower()) else "a ") + phrase


@cache
def _spelled_by(word: str, split: str) -> bool:
    """Tells whether a word can be cut into syllables of a split."""
    syllables = _SYLLABLES[split]
    ends = [True] + [False] * len(word)
    for i in range(len(word)):
        if ends[i]:
            for j in range(i + 1, min(len(word), i + _LONGEST) + 1):
                ends[j] = ends[j] or word[i:j] in syllables
    return ends[-1]


def _any_syllables(rng: Random) -> list[str]:
    count = rng.choices((1, 2, 3), (10, 60, 30))[0]
    return [rng.choice(part) for _ in range(count) for part in (_ONSETS, _VOWELS, _CODAS)]


class Names:
    """Makes names that no earlier call of the same object made.

    Args:
        rng: source of chance.
        split: whose syllables and lists to use.
        spelled: share of the words that are spelled from any letters instead of the syllables.
        invented: share of the draws from closed lists whose words are spelled in the same way.
    """

    def __init__(
        self, rng: Random, split: str, spelled: float = 0.0, invented: float = 0.0
    ) -> None:
        self._rng = rng
        self._split = split
        self._spelled = spelled
        self._invented = invented
        self._flavours = FLAVOURS[split]
        self._lists = _CLOSED[split]
        self.used: set[str] = set()

    def listed(self, name: str) -> str:
        """Draws from a closed list, or makes up words in the place of an entry's."""
        entry = self._rng.choice(self._lists[name])
        if self._invented and self._rng.random() < self._invented:
            return " ".join(self._in_place_of(word) for word in entry.split())
        return entry

    def _in_place_of(self, word: str) -> str:
        rng = self._rng
        if len(word) < 4 or not word.isalpha() or rng.random() < 0.2:
            return word
        other = "train" if self._split == "held_out" else "held_out"
        while True:
            made = "".join(_any_syllables(rng))
            ugly = not 3 <= len(made) <= 12 or _UGLY.search(made) or made in _LISTED
            if not ugly and not _spelled_by(made, other):
                return made.capitalize() if word[0].isupper() else made

    def word(self, use: str, flavour: Flavour | None = None) -> str:
        """Spells a capitalised word.

        Args:
            use: ``town`` and ``family`` mostly take an ending of that sort; ``word`` does not.
            flavour: the language it looks like; any when not given.

        Returns:
            The word, which no earlier call gave.
        """
        rng = self._rng
        while True:
            source = flavour or rng.choice(self._flavours)
            endings = {"town": source.town, "family": source.family}.get(use, ())
            if self._spelled and rng.random() < self._spelled:
                syllables = _any_syllables(rng)
            elif endings and rng.random() < 0.75:
                count = rng.choices((1, 2, 3), (55, 38, 7))[0]
                syllables = [*rng.choices(source.body, k=count), rng.choice(endings)]
            else:
                count = rng.choices((1, 2, 3, 4), (6, 54, 34, 6))[0]
                syllables = rng.choices(source.body, k=count)
            word = "".join(syllables)
            if not 4 <= len(word) <= 12 or _UGLY.search(word) or word in _LISTED:
                continue
            other = "train" if self._split == "held_out" else "held_out"
            if (self._spelled or other == "train") and _spelled_by(word, other):
                continue
            if word.capitalize() not in self.used:
                self.used.add(word.capitalize())
                return word.capitalize()

    def person(
        self, pronoun: str | None = None, last: str | None = None, ornate: bool = False
    ) -> tuple[str, str]:
        """Makes the name of a person.

        Args:
            pronoun: whose given names to use; any when not given.
            last: the family name; a new one when not given.
            ornate: whether a title or a middle initial may be part of it.

        Returns:
            The full name and the family name.
        """
        rng = self._rng
        flavour = rng.choice(self._flavours)
        last = last or self.word("family", flavour)
        while True:
            if rng.random() < 0.35:
                first = self.listed(f"{pronoun or rng.choice(('he', 'she'))}_name")
            else:
                first = self.word("word", flavour if rng.random() < 0.7 else None)
            draw = rng.random() if ornate else 1.0
            if draw < 0.1:
                first += f" {rng.choice('ABCDEFGHJKLMNPRSTW')}."
            elif draw < 0.14:
                first = f"{rng.choice(('Dr', 'Professor', 'Captain'))} {first}"
            name = f"{first} {last}"
            if name not in self.used:
                self.used.add(name)
                return name, last

    def town(self) -> str:
        """Makes the name of a town, or draws a real one now and then."""
        rng = self._rng
        if rng.random() < 0.12:
            city = self.listed("city")
            if city not in self.used:
                self.used.add(city)
                return city
        return self.word("town")

    def fill(self, pattern: str, word: str) -> str:
        """Fills the slots of a name pattern."""

        def chosen(slot: re.Match[str]) -> str:
            if slot[1] == "n":
                rng = self._rng
                return str(rng.choice((rng.randint(2, 99), 10 * rng.randint(10, 99), 1000)))
            return self.listed(_SLOT_LIST[slot[1]])

        return _SLOT.sub(chosen, pattern).replace("{w}", word)

    def thing(self, group: str) -> Value:
        """Makes the name of something that is no person, with its article."""
        kind = _KIND_OF[self._rng.choice(_VALUE_KINDS[group])]
        name = self.fill(self._rng.choice(kind.patterns), self.word(kind.root))
        return Value(name, name.removeprefix("the "))

    def title(self) -> str:
        """Makes the title of a book or a magazine."""
        rng = self._rng
        draw = rng.randrange(6)
        if draw < 2:
            return self.fill("The {o} of {w}" if draw else "Letters from {w}", self.town())
        if draw == 2:
            return self.fill("The {j} {o}", "")
        if draw == 3:
            return self.fill("{w} and the {o}", self.word("family"))
        return self.fill("A History of {w}" if draw == 4 else "The {w} {o}", self.town())


def _number(rng: Random, low: int, high: int) -> str:
    number = round(low * (high / low) ** rng.random())
    if number > 100 and rng.random() < 0.4:
        number -= number % 10 ** (len(str(number)) - 2)
    return f"{max(low, number):,}"


def _money(rng: Random, low: int, high: int, scale: str) -> str:
    amount = _number(rng, low, high)
    if rng.random() < 0.2 and scale:
        amount += f".{rng.randint(1, 9)}"
    tail = f" {scale}" if scale else ""
    if rng.random() < 0.4:
        return f"{rng.choice('$£€')}{amount}{tail}"
    return f"{amount}{tail} {rng.choice(('dollars', 'euros', 'pounds', 'crowns', 'francs'))}"


def make_value(rng: Random, names: Names, spec: str, year: int, root: str) -> Value:
    """Draws a value.

    Args:
        rng: source of chance.
        names: makes the open names.
        spec: what sort of value, as a relation tells it.
        year: when the entity began; years and dates count from it.
        root: the open word of the entity's name.

    Returns:
        The value.

    Raises:
        KeyError: if the sort of value is unknown.
    """
    sort, *options = spec.split(":")
    if sort == "list":
        text = names.listed(options[0])
    elif sort == "person":
        text = names.person()[0]
    elif sort == "town":
        text = names.town()
    elif sort in ("year", "date"):
        text = str(year + rng.randint(int(options[0]), int(options[1])))
        if sort == "date":
            text = f"{rng.randint(1, 28)} {rng.choice(_MONTHS)} {text}"
    elif sort == "num":
        number = _number(rng, int(options[0]), int(options[1]))
        text = f"{number} {rng.choice(options[2].split('/'))}".strip()
    elif sort == "money":
        text = _money(rng, int(options[0]), int(options[1]), options[2] if options[2:] else "")
    elif sort == "country":
        text = names.word("town")
    elif sort == "region":
        word = names.word("town")
        seat = names.listed("seat")
        shape = rng.randrange(4)
        if shape == 3:
            return Value(f"the province of {word}", word)
        return Value(f"the {word} {seat}", f"{word} {seat}")
    elif sort == "award":
        text = f"{names.word('family')} {names.listed('award')}"
    elif sort == "title":
        text = names.title()
    elif sort == "ship":
        text = rng.choice((names.word("word"), f"{names.word('town')} {names.listed('ship')}"))
    elif sort == "word":
        text = names.word("word")
    else:
        return names.thing(sort)
    return Value(text, text)
