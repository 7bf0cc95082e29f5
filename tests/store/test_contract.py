"""What every store must do, whatever it keeps passages in."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cocom.datatypes import ContextEmbeddings, Passage, Window
from cocom.errors import ConfigError, FingerprintError, InputError
from cocom.identity import passage_id
from cocom.store import ContextStore, DiskStore, Entry, Kind, MemoryStore

Make = Any  # that of conftest.py

STORES = ("memory", "part of memory", "disk", "part of a disk, in shards")


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ContextStore]:
    """An empty store."""
    made: ContextStore = MemoryStore()
    if "disk" in request.param:
        made = DiskStore.create(tmp_path / "store", shard_bytes=1 << 16)
    if "shards" in request.param:
        monkeypatch.setattr("cocom.store.disk._MOST_RECENT", 0)
    if "part" in request.param:
        made = made.namespace("one")
    with made:
        yield made


# --- what is put comes back ------------------------------------------------------------------------


def test_everything_comes_back_bit_for_bit(store: ContextStore, make: Make) -> None:
    entries = make.all_kinds() | make.entries(make.texts) | make.entries(make.texts, query="why?")
    store.put(entries)
    assert make.content(store) == make.content_of(entries)
    assert store.verify().passages == len(entries)
    assert not store.verify().problems


def test_no_query_is_another_than_an_empty_one(store: ContextStore, make: Make) -> None:
    entries = dict(
        make.entry(text, query=query) for text in ("", "a") for query in (None, "", "b", "\udc80")
    )
    store.put(entries)
    assert len(store) == 8
    assert make.content(store) == make.content_of(entries)


def test_passages_come_in_the_order_of_the_ids(store: ContextStore, make: Make) -> None:
    entries = make.entries(f"passage {i}" for i in range(1100))  # more than one query takes
    store.put(entries)
    ids = ["missing", *reversed(entries), *make.some(entries, 1), *make.some(entries, 2), "missing"]
    found = [make.bits(entry) for entry in store.get(ids)]
    assert found == [make.bits(entries.get(id)) for id in ids]
    assert store.contains(ids) == [id in entries for id in ids]
    assert (store.get([]), store.contains([])) == ([], [])


def test_texts_and_embeddings_can_be_left_out(store: ContextStore, make: Make) -> None:
    id, entry = make.entry("text", query="query")
    store.put({id: entry})
    assert store.get([id], embeddings=False) == [Entry("text", 4, "query", None)]
    (found,) = store.get([id], texts=False)
    assert make.bits(found) == make.bits(dataclasses.replace(entry, text=None, query=None))
    assert store.get([id], texts=False, embeddings=False) == [Entry(None, 4, None, None)]


def test_an_entry_without_text_may_have_any_id(store: ContextStore, make: Make) -> None:
    _, entry = make.entry(rows=9)
    bare = dataclasses.replace(entry, text=None)
    store.put({"my own": bare, "文書/1": bare})
    assert make.content(store) == {"my own": make.bits(bare), "文書/1": make.bits(bare)}


def test_an_id_that_is_put_again_has_its_new_entry(store: ContextStore, make: Make) -> None:
    first = make.entries("abcd")
    again = make.entries("bc", version=1) | make.entries("d", dtype=torch.float16, rows=40)
    store.put(first)
    store.put(again)
    assert make.content(store) == make.content_of(first | again)
    assert sorted(store.kinds().values()) == [1, 3]
    store.put(first)
    assert make.content(store) == make.content_of(first)
    assert list(store.kinds().values()) == [4]


def test_models_rates_and_types_lie_side_by_side(store: ContextStore, make: Make) -> None:
    entries = make.all_kinds()
    store.put(entries)
    wanted: dict[Kind, int] = {}
    for entry in entries.values():
        made = entry.contexts
        dtype = str(made.embeddings.dtype).removeprefix("torch.")
        kind = Kind(made.fingerprint, made.rate, made.embeddings.shape[1], dtype)
        wanted[kind] = wanted.get(kind, 0) + 1
    assert len(wanted) == 12
    assert dict(store.kinds()) == wanted
    one = min(wanted)
    store.delete([id for id, e in entries.items() if e.contexts.fingerprint == one.fingerprint])
    assert {kind.fingerprint for kind in store.kinds()} == {make.other_model}


def test_embeddings_may_be_part_of_other_tensors(store: ContextStore, make: Make) -> None:
    id, entry = make.entry()
    whole = torch.randn(8, 32, requires_grad=True) * 2
    for part in (whole[2:5], whole[:, 3:7], whole.T, whole[::2, ::3], whole[:1].expand(4, 32)):
        contexts = dataclasses.replace(
            entry.contexts, embeddings=part, passage=Passage("text", "their id", {"page": 1})
        )
        store.put({id: dataclasses.replace(entry, contexts=contexts)})
        found = store[id].contexts
        assert found is not None
        assert found.passage is None
        assert not found.embeddings.requires_grad
        assert torch.equal(found.embeddings, part)


whole_texts = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=whole_texts,
    query=st.none() | whole_texts,
    rate=st.integers(1, 4096),
    fingerprint=st.sampled_from("0123456789abcdef").map(lambda c: c * 64),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 33)),
    windows=st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 99)), max_size=4),
    tokens=st.integers(0, 1 << 40),
    seed=st.integers(0, 1 << 32),
)
def test_any_entry_comes_back(
    store: ContextStore,
    make: Make,
    text: str,
    query: str | None,
    rate: int,
    fingerprint: str,
    dtype: torch.dtype,
    shape: tuple[int, int],
    windows: list[tuple[int, int]],
    tokens: int,
    seed: int,
) -> None:
    data = bytearray(np.random.default_rng(seed).bytes(shape[0] * shape[1] * dtype.itemsize))
    made = ContextEmbeddings(
        torch.frombuffer(data, dtype=dtype).view(shape),
        rate,
        tuple(Window(*window) for window in windows),
        tokens,
        fingerprint,
    )
    entry = Entry(text, rate, query, made)
    id = passage_id(fingerprint, rate, text, query)
    store[id] = entry
    assert make.bits(store[id]) == make.bits(entry)


# --- what is refused -------------------------------------------------------------------------------


def _changed(entry: Entry, **changes: Any) -> Entry:
    assert entry.contexts is not None
    return dataclasses.replace(entry, contexts=dataclasses.replace(entry.contexts, **changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda id, e: ("a" * 26, e), "under id 'aaaaaaaaaaaaaaaaaaaaaaaaaa', but its model, rate"),
        (
            lambda id, e: (id, dataclasses.replace(e, text="other")),
            "under id .* make '[a-z2-7]{26}'",
        ),
        (
            lambda id, e: (id, dataclasses.replace(e, query="other")),
            "its model, rate and text make",
        ),
        (lambda id, e: (id, _changed(e, fingerprint="f")), "its model, rate and text make"),
        (lambda id, e: (id, dataclasses.replace(e, rate=16)), "has rate 16, but .* have rate 4"),
        (lambda id, e: (id, _changed(e, rate=16)), "has rate 4, but .* have rate 16"),
        (lambda id, e: (id, dataclasses.replace(e, text=7)), "the text of .* got int"),
        (lambda id, e: (id, dataclasses.replace(e, query=b"q")), "the query of .* got bytes"),
        (lambda id, e: (id, dataclasses.replace(e, text=None, query="q")), "a query but no text"),
        (lambda id, e: (id, _changed(e, embeddings=torch.zeros(4))), r"shape \(4,\), but expected"),
        (lambda id, e: ("", dataclasses.replace(e, text=None)), "must be a text .* got ''"),
        (lambda id, e: ("\ud800", dataclasses.replace(e, text=None)), "got '.ud800'"),
        (lambda id, e: (3, dataclasses.replace(e, text=None)), "whole characters, got 3"),
    ],
)
def test_one_bad_entry_keeps_all_of_a_batch_out(
    store: ContextStore, make: Make, spoil: Callable[[str, Entry], Any], message: str
) -> None:
    there = make.entries(["there", "again"])
    store.put(there)
    id, entry = spoil(*make.entry("bad"))
    new = make.entries(["new"]) | make.entries(["again"], version=1)
    for batch in ({id: entry} | new, new | {id: entry}):
        with pytest.raises(InputError, match=message):
            store.put(batch)
        assert make.content(store) == make.content_of(there)
    assert store.verify().passages == 2


def test_ids_are_a_sequence(store: ContextStore, make: Make) -> None:
    entries = make.entries("abc")
    store.put(entries)
    (id, *_) = entries
    for use in (store.get, store.contains, store.delete):
        with pytest.raises(InputError, match="ids must be a sequence of ids, got a single text"):
            use(id)
    ways: list[Any] = [entries.keys(), iter(entries), tuple(entries), dict.fromkeys(entries)]
    for ids in ways:
        assert [make.bits(e) for e in store.get(ids)] == list(make.content_of(entries).values())
    assert store.contains(entries.keys()) == store.contains(iter(entries)) == [True] * 3
    assert store.delete(iter(entries)) == 3


def test_what_cannot_be_an_id_is_not_there(store: ContextStore, make: Make) -> None:
    store.put(make.entries("a"))
    ids: list[Any] = ["", "\ud800", "\0", "x" * 100_000, None, 5, object(), "' OR 1 = 1 --", "%"]
    assert store.get(ids) == [None] * len(ids)
    assert store.contains(ids) == [False] * len(ids)
    assert store.delete(ids) == 0
    assert len(store) == 1


# --- deleting --------------------------------------------------------------------------------------


def test_what_is_deleted_is_not_there_any_more(store: ContextStore, make: Make) -> None:
    entries = make.entries(f"passage {i}" for i in range(520))
    store.put(entries)
    gone = make.some(entries, 3)
    assert store.delete([*gone, *gone, "missing"]) == len(gone)
    assert store.delete(gone) == 0
    assert store.delete([]) == 0
    left = {id: entry for id, entry in entries.items() if id not in set(gone)}
    assert store.get(gone) == [None] * len(gone)
    assert make.content(store) == make.content_of(left)
    store.put(entries)
    assert make.content(store) == make.content_of(entries)
    assert store.delete(list(entries)) == len(entries)
    assert (len(store), list(store), dict(store.kinds())) == (0, [], {})


def test_compaction_changes_nothing_that_is_there(store: ContextStore, make: Make) -> None:
    store.compact()
    entries = make.all_kinds() | make.entries(make.texts, rows=90)
    for begin in range(0, len(entries), 7):
        store.put(dict(list(entries.items())[begin : begin + 7]))
    gone = make.some(entries, 4)
    store.delete(gone)
    left = {id: entry for id, entry in entries.items() if id not in set(gone)}
    for _ in range(2):
        store.compact()
        assert make.content(store) == make.content_of(left)
        assert store.verify().passages == len(left)
        assert not store.verify().problems


# --- operators, iteration --------------------------------------------------------------------------


def test_a_store_is_used_like_a_dict(store: ContextStore, make: Make) -> None:
    id, entry = make.entry()
    assert bool(store)  # an empty store is a store
    assert (len(store), list(store), id in store, 5 in store) == (0, [], False, False)
    store[id] = entry
    assert (len(store), list(store), id in store) == (1, [id], True)
    assert make.bits(store[id]) == make.bits(entry)
    del store[id]
    for use in (lambda: store[id], lambda: store.__delitem__(id)):
        with pytest.raises(KeyError, match=id):
            use()
    assert not store.get([id])[0]


@pytest.mark.parametrize("count", [1, 1024, 1025])
def test_ids_and_items_come_once_each(store: ContextStore, make: Make, count: int) -> None:
    _, entry = make.entry(rows=1, hidden=1)
    bare = dataclasses.replace(entry, text=None)
    entries = {f"id {i}": bare for i in range(count)}
    store.put(entries)
    assert sorted(store.ids()) == sorted(entries)
    assert store.count() == len(store) == count
    items = list(store.items(batch_size=100))
    assert sorted(id for id, _ in items) == sorted(entries)
    assert all(make.bits(found) == make.bits(bare) for _, found in items)


def test_a_store_may_change_while_it_is_gone_through(store: ContextStore, make: Make) -> None:
    entries = make.entries(f"passage {i}" for i in range(600))
    store.put(entries)
    seen = []
    for number, (id, entry) in enumerate(store.items(batch_size=50)):
        seen.append(id)
        assert make.bits(entry) == make.bits(entries[id])
        if number % 100 == 0:
            store.delete([id])
            store.put(make.entries([f"more {number}"]))
            store.compact()
            entries |= make.entries([f"more {number}"])
    assert len(set(seen)) == len(seen)


def test_a_closed_store_opens_itself_again(store: ContextStore, make: Make) -> None:
    entries = make.entries("abc")
    store.close()
    store.put(entries)
    store.close()
    store.close()
    assert make.content(store) == make.content_of(entries)
    with store as same:
        assert same is store
    assert len(store) == 3


# --- namespaces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("two", "Two"), ("日本", "日 本"), ("a/b", "a"), ("'", "%"), (" ", "\0")]
)
def test_namespaces_do_not_see_each_other(
    store: ContextStore, make: Make, names: tuple[str, str]
) -> None:
    first, second = (store.namespace(name) for name in names)
    own, one, two = (make.entries("abc", version=v) for v in range(3))
    store.put(own)
    assert (len(first), first.get(list(own)), first.kinds()) == (0, [None] * 3, {})
    first.put(one)
    second.put(two)
    second.put(make.entries("d"))
    for part, entries in ((first, one), (second, two | make.entries("d"))):
        assert make.content(part) == make.content_of(entries)
        assert sum(part.kinds().values()) == len(entries)
        assert make.content(part.namespace(names[0])) == make.content_of(
            one
        )  # not a part of a part
    (a, b, c) = one
    assert first.delete([a, b]) == 2
    first.compact()
    assert make.content(second) == make.content_of(two | make.entries("d"))
    assert make.content(first) == make.content_of(make.entries("c", version=1))
    assert make.content(store.namespace(names[1])) == make.content(second)
    assert list(first.ids()) == [c]
    assert second.delete(list(two)) == 3
    assert first.contains([c]) == [True]
    assert make.content(store) == make.content_of(own)
    assert first.verify().passages == 5  # all of the store is looked at


def test_the_part_without_a_name_is_the_first(store: ContextStore, make: Make) -> None:
    entries = make.entries("ab")
    store.namespace("").put(entries)
    assert make.content(store.namespace("other").namespace("")) == make.content_of(entries)


@pytest.mark.parametrize("name", [None, 3, b"name", "\ud800"])
def test_names_that_cannot_be(store: ContextStore, name: Any) -> None:
    with pytest.raises(InputError, match="name of a namespace must be a text of whole characters"):
        store.namespace(name)


# --- add, expect -----------------------------------------------------------------------------------


def _made(make: Make, texts: str, query: str | None = None) -> Iterator[ContextEmbeddings]:
    for text in texts:
        _, entry = make.entry(text, query=query)
        yield dataclasses.replace(entry.contexts, passage=Passage(text, "theirs"))


def test_what_compress_gave_is_kept_under_its_ids(store: ContextStore, make: Make) -> None:
    assert store.add([]) == []
    ids = store.add(_made(make, "aba"))
    assert ids == [make.entry(text)[0] for text in "aba"]
    asked = store.add(_made(make, "ab", "why?"), query="why?")
    assert asked == [make.entry(text, query="why?")[0] for text in "ab"]
    wanted = make.entries("ab") | make.entries("ab", query="why?")
    assert make.content(store) == make.content_of(wanted)


def test_what_was_compressed_without_its_text_has_no_id(store: ContextStore, make: Make) -> None:
    first, second = _made(make, "ab")
    for passage in (None, Passage("", "an id")):  # that of an export without texts
        with pytest.raises(InputError, match="context embeddings 1 come without the text"):
            store.add([first, dataclasses.replace(second, passage=passage)])
    assert len(store) == 0


def test_a_store_knows_whose_it_is(store: ContextStore, make: Make) -> None:
    store.expect(make.model)  # an empty one is for all
    store.expect(make.model, 4)
    store.put(make.entries("ab"))
    store.put(make.entries("ab", rate=128))
    for rate in (None, 4, 128):
        store.expect(make.model, rate)
    with pytest.raises(
        ConfigError, match="holds passages at rate 4, 128, but rate 16 is asked for"
    ):
        store.expect(make.model, 16)
    message = (
        "by model aaaaaaaaaaaa at rate 128, aaaaaaaaaaaa at rate 4, but this model is bbbbbbbbbbbb"
    )
    with pytest.raises(FingerprintError, match=message):
        store.expect(make.other_model)
    with pytest.raises(FingerprintError, match=re.escape(str(store))):
        store.expect(make.other_model, 4)
    store.put(make.entries("c", fingerprint=make.other_model, rate=8))
    store.expect(make.other_model, 8)
    with pytest.raises(ConfigError, match="holds passages at rate 8, but rate 4 is asked for"):
        store.expect(make.other_model, 4)


# --- threads, forks --------------------------------------------------------------------------------


def test_threads_share_a_store(store: ContextStore, make: Make) -> None:
    always = make.entries(f"always {i}" for i in range(60))
    wanted = make.content_of(always)
    store.put(always)
    wrong: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        ids = [*always, "missing"]
        while not stop.is_set():
            found = store.get(ids)
            wrong.extend(
                id for id, e in zip(ids, found, strict=True) if make.bits(e) != wanted.get(id)
            )
            if not store.contains(ids)[0] or len(store) < len(always):
                wrong.append("contains")

    def write(number: int) -> None:
        for turn in range(8):
            own = make.entries((f"{number} {turn} {i}" for i in range(10)), rows=20)
            store.put(own)
            if make.content_of(own) != dict(
                zip(own, map(make.bits, store.get(list(own))), strict=True)
            ):
                wrong.append(f"of writer {number}")
            if turn % 2:
                store.delete(list(own))
            if turn == 5:
                store.compact()

    def guarded(work: Callable[..., None], *given: Any) -> None:
        try:
            work(*given)
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
    writers = [threading.Thread(target=guarded, args=(write, number)) for number in range(3)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert not wrong
    assert len(store) == 60 + 3 * 4 * 10
    assert not store.verify().problems


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_works_on_both_sides_of_a_fork(
    store: ContextStore, make: Make, fork: Callable[..., Any]
) -> None:
    entries = make.entries("abc")
    store.put(entries)
    assert len(store) == 3
    held, done = threading.Event(), threading.Event()

    def write() -> None:  # the child must not inherit what this thread holds
        held.set()
        while not done.is_set():
            store.put(make.entries(["busy"]))

    thread = threading.Thread(target=write)
    thread.start()
    assert held.wait(10)

    def child() -> Any:
        store.put(make.entries(["the child's"]))
        return {id: make.bits(entry) for id, entry in store.items()}

    other = fork(child)
    done.set()
    thread.join()
    mine = make.entries(["the parent's"])
    store.put(mine)
    found = other.result()
    assert make.content_of(entries).items() <= found.items()
    assert make.entry("the child's")[0] in found
    assert make.content_of(entries | mine).items() <= make.content(store).items()
