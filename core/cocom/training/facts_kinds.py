"""The kinds of entity the fact generator writes about, and how each kind is named.

A name pattern may hold ``{w}`` (an open word), ``{f}`` ``{s}`` ``{g}`` ``{j}`` ``{o}`` (a closed
word: field, scale, trade, adjective, noun) and ``{n}`` (a model number). A pattern that begins
with ``the`` names an entity that takes the article, which is no part of the name.
"""

from __future__ import annotations

__all__ = ["FAMILIES", "KINDS", "Kind"]

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of entity.

    Attributes:
        noun: what the entity is called in a description ("the bridge").
        family: the group of kinds that share most relations.
        tags: names under which relations may ask for the kind, the family among them.
        root: how the open word is built (``town``, ``family`` or ``word``).
        patterns: name patterns.
        short: pattern of the short name, empty when there is none.
        years: range of the year the entity began.
    """

    noun: str
    family: str
    tags: frozenset[str]
    root: str
    patterns: tuple[str, ...]
    short: str
    years: tuple[int, int]


# family: (weight, first and last year)
FAMILIES: dict[str, tuple[int, int, int]] = {
    "person": (6, 1700, 2005),
    "settlement": (3, 1100, 1950),
    "nature": (3, 1500, 1950),
    "building": (3, 1300, 2025),
    "org": (4, 1750, 2025),
    "device": (3, 1880, 2030),
    "drug": (2, 1900, 2030),
    "dish": (2, 1700, 2000),
    "software": (1, 1970, 2030),
    "work": (3, 1650, 2030),
    "gathering": (3, 1850, 2028),
    "battle": (2, 1100, 1945),
    "expedition": (2, 1750, 1960),
    "storm": (2, 1900, 2030),
    "treaty": (1, 1300, 1990),
}

# family | further tags | root | noun | short | patterns
_TABLE = """
person | | family | person | {w} |
settlement | | town | town | | {w};{w} Springs;New {w};Upper {w};{w} Hill;Port {w};Old {w}
settlement | | town | village | | {w};Little {w};{w} Green;Saint {w};{w} Cross;Lower {w}
settlement | | town | city | | {w};{w} City;New {w};Great {w};San {w};Fort {w}
nature | river | town | river | the {w} | the River {w};the {w} River;the Little {w} River
nature | mountain | town | mountain | {w} | Mount {w};{w} Peak;{w} Mountain;Great {w} Peak
nature | island | town | island | {w} | {w} Island;the Isle of {w};North {w} Island;Saint {w} Island
nature | lake | town | lake | {w} | Lake {w};{w} Lake;Upper Lake {w};Great {w} Lake
building | | family | museum | | the {w} Museum;the {w} Museum of {f};the {s} Museum of {w}
building | | town | bridge | | {w} Bridge;the {s} Bridge of {w};the Old Bridge of {w}
building | | town | castle | | {w} Castle;the Castle of {w};the Old Castle of {w}
building | | family | tower | | the {w} Tower;the Tower of {w};the {s} Tower of {w}
building | | family | theatre | | the {w} Theatre;the {s} Theatre of {w};the {w} Opera House
building | | family | library | | the {w} Library;the {s} Library of {w};the {w} Library of {f}
building | | town | lighthouse | | the {w} Lighthouse;the Lighthouse of {w};the Old {w} Lighthouse
building | | town | station | | {w} Station;{w} {s} Station;the Old Station of {w}
org | company | family | company | {w} | {w} {g};{w} & Sons;{s} {w};{w} {g} Ltd;{w} {g} Company
org | company | family | firm | {w} | {w} {g};{w} {s};{w} and Partners;{w} {s} {g}
org | company | word | manufacturer | {w} | {w} {g};{w} International;{s} {w} {g}
org | society,university | town | university | | the University of {w};{w} University
org | society,university | family | college | | {w} College;the {w} College of {f};{s} {w} College
org | society | family | institute | | the {w} Institute of {f};the {s} {f} Institute of {w}
org | society | town | ministry | | the Ministry of {f} of {w};the {w} Ministry of {f}
org | society | town | club | | the {w} Chess Club;the {w} Rowing Club;the {s} Football Club of {w}
org | society | town | orchestra | | the {s} Radio Orchestra of {w};the {w} Symphony Orchestra
org | society | family | band | | the {w} Jazz Band;the {w} Brass Band;the {s} Folk Band of {w}
org | society | family | foundation | | the {w} Foundation;the {w} Foundation for {f}
device | | word | camera | the {w} | the {w} {n};the {w} Mark {n};the {w} {n} camera
device | | word | car | the {w} | the {w} {n};the {w} {j};the {s} {w} {n}
device | | word | printer | the {w} | the {w} {n};the {w} Jet {n};the {w} Office {n}
device | | word | machine | the {w} | the {w} {n};the {w} Automat {n};the {w} Mark {n}
device | | word | tractor | the {w} | the {w} {n};the {w} Farmer {n};the {w} {j}
device | | word | telescope | the {w} | the {w} {n};the {w} Sky {n};the {w} Mark {n}
device | | word | radio | the {w} | the {w} {n};the {w} World {n};the {w} Star {n}
device | | word | motorcycle | the {w} | the {w} {n};the {w} {j};the {w} Sport {n}
drug | | word | drug | | {w};{w} Plus;{w} Forte;{w} Retard
drug | | word | medicine | | {w};{w} Acute;{w} Mild;{w} Depot
dish | | town | dish | | {w} stew;{w} soup;{w} pie;{w} dumplings
dish | | family | dish | | {w} cake;{w} hotpot;{w} pudding;{w} casserole
software | | word | program | {w} | {w} {n};{w} Studio;{w} Office;Open {w}
software | | word | app | {w} | {w} Go;{w} Home;{w} {n};My {w}
work | book | town | novel | | The {o} of {w};The {j} {o};Letters from {w};{w} and the {o}
work | book | family | book | | The Life of {w};The {j} {o};A History of {w};The {o} of {w}
work | film | family | film | | {w};The {j} {o};The {o} of {w};Return to {w};Doctor {w};Young {w}
work | opera | family | opera | | {w};The {o} of {w};The {j} {o};The Death of {w};{w} in Love
work | play | family | play | | {w};The {o} of {w};The {j} {o};Waiting for {w};{w} and the {j} {o}
gathering | | town | festival | | the {w} Film Festival;the {w} Folk Festival;the {w} Jazz Festival
gathering | | town | conference | | the {w} Conference on {f};the {s} Conference of {w}
gathering | | town | fair | | the {w} Book Fair;the {w} Spring Fair;the {s} Fair of {w}
gathering | | town | race | | the {w} Marathon;the {w} Boat Race;the Tour of {w};the {s} {w} Race
gathering | | town | carnival | | the {w} Carnival;the Carnival of {w};the {w} Winter Carnival
battle | | town | battle | | the Battle of {w};the First Battle of {w};the Second Battle of {w}
battle | | town | siege | | the Siege of {w};the Great Siege of {w};the Second Siege of {w}
expedition | | family | expedition | | the {w} Expedition;the {s} {w} Expedition
storm | | word | storm | {w} | Storm {w};Winter Storm {w}
storm | | word | hurricane | {w} | Hurricane {w}
storm | | word | cyclone | {w} | Cyclone {w};Tropical Cyclone {w}
treaty | | town | treaty | | the Treaty of {w};the First Treaty of {w};the {s} Treaty of {w}
treaty | | town | agreement | | the {w} Agreement;the Agreement of {w};the {w} Trade Agreement
"""


def _kinds() -> dict[str, tuple[Kind, ...]]:
    made: dict[str, list[Kind]] = {family: [] for family in FAMILIES}
    for line in _TABLE.strip().splitlines():
        family, tags, root, noun, short, patterns = (field.strip() for field in line.split("|"))
        every = frozenset({family, *(t for t in tags.split(",") if t)})
        years = (1905, 2030) if noun == "film" else FAMILIES[family][1:]
        names = tuple(patterns.split(";"))
        made[family].append(Kind(noun, family, every, root, names, short, years))
    return {family: tuple(kinds) for family, kinds in made.items()}


KINDS: dict[str, tuple[Kind, ...]] = _kinds()
