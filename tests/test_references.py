"""References under attack: forged, foreign, replayed, changed, joined, escaped, nested, encoded."""

from __future__ import annotations

import base64
import html
import json
import logging
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations_with_replacement, count, pairwise
from urllib.parse import quote

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cocom import CocomConfig, ContextEmbeddings
from cocom.datatypes import Role
from cocom.errors import CocomError, InputError, InvalidReferenceError, MissingContextError
from cocom.identity import passage_id
from cocom.references import Reference, Signer, beginnings, escape, find, new_key
from cocom.store import Entry, MemoryStore
from cocom.testing import tiny_cocom
from cocom.view import CocomView, Speech

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SECRET = "The other tenant's merger closes in May"
MOST = 40  # references in one prompt

# Signed together they would be alike, if what is signed did not tell where a namespace ends.
NEIGHBOURS = ("A", "a ", "a:", "a:1", "1:a", "a\0", "á", "a\u0301", "a\u200b", "1:a:6")


@dataclass
class World:
    """Tenants that share one model and one store."""

    own: CocomView
    strict: CocomView
    others: dict[str, CocomView]
    passage: str
    ref: Reference
    second: Reference
    gone: Reference
    evicted: Reference
    nested: Reference
    nested_foreign: Reference
    foreign: dict[str, Reference]
    same_text: Reference

    def forged(self, *, slots: object = None, id: str | None = None, tag: str | None = None) -> str:
        """Our reference with something changed."""
        ref = self.ref
        return f"[[cocom:{ref.slots if slots is None else slots}:{id or ref.id}:{tag or ref.tag}]]"

    def put(self, character: str, after: int) -> str:
        """Our reference with a character put in."""
        return f"{str(self.ref)[:after]}{character}{str(self.ref)[after:]}"


@pytest.fixture(scope="module")
def world() -> World:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    store = MemoryStore()
    own = CocomView(model, namespace="a", key=KEY, store=store, max_references=MOST)
    strict = CocomView(model, namespace="a", key=KEY, store=store, invalid="error")
    others = {
        "namespace": CocomView(model, namespace="b", key=KEY, store=store),
        "key": CocomView(model, namespace="a", key=OTHER_KEY, store=store),
        **{name: CocomView(model, namespace=name, key=KEY, store=store) for name in NEIGHBOURS},
    }
    foreign = {
        name: view.compress([f"{SECRET}, says {name!r}."])[0] for name, view in others.items()
    }
    # With the letters that Unicode has lookalikes for which fold to them.
    for number in count():
        passage = f"Ada was born in Rome, {number}."
        id = passage_id(model.fingerprint, 4, passage)
        if {"k", "s", "i"} <= set(id):
            break
    ref, second, gone, evicted, nested, nested_foreign = own.compress(
        [
            passage,
            "The river is long.",
            "A passage that will be gone.",
            "A passage whose embeddings will be gone.",
            f"See {own._signer.mint(len(own.contexts([passage])[0]), id)} there.",
            f"See {foreign['namespace']} there.",
        ]
    )
    (same_text,) = others["namespace"].compress([passage])
    entries = store.get([evicted.id])
    assert entries[0] is not None
    store.put({evicted.id: Entry(entries[0].text, entries[0].rate)})
    store.delete([gone.id])
    return World(
        own=own,
        strict=strict,
        others=others,
        passage=passage,
        ref=ref,
        second=second,
        gone=gone,
        evicted=evicted,
        nested=nested,
        nested_foreign=nested_foreign,
        foreign=foreign,
        same_text=same_text,
    )


def outcome(view: CocomView, text: str) -> str:
    try:
        request = view.request([("user", text)])
        parts = view.resolve(text)
        expanded = view.expand(text)
    except CocomError as error:
        return f"error:{type(error).__name__}"
    read = [part for part in parts if isinstance(part, ContextEmbeddings)]
    assert request.context_rows == sum(map(len, read))
    if read:
        assert not any(view._signer.verify(found.reference) for found in find(expanded))
        return "passage"
    assert parts == (text,)
    assert expanded == text
    return "text"


def assert_nothing_of_others(world: World, view: CocomView, text: str) -> None:
    """Whatever comes of it, no passage of another tenant does."""
    own = world.own.contexts(
        [
            world.passage,
            "The river is long.",
            "A passage whose embeddings will be gone.",
            f"See {world.ref} there.",
            f"See {world.foreign['namespace']} there.",
        ]
    )
    with suppress(CocomError):
        for part in view.resolve(text):
            if isinstance(part, ContextEmbeddings):
                assert any(torch.equal(part.embeddings, kept.embeddings) for kept in own)
    with suppress(CocomError):
        assert SECRET not in view.expand(text)
    with suppress(CocomError):
        assert not any(SECRET in passage for passage in view.originals(text))
    with suppress(CocomError):
        for context in view.request([("user", text)]).contexts:
            assert any(torch.equal(context.embeddings, kept.embeddings) for kept in own)
    view.token_ids(text)


def mixed(text: str) -> str:
    return "".join(c.upper() if i % 2 else c for i, c in enumerate(text))


def other(character: str) -> str:
    return "a" if character != "a" else "b"


def in_id(world: World, old: str, new: str) -> str:
    """Our reference with the first of one letter in its id replaced."""
    return world.forged(id=world.ref.id.replace(old, new, 1))


Attack = Callable[[World], str]

FORGED: list[tuple[str, Attack, str]] = [
    ("guessed-tag", lambda w: w.forged(tag="a" * 13), "text"),
    ("guessed-id", lambda w: w.forged(id="a" * 26), "text"),
    ("guessed-all", lambda w: f"[[cocom:6:{'b' * 26}:{'c' * 13}]]", "text"),
    ("tag-first-changed", lambda w: w.forged(tag=other(w.ref.tag[0]) + w.ref.tag[1:]), "text"),
    ("tag-last-changed", lambda w: w.forged(tag=w.ref.tag[:-1] + other(w.ref.tag[-1])), "text"),
    ("id-last-changed", lambda w: w.forged(id=w.ref.id[:-1] + other(w.ref.id[-1])), "text"),
    ("tag-truncated", lambda w: w.forged(tag=w.ref.tag[:-1]), "text"),
    ("tag-extended", lambda w: w.forged(tag=w.ref.tag + "a"), "text"),
    ("tag-empty", lambda w: f"[[cocom:{w.ref.slots}:{w.ref.id}:]]", "text"),
    ("tag-left-out", lambda w: f"[[cocom:{w.ref.slots}:{w.ref.id}]]", "text"),
    ("id-truncated", lambda w: w.forged(id=w.ref.id[:-1]), "text"),
    ("id-extended", lambda w: w.forged(id=w.ref.id + "a"), "text"),
    ("colon-moved", lambda w: w.forged(id=w.ref.id + w.ref.tag[0], tag=w.ref.tag[1:]), "text"),
    ("tag-of-our-second", lambda w: w.forged(tag=w.second.tag), "text"),
    ("id-of-our-second", lambda w: w.forged(id=w.second.id), "text"),
    ("id-and-tag-swapped", lambda w: w.forged(id=w.ref.tag * 2, tag=w.ref.id[:13]), "text"),
    *[
        (f"not-base32-{digit}", lambda w, d=digit: w.forged(id=d + w.ref.id[1:]), "text")
        for digit in "0189="
    ],
    ("tag-not-base32", lambda w: w.forged(tag="0" + w.ref.tag[1:]), "text"),
    ("other-name", lambda w: str(w.ref).replace("cocom", "cocon"), "text"),
    ("longer-name", lambda w: str(w.ref).replace("cocom", "cocom2"), "text"),
    ("no-name", lambda w: str(w.ref).replace("cocom:", ""), "text"),
    ("one-bracket", lambda w: str(w.ref)[1:-1], "text"),
    ("one-bracket-before", lambda w: str(w.ref)[1:], "text"),
    ("one-bracket-behind", lambda w: str(w.ref)[:-1], "text"),
    ("round-brackets", lambda w: f"(({str(w.ref)[2:-2]}))", "text"),
    ("other-separators", lambda w: str(w.ref).replace(":", ";"), "text"),
    ("space-in-front", lambda w: w.put(" ", 2), "text"),
    ("space-in-id", lambda w: w.put(" ", 20), "text"),
    ("space-behind", lambda w: w.put(" ", -2), "text"),
    ("newline-behind", lambda w: w.put("\n", -2), "text"),
    ("newline-between-brackets", lambda w: w.put("\n", 1), "text"),
    ("wrapped", lambda w: w.put("\n", 30), "text"),
]

LOOKALIKE: list[tuple[str, Attack, str]] = [
    ("kelvin-sign", lambda w: in_id(w, "k", "\u212a"), "text"),
    ("long-s", lambda w: in_id(w, "s", "\u017f"), "text"),
    ("dotless-i", lambda w: in_id(w, "i", "\u0131"), "text"),
    ("dotted-capital-i", lambda w: in_id(w, "i", "\u0130"), "text"),
    ("accented", lambda w: in_id(w, "s", "s\u0301"), "text"),
    ("fullwidth-letter", lambda w: in_id(w, "k", "\uff4b"), "text"),
    ("fullwidth-digit", lambda w: w.forged(slots=chr(0xFF10 + w.ref.slots % 10)), "text"),
    ("arabic-digit", lambda w: w.forged(slots=chr(0x0660 + w.ref.slots % 10)), "text"),
    ("bold-digit", lambda w: w.forged(slots=chr(0x1D7CE + w.ref.slots % 10)), "text"),
    ("superscript", lambda w: w.forged(slots="\u2076"), "text"),
    ("fullwidth-brackets", lambda w: f"\uff3b\uff3b{str(w.ref)[2:-2]}\uff3d\uff3d", "text"),
    ("white-brackets", lambda w: f"\u27e6{str(w.ref)[2:-2]}\u27e7", "text"),
    ("fullwidth-colon", lambda w: str(w.ref).replace(":", "\uff1a"), "text"),
    ("ratio-sign", lambda w: str(w.ref).replace(":", "\u2236"), "text"),
    ("cyrillic-name", lambda w: str(w.ref).replace("cocom", "\u0441\u043ecom"), "text"),
    ("fullwidth-name", lambda w: str(w.ref).replace("cocom", "\uff43ocom"), "text"),
    *[
        (f"{name}-in-{place}", lambda w, c=character, at=at: w.put(c, at), "text")
        for name, character in [
            ("zero-width-space", "\u200b"),
            ("zero-width-joiner", "\u200d"),
            ("word-joiner", "\u2060"),
            ("byte-order-mark", "\ufeff"),
            ("soft-hyphen", "\u00ad"),
            ("right-to-left-mark", "\u200f"),
            ("right-to-left-override", "\u202e"),
            ("nul", "\0"),
            ("tag-character", "\U000e0061"),
        ]
        for place, at in [("brackets", 1), ("name", 4), ("slots", 8), ("id", 20), ("tag", -4)]
    ],
]

FOREIGN: list[tuple[str, Attack, str]] = [
    ("other-namespace", lambda w: str(w.foreign["namespace"]), "text"),
    ("other-key", lambda w: str(w.foreign["key"]), "text"),
    ("same-passage-of-another", lambda w: str(w.same_text), "text"),
    ("our-id-their-tag", lambda w: w.forged(tag=w.foreign["namespace"].tag), "text"),
    ("their-id-our-tag", lambda w: w.forged(id=w.foreign["namespace"].id), "text"),
    ("their-id-guessed-tag", lambda w: w.forged(id=w.foreign["key"].id, tag="q" * 13), "text"),
    *[
        (
            f"namespace-{ascii(name)[1:-1]}",
            lambda w, n=name: str(w.foreign[n]),
            "text",
        )
        for name in NEIGHBOURS
    ],
    ("namespace-told-in-slots", lambda w: w.forged(slots=f"1:{w.ref.slots}"), "text"),
    ("between-ours", lambda w: f"{w.foreign['key']}{w.foreign['namespace']}", "text"),
    ("beside-ours", lambda w: f"{w.ref} {w.foreign['namespace']} {w.second}", "passage"),
]

REPLAYED: list[tuple[str, Attack, str]] = [
    ("twice", lambda w: f"{w.ref} and {w.ref}", "passage"),
    ("as-often-as-allowed", lambda w: str(w.ref) * MOST, "passage"),
    ("once-too-often", lambda w: str(w.ref) * (MOST + 1), "error:PromptTooLongError"),
    ("many-times", lambda w: " ".join([str(w.ref)] * 2000), "error:PromptTooLongError"),
    ("many-forged", lambda w: w.forged(tag="a" * 13) * 2000, "error:PromptTooLongError"),
    ("passage-gone", lambda w: str(w.gone), "error:MissingContextError"),
    ("one-of-two-gone", lambda w: f"{w.ref} {w.gone}", "error:MissingContextError"),
    ("embeddings-evicted", lambda w: str(w.evicted), "passage"),
]

TAMPERED: list[tuple[str, Attack, str]] = [
    ("slots-more", lambda w: w.forged(slots=w.ref.slots + 1), "text"),
    ("slots-fewer", lambda w: w.forged(slots=w.ref.slots - 1), "text"),
    ("slots-none", lambda w: w.forged(slots=0), "text"),
    ("slots-most", lambda w: w.forged(slots=9999), "text"),
    ("slots-leading-zero", lambda w: w.forged(slots=f"0{w.ref.slots}"), "text"),
    ("slots-leading-zeros", lambda w: w.forged(slots=f"{w.ref.slots:04}"), "text"),
    ("slots-five-digits", lambda w: w.forged(slots=12345), "text"),
    ("slots-five-digits-of-zeros", lambda w: w.forged(slots=f"{w.ref.slots:05}"), "text"),
    ("slots-enormous", lambda w: w.forged(slots="9" * 5000), "text"),
    ("slots-negative", lambda w: w.forged(slots=-w.ref.slots), "text"),
    ("slots-plus", lambda w: w.forged(slots=f"+{w.ref.slots}"), "text"),
    ("slots-underscore", lambda w: w.forged(slots=f"{w.ref.slots}_0"), "text"),
    ("slots-decimal", lambda w: w.forged(slots=f"{w.ref.slots}.0"), "text"),
    ("slots-hexadecimal", lambda w: w.forged(slots=f"0x{w.ref.slots:x}"), "text"),
    ("slots-empty", lambda w: w.forged(slots=""), "text"),
    ("slots-space", lambda w: w.forged(slots=f" {w.ref.slots}"), "text"),
]

CASE: list[tuple[str, Attack, str]] = [
    ("upper", lambda w: str(w.ref).upper(), "passage"),
    ("mixed", lambda w: mixed(str(w.ref)), "passage"),
    ("title", lambda w: str(w.ref).title(), "passage"),
    ("upper-name", lambda w: str(w.ref).replace("cocom", "COCOM"), "passage"),
    ("upper-tag", lambda w: w.forged(tag=w.ref.tag.upper()), "passage"),
    ("upper-foreign", lambda w: str(w.foreign["namespace"]).upper(), "text"),
    ("upper-guessed", lambda w: w.forged(tag="A" * 13), "text"),
]

ESCAPED: list[tuple[str, Attack, str]] = [
    ("escape", lambda w: escape(str(w.ref)), "escaped"),
    ("escape-upper", lambda w: escape(str(w.ref).upper()), "escaped"),
    ("escape-in-text", lambda w: escape(f"Read {w.ref}, please."), "escaped"),
    ("escape-in-brackets", lambda w: escape(f"[[[{w.ref}]]]"), "escaped"),
    ("escape-many", lambda w: escape(str(w.ref) * 3), "escaped"),
    ("escape-twice", lambda w: escape(escape(str(w.ref))), "escaped"),
    ("escape-foreign", lambda w: escape(str(w.foreign["key"])), "escaped"),
    ("escape-inner", lambda w: f"[[{escape(str(w.ref)[2:-2])}]]", "escaped"),
    ("escape-core", lambda w: f"[[cocom{escape(str(w.ref)[7:-2])}]]", "escaped"),
    ("escape-half", lambda w: escape(str(w.ref)[:20]) + str(w.ref)[20:], "escaped"),
    ("escape-other-half", lambda w: str(w.ref)[:5] + escape(str(w.ref)[5:]), "escaped"),
]

NESTED: list[tuple[str, Attack, str]] = [
    ("passage-that-is-a-reference", lambda w: str(w.nested), "passage"),
    ("passage-that-is-theirs", lambda w: str(w.nested_foreign), "passage"),
    ("ours-in-id", lambda w: w.forged(id=str(w.second)), "passage"),
    ("ours-in-brackets", lambda w: f"[[{w.ref}]]", "passage"),
    ("ours-in-name", lambda w: f"[[cocom{w.ref}:{w.ref.tag}]]", "passage"),
    ("theirs-in-id", lambda w: w.forged(id=str(w.foreign["namespace"])), "text"),
    ("overlapping", lambda w: str(w.ref)[:-2] + str(w.ref), "passage"),
    ("brackets-shared", lambda w: str(w.ref) + str(w.second)[2:], "passage"),
]

ENCODED: list[tuple[str, Attack, str]] = [
    ("json", lambda w: json.dumps({"context": str(w.ref)}), "passage"),
    ("json-twice", lambda w: json.dumps(json.dumps([str(w.ref)])), "passage"),
    ("json-list", lambda w: json.dumps([[f"cocom:{str(w.ref)[8:-2]}"]]), "text"),
    ("json-escapes", lambda w: str(w.ref).replace("[", "\\u005b"), "text"),
    ("repr", lambda w: repr([str(w.ref)]), "passage"),
    ("python-list", lambda w: repr([[str(w.ref)[2:-2]]]), "text"),
    ("html", lambda w: f"<p>{html.escape(str(w.ref))}</p>", "passage"),
    ("html-entities", lambda w: str(w.ref).replace("[", "&#91;").replace("]", "&#93;"), "text"),
    ("html-comment", lambda w: w.put("<!-- -->", 2), "text"),
    ("url", lambda w: quote(str(w.ref)), "text"),
    ("base64", lambda w: base64.b64encode(str(w.ref).encode()).decode(), "text"),
    ("markdown-escapes", lambda w: str(w.ref).replace("[", "\\["), "text"),
    ("markdown-link", lambda w: f"[source]({w.ref})", "passage"),
    ("markdown-code", lambda w: f"`{w.ref}`", "passage"),
    ("reversed", lambda w: str(w.ref)[::-1], "text"),
    ("rot13", lambda w: str(w.ref).replace("cocom", "pbpbz"), "text"),
    ("utf-16", lambda w: "\0".join(str(w.ref)), "text"),
]

ATTACKS = [
    *FORGED,
    *LOOKALIKE,
    *FOREIGN,
    *REPLAYED,
    *TAMPERED,
    *CASE,
    *ESCAPED,
    *NESTED,
    *ENCODED,
]


@pytest.mark.parametrize(
    ("attack", "expected"), [pytest.param(a, e, id=name) for name, a, e in ATTACKS]
)
def test_attacks(world: World, attack: Attack, expected: str) -> None:
    text = attack(world)
    assert_nothing_of_others(world, world.own, text)
    assert_nothing_of_others(world, world.strict, text)
    assert outcome(world.own, text) == ("text" if expected == "escaped" else expected)
    if expected == "escaped":
        assert list(find(text)) == []
    if expected in ("text", "escaped"):
        begun = "[[cocom:" in text.lower()
        strict = outcome(world.strict, text)
        assert strict == ("error:InvalidReferenceError" if begun else "text")


def test_the_attacks_have_different_names() -> None:
    assert len({name for name, *_ in ATTACKS}) == len(ATTACKS) >= 45


def test_forged_references_are_told_apart_from_what_is_none(world: World) -> None:
    # Else the attacks that stay text would show nothing: these are references, all but the signature.
    names = ("guessed-tag", "other-namespace", "other-key", "slots-more", "their-id-our-tag")
    for name, attack, _ in ATTACKS:
        if name in names:
            with pytest.raises(InvalidReferenceError, match="was not made by namespace 'a'"):
                world.strict.resolve(attack(world))


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_attacks_fare_alike_in_every_role(world: World, role: Role) -> None:
    for name, attack, expected in ATTACKS:
        conversation: list[Speech] = [(role, attack(world)), ("user", "Who?")]
        rows: int | str
        try:
            rows = world.own.request(conversation).context_rows
        except CocomError as error:
            rows = f"error:{type(error).__name__}"
        if isinstance(rows, str) or expected.startswith("error"):
            assert rows == expected, name
        else:
            assert (rows > 0) == (expected == "passage"), name


def test_a_reference_that_stays_text_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = str(world.foreign["namespace"])
    with caplog.at_level(logging.WARNING, logger="cocom"):
        assert world.own.resolve(f"See {foreign}.") == (f"See {foreign}.",)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "not made by namespace 'a'" in caplog.text
    assert "it is read as text" in caplog.text


def test_a_broken_reference_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    # What a splitter behind the compressor leaves of it.
    start, end = f"See {world.ref}"[:30], str(world.ref)[26:]
    with caplog.at_level(logging.WARNING, logger="cocom"):
        assert world.own.resolve(start) == (start,)
        assert world.own.resolve(end) == (end,)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert f"a broken reference in the prompt, {start[4:]!r}" in caplog.text
    with pytest.raises(
        InvalidReferenceError, match=r"broken reference.*compress the passage again"
    ):
        world.strict.resolve(start)
    assert world.strict.resolve(end) == (end,)


def test_each_tenant_reads_its_own(world: World) -> None:
    for name, view in world.others.items():
        assert view.expand(str(world.foreign[name])) == f"{SECRET}, says {name!r}."
        for stranger, reference in world.foreign.items():
            if stranger != name:
                assert view.expand(str(reference)) == str(reference)


def test_a_passage_that_is_gone_is_told_by_name(world: World) -> None:
    with pytest.raises(MissingContextError, match=f"no passage {world.gone.id}.*compress the pass"):
        world.own.resolve(str(world.gone))


@pytest.mark.parametrize("inner", ["nested", "nested_foreign"])
def test_a_reference_inside_a_passage_is_only_text(world: World, inner: str) -> None:
    reference: Reference = getattr(world, inner)
    (contexts,) = world.own.resolve(str(reference))
    assert isinstance(contexts, ContextEmbeddings)
    expanded = world.own.expand(str(reference))
    assert list(find(expanded)) == []
    assert world.own.resolve(expanded) == (expanded,)
    (passage,) = world.own.originals(str(reference))
    assert expanded == escape(passage) != passage
    assert len(list(find(passage))) == 1


# --- fragments that are harmless alone -------------------------------------------------------------

SEPARATORS = ["", " ", "\n"]


def splits(text: str, parts: int) -> Iterator[list[str]]:
    for cuts in combinations_with_replacement(range(len(text) + 1), parts - 1):
        edges = [0, *cuts, len(text)]
        yield [text[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("strip", [False, True], ids=["as-is", "stripped"])
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("separator", SEPARATORS, ids=["nothing", "space", "newline"])
def test_escaped_fragments_never_join(
    world: World, separator: str, parts: int, strip: bool
) -> None:
    for text in (str(world.ref), str(world.ref).upper(), f"a{world.ref}b"):
        for fragments in splits(text, parts):
            escaped = [escape(f).strip() if strip else escape(f) for f in fragments]
            joined = separator.join(escaped)
            assert list(find(joined)) == [], fragments
            if parts == 2:
                assert world.own.resolve(joined) == (joined,)


@pytest.mark.parametrize(
    "template",
    ["[[{}]]", "[{}]", "[[{}", "{}]]", "see [[{}]].", "[[[{}]]]", "- [[{}]]\n- [[{}]]", "[[{}{}]]"],
)
@pytest.mark.parametrize("brackets", [0, 1, 2])
def test_fragments_do_not_join_in_a_template(world: World, template: str, brackets: int) -> None:
    text = str(world.ref)
    inner = text[brackets : len(text) - brackets]
    for start, end in splits(inner, 2):
        for separator in SEPARATORS:
            joined = escape(start) + separator + escape(end)
            filled = template.format(joined, "") if "{}{}" in template else ""
            filled = filled or template.replace("{}", joined)
            assert list(find(filled)) == [], (start, end)
        if "{}{}" in template:
            assert list(find(template.format(escape(start), escape(end)))) == [], (start, end)


def test_a_fragment_and_what_was_not_escaped_do_not_join(world: World) -> None:
    # One half may be a template's or a model's own; the other comes from a stranger.
    text = str(world.ref)
    for start, end in splits(text, 2):
        if len(start) < 8:  # the stranger's half begins within the name or before
            assert list(find(start + escape(end))) == []
        if start:
            assert list(find(escape(start) + end)) == []


# --- escape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ada was born in Rome.",
        "[a](b) and [text][1], ![image](c.png)",
        "[[page]] and [[page|title]], [[Category:Rivers]]",
        "a[[0]] = b[1][2]; x = [[1, 2], [3, 4]]",
        "12:30:45 and 2024-01-01T12:30:45",
        "http://[::1]:8080/cocom:5 mailto:a@b",
        "cocom is a package; import cocom",
        "from [cocom] import x, [cocom](https://x)",
        "see cocom:8 there",
        "{'cocom': [[1]]}",
        "key: value\n- item: [x]\n",
        "a::b::c Foo::<T>::bar()",
        "[x] done [ ] not done",
        "{{ jinja }} {% raw %} {passages}",
        "<MEM> </s> [INST] hi [/INST]",
        "서울 🙂 é \ud800",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert escape(text) == text


def test_escape_only_adds_spaces(world: World) -> None:
    for text in (str(world.ref), f"[[{world.ref}]]", "[[", "[[coc", "cocom:", ":[cocom:["):
        assert escape(text) != text
        assert escape(text).replace(" ", "") == text


def test_escaping_long_text_takes_no_time() -> None:
    # A pattern that backtracks would take minutes.
    for piece in ("[", "[[cocom:", ":", "cocom", "[[cocom:8:", ":1:" + "a" * 26, "a"):
        text = piece * (1_000_000 // len(piece))
        assert list(find(text)) == []
        assert list(find(escape(text))) == []


ID, TAG = "abcdefghijklmnopqrstuvwx23", "yz234567abcde"
CHUNKS = st.sampled_from(
    [
        *("[", "[[", "]", "]]", ":", "::", "c", "o", "m", "co", "coco", "com", "cocom", "COCOM"),
        *("cocom:", "[cocom", "[[cocom:8:", "[[cocom", ":8:", "8", "0", "08", "9999"),
        *(ID, ID.upper(), TAG, f"{ID}:{TAG}", f"8:{ID}:{TAG}", f":8:{ID}:{TAG}]]"),
        *(f"[[cocom:8:{ID}:{TAG}]]", " ", "\n", "a", "ſ", "K", "\u200b", "\0", "x y"),
    ]
)
TEXTS = st.lists(CHUNKS, max_size=8).map("".join)


@given(TEXTS)
def test_escaped_text_holds_no_reference(text: str) -> None:
    escaped = escape(text)
    assert [*find(escaped), *beginnings(escaped)] == []
    assert escaped.replace(" ", "") == text.replace(" ", "")
    assert list(find(escape(escaped))) == []


@given(st.lists(TEXTS, min_size=2, max_size=4), st.sampled_from(["", " ", "\n", ", ", "- ", "a"]))
def test_escaped_texts_side_by_side_hold_no_reference(texts: list[str], separator: str) -> None:
    joined = separator.join(map(escape, texts))
    assert [*find(joined), *beginnings(joined)] == []


@given(st.text(st.characters(exclude_characters="[:"), max_size=60), TEXTS)
def test_text_without_bracket_and_colon_is_unchanged(any_text: str, text: str) -> None:
    for plain in (any_text, text.replace("[", "").replace(":", "")):
        assert escape(plain) == plain


@given(TEXTS, TEXTS)
def test_find_gives_what_stands_there(before: str, behind: str) -> None:
    text = f"{before}[[cocom:12:{ID}:{TAG}]]{behind}"
    found = list(find(text))
    assert found
    assert all(text[f.start : f.end].lower() == str(f.reference) for f in found)
    assert {f.start for f in found} <= set(beginnings(text))
    assert all(a.end <= b.start for a, b in pairwise(found))


# --- signatures ------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 9999), st.integers(1, 9999))
def test_a_signature_holds_for_one_namespace_and_count(a: str, b: str, m: int, n: int) -> None:
    minted = Signer(a, KEY).mint(m, ID)
    assert Signer(a, KEY).verify(minted)
    assert Signer(b, KEY).verify(minted) == (a == b)
    assert Signer(a, KEY).verify(Reference(n, ID, minted.tag)) == (m == n)
    assert not Signer(a, OTHER_KEY).verify(minted)


def test_minted_references_are_found_as_they_are() -> None:
    signer = Signer("a", KEY)
    for slots in (1, 9, 10, 999, 1000, 9999):
        minted = signer.mint(slots, ID)
        (found,) = find(f"x{minted}y")
        assert (found.reference, found.start, found.end) == (minted, 1, 1 + len(str(minted)))


def test_a_reference_of_more_slots_than_can_be_found_is_refused() -> None:
    # Else it would stay text in the prompt, and nobody would notice.
    with pytest.raises(InputError, match="10000"):
        Signer("a", KEY).mint(10_000, ID)


def test_equal_passages_have_equal_ids_and_others_do_not() -> None:
    parts: list[tuple[str, int, str, str | None]] = [
        ("f", 4, "text", None),
        ("g", 4, "text", None),
        ("f", 16, "text", None),
        ("f", 4, "text.", None),
        ("f", 4, "TEXT", None),
        ("f", 4, "text ", None),
        ("f", 4, "text", ""),
        ("f", 4, "text", "query"),
        ("f", 4, "textquery", None),
        ("f", 4, "textq", "uery"),
        ("f4", 4, "text", None),
        ("f", 44, "text", None),
        ("f", 4, unicodedata.normalize("NFC", "é"), None),
        ("f", 4, unicodedata.normalize("NFD", "é"), None),
        ("f", 4, "\ud800", None),
    ]
    ids = [passage_id(*part) for part in parts]
    assert ids == [passage_id(*part) for part in parts]
    assert len(set(ids)) == len(parts)
    assert all(len(id) == 26 and list(find(f"[[cocom:1:{id}:{TAG}]]")) for id in ids)


def test_keys() -> None:
    assert len(new_key()) == 32
    assert new_key() != new_key()
    text = "a secret of sixteen bytes"
    assert Signer("a", text).mint(1, ID) == Signer("a", text.encode()).mint(1, ID)


@pytest.mark.parametrize(
    ("namespace", "key", "message"),
    [
        ("", KEY, "namespace must be a name, got ''"),
        (None, KEY, "namespace must be a name, got None"),
        (b"a", KEY, "namespace must be a name, got b'a'"),
        ("\ud800", KEY, "namespace"),
        ("a", b"short", "key has 5 bytes, but needs at least 16"),
        ("a", "", "key has 0 bytes"),
        ("a", 5, "key must be bytes or a string, got int"),
        ("a", "\ud800" * 16, "key"),
    ],
)
def test_signers_that_cannot_be(namespace: str, key: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Signer(namespace, key).mint(1, ID)


def test_a_tag_that_is_no_ascii_is_wrong_and_no_crash() -> None:
    assert not Signer("a", KEY).verify(Reference(1, ID, "ſ" * 13))
