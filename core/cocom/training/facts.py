"""Made-up passages that state facts, with questions on them.

A very small language model can learn to read from them: every name is spelled anew from
syllables, so that an answer can only be found in the passage. Each passage is about one entity,
the passages of a group tell much the same things of different entities, and a question names the
entity it asks about.

The ``held_out`` split shares no template, no syllable of a made-up name and no entry of a closed
list with ``train`` (months, number formats and words such as "Bridge" in a name belong to both).
"""

from __future__ import annotations

__all__ = ["FactGenerator", "FactGroup", "FactQuestion"]

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, get_args

from cocom.errors import ConfigError
from cocom.training.facts_kinds import FAMILIES, KINDS, Kind
from cocom.training.facts_names import Names, Value, indefinite, make_value
from cocom.training.facts_templates import FILLERS, PAIRS, RELATIONS, Relation, Template

Split = Literal["train", "held_out"]
_Lines = Sequence[tuple[Template, ...]]

_FORMS = {
    "he": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
    "she": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "they": {"he": "they", "him": "them", "his": "their", "himself": "themselves"},
    "it": {"he": "it", "him": "it", "his": "its", "himself": "itself"},
}
_ADJECTIVES = {
    "train": ("", "", "", "well-known ", "famous ", "little-known ", "popular "),
    "held_out": ("", "", "", "noted ", "remarkable "),
}
_STIFF = (
    " of ",
    " at ",
    " in ",
    " out ",
    " up ",
    " and ",
    "At ",
    "In ",
    "For ",
    "From ",
    "Around ",
)
_FAMILY_NAMES = tuple(FAMILIES)
_FAMILY_WEIGHTS = tuple(weight for weight, _, _ in FAMILIES.values())
_RELATIONS_OF = {
    kind: tuple(r for r in RELATIONS.values() if r.tags & kind.tags)
    for kinds in KINDS.values()
    for kind in kinds
}
_MAX_SENTENCES = min(len(relations) for relations in _RELATIONS_OF.values())
_TEXT_SENTENCES = 6


@dataclass(frozen=True)
class FactQuestion:
    """A question that one passage of a group answers.

    Attributes:
        question: the question; it names the entity.
        answer: short span that stands verbatim in the passage.
        passage: index into `FactGroup.passages`.
    """

    question: str
    answer: str
    passage: int


@dataclass(frozen=True)
class FactGroup:
    """Passages that are easily confused, and questions on them.

    Attributes:
        passages: the passages, each about one entity.
        questions: the questions, spread over the passages.
    """

    passages: tuple[str, ...]
    questions: tuple[FactQuestion, ...]


@dataclass
class _Entity:
    kind: Kind
    name: str
    article: bool
    short: str
    pronoun: str
    year: int
    root: str
    description: str
    used: set[str] = field(default_factory=set)

    @property
    def full(self) -> str:
        return f"the {self.name}" if self.article else self.name


@dataclass
class _Fact:
    relation: Relation
    answer: str


@dataclass
class _Passage:
    entity: _Entity
    text: str
    facts: list[_Fact]


class FactGenerator:
    """Makes groups of passages and questions, the same ones for the same arguments.

    Args:
        split: ``train`` or ``held_out``; the two share no template, syllable or listed value.
        seed: generators with different seeds make different groups.
        spelled: share of the words of made-up names, from 0 to 1, that are spelled from any letters
            instead of the split's syllables, so that no spelling is foreign to who trains on them;
            none of them is a word of the other split.
        invented: share of the values from closed lists whose words are made up in the same way.

    Raises:
        ConfigError: if ``split`` is neither of the two, or a share is none.
    """

    def __init__(
        self, split: Split, seed: int = 0, *, spelled: float = 0.0, invented: float = 0.0
    ) -> None:
        if split not in get_args(Split):
            raise ConfigError(f"split is {split!r}, but must be 'train' or 'held_out'.")
        for name, share in (("spelled", spelled), ("invented", invented)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}, but must be a share, from 0 to 1.")
        self._split: Split = split
        self._seed = seed
        self._spelled = spelled
        self._invented = invented

    def group(
        self, index: int, *, passages: int, sentences: int, questions: int, same: int = 1
    ) -> FactGroup:
        """Makes one group.

        Args:
            index: number of the group; any integer.
            passages: number of passages, at least 1.
            sentences: number of sentences with facts in each passage.
            questions: number of questions; fewer are made if there are not as many facts.
            same: number of passages that tell different things of one entity, as passages of one
                document do; they have fewer sentences, and there are fewer of them, where the entity
                has not as many facts.

        Returns:
            The group; the same arguments always give the same one.

        Raises:
            ConfigError: if a number is out of range.
        """
        if passages < 1:
            raise ConfigError(f"passages is {passages}, but must be at least 1.")
        if not 1 <= sentences <= _MAX_SENTENCES:
            raise ConfigError(
                f"sentences is {sentences}, but must be from 1 to {_MAX_SENTENCES}: "
                "no kind of entity has more facts for certain."
            )
        if not 1 <= same <= passages:
            raise ConfigError(
                f"same is {same}, but must be from 1 to passages, which is {passages}."
            )
        if questions < 0:
            raise ConfigError(f"questions is {questions}, but must be at least 0.")
        rng = Random(f"{self._split}/{self._seed}/{index}/{passages}/{sentences}/{questions}")
        names = Names(rng, self._split, self._spelled, self._invented)
        kinds = self._choose_kinds(rng, passages)
        entities = self._make_entities(rng, names, kinds)
        order = {key: rng.random() for key in RELATIONS}
        taken: set[tuple[str, str]] = set()
        if same > 1:
            entities[1:same] = entities[:1] * (same - 1)
        made = []
        told: dict[int, set[str]] = {}
        for entity in entities:
            skip = told.setdefault(id(entity), set())
            passage = self._passage(rng, names, entity, sentences, order, taken, skip)
            skip.update(fact.relation.key for fact in passage.facts)
            if passage.facts:
                made.append(passage)
        if same > 1:
            rng.shuffle(made)
        return FactGroup(tuple(p.text for p in made), self._questions(rng, made, questions))

    def text(self, index: int) -> str:
        """Makes one passage of 1 to 6 sentences with facts.

        Args:
            index: number of the passage; any integer.

        Returns:
            The passage; the same index always gives the same one.
        """
        rng = Random(f"{self._split}/{self._seed}/text/{index}")
        names = Names(rng, self._split, self._spelled, self._invented)
        entity = self._make_entities(rng, names, self._choose_kinds(rng, 1))[0]
        order = {key: rng.random() for key in RELATIONS}
        size = rng.randint(1, _TEXT_SENTENCES)
        return self._passage(rng, names, entity, size, order, set(), set()).text

    def _choose_kinds(self, rng: Random, count: int) -> list[Kind]:
        family, *others = rng.choices(_FAMILY_NAMES, _FAMILY_WEIGHTS, k=count)
        draw = rng.random()
        if draw < 0.25:
            return [rng.choice(KINDS[f]) for f in (family, *others)]
        if draw < 0.55:
            return [rng.choice(KINDS[family]) for _ in range(count)]
        return [rng.choice(KINDS[family])] * count

    def _make_entities(self, rng: Random, names: Names, kinds: list[Kind]) -> list[_Entity]:
        made: list[_Entity] = []
        shared = rng.random() < 0.22 and len(kinds) > 1
        pair = rng.sample(range(len(kinds)), 2) if shared else []
        for i, kind in enumerate(kinds):
            root = None
            if i in pair:
                twin = next((e for j, e in enumerate(made) if j in pair), None)
                root = twin.root if twin and twin.kind.family == kind.family else None
            for attempt in range(40):
                entity = self._entity(rng, names, kind, root if attempt < 20 else None)
                name = entity.name.lower()
                if not any(name in e.name.lower() or e.name.lower() in name for e in made):
                    break
            names.used.update((entity.name, entity.root))
            made.append(entity)
        return made

    def _entity(self, rng: Random, names: Names, kind: Kind, root: str | None) -> _Entity:
        year = rng.randint(*kind.years)
        if kind.family == "person":
            pronoun = rng.choices(("he", "she", "they"), (46, 46, 8))[0]
            name, last = names.person(pronoun, last=root, ornate=True)
            return _Entity(kind, name, False, last, pronoun, year, last, "")
        word = root or names.word(kind.root)
        patterns = [p for p in kind.patterns if "{w}" in p and (root is None or p != "{w}")]
        name = names.fill(rng.choice(patterns if root else kind.patterns), word)
        article = name.startswith("the ")
        short = kind.short.format(w=word)
        named = f"the {kind.noun}"
        return _Entity(kind, name.removeprefix("the "), article, short, "it", year, word, named)

    def _passage(
        self,
        rng: Random,
        names: Names,
        entity: _Entity,
        sentences: int,
        order: dict[str, float],
        taken: set[tuple[str, str]],
        skip: set[str],
    ) -> _Passage:
        left = (r for r in _RELATIONS_OF[entity.kind] if r.key not in skip)
        ranked = sorted(left, key=lambda r: order[r.key])
        sentences = min(sentences, len(ranked))
        pool = ranked[: sentences + rng.randint(0, 2)]
        chosen = rng.sample(pool, sentences)
        told: list[_Fact] = []
        lines: list[str] = []
        keys = {r.key for r in chosen}
        for relation in chosen:
            pairs = [
                p
                for p in PAIRS
                if relation.key in p
                and not (keys - {relation.key}) & set(p)
                and all(r in ranked for r in (RELATIONS[p[0]], RELATIONS[p[1]]))
            ]
            if pairs and rng.random() < 0.15:
                both = rng.choice(pairs)
                keys.update(both)
                relations = [RELATIONS[key] for key in both]
                source: _Lines = PAIRS[both][self._split]
            else:
                relations = [relation]
                source = relation.passages[self._split]
            values = [self._value(rng, names, entity, r, taken) for r in relations]
            line = self._sentence(rng, entity, source, values, not lines)
            for r, value in zip(relations, values, strict=True):
                answer = value.answer
                if answer not in line:
                    answer = answer[0].upper() + answer[1:]
                told.append(_Fact(r, answer))
                if r.key == "profession":
                    entity.description = f"the {value.answer}"
            lines.append(line)
        if sentences >= 3 and rng.random() < 0.15:
            tag = next(t for t in (entity.kind.family, *entity.kind.tags) if t in FILLERS)
            filler = self._sentence(rng, entity, FILLERS[tag][self._split], [], False)
            lines.insert(rng.randint(1, len(lines)), filler)
        return _Passage(entity, " ".join(lines), told)

    def _value(
        self,
        rng: Random,
        names: Names,
        entity: _Entity,
        relation: Relation,
        taken: set[tuple[str, str]],
    ) -> Value:
        for attempt in range(60):
            value = make_value(rng, names, relation.value, entity.year, entity.root)
            answer = value.answer
            clash = any(answer in other or other in answer for other in entity.used)
            if clash or answer in entity.full or (entity.short and entity.short in answer):
                continue
            # Two entities may share a value, but seldom do.
            if (relation.key, answer) not in taken or (attempt > 5 and rng.random() < 0.1):
                break
        entity.used.add(value.answer)
        taken.add((relation.key, value.answer))
        return value

    def _sentence(
        self, rng: Random, entity: _Entity, source: _Lines, values: list[Value], first: bool
    ) -> str:
        template = _pick(rng, source, "{S's}" if " of " in entity.name else None)
        forms = _FORMS[entity.pronoun]
        plural = False
        out: list[str] = []
        for part in template.parts:
            if part[0] == "[":
                one, many = part[1:-1].split("|")
                out.append(many if plural else one)
            elif part[0] != "{":
                out.append(part)
            elif part in ("{S}", "{O}", "{S's}"):
                # "the price of it" reads badly, and so does "It was in Oslo that it stood".
                stiff = bool(out) and out[-1].endswith(_STIFF)
                stiff |= entity.pronoun == "it" and template.source.startswith("It ")
                text = self._mention(rng, entity, part, first, not stiff)
                plural = text == "they"
                out.append(text)
            elif "V" in part:
                out.append(_place(part, values))
            else:
                plural = plural if part != "{he}" else entity.pronoun == "they"
                out.append(forms[part[1:-1]])
        line = "".join(out).replace(",,", ",").replace(",.", ".")
        return line[0].upper() + line[1:]

    def _mention(self, rng: Random, entity: _Entity, slot: str, first: bool, pronoun: bool) -> str:
        if first:
            named = entity.full
            noun = entity.kind.noun
            apart = slot == "{S}" and entity.kind.family not in ("person", "dish")
            if apart and noun not in named.lower() and rng.random() < 0.3:
                described = rng.choice(_ADJECTIVES[self._split]) + noun
                return f"{named}, {indefinite(described)},"
        else:
            draw = rng.random()
            if draw < (0.36 if entity.description else 0.48) and pronoun:
                forms = _FORMS[entity.pronoun]
                return forms[{"{S}": "he", "{O}": "him", "{S's}": "his"}[slot]]
            named = entity.full
            if entity.short and (draw < 0.6 or (draw < 0.82 and not entity.description)):
                named = entity.short
            elif draw < 0.85 and entity.description:
                named = entity.description
        return named + "'s" if slot == "{S's}" else named

    def _questions(self, rng: Random, made: list[_Passage], count: int) -> tuple[FactQuestion, ...]:
        queues = [rng.sample(p.facts, len(p.facts)) for p in made]
        rounds = [
            (i, queue[depth])
            for depth in range(max(map(len, queues)))
            for i, queue in rng.sample(list(enumerate(queues)), len(queues))
            if depth < len(queue)
        ]
        return tuple(
            FactQuestion(self._question(rng, made, i, fact.relation), fact.answer, i)
            for i, fact in rounds[:count]
        )

    def _question(self, rng: Random, made: list[_Passage], index: int, relation: Relation) -> str:
        entity = made[index].entity
        source = relation.questions[self._split]
        template = _pick(rng, source, "{N's}" if " of " in entity.name else None)
        named = entity.full
        last = entity.short
        if entity.kind.family == "person" and rng.random() < 0.04:
            pattern = re.compile(rf"\b{re.escape(last)}\b")
            if sum(bool(pattern.search(p.text)) for p in made) == 1:
                named = last
        text = template.source.replace("{N's}", named + "'s").replace("{N}", named)
        text = text[0].upper() + text[1:]
        draw = rng.random()
        if draw < 0.01:
            return text.lower()
        if draw < 0.03:
            return text[0].lower() + text[1:]
        return text[:-1] if draw < 0.07 else text


def _pick(rng: Random, source: _Lines, avoid: str | None) -> Template:
    """Chooses a line, then one of its forms, if possible without the slot to avoid."""
    for _ in range(8):
        template = rng.choice(rng.choice(source))
        if avoid is None or avoid not in template.source:
            break
    return template


def _place(slot: str, values: list[Value]) -> str:
    value = values[1] if slot == "{V2}" or slot == "{a V2}" else values[0]
    return indefinite(value.text) if slot[1] in "aA" else value.text
