"""The store in memory: what it drops when it is full. What all stores do is in test_contract.py."""

from __future__ import annotations

import pytest
import torch

from cocom.datatypes import ContextEmbeddings
from cocom.errors import InputError
from cocom.store import Entry, MemoryStore


@pytest.fixture(autouse=True)
def any_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters as ids, so that tests can be read."""
    monkeypatch.setattr("cocom.store.memory.check_entries", lambda entries: None)


def entry(text: str = "text", rows: int = 2) -> Entry:
    embeddings = torch.zeros(rows, 8)
    return Entry(text, 4, None, ContextEmbeddings(embeddings, 4, (), 8, "f"))


def held(store: MemoryStore, *ids: str) -> str:
    """For each id: C with embeddings, T with text alone, - if it is gone; without using it."""
    kept = store._kept
    return "".join(
        "-" if ("", id) not in kept.entries else "C" if ("", id) in kept.contexts else "T"
        for id in ids
    )


def test_a_store_gives_what_was_put() -> None:
    store = MemoryStore()
    assert store.get(["a"]) == [None]
    put = entry()
    store.put({"a": put, "b": Entry(None, 4)})
    b, a, missing = store.get(["b", "a", "c"])
    assert (b, missing) == (Entry(None, 4), None)
    assert a is not None
    assert a.contexts is not None
    assert put.contexts is not None
    assert (a.text, a.rate) == (put.text, put.rate)
    assert torch.equal(a.contexts.embeddings, put.contexts.embeddings)
    store.put({"a": Entry("new", 16)})
    assert store.get(["a", "a"]) == [Entry("new", 16)] * 2
    assert len(store) == 2


def test_embeddings_used_longest_ago_are_dropped_first() -> None:
    store = MemoryStore(embedding_bytes=3 * 64)
    store.put({id: entry() for id in "abc"})
    store.get(["a"])
    store.put({"d": entry()})
    assert held(store, *"abcd") == "CTCC"
    store.put({"b": entry()})
    assert held(store, *"abcd") == "CCTC"
    store.put({"big": entry(rows=7)})  # alone too big: nothing but its text is kept
    assert held(store, *"abcd", "big") == "TTTTT"
    (big,) = store.get(["big"])
    assert big is not None
    assert (big.text, big.contexts) == ("text", None)


def test_passages_used_longest_ago_are_dropped_whole() -> None:
    store = MemoryStore(text_bytes=12_000)
    store.put({id: entry("t" * 3500) for id in "abc"})  # and a little for each
    store.get(["a"])
    store.put({"d": entry("é" * 1000)})
    assert held(store, *"abcd") == "C-CC"
    assert len(store) == 3
    store.put({"d": entry("l" * 11_500)})
    assert held(store, *"abcd") == "---C"
    store.put({"e": entry("f" * 12_000)})
    assert (held(store, *"abcde"), len(store)) == ("-----", 0)
    store.put({"a": entry("\ud800")})  # half a character does no harm
    assert held(store, "a") == "C"


def test_a_store_s_limits_count_what_is_written_anew_once() -> None:
    store = MemoryStore(embedding_bytes=2 * 64, text_bytes=2 * 260)
    for _ in range(5):
        store.put({"a": entry(), "b": entry()})
    assert held(store, "a", "b") == "CC"
    assert store._kept.bytes == [2 * 64, 2 * 260]
    store.put({"a": Entry("text", 4), "b": Entry(None, 4)})
    assert store._kept.bytes == [0, 260 + 256]


def test_stored_embeddings_carry_no_gradient_and_need_no_gpu() -> None:
    store = MemoryStore()
    embeddings = torch.ones(2, 8, requires_grad=True) * 2
    store.put({"a": Entry("t", 4, None, ContextEmbeddings(embeddings, 4, (), 8, "f"))})
    (kept,) = store.get(["a"])
    assert kept is not None
    assert kept.contexts is not None
    assert not kept.contexts.embeddings.requires_grad
    assert kept.contexts.embeddings.device.type == "cpu"


@pytest.mark.parametrize("limit", ["embedding_bytes", "text_bytes"])
def test_stores_that_cannot_be(limit: str) -> None:
    with pytest.raises(InputError, match=f"{limit} must be 0 or more, got -1"):
        MemoryStore(**{limit: -1})
