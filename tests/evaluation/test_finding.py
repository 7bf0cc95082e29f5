"""Which passages a question is asked with, and how many of the right ones are among them."""

from __future__ import annotations

import pytest

from cocom.datatypes import Passage
from cocom.errors import DataError, InputError
from cocom.evaluation.columns import Question
from cocom.evaluation.datasets import QuestionSet, Record
from cocom.evaluation.finding import Searcher, among_others
from cocom.evaluation.preparing import Asked, Finding, drawn
from cocom.retrieval.hits import Hit

PEOPLE = ("Ada lives in Rome.", "Bo lives in Oslo.", "Cy lives in Lima.", "Di lives in Bern.")
RECORDS = [
    Record(f"Where does {p.split()[0]} live?", (p.split()[-1][:-1],), (p,), (0,)) for p in PEOPLE
]
QUESTIONS = QuestionSet.of("people", RECORDS)


class Reversed:
    """A retriever that finds passages in the order of the pool, whatever is asked."""

    def __init__(self, passages):
        self.passages = passages

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        return [Hit(p, -i, i + 1) for i, p in enumerate(self.passages[:k])]


class Backwards:
    """A reranker that turns the order round."""

    def rerank(self, question: str, hits, k: int) -> list[Hit]:
        turned = list(reversed(hits))
        return [Hit(hit.passage, hit.score, i + 1) for i, hit in enumerate(turned[:k])]


def asked(records, **options) -> Asked:
    questions = QuestionSet.of("people", records)
    searcher = Searcher(questions, Reversed, **options)
    rows = [searcher.search(entry) for entry in records]
    found = {n: searcher.question(e, rows[n]) for n, e in enumerate(records)}
    return Asked("people", questions.hash, questions.pool, found, {})


def test_recall_is_the_share_of_right_passages_that_are_read() -> None:
    result = asked(RECORDS, passages=2)
    # The first two of the pool are found for all four questions.
    assert result.recall() == {0: 1.0, 1: 1.0, 2: 0.0, 3: 0.0}
    assert result.answer_recall() == {0: 1.0, 1: 1.0, 2: 0.0, 3: 0.0}
    assert result.questions[3].passages == PEOPLE[:2]
    assert result.questions[0].scores == (0.0, -1.0)


def test_recall_of_several_right_passages_and_of_unknown_ones() -> None:
    both = Record("Who?", ("Rome",), (PEOPLE[0], PEOPLE[3]), (0, 1))
    unknown = Record("Who?", ("Nowhere",), (PEOPLE[1], PEOPLE[2]), None)
    result = asked([*RECORDS, both, unknown], passages=2)
    assert result.recall()[4] == 0.5
    assert 5 not in result.recall()
    assert result.answer_recall()[5] == 0.0


def test_wrong_passages_are_found_ones_but_never_the_questions_own() -> None:
    result = asked(RECORDS, passages=2)
    assert result.questions[0].wrong == (PEOPLE[1], PEOPLE[2])
    assert result.questions[3].wrong == PEOPLE[:2]


def test_a_reranker_orders_as_many_candidates_as_it_is_given() -> None:
    result = asked(RECORDS, passages=2, reranker=Backwards(), candidates=4)
    assert result.questions[0].passages == (PEOPLE[3], PEOPLE[2])
    assert result.questions[0].wrong == (PEOPLE[3], PEOPLE[2])


def test_bm25_finds_whom_the_question_names() -> None:
    from cocom.retrieval.opening import open_retriever

    searcher = Searcher(QUESTIONS, lambda p: open_retriever("bm25", p), passages=1)
    assert [searcher.search(entry)["found"] for entry in RECORDS] == [[0], [1], [2], [3]]


def test_the_right_passage_stands_among_others_at_any_place() -> None:
    many = [Record(f"{i}?", (str(i),), (f"Passage {i}.",), (0,), "t") for i in range(40)]
    questions = among_others(QuestionSet.of("many", many), passages=4)
    places = [q.passages.index(q.gold[0]) for q in questions]
    assert set(places) == {0, 1, 2, 3}
    assert all(len(set(q.passages)) == len(set(q.wrong)) == 4 for q in questions)
    assert not any(q.gold[0] in q.wrong for q in questions)


def test_a_question_keeps_the_passages_that_it_comes_with() -> None:
    own = Record("Who?", ("Ada",), (PEOPLE[0], PEOPLE[1]), (0,))
    filler = [Record("Which?", ("x",), (f"Passage {i}.",), (0,)) for i in range(9)]
    question = among_others(QuestionSet.of("mixed", [own, *filler]), passages=4)[0]
    assert question.passages == PEOPLE[:2]
    assert not set(question.wrong) & set(PEOPLE[:2])


@pytest.mark.parametrize(
    ("answer", "passage", "stands"),
    [("A", "Vitamin A is fat-soluble.", 1.0), ("A", "Fat is soluble.", 0.0), ("+", "1 + 1", 1.0)],
)
def test_answers_of_which_normalising_leaves_nothing_are_looked_for_as_they_are(
    answer, passage, stands
) -> None:
    asked = {0: Question("Which?", (passage,), (), (answer,))}
    assert Asked("set", "", (passage,), asked, {}).answer_recall() == {0: stands}


def test_sets_of_too_few_passages() -> None:
    with pytest.raises(DataError, match="'people' holds 4 passages, but 6 are needed"):
        among_others(QUESTIONS, passages=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passages": 0}, "passages must be at least 1, got 0"),
        ({"reranker": "m"}, "reranker 'm' has nothing to order with the retriever 'gold'"),
        ({"retriever": "bm25", "reranker": "m", "candidates": 2}, "candidates is 2, but 5"),
    ],
)
def test_settings_that_cannot_be(options, message) -> None:
    with pytest.raises(InputError, match=message):
        Finding(**options)


def test_questions_are_drawn_from_the_first_or_at_random() -> None:
    assert drawn(9, limit=3, sample=None, seed=1) == [0, 1, 2]
    sample = drawn(1000, limit=None, sample=9, seed=1)
    assert sample == sorted(set(sample)) == drawn(1000, limit=None, sample=9, seed=1)
    assert max(sample) > 500
    assert drawn(4, limit=None, sample=9, seed=1) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="limit is 3 and sample is 2"):
        drawn(9, limit=3, sample=2, seed=1)
    with pytest.raises(InputError, match="limit must be at least 1"):
        drawn(9, limit=0, sample=None, seed=1)


def test_passages_reach_the_retriever_once_each() -> None:
    seen: list[Passage] = []

    def make(passages):
        seen.extend(passages)
        return Reversed(passages)

    Searcher(QuestionSet.of("twice", RECORDS * 2), make)
    assert [p.text for p in seen] == list(PEOPLE)
