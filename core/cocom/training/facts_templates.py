"""Reads the templates of the fact generator.

The template modules hold text in this format, one template a line:

``= key | tags | value``
    starts a relation: the kinds it fits and what its value is. Lines after it are passage
    templates; ``!`` marks those of the ``held_out`` split, ``?`` questions and ``?!`` questions
    of the ``held_out`` split.
``& first second``
    starts templates that carry two facts, ``{V1}`` and ``{V2}``.
``~ tags``
    starts filler sentences, which carry none.

``(a|b)`` stands for either; each way of choosing is a template of its own. ``{S}`` is the entity
as a subject, ``{O}`` as an object, ``{S's}`` its possessive, ``{he} {him} {his} {himself}`` its
pronouns, ``{V}`` ``{a V}`` the value, ``{N}`` ``{N's}`` the full name in a question, and
``[was|were]`` agrees with the last subject.
"""

from __future__ import annotations

__all__ = ["FILLERS", "PAIRS", "RELATIONS", "Relation", "Template", "expand"]

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cocom.training import (
    facts_events,
    facts_organisations,
    facts_people,
    facts_places,
    facts_products,
)

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_PART = re.compile(r"(\{[^}]+\}|\[[^\]]+\])")


@dataclass(frozen=True)
class Template:
    """A template without choices.

    Attributes:
        source: the template as text.
        parts: ``source`` cut at its slots; slots keep their brackets.
    """

    source: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """What can be told about an entity, and how.

    Attributes:
        key: unique name.
        tags: kinds the relation fits.
        value: what to put in, such as ``list:colour`` or ``year:0:40``.
        passages: passage templates by split, one tuple per line of the source.
        questions: question templates by split, one tuple per line of the source.
    """

    key: str
    tags: frozenset[str]
    value: str
    passages: dict[str, list[tuple[Template, ...]]] = field(default_factory=dict)
    questions: dict[str, list[tuple[Template, ...]]] = field(default_factory=dict)


def expand(line: str) -> Iterator[str]:
    """Yields a template once for each way of making its choices."""
    found = _CHOICE.search(line)
    if found is None:
        yield line
        return
    for choice in found.group(1).split("|"):
        yield from expand(line[: found.start()] + choice + line[found.end() :])


def _templates(line: str) -> tuple[Template, ...]:
    made = []
    for source in expand(line):
        clean = " ".join(source.split()).replace(" ,", ",").replace(" .", ".").replace(" ?", "?")
        made.append(Template(clean, tuple(p for p in _PART.split(clean) if p)))
    return tuple(made)


RELATIONS: dict[str, Relation] = {}
PAIRS: dict[tuple[str, str], dict[str, list[tuple[Template, ...]]]] = {}
FILLERS: dict[str, dict[str, list[tuple[Template, ...]]]] = {}


def _read(text: str) -> None:
    passages: list[dict[str, list[tuple[Template, ...]]]] = []
    questions: dict[str, list[tuple[Template, ...]]] = {}
    for line in text.strip().splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "=":
            key, tags, value = (part.strip() for part in rest.split("|"))
            relation = Relation(key, frozenset(tags.split(",")), value)
            RELATIONS[key] = relation
            passages, questions = [relation.passages], relation.questions
        elif mark == "&":
            first, second = rest.split()
            passages = [PAIRS.setdefault((first, second), {})]
        elif mark == "~":
            passages = [FILLERS.setdefault(tag, {}) for tag in rest.split(",")]
        elif mark in ("?", "?!"):
            split = "train" if mark == "?" else "held_out"
            questions.setdefault(split, []).append(_templates(rest))
        elif line:
            split = "held_out" if mark == "!" else "train"
            made = _templates(rest if mark == "!" else line)
            for target in passages:
                target.setdefault(split, []).append(made)


for _module in (facts_people, facts_places, facts_organisations, facts_products, facts_events):
    _read(_module.TEMPLATES)


# Held-out templates are new sentences made of known words: a reader that has learned a language
# from `train` alone cannot know what a word means that stands nowhere in it. So of each relation's
# templates, marked or not, those whose words its other templates cover best are held out; the first
# passage template and the first question always train.
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "is",
        "are",
        "was",
        "were",
        "to",
        "and",
        "that",
        "it",
        "at",
        "on",
        "by",
        "for",
        "with",
        "as",
        "from",
    ]
)


def _words(lines: tuple[Template, ...]) -> set[str]:
    text = " ".join(_PART.sub(" ", template.source) for template in lines)
    return set(re.findall(r"[a-z']+", text.lower())) - _STOP


def _hold_out(
    pool: list[tuple[Template, ...]], others: list[tuple[Template, ...]], count: int
) -> list[tuple[Template, ...]]:
    """Chooses `count` lines of the pool, one after the other, by how well the rest covers them."""
    chosen: list[tuple[Template, ...]] = []
    for _ in range(count):
        candidates = [line for line in pool[1:] if line not in chosen]

        def uncovered(line: tuple[Template, ...]) -> tuple[float, int]:
            rest = [x for x in (*pool, *others) if x is not line and x not in chosen]
            known = {word for x in rest for word in _words(x)}
            words = _words(line)
            return len(words - known) / max(1, len(words)), pool.index(line)

        chosen.append(min(candidates, key=uncovered))
    return chosen


def _divide() -> None:
    for relation in RELATIONS.values():
        kinds = (relation.passages, relation.questions)
        pools = [[*kind["train"], *kind["held_out"]] for kind in kinds]
        held_questions = _hold_out(pools[1], pools[0], len(kinds[1]["held_out"]))
        kept_questions = [line for line in pools[1] if line not in held_questions]
        held_passages = _hold_out(pools[0], kept_questions, len(kinds[0]["held_out"]))
        for kind, pool, held in zip(kinds, pools, (held_passages, held_questions), strict=True):
            kind["train"] = [line for line in pool if line not in held]
            kind["held_out"] = held


_divide()
