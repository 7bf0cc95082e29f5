"""What the reader is given: as many rows for shortened text as for context embeddings, counted."""

from __future__ import annotations

from functools import partial

import pytest

from cocom import Cocom, CocomConfig
from cocom.baselines.spans import kept_text
from cocom.evaluation.columns import Question
from cocom.evaluation.giving import Giver
from cocom.evaluation.soft import SoftCache
from cocom.evaluation.suites import fact_questions
from cocom.evaluation.systems import System, all_systems
from cocom.testing import tiny_cocom
from tests.evaluation.conftest import Last

QUESTIONS = fact_questions(6)


@pytest.fixture
def giver(cocom_tiny) -> Giver:
    return Giver(cocom_tiny, lambda method, count: Last(count))


def test_no_shortened_text_has_more_rows_than_the_embeddings_and_most_have_as_many(giver) -> None:
    soft = {
        rate: [given.rows for given in giver.give(System("soft", rate), QUESTIONS)]
        for rate in (4, 16, 128)
    }
    for system in all_systems((4, 16, 128)):
        if system.kind not in ("hard", "truncated", "random"):
            continue
        assert system.rate
        for given, rows in zip(giver.give(system, QUESTIONS), soft[system.rate], strict=True):
            assert given.budget == rows
            read = sum(len(giver.model.backbone.text.encode_text(t)) for t in given.passages)
            assert given.rows == read <= rows, system.name
            if system.rate < 128:
                assert rows - read <= 12, system.name


@pytest.mark.parametrize("count", ["proportional", "fixed"])
def test_soft_rows_are_known_without_compressing(count) -> None:
    model = tiny_cocom(CocomConfig(rates=(4, 16), embedding_count=count, window=32))
    giver = Giver(model, lambda method, count: Last(count))
    for question in QUESTIONS:
        for rate in (4, 16):
            made = model.compress(question.passages, rate=rate)
            known = [giver.soft_rows(p, rate, question.question) for p in question.passages]
            assert known == [len(contexts) for contexts in made]


def test_what_stayed_is_named_by_place_and_characters(giver) -> None:
    (given,) = giver.give(System("hard", 4, "llmlingua"), QUESTIONS[:1])
    assert given.kept
    texts = [kept_text(QUESTIONS[0].passages[i], spans) for i, spans in given.kept]
    assert texts == list(given.passages)
    assert [i for i, _ in given.kept] == sorted((i for i, _ in given.kept), reverse=True)


def test_text_and_no_passage_and_wrong_passages(giver) -> None:
    (text,) = giver.give(System("text"), QUESTIONS[:1])
    assert text.passages == QUESTIONS[0].passages
    assert text.rows == text.tokens == sum(map(giver.count, QUESTIONS[0].passages))
    (none,) = giver.give(System("none"), QUESTIONS[:1])
    assert (none.passages, none.rows) == ((), 0)
    (wrong,) = giver.give(System("wrong", 4), QUESTIONS[:1])
    assert wrong.tokens == sum(map(giver.count, QUESTIONS[0].wrong))


def test_the_retrievers_scores_go_with_the_passages_they_are_of(giver) -> None:
    scored = Question("Who?", ("Ada.", "Bo."), ("Cy.", "Di."), ("Ada",), ("Ada.",), (2.0, 1.0))
    for system in (System("text", fusion="rag-token"), System("soft", 4, fusion="rag-token")):
        assert giver.give(system, [scored])[0].scores == (2.0, 1.0)
    assert giver.give(System("wrong", 4), [scored])[0].scores is None


def test_each_passage_is_compressed_once_and_the_oldest_is_forgotten(tiny, monkeypatch) -> None:
    made: list[str] = []
    compress = Cocom.compress

    def counted(self, passages, **options):
        made.extend(passages)
        return compress(self, passages, **options)

    monkeypatch.setattr(Cocom, "compress", counted)
    room = tiny.compress(["aaaaaaaa"], rate=4)[0].embeddings.nbytes
    made.clear()
    cache = SoftCache(tiny, kept_bytes=2 * room)
    ask = partial(cache.of, ["q"], rate=4)
    assert [len(soft.contexts) for soft in ask([["aaaaaaaa", "bbbbbbbb"]])[0]] == [2, 2]
    ask([["aaaaaaaa"]])
    assert made == ["aaaaaaaa", "bbbbbbbb"]
    ask([["cccccccc"]])
    ask([["aaaaaaaa"]])
    assert made == ["aaaaaaaa", "bbbbbbbb", "cccccccc"], "a was used last, so b was forgotten"
    ask([["bbbbbbbb"]])
    assert made[-1] == "bbbbbbbb"
