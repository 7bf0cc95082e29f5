"""Views: what is compressed once, references resolved, limits, and answers by every way the same."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from cocom import (
    Answer,
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    EncoderConfig,
    Passage,
    PromptTemplate,
    Turn,
)
from cocom.errors import (
    AnswerTimeoutError,
    ConfigError,
    EmptyPassageError,
    FingerprintError,
    InputError,
    InvalidReferenceError,
    MissingContextError,
    PromptTooLongError,
)
from cocom.identity import passage_id
from cocom.opening import view_of
from cocom.references import Reference, escape, find
from cocom.store import Entry, MemoryStore
from cocom.streaming import AsyncAnswerStream
from cocom.testing import tiny_cocom
from cocom.view import CocomView, Speech

KEY = b"k" * 32
CONFIG = CocomConfig(rates=(4, 16), window=32)
ADA, RIVER = "Ada was born in Rome.", "The river is long."


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CONFIG)


@pytest.fixture(scope="module")
def other_model() -> Cocom:
    return tiny_cocom(CONFIG, seed=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def view(model: Cocom, store: MemoryStore) -> CocomView:
    return CocomView(model, store=store)


@pytest.fixture
def compressed(model: Cocom, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the model is asked to compress, call by call; calls for nothing do not count."""
    calls: list[list[str]] = []
    compress = model.compress

    def counted(passages: Sequence[str], **options: Any) -> list[ContextEmbeddings]:
        if passages:
            calls.append(list(passages))
        return compress(passages, **options)

    monkeypatch.setattr(model, "compress", counted)
    return calls


def evict(store: MemoryStore, *references: Reference, **changes: Any) -> None:
    """Drop the embeddings, and change what else is said of the passages."""
    for reference in references:
        (entry,) = store.get([reference.id])
        assert entry is not None
        store.put({reference.id: dataclasses.replace(entry, contexts=None, **changes)})


def same(one: ContextEmbeddings, two: ContextEmbeddings) -> bool:
    """Whether they are equal bit for bit, whatever they keep of the passage."""
    fields = ("rate", "windows", "text_tokens", "fingerprint")
    alike = all(getattr(one, field) == getattr(two, field) for field in fields)
    return alike and torch.equal(one.embeddings, two.embeddings)


# --- compress --------------------------------------------------------------------------------------


def test_equal_passages_have_equal_references_and_are_compressed_once(
    view: CocomView, store: MemoryStore, compressed: list[list[str]]
) -> None:
    first = view.compress([ADA, RIVER, Passage(ADA, id="7", metadata={"page": 3})])
    assert first[0] == first[2] != first[1]
    assert view.compress([RIVER, ADA]) == [first[1], first[0]]
    assert compressed == [[ADA, RIVER]]
    assert len(store) == 2


def test_a_reference_tells_the_number_of_its_slots(view: CocomView, model: Cocom) -> None:
    references = view.compress([ADA, RIVER, "x" * 100])
    assert [r.slots for r in references] == [
        len(c) for c in model.compress([ADA, RIVER, "x" * 100])
    ]
    assert references[0].id == passage_id(model.fingerprint, 4, ADA)


def test_rates_have_references_of_their_own(view: CocomView, compressed: list[list[str]]) -> None:
    (default,), (four,), (sixteen,) = (view.compress([ADA], rate=rate) for rate in (None, 4, 16))
    assert default == four != sixteen
    assert (four.slots, sixteen.slots) == (6, 2)
    assert compressed == [[ADA], [ADA]]
    assert [c.rate for c in view.resolve(f"{four}{sixteen}") if not isinstance(c, str)] == [4, 16]


def test_what_is_compressed_is_what_the_model_compresses(view: CocomView, model: Cocom) -> None:
    contexts = view.contexts([ADA, RIVER])
    assert all(map(same, contexts, model.compress([ADA, RIVER])))
    assert all(map(same, contexts, view.contexts([ADA, RIVER])))
    assert not same(*contexts)


def test_nothing_to_compress(view: CocomView, store: MemoryStore) -> None:
    assert view.compress([]) == []
    assert view.contexts([]) == []
    assert len(store) == 0


def test_a_passage_that_fails_leaves_nothing_behind(view: CocomView, store: MemoryStore) -> None:
    with pytest.raises(EmptyPassageError):
        view.compress([ADA, " "])
    assert len(store) == 0


@pytest.mark.parametrize(
    ("passages", "options", "error", "message"),
    [
        (ADA, {}, InputError, "passages must be a sequence of texts, got a single one"),
        (Passage(ADA), {}, InputError, "got a single one: use a list"),
        ([ADA, 5], {}, InputError, "passage 1 must be a text, got int"),
        ([ADA, None], {}, InputError, "passage 1 must be a text, got NoneType"),
        ([Passage(5)], {}, InputError, "passage 0 must be a text, got int"),  # type: ignore[arg-type]
        ([ADA], {"rate": 8}, ConfigError, "rate 8 is not among"),
        ([], {"rate": 8}, ConfigError, "rate 8 is not among"),
        ([ADA], {"batch_tokens": 0}, InputError, "batch_tokens must be at least 1"),
        ([ADA], {"query": " "}, InputError, "query must be a text that asks something"),
        ([ADA], {"query": "Who?"}, InputError, "query"),
    ],
)
def test_passages_that_cannot_be_used(
    view: CocomView, passages: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        view.compress(passages, **options)


def test_a_query_makes_a_reference_of_its_own() -> None:
    model = tiny_cocom(
        CocomConfig(
            rates=(4,),
            encoder=EncoderConfig(head="memory_mlp", query="{query} ", query_window=64),
        )
    )
    store = MemoryStore()
    view = CocomView(model, store=store)
    references = [view.compress([ADA], query=query)[0] for query in (None, "Who?", "Where?")]
    assert len(set(references)) == 3
    before = view.resolve(str(references[1]))[0]
    evict(store, *references)
    after = view.resolve(str(references[1]))[0]
    assert isinstance(before, ContextEmbeddings)
    assert isinstance(after, ContextEmbeddings)
    assert same(before, after)


def test_a_light_compressor_s_views_count_rows_too() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), encoder=EncoderConfig()))
    view = CocomView(model)
    (reference,) = view.compress([ADA])
    assert view.count_rows(f"{reference} ab") == reference.slots + 3


# --- resolve, expand, originals --------------------------------------------------------------------


def test_texts_stay_and_passages_stand_in_order(view: CocomView, model: Cocom) -> None:
    ada, river = view.compress([ADA, RIVER])
    parts = view.resolve(f" A: {river}\n\n{ada}{river} end\n")
    kinds = [part if isinstance(part, str) else "..." for part in parts]
    assert kinds == [" A: ", "...", "\n\n", "...", "...", " end\n"]
    ada_again, river_again = model.compress([ADA, RIVER])
    expected = [river_again, ada_again, river_again]
    found = [part for part in parts if isinstance(part, ContextEmbeddings)]
    assert all(map(same, found, expected))


@pytest.mark.parametrize("text", ["", "no reference", "[[cocom:]] [[page]]", " \n"])
def test_text_without_references_is_one_part(view: CocomView, text: str) -> None:
    assert view.resolve(text) == ((text,) if text else ())
    assert view.expand(text) == text
    assert view.originals(text) == []


def test_expand_puts_the_passages_back(view: CocomView) -> None:
    hostile = "[[cocom:8 [[ and [[c"
    ada, bad = view.compress([ADA, hostile])
    assert view.expand(f"1. {ada}\n2. {bad}{ada}.") == f"1. {ADA}\n2. {escape(hostile)}{ADA}."
    assert view.originals(f"{bad} {ada} {bad}") == [hostile, ADA, hostile]


def test_evicted_embeddings_are_made_again_bit_for_bit(
    view: CocomView, store: MemoryStore, compressed: list[list[str]]
) -> None:
    # One by one, as they are made again: among others, rounding differs in the last bit.
    references = [
        *view.compress([ADA]),
        *view.compress(["x" * 100]),
        *view.compress([ADA], rate=16),
    ]
    text = "".join(map(str, references))
    before = view.resolve(text)
    evict(store, *references)
    after = view.resolve(text)
    for one, two in zip(before, after, strict=True):
        assert isinstance(one, ContextEmbeddings)
        assert isinstance(two, ContextEmbeddings)
        assert same(one, two)
    assert len(compressed) == 3 + 3
    view.resolve(text)
    assert len(compressed) == 6


def test_texts_are_kept_once(view: CocomView, store: MemoryStore) -> None:
    # In the store, where they count; not with the embeddings as well.
    (reference,) = view.compress([ADA])
    for _ in range(2):
        for part in [*view.contexts([ADA]), *view.resolve(str(reference))]:
            assert isinstance(part, ContextEmbeddings)
            assert part.passage is None
        evict(store, reference)
        view.resolve(str(reference))


def test_compressing_evicted_passages_again_gives_the_same_references(
    view: CocomView, store: MemoryStore, compressed: list[list[str]]
) -> None:
    references = view.compress([ADA, RIVER])
    evict(store, references[0])
    assert view.compress([ADA, RIVER]) == references
    assert compressed == [[ADA, RIVER], [ADA]]


def test_a_store_that_keeps_no_embeddings_is_only_slow(model: Cocom) -> None:
    view = CocomView(model, store=MemoryStore(embedding_bytes=0))
    (reference,) = view.compress([ADA])
    assert view.reply([[("user", f"{reference} Who?")]], max_new_tokens=4) == [
        model.chat([Turn("user", [*model.compress([ADA]), " Who?"])], max_new_tokens=4)
    ]


def at_a_rate_that_is_not_served(view: CocomView, text: str) -> Reference:
    """A passage whose embeddings are gone, and were made before the model's rates were changed."""
    id = passage_id(view.model.fingerprint, 5, text)
    view.store.put({id: Entry(text, 5)})
    return view._signer.mint(3, id)


def test_a_passage_that_cannot_be_compressed_again_is_read_as_text(
    view: CocomView, model: Cocom, caplog: pytest.LogCaptureFixture
) -> None:
    reference = at_a_rate_that_is_not_served(view, ADA)
    with caplog.at_level(logging.WARNING, logger="cocom"):
        assert view.resolve(f"See {reference}.") == ("See ", ADA, ".")
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert f"passage {reference.id} is read as text" in caplog.text
    assert "rate 5 is not among" in caplog.text
    request = view.request([("user", f"See {reference}.")])
    assert request.prompt == model.chat_request(f"See {ADA}.").prompt
    assert request.contexts == ()


def test_a_reference_in_such_a_passage_is_not_followed(view: CocomView) -> None:
    (inner,) = view.compress([ADA])
    outer = at_a_rate_that_is_not_served(view, f"See {inner}.")
    assert view.resolve(str(outer)) == (f"See {inner}.",)
    assert view.request([("user", str(outer))]).contexts == ()


def test_passages_that_the_store_does_not_have(
    view: CocomView, store: MemoryStore, model: Cocom
) -> None:
    (reference,) = view.compress([ADA])
    elsewhere = CocomView(model, store=MemoryStore())
    for read in (elsewhere.resolve, elsewhere.expand, elsewhere.originals):
        with pytest.raises(MissingContextError, match=f"no passage {reference.id}.*share a store"):
            read(f"See {reference}.")
    with pytest.raises(MissingContextError, match="no passage"):
        elsewhere.reply([[("user", str(reference))]])
    (entry,) = store.get([reference.id])
    assert entry is not None
    store.put({reference.id: dataclasses.replace(entry, text=None)})
    assert isinstance(view.resolve(str(reference))[0], ContextEmbeddings)
    with pytest.raises(MissingContextError, match=r"the embeddings of passage .* not its text"):
        view.expand(str(reference))
    store.put({reference.id: Entry(None, 4)})
    with pytest.raises(MissingContextError, match="neither embeddings nor text of passage"):
        view.resolve(str(reference))


def test_originals_are_all_or_an_error(view: CocomView, store: MemoryStore) -> None:
    ada, river = view.compress([ADA, RIVER])
    evict(store, river, text=None)
    with pytest.raises(MissingContextError, match=river.id):
        view.originals(f"{ada}{river}")


# --- limits and counts -----------------------------------------------------------------------------


def test_references_of_a_prompt_are_limited(view: CocomView, model: Cocom) -> None:
    limited = CocomView(model, store=view.store, max_references=3)
    reference = str(view.compress([ADA])[0])
    three = [("system", reference), ("user", f"{reference}{reference} Who?")]
    assert len(limited.request(three).contexts) == 3  # type: ignore[arg-type]
    with pytest.raises(PromptTooLongError, match="holds 4 references but max_references is 3"):
        limited.reply([[*three, ("tool", reference)]])  # type: ignore[list-item]


def test_rows_of_a_prompt_are_limited(view: CocomView, model: Cocom) -> None:
    conversation: list[Speech] = [("user", f"{view.compress([ADA])[0]} Who?")]
    rows = view.request(conversation).rows
    CocomView(model, store=view.store, max_rows=rows).request(conversation)
    limited = CocomView(model, store=view.store, max_rows=rows - 1)
    with pytest.raises(PromptTooLongError, match=f"{rows} rows but max_rows is {rows - 1}"):
        limited.stream(conversation)


def test_prompts_longer_than_the_model_reads_are_refused_before_reading() -> None:
    model = tiny_cocom(CONFIG, max_position_embeddings=64)
    view = CocomView(model)
    (reference,) = view.compress([ADA])
    with pytest.raises(PromptTooLongError, match="the model reads 64"):
        view.reply([[("user", "Who?")], [("user", str(reference) * 10)]], max_new_tokens=4)


def test_more_slots_than_a_reference_can_tell_are_an_error() -> None:
    # Else the reference would not be found in the prompt, and would be read as text without a word.
    view = CocomView(tiny_cocom(CocomConfig(rates=(1,), window=512)))
    with pytest.raises(InputError, match="10000"):
        view.compress(["x" * 10_000])


def test_rows_and_ids_of_texts(view: CocomView, model: Cocom) -> None:
    ada, river = view.compress([ADA, RIVER])
    slot = model.backbone.text.control_ids["<MEM>"]
    encode = model.backbone.text.encode_text
    assert view.token_ids("") == []
    assert view.token_ids("Who? <MEM>") == encode("Who? <MEM>")
    assert slot not in view.token_ids("Who? <MEM>")
    expected = [*encode("A "), *[slot] * 6, *[slot] * 5, *encode(" b")]
    assert view.token_ids(f"A {ada}{river} b") == expected
    assert view.count_rows(f"A {ada}{river} b") == len(expected) == 2 + 6 + 5 + 2
    assert view.count_rows(str(ada).upper()) == 6


def test_rows_are_those_that_the_request_has(view: CocomView, model: Cocom) -> None:
    ada, river = view.compress([ADA, RIVER])
    around = view.request([("user", "x")]).rows - 1
    for text, separators in [("Who?", 0), (f"{ada}{river} Who?", 2), (f"Is {ada} he?", 1)]:
        rows = view.request([("user", text)]).rows
        # Around the turn stands the same; each passage is followed by <SEP>, and a line of text.
        stripped = text if separators != 2 else f"{ada}{river}Who?"
        assert rows == around + view.count_rows(stripped) + separators
        assert view.request([("user", text)]).context_rows == view.count_rows(
            "".join(str(f.reference) for f in find(text))
        )


def test_references_of_others_count_as_the_text_they_are(view: CocomView, model: Cocom) -> None:
    foreign = CocomView(model, namespace="b", store=view.store).compress([ADA])[0]
    assert view.count_rows(str(foreign)) == len(str(foreign))
    assert view.request([("user", str(foreign))]).contexts == ()


# --- views -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"namespace": ""}, "namespace must be a name, got ''"),
        ({"namespace": None}, "namespace must be a name, got None"),
        ({"key": b"short"}, "key has 5 bytes, but needs at least 16"),
        ({"key": 5}, "key must be bytes or a string, got int"),
        ({"invalid": "ignore"}, "invalid must be 'text' or 'error', got 'ignore'"),
        ({"max_references": 0}, "max_references must be at least 1, got 0"),
        ({"max_rows": 0}, "max_rows must be at least 1, got 0"),
        ({"max_rows": -1}, "max_rows must be at least 1, got -1"),
    ],
)
def test_views_that_cannot_be(model: Cocom, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CocomView(model, **settings)


def test_views_of_one_model_share_key_and_store(model: Cocom, other_model: Cocom) -> None:
    first, second, elsewhere = CocomView(model), CocomView(model), CocomView(other_model)
    again = CocomView(tiny_cocom(CONFIG))  # the same weights, loaded twice
    assert first.store is second.store is elsewhere.store is again.store
    (reference,) = first.compress([ADA])
    assert second.expand(str(reference)) == again.expand(str(reference)) == ADA
    assert again.request(str(reference)).context_rows == reference.slots
    with pytest.raises(FingerprintError):
        elsewhere.request(str(reference))
    assert CocomView(model, namespace="b").resolve(str(reference)) == (str(reference),)
    # A key of one's own, or a store, is not shared by chance.
    assert CocomView(model, key=KEY).resolve(str(reference)) == (str(reference),)
    with pytest.raises(MissingContextError):
        CocomView(model, store=MemoryStore()).resolve(str(reference))


def test_references_stay_valid_where_key_and_store_do(store: MemoryStore) -> None:
    # As after a restart: another object of the same model.
    (reference,) = CocomView(tiny_cocom(CONFIG), key=KEY, store=store).compress([ADA])
    again = CocomView(tiny_cocom(CONFIG), key=KEY.decode(), store=store)
    assert again.compress([ADA]) == [reference]
    assert isinstance(again.resolve(str(reference))[0], ContextEmbeddings)
    gc.collect()


def test_namespaces_in_one_store_do_not_meet(model: Cocom, store: MemoryStore) -> None:
    a, b = (CocomView(model, namespace=n, key=KEY, store=store) for n in "ab")
    (of_a,), (of_b,) = a.compress([ADA]), b.compress([ADA])
    assert of_a.id == of_b.id
    assert of_a.tag != of_b.tag
    assert len(store) == 1
    assert b.resolve(str(of_a)) == (str(of_a),)
    strict = CocomView(model, namespace="b", key=KEY, store=store, invalid="error")
    with pytest.raises(InvalidReferenceError, match=r"namespace 'b'.*compress the passage again"):
        strict.reply([[("user", f"{of_b} {of_a}")]])


def test_another_model_s_passages_are_refused(
    model: Cocom, other_model: Cocom, store: MemoryStore
) -> None:
    one, two = (CocomView(m, key=KEY, store=store) for m in (model, other_model))
    (reference,) = one.compress([ADA])
    assert two.compress([ADA])[0].id != reference.id
    with pytest.raises(
        FingerprintError, match=r"compressed by model .* compress the passage again"
    ):
        two.reply([[("user", f"{reference} Who?")]])
    assert two.expand(str(reference)) == ADA


def test_another_model_does_not_put_its_embeddings_in_their_place(
    model: Cocom, other_model: Cocom, store: MemoryStore
) -> None:
    one, two = (CocomView(m, key=KEY, store=store) for m in (model, other_model))
    (reference,) = one.compress([ADA])
    before = one.resolve(str(reference))[0]
    evict(store, reference)
    with pytest.raises(FingerprintError):
        two.request([("user", f"{reference} Who?")])
    after = one.resolve(str(reference))[0]
    assert isinstance(before, ContextEmbeddings)
    assert isinstance(after, ContextEmbeddings)
    assert same(before, after)


def test_view_of_takes_a_view_as_it_is(view: CocomView, model: Cocom) -> None:
    assert view_of(view) is view
    named = CocomView(model, namespace="b")
    assert view_of(named) is named
    assert view_of(named, "b") is named
    for arguments, told in [(("c",), "namespace"), ((), "key")]:
        settings: dict[str, Any] = {"key": KEY} if told == "key" else {}
        with pytest.raises(InputError, match=f"a view of namespace 'b' already.*{told}"):
            view_of(named, *arguments, **settings)


def test_view_of_opens_a_view_of_a_model(model: Cocom) -> None:
    view = view_of(model, "b", max_references=2, key=KEY)
    assert (view.model, view.namespace) == (model, "b")
    (reference,) = view.compress([ADA])
    with pytest.raises(PromptTooLongError):
        view.request([("user", str(reference) * 3)])


def test_view_of_loads_a_name_once() -> None:
    first, second = view_of("cocom-tiny"), view_of("cocom-tiny", "b")
    assert first.model is second.model
    assert first.store is second.store


@pytest.mark.parametrize("source", [None, 5, ["cocom-tiny"], CocomConfig()])
def test_view_of_anything_else(source: Any) -> None:
    with pytest.raises(InputError, match=f"or a model's name, got {type(source).__name__}"):
        view_of(source)


# --- answers ---------------------------------------------------------------------------------------


@pytest.fixture
def conversation(view: CocomView) -> list[Speech]:
    ada, river = view.compress([ADA, RIVER])
    return [
        ("system", f"Use these.\n{ada}\n{river}"),
        ("user", "Who?"),
        ("assistant", "Ada"),
        ("tool", f"{river}"),
        ("user", "Where?"),
    ]


@pytest.mark.parametrize("chat", [False, True])
async def test_answers_are_those_of_the_model_by_every_way(chat: bool) -> None:
    prompt = PromptTemplate.instruct() if chat else PromptTemplate()
    model = tiny_cocom(CocomConfig(rates=(4,), window=32, prompt=prompt))
    view = CocomView(model)
    ada, river = view.contexts([ADA, RIVER])
    one, two = view.compress([ADA, RIVER])
    turns = [
        Turn("user", ["Use these.\n", ada, "\n", river, "\nWho?"]),
        Turn("assistant", "Ada"),
        Turn("user", [river, " Where?"]),
    ]
    conversation: list[Speech] = [
        ("user", f"Use these.\n{one}\n{two}\nWho?"),
        ("assistant", "Ada"),
        ("user", f"{two} Where?"),
    ]
    expected = model.chat(turns, max_new_tokens=12)
    assert expected.usage.context_rows == 6 + 5 + 5
    assert view.request(conversation).prompt == model.chat_request(turns).prompt
    assert view.reply([conversation], max_new_tokens=12) == [expected]
    assert await view.areply(conversation, max_new_tokens=12) == expected
    stream = view.stream(conversation, max_new_tokens=12)
    assert ("".join(stream), stream.answer) == (expected.text, expected)
    astream = await view.astream(conversation, max_new_tokens=12)
    pieces = [piece async for piece in astream]
    assert ("".join(pieces), astream.answer) == (expected.text, expected)
    chat_stream = model.stream_chat(turns, max_new_tokens=12)
    assert ("".join(chat_stream), chat_stream.answer) == (expected.text, expected)


def test_several_conversations_are_answered_in_order(
    view: CocomView, model: Cocom, conversation: list[Speech]
) -> None:
    conversations: list[list[Speech]] = [conversation, [("user", "Why?")], conversation[:2]]
    answers = view.reply(conversations, max_new_tokens=8)
    alone: list[Answer] = []
    for turns in conversations:
        alone.append(model.chat([Turn(r, view.resolve(t)) for r, t in turns], max_new_tokens=8))
    assert answers == alone
    assert view.reply([]) == []


def test_options_that_cannot_be_are_refused_before_anything_is_read(view: CocomView) -> None:
    with pytest.raises(InputError, match="unknown option 'tokens'"):
        view.reply([[("user", "Who?")]], tokens=5)
    with pytest.raises(InputError, match="the prompt is empty"):
        view.reply([[("user", " ")]])
    with pytest.raises(InputError, match="the prompt is empty"):
        view.reply([[]])
    with pytest.raises(InputError, match="turn 0 has the role 'human'"):
        view.reply([[("human", "Who?")]])  # type: ignore[list-item]


# --- timeouts --------------------------------------------------------------------------------------


@contextmanager
def slow(model: Cocom, seconds: float = 0.005) -> Iterator[list[float]]:
    """The model writes one letter without end, and takes its time; yields when each was written."""
    steps: list[float] = []

    def write(_: Any, __: Any, logits: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        steps.append(time.monotonic())
        forced = torch.full_like(logits, -100.0)
        forced[:, -1, 50] = 100.0
        return forced

    head: Any = model.backbone.model.get_output_embeddings()
    hook = head.register_forward_hook(write)
    try:
        yield steps
    finally:
        hook.remove()


def assert_stopped(model: Cocom, steps: list[float]) -> None:
    """The model is free at once, and writes no more."""
    start = time.monotonic()
    with model.backbone.used():
        assert time.monotonic() - start < 2  # 2000 tokens take ten seconds
        done = len(steps)
    assert done < 500
    time.sleep(0.05)
    assert len(steps) == done


CALL: dict[str, Any] = {"max_new_tokens": 2000, "timeout": 0.1}
LATE = "not there after 0.1 s: allow more time"


def test_a_reply_that_is_late_is_an_error_and_stops(view: CocomView, model: Cocom) -> None:
    with slow(model) as steps:
        with pytest.raises(AnswerTimeoutError, match=LATE):
            view.reply([[("user", "Who?")], [("user", "Where?")]], **CALL)
        assert_stopped(model, steps)
        with pytest.raises(TimeoutError):  # as the standard library's own
            view.reply([[("user", "Who?")]], **CALL)
    assert view.reply([[("user", "Who?")]], max_new_tokens=2, timeout=60)


def test_a_stream_that_is_late_is_an_error_and_stops(view: CocomView, model: Cocom) -> None:
    pieces: list[str] = []
    with slow(model) as steps:
        stream = view.stream([("user", "Who?")], **CALL)
        time.sleep(0.15)  # time counts from the first piece that is asked for
        with pytest.raises(AnswerTimeoutError, match=LATE):
            pieces.extend(stream)
        assert_stopped(model, steps)
    assert pieces
    assert list(stream) == []


async def read_into(pieces: list[str], stream: AsyncAnswerStream) -> None:
    async for piece in stream:
        pieces.append(piece)


async def test_async_answers_that_are_late_are_errors_and_stop(
    view: CocomView, model: Cocom
) -> None:
    pieces: list[str] = []
    with slow(model) as steps:
        with pytest.raises(AnswerTimeoutError, match=LATE):
            await view.areply([("user", "Who?")], **CALL)
        await asyncio.to_thread(assert_stopped, model, steps)
    with slow(model) as steps:
        stream = await view.astream([("user", "Who?")], **CALL)
        with pytest.raises(AnswerTimeoutError, match=LATE):
            await read_into(pieces, stream)
        await asyncio.to_thread(assert_stopped, model, steps)
    assert pieces
    assert [piece async for piece in stream] == []
