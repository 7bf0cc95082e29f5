"""An index that is replaced while threads search in it."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

from cocom.datatypes import Passage
from cocom.retrieval import BM25Retriever, Hit, SwappableRetriever


class Numbered:
    """Finds passages that all carry the number of its index, one after the other."""

    def __init__(self, number: int) -> None:
        self.number = number

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        hits = []
        for rank in range(1, k + 1):
            hits.append(Hit(Passage(str(self.number)), 1.0, rank))
            threading.Event().wait(0)  # lets other threads run between two hits
        return hits


def test_the_next_question_is_answered_from_the_new_index() -> None:
    old = BM25Retriever([Passage("the old river")])
    new = BM25Retriever([Passage("the new river")])
    retriever = SwappableRetriever(old)
    assert retriever.retrieve("river")[0].passage.text == "the old river"
    assert retriever.swap(new) is old
    assert retriever.retriever is new
    assert retriever.retrieve("river", k=1)[0].passage.text == "the new river"


def test_every_call_uses_one_index_while_others_are_swapped_in() -> None:
    retriever = SwappableRetriever(Numbered(0))
    done = threading.Event()

    def ask() -> list[int]:
        seen: list[int] = []
        while not done.is_set() or not seen:
            texts = {hit.passage.text for hit in retriever.retrieve("q", k=20)}
            assert len(texts) == 1  # never hits of two indexes in one answer
            seen.append(int(texts.pop()))
        return seen

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        returned = [retriever.swap(Numbered(number)) for number in range(1, 200)]
        done.set()
        seen = [future.result() for future in asking]
    assert [old.number for old in returned if isinstance(old, Numbered)] == list(range(199))
    for numbers in seen:
        assert numbers == sorted(numbers)  # nobody goes back to an older index
    assert retriever.retrieve("q", 1)[0].passage.text == "199"


def test_two_that_swap_at_once_get_different_old_ones() -> None:
    retriever = SwappableRetriever(Numbered(0))
    with ThreadPoolExecutor(8) as pool:
        old = list(pool.map(lambda n: retriever.swap(Numbered(n)), range(1, 101)))
    numbers = [each.number for each in [*old, retriever.retriever] if isinstance(each, Numbered)]
    assert sorted(numbers) == list(range(101))


class Waiting(Numbered):
    """Begins to search, and goes on when it is told to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.begun, self.go = threading.Event(), threading.Event()

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        self.begun.set()
        assert self.go.wait(10)
        return super().retrieve(question, k)


def test_the_old_index_lives_until_its_last_question_is_answered() -> None:
    old = Waiting(1)
    begun, go, alive = old.begun, old.go, weakref.ref(old)
    retriever = SwappableRetriever(old)
    del old
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(retriever.retrieve, "q", 3)
        assert begun.wait(10)
        retriever.swap(Numbered(2))  # does not wait for the question
        assert retriever.retrieve("q", 1)[0].passage.text == "2"
        gc.collect()
        assert alive() is not None
        go.set()
        assert {hit.passage.text for hit in answer.result(10)} == {"1"}
    gc.collect()
    assert alive() is None
