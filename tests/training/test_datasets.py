"""Datasets are pure functions of seed and index: resumable, shuffled anew each time through."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cocom import CocomConfig
from cocom.errors import ConfigError
from cocom.splice import IGNORE
from cocom.testing import tiny_cocom
from cocom.training.datasets import Mixture, Questions, Texts
from cocom.training.objectives import Example, Objectives
from cocom.training.records import QuestionRecord

RECORDS = [
    QuestionRecord(
        f"Where is {i}?", (f"{i} is in Rome.", f"Not {i}.", "Rain."), ("Rome", "in Rome")
    )
    for i in range(10)
]
MODEL = tiny_cocom(CocomConfig(rates=(4, 16), window=32))
TEXT = MODEL.backbone.text


def question_of(example: Example) -> str:
    text = TEXT.decode(example.row.prompt.ids)
    return text[text.index("Question: ") + 10 : text.index("\nAnswer:")]


def test_the_same_index_gives_the_same_example() -> None:
    for make in (
        lambda seed: Questions(MODEL, RECORDS, epochs=2, text_share=0.5, seed=seed),
        lambda seed: Texts(MODEL, [r.passages[0] * 5 for r in RECORDS], epochs=2, seed=seed),
    ):
        one, same, other = make(0), make(0), make(1)
        backwards = [same[i] for i in reversed(range(20))][::-1]
        assert [one[i] for i in range(20)] == backwards
        assert [one[i] for i in range(20)] != [other[i] for i in range(20)]


def test_each_time_through_holds_every_record_once_in_a_new_order() -> None:
    dataset = Questions(MODEL, RECORDS, epochs=3)
    assert len(dataset) == 30
    orders = [[question_of(dataset[i][0]) for i in range(e * 10, e * 10 + 10)] for e in range(3)]
    expected = sorted(r.question for r in RECORDS)
    assert all(sorted(order) == expected for order in orders)
    assert orders[0] != orders[1]


def test_rates_answers_and_text_are_drawn() -> None:
    dataset = Questions(MODEL, RECORDS, epochs=20, text_share=0.25, shuffle_passages=False)
    examples = [dataset[i][0] for i in range(200)]
    rates = Counter(tuple(w.rate for w in e.windows) for e in examples)
    assert set(rates) == {(), (4, 4, 4), (16, 16, 16)}
    assert 30 <= rates[()] <= 70
    answers = Counter(TEXT.decode(e.row.branches[0][0]).strip() for e in examples)
    assert set(answers) == {"Rome", "in Rome"}


def test_texts_are_one_window_and_what_follows() -> None:
    long = "One short sentence. " * 8
    dataset = Texts(MODEL, [long, "Tiny."], epochs=50)
    kinds = Counter[str]()
    for i in range(100):
        (example,) = dataset[i]
        assert len(example.windows) == 1
        window, (ids, labels) = example.windows[0], example.row.branches[0]
        assert ids == labels
        compressed = TEXT.decode(window.ids[window.start : window.start + window.window.tokens])
        written = TEXT.decode(ids)
        automatic = TEXT.control_ids["<AE>"] in example.row.prompt.ids
        kinds["auto-encoding" if automatic else "continuation"] += 1
        assert (written == compressed) if automatic else (compressed + written in (long + "Tiny."))
    assert 30 <= kinds["continuation"] <= 70


def test_shares_of_nothing_and_all() -> None:
    for share, sort in ((0.0, True), (1.0, False)):
        dataset = Texts(MODEL, ["One short sentence."], epochs=9, continuation_share=share)
        control = TEXT.control_ids["<AE>"]
        assert {control in dataset[i][0].row.prompt.ids for i in range(9)} == {sort}
    with pytest.raises(ConfigError, match=r"continuation_share must be in \[0, 1\], got 1.5"):
        Texts(MODEL, ["a"], continuation_share=1.5)


def test_mixtures_draw_blocks_by_weight() -> None:
    objectives = Objectives(MODEL)
    calls: list[tuple[str, int]] = []

    def source(name: str) -> object:
        def draw(index: int, rng: random.Random) -> list[Example]:
            calls.append((name, index))
            return [objectives.auto_encoding(f"{name} {rng.random()}", 4)]

        return draw

    mixture = Mixture([(3, source("a")), (1, source("b"))], length=400, block=4, seed=1)  # type: ignore[list-item]
    examples = [mixture[i] for i in range(len(mixture))]
    names = "".join(name for name, _ in calls)
    assert all(len(set(names[i : i + 4])) == 1 for i in range(0, 400, 4))
    assert 240 <= names.count("a") <= 360
    assert mixture[7] == examples[7]


def test_a_question_carries_loss_on_its_answer_only() -> None:
    (example,) = Questions(MODEL, RECORDS)[0]
    ids, labels = example.row.branches[0]
    assert IGNORE not in labels
    assert ids == labels
    assert TEXT.decode(ids).strip() in ("Rome", "in Rome")
