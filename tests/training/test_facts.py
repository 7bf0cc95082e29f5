"""The fact generator: the same everywhere, right English, and two splits that share nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cocom.errors import ConfigError
from cocom.training import facts, facts_names
from cocom.training.facts import FactGenerator, FactGroup
from cocom.training.facts_kinds import Kind
from cocom.training.facts_lexicon import FLAVOURS, LISTS, RESERVED_SYLLABLES, pick_list
from cocom.training.facts_templates import FILLERS, PAIRS, RELATIONS, Template

SPLITS: tuple[facts.Split, ...] = ("train", "held_out")
_AN = re.compile(r"\ban (?!hour|heir|honest|8|11\b|18\b)[^aeiouAEIOU]\w*")
_A = re.compile(r"\ba (?!uni|use|eu|one\b|once)(?:[aeiouAEIOU]\w*|8\d|11\b|18\b)")
_BROKEN = re.compile(r"  |[{}\[\]|]|\.\.|,,|,\.| [.,?]|\bthe the\b|\bThe the\b|None")


def _groups(split: facts.Split, count: int, sentences: int = 3) -> Iterator[FactGroup]:
    generator = FactGenerator(split)
    for index in range(count):
        yield generator.group(index, passages=5, sentences=sentences, questions=6)


def test_the_same_arguments_give_the_same_group_whatever_the_hash_seed() -> None:
    code = (
        "from cocom.training.facts import FactGenerator as G\n"
        "for s in ('train', 'held_out'):\n"
        "    for i in range(5):\n"
        "        print(G(s, 7).group(i, passages=4, sentences=3, questions=5), G(s, 7).text(i))\n"
    )
    source = str(Path(facts.__file__).parents[2])
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": source},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_index_seed_and_split_each_change_the_group() -> None:
    def make(split: facts.Split, seed: int, index: int) -> FactGroup:
        return FactGenerator(split, seed).group(index, passages=2, sentences=2, questions=2)

    first = make("train", 0, 0)
    assert first != make("train", 0, 1)
    assert first != make("train", 1, 0)
    assert first != make("held_out", 0, 0)


@pytest.mark.parametrize("split", SPLITS)
def test_an_answer_stands_in_the_passage_of_its_question(split: facts.Split) -> None:
    for group in _groups(split, 300):
        assert len(group.passages) == 5
        assert len(group.questions) == 6
        assert {q.passage for q in group.questions} == set(range(5))
        assert len({(q.question, q.passage) for q in group.questions}) == 6
        for asked in group.questions:
            assert asked.answer
            assert asked.answer in group.passages[asked.passage]


@pytest.mark.parametrize("split", SPLITS)
def test_a_question_names_one_entity_of_its_group(
    split: facts.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[facts._Entity]] = []
    plain = FactGenerator._make_entities

    def record(
        self: FactGenerator, rng: Random, names: facts_names.Names, kinds: list[Kind]
    ) -> list[facts._Entity]:
        made.append(plain(self, rng, names, kinds))
        return made[-1]

    monkeypatch.setattr(FactGenerator, "_make_entities", record)
    shared = 0
    for group in _groups(split, 400):
        names = [entity.name.lower() for entity in made[-1]]
        assert len(set(names)) == len(names)
        shared += len({entity.root for entity in made[-1]}) < len(names)
        for asked in group.questions:
            named = [i for i, name in enumerate(names) if name in asked.question.lower()]
            if not named:
                last = made[-1][asked.passage].root
                assert last.lower() in asked.question.lower()
                pattern = re.compile(rf"\b{last}\b")
                named = [i for i, text in enumerate(group.passages) if pattern.search(text)]
            assert named == [asked.passage], asked
    assert 30 < shared < 130


def test_the_value_asked_for_is_the_only_one_of_its_relation_in_the_passage() -> None:
    generator = FactGenerator("train")
    for index in range(200):
        group = generator.group(index, passages=1, sentences=5, questions=99)
        answers = [asked.answer for asked in group.questions]
        assert len(set(answers)) == len(answers)
        assert 5 <= len(answers) <= 10


@pytest.mark.parametrize("split", SPLITS)
def test_only_templates_of_the_split_are_used(
    split: facts.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[int] = set()
    plain = facts._pick

    def record(rng: Random, source: facts._Lines, avoid: str | None) -> Template:
        used.add(id(source))
        return plain(rng, source, avoid)

    monkeypatch.setattr(facts, "_pick", record)
    for _ in _groups(split, 200):
        pass
    tables = [t for r in RELATIONS.values() for t in (r.passages, r.questions)]
    tables += [*PAIRS.values(), *FILLERS.values()]
    assert used <= {id(table[split]) for table in tables}


def test_the_splits_share_no_template() -> None:
    for relation in RELATIONS.values():
        for table, least, least_held in ((relation.passages, 8, 2), (relation.questions, 6, 1)):
            train, held = ([t.source for line in table[split] for t in line] for split in SPLITS)
            assert not set(train) & set(held), relation.key
            assert len(train) + len(held) >= least, relation.key
            assert len(held) >= least_held, relation.key
    for table in (*PAIRS.values(), *FILLERS.values()):
        train, held = ([t.source for line in table[split] for t in line] for split in SPLITS)
        assert held
        assert not set(train) & set(held)


def test_the_splits_share_no_syllable_and_no_listed_value() -> None:
    for train, held in zip(FLAVOURS["train"], FLAVOURS["held_out"], strict=True):
        for kept, reserved in zip(
            (train.body, train.town, train.family), (held.body, held.town, held.family), strict=True
        ):
            assert not set(kept) & RESERVED_SYLLABLES
            assert reserved
            assert set(reserved) <= RESERVED_SYLLABLES
    for name in LISTS:
        if name != "month":
            assert not set(pick_list(name, "train")) & set(pick_list(name, "held_out"))


@pytest.mark.parametrize("use", ["town", "family", "word"])
def test_no_open_word_of_one_split_can_be_spelled_in_the_other(use: str) -> None:
    held = facts_names.Names(Random(0), "held_out")
    train = facts_names.Names(Random(0), "train")
    made = {held.word(use) for _ in range(200)}
    assert len(made) == 200
    assert not any(facts_names._spelled_by(word.lower(), "train") for word in made)
    listed = {name for entries in LISTS.values() for name in entries}
    assert not made & listed
    assert all(facts_names._spelled_by(train.word(use).lower(), "train") for _ in range(200))


def test_words_of_any_spelling_are_none_of_the_other_split() -> None:
    names = facts_names.Names(Random(0), "train", spelled=1.0)
    made = {names.word("town") for _ in range(500)}
    assert len(made) == 500
    assert not any(facts_names._spelled_by(word.lower(), "held_out") for word in made)
    assert sum(facts_names._spelled_by(word.lower(), "train") for word in made) < 50


def test_a_share_of_spelled_words_leaves_the_others_alone() -> None:
    names = facts_names.Names(Random(0), "train", spelled=0.5)
    own = sum(facts_names._spelled_by(names.word("town").lower(), "train") for _ in range(400))
    assert 150 < own < 260


def test_invented_values_stand_in_for_listed_ones_half_of_the_time() -> None:
    names = facts_names.Names(Random(0), "train", invented=0.5)
    drawn = [names.listed("animal") for _ in range(400)]
    listed = set(pick_list("animal", "train"))
    assert 150 < sum(word in listed for word in drawn) < 280
    made = {word for word in drawn if word not in listed}
    assert all(word == word.lower() for word in made)
    assert not made & {name for entries in LISTS.values() for name in entries}


@pytest.mark.parametrize("split", SPLITS)
def test_articles_fit_the_next_word(split: facts.Split) -> None:
    for group in _groups(split, 500):
        for text in group.passages:
            assert not _AN.search(text), text
            assert not _A.search(text), text


@pytest.mark.parametrize(("split", "count"), [("train", 1500), ("held_out", 500)])
def test_nothing_is_left_unfilled_or_doubled(split: facts.Split, count: int) -> None:
    for group in _groups(split, count):
        for text in (*group.passages, *(asked.question for asked in group.questions)):
            assert not _BROKEN.search(text), text
        for text in group.passages:
            assert text.endswith(".")
            assert not text[0].islower()


def test_a_text_has_one_to_six_sentences() -> None:
    generator = FactGenerator("train")
    texts = [generator.text(index) for index in range(200)]
    assert texts == [generator.text(index) for index in range(200)]
    assert len(set(texts)) == 200
    assert all(text.endswith(".") for text in texts)


def test_fewer_questions_when_there_are_fewer_facts() -> None:
    generator = FactGenerator("train")
    assert generator.group(0, passages=2, sentences=2, questions=0).questions == ()
    group = generator.group(0, passages=2, sentences=2, questions=50)
    assert 4 <= len(group.questions) <= 8


@pytest.mark.parametrize(
    ("passages", "sentences", "questions", "message"),
    [
        (0, 1, 1, "passages is 0, but must be at least 1"),
        (1, 0, 1, "sentences is 0, but must be from 1 to 7"),
        (1, 99, 1, "sentences is 99, but must be from 1 to 7"),
        (1, 1, -1, "questions is -1, but must be at least 0"),
    ],
)
def test_a_number_out_of_range_is_refused(
    passages: int, sentences: int, questions: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        FactGenerator("train").group(0, passages=passages, sentences=sentences, questions=questions)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="split is 'test', but must be 'train' or 'held_out'"):
        FactGenerator("test")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["spelled", "invented"])
def test_shares_must_be_shares(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 2, but must be a share, from 0 to 1"):
        FactGenerator("train", **{name: 2})
