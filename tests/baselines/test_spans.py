"""Units of text: together they are the text, and no character is cut in two."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocom.baselines.plain_encoding import PlainEncoding
from cocom.baselines.spans import kept_spans, kept_text, stripped_spans, units_of
from cocom.testing import tiny_tokenizer

BYTES = PlainEncoding(tiny_tokenizer())


def units(text: str):
    return units_of(text, BYTES.encode([text])[0][1])


def texts(text: str) -> list[str]:
    return [text[unit.start : unit.end] for unit in units(text)]


def test_tokens_of_one_character_are_one_unit() -> None:
    assert texts("한국어") == ["한", "국", "어"]
    assert [unit.tokens for unit in units("한a")] == [(0, 3), (3, 4)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301a", ["e\u0301", "a"]),
        ("👨‍👩‍👧!", ["👨‍👩‍👧", "!"]),
        ("🇰🇷🇯🇵", ["🇰🇷", "🇯🇵"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("\u0301a", ["\u0301", "a"]),
    ],
)
def test_what_a_reader_sees_as_one_character_is_one_unit(text, expected) -> None:
    assert texts(text) == expected


def test_a_heap_of_accents_is_cut_like_any_text() -> None:
    assert len(texts("e" + "\u0301" * 100)) == 101


def test_spaces_that_no_token_covers_go_with_what_follows() -> None:
    found = units_of("a  b ", [(0, 1), (3, 4)])
    assert [(unit.start, unit.end, unit.tokens) for unit in found] == [
        (0, 1, (0, 1)),
        (1, 5, (1, 2)),
    ]


def test_tokens_without_characters_go_with_the_unit_before() -> None:
    found = units_of("ab", [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)])
    assert [unit.tokens for unit in found] == [(0, 3), (3, 5)]


@given(st.text(max_size=60), st.data())
def test_units_are_the_text_and_spans_are_what_is_kept(text, data) -> None:
    found = units(text)
    assert "".join(text[unit.start : unit.end] for unit in found) == text
    assert [token for unit in found for token in range(*unit.tokens)] == list(
        range(BYTES.count(text))
    )
    kept = data.draw(st.sets(st.integers(0, max(0, len(found) - 1)))) if found else set()
    spans = kept_spans(found, kept)
    exact = stripped_spans(text, spans)
    assert "".join(text[a:b] for a, b in exact) == kept_text(text, spans)
    assert all(a < b for a, b in exact)
    assert all(first[1] < second[0] for first, second in pairwise(exact))
