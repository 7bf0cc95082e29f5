"""Passages found by the words they share with a question, in several scripts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval import BM25Retriever, Hit, Retriever

TEXTS = [
    "Marie Curie was born in Warsaw. She discovered polonium.",
    "The Brooklyn Bridge connects Manhattan with Brooklyn.",
    "서울은 한국의 수도이다. 한강이 서울을 지난다.",
    "부산은 한국의 항구 도시이다.",
    "北京是中国的首都。",
    "القاهرة عاصمة مصر.",
]
PASSAGES = [Passage(text, id=str(number)) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return BM25Retriever(PASSAGES)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where was Marie Curie born?", 0),
        ("who discovers Polonium", 0),  # stems
        ("What is MANHATTAN'S bridge?", 1),
        ("Ｂｒｏｏｋｌｙｎ", 1),  # full-width letters
        ("서울", 2),  # a noun whose particle is attached in the passage
        ("한강은 어디에 있습니까?", 2),
        ("항구는 어디인가?", 3),
        ("首都", 4),
        ("عَاصِمَةُ مِصْرَ", 5),  # with vowel signs
    ],
)
def test_the_best_passage_comes_first(retriever: Retriever, question: str, expected: int) -> None:
    best, *others = retriever.retrieve(question)
    assert best.passage is PASSAGES[expected]
    assert best.rank == 1
    assert best.score > max(hit.score for hit in others)


def test_hits_are_ordered_and_ranked(retriever: Retriever) -> None:
    hits = retriever.retrieve("한국의 도시", k=3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.passage.id for hit in hits[:2]] == ["3", "2"]


def test_equal_scores_keep_the_order_of_the_passages() -> None:
    passages = [Passage("same words here", id=str(i)) for i in range(50)]
    hits = BM25Retriever(passages).retrieve("words", k=50)
    assert [hit.passage.id for hit in hits] == [str(i) for i in range(50)]


def test_more_hits_than_passages_gives_all(retriever: Retriever) -> None:
    hits = retriever.retrieve("Warsaw", k=100)
    assert len(hits) == len(PASSAGES)
    assert [hit.score for hit in hits[1:]] == [0.0] * (len(PASSAGES) - 1)


@pytest.mark.parametrize("question", ["zebra", "?!", "👍"])
def test_a_question_that_matches_nothing(retriever: Retriever, question: str) -> None:
    assert retriever.retrieve(question, k=2) == [Hit(PASSAGES[0], 0.0, 1), Hit(PASSAGES[1], 0.0, 2)]


def test_a_question_of_common_words_is_searched_as_it_is() -> None:
    passages = [Passage("to live or to die"), Passage("to be or not to be")]
    assert BM25Retriever(passages).retrieve("To be, or not to be?")[0].passage is passages[1]


def test_passages_without_words_can_be_searched() -> None:
    passages = [Passage("..."), Passage("")]
    assert BM25Retriever(passages).retrieve("a") == [Hit(passages[0], 0, 1), Hit(passages[1], 0, 2)]


def test_no_passages() -> None:
    with pytest.raises(InputError, match="no passages to search: give the retriever at least one"):
        BM25Retriever([])


@pytest.mark.parametrize("question", ["", " \n"])
def test_empty_question(retriever: Retriever, question: str) -> None:
    with pytest.raises(InputError, match="question is empty: give a text to search for"):
        retriever.retrieve(question)


@pytest.mark.parametrize("k", [0, -1])
def test_too_small_k(retriever: Retriever, k: int) -> None:
    with pytest.raises(InputError, match=f"k is {k}, but a search returns at least 1 passage"):
        retriever.retrieve("Warsaw", k=k)


def test_importing_loads_no_index() -> None:
    code = (
        "import sys, cocom.retrieval;"
        "print([m for m in sys.modules if m in {'bm25s', 'numpy', 'sentence_transformers'}])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
