"""Subsequence recovery: quotes of compressed passages in the passages' own words."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocom.baselines import HardCompression, HardPassage, recover


def passage(source: str, *kept: str, index: int = 0) -> HardPassage:
    """A passage of which some strings stayed, in this order."""
    spans = []
    at = 0
    for string in kept:
        start = source.index(string, at)
        at = start + len(string)
        spans.append((start, at))
    return HardPassage(index, "".join(kept).strip(), source, tuple(spans))


def compression(*passages: HardPassage) -> HardCompression:
    return HardCompression(passages, (), 0, 0)


def test_digits_that_were_dropped_come_back() -> None:
    # The example of the paper's figure 2.
    found = compression(passage("founded in the year 2009 in Seoul", "founded", " 2", "09"))
    assert recover(found, "It was founded in 209.") == "It was founded in 2009."


def test_a_run_of_words_becomes_the_stretch_it_was_left_of() -> None:
    source = "Marie Curie was born in Warsaw, then part of the Russian Empire, in 1867."
    found = compression(passage(source, "Marie Curie", " born", " Warsaw", " Russian Empire"))
    assert recover(found, "She: Curie born Warsaw!") == "She: Curie was born in Warsaw!"
    assert recover(found, "Russian Empire") == "Russian Empire"


def test_the_longest_run_wins() -> None:
    found = compression(
        passage("red big apples", "red", " apples"),
        passage("red and green apples fell", "red", " apples fell", index=1),
    )
    assert recover(found, "red apples fell") == "red and green apples fell"


def test_of_equal_runs_the_shortest_stretch_wins() -> None:
    found = compression(
        passage("red and green apples", "red", " apples"),
        passage("red big apples", "red", " apples", index=1),
    )
    assert recover(found, "red apples") == "red big apples"


def test_what_a_passage_holds_word_for_word_stays() -> None:
    found = compression(
        passage("red and green apples", "red", " apples"),
        passage("many red apples", " red apples", index=1),
    )
    assert recover(found, "the red apples are") == "the red apples are"


def test_a_run_does_not_reach_over_a_long_gap() -> None:
    many = " ".join(f"w{i}" for i in range(11))
    few = " ".join(f"w{i}" for i in range(10))
    assert recover(compression(passage(f"a {many} b", "a", " b")), "a b") == "a b"
    assert recover(compression(passage(f"a {few} b", "a", " b")), "a b") == f"a {few} b"
    assert recover(compression(passage(f"a {many} b", "a", "b")), "ab") == "ab"


def test_a_word_without_its_beginning_or_end_is_completed() -> None:
    found = compression(passage("Voyager 1 went far inside the belt", "oyag", " 1", " in", " belt"))
    assert recover(found, "oyag 1") == "Voyager 1"
    assert recover(found, "It was oyag.") == "It was Voyager."


def test_a_word_that_stands_in_a_passage_is_not_completed() -> None:
    source = "It is in the box, far inside."
    found = compression(passage(source, "It", " box", " in"))
    assert recover(found, "in") == "in"


@pytest.mark.parametrize(
    ("source", "kept", "response", "expected"),
    [
        (
            "서울은 대한민국의 수도이다",
            ("서울", " 대한", " 수도"),
            "서울 대한 수도",
            "서울은 대한민국의 수도이다",
        ),
        (
            "東京は日本の首都です",
            ("東京", "日本", "首都"),
            "答えは東京日本首都です",
            "答えは東京は日本の首都です",
        ),
        ("กรุงเทพมหานคร", ("กรุงเทพ", "นคร"), "คือกรุงเทพนคร", "คือกรุงเทพมหานคร"),
        ("القاهرة هي عاصمة مصر", ("القاهرة", " مصر"), "القاهرة مصر", "القاهرة هي عاصمة مصر"),
        ("a 👨‍👩‍👧 b c", ("a 👨‍👩‍👧", " c"), "👨‍👩‍👧 c", "👨‍👩‍👧 b c"),
    ],
)
def test_scripts_without_spaces_are_recovered_too(source, kept, response, expected) -> None:
    assert recover(compression(passage(source, *kept)), response) == expected


def test_nothing_to_recover_leaves_the_response_as_it_is() -> None:
    found = compression(passage("red apples", "red"))
    for response in ("", " ", "no such thing.\n", "blue"):
        assert recover(found, response) == response
    assert recover(compression(), "anything") == "anything"


def test_the_compressed_text_itself_is_recovered() -> None:
    source = "The Brooklyn Bridge opened on 24 May 1883."
    found = compression(passage(source, "Brooklyn", " opened", " May 1883"))
    assert recover(found, found.texts[0]) == "Brooklyn Bridge opened on 24 May 1883"


@given(st.text(max_size=40), st.text(max_size=40), st.randoms(use_true_random=False))
def test_any_text_is_survived(source: str, response: str, rng: random.Random) -> None:
    cuts = sorted(rng.sample(range(len(source) + 1), min(4, len(source) + 1)))
    spans = tuple((a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if a < b)
    one = HardPassage(0, "".join(source[a:b] for a, b in spans), source, spans)
    assert isinstance(recover(compression(one), response), str)
    assert recover(compression(), response) == response
