"""Passages that fit, lose nothing and begin where a reader would begin them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocom import split
from cocom.errors import InputError
from cocom.split import split_text

MARKUP = ["# ", "## Head\n", "===\n", "- ", "```\n", "| a | b |\n", "<b>"]
SPACES = ["\n", "\n\n", " ", "    ", "\t", "\x1c", "\r\n", "\u3000"]
WORDS = ["a", "word", ". ", "서울은", "مرحبا", "中文。", "e\u0301", "👩\u200d👧"]
FRAGMENTS = st.lists(st.sampled_from(MARKUP + SPACES + WORDS), max_size=60).map("".join)


def words(text: str) -> int:
    return len(text.split())


def utf8(text: str) -> int:
    return len(text.encode())


def bare(text: str) -> str:
    return "".join(text.split())


@given(FRAGMENTS, st.integers(4, 40), st.sampled_from([words, len, utf8]))
def test_nothing_is_lost_and_everything_fits(
    text: str, max_tokens: int, count: Callable[[str], int]
) -> None:
    passages = split_text(text, max_tokens, count_tokens=count)
    assert bare("".join(passages)) == bare(text)
    assert all(passage == passage.strip() != "" for passage in passages)
    assert all(count(passage) <= max_tokens for passage in passages)


@given(FRAGMENTS, st.integers(4, 40))
def test_the_window_that_the_library_sees_loses_nothing(text: str, max_tokens: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "_WINDOW", 5)
        assert bare("".join(split_text(text, max_tokens, count_tokens=utf8))) == bare(text)


@given(FRAGMENTS)
def test_a_count_that_does_not_grow_with_the_text_is_met_all_the_same(text: str) -> None:
    def count(passage: str) -> int:
        return len(passage) + (3 if passage.startswith("a") and len(passage) > 1 else 0)

    passages = split_text(text, 5, count_tokens=count)
    assert bare("".join(passages)) == bare(text)
    assert all(count(passage) <= 5 for passage in passages)


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000"])
def test_no_text_gives_no_passages(text: str) -> None:
    assert split_text(text, 5, count_tokens=words) == []


def test_a_text_that_fits_stays_whole() -> None:
    text = "# Title\n\nFirst paragraph.\n\nSecond paragraph."
    assert split_text(f"\n{text}\n", 7, count_tokens=words) == [text]


def test_cuts_between_paragraphs_then_sentences_then_words() -> None:
    paragraphs = "One two three.\n\nFour five. Six seven eight nine.\n\nTen."
    assert split_text(paragraphs, 5, count_tokens=words) == [
        "One two three.",
        "Four five.",
        "Six seven eight nine.\n\nTen.",
    ]
    assert split_text("a b c d e", 2, count_tokens=words) == ["a b", "c d", "e"]
    assert split_text("abcdefg", 3, count_tokens=len) == ["abc", "def", "g"]


def test_cuts_between_sentences_of_other_scripts() -> None:
    chinese = "北京是中国的首都。上海是一座港口城市。"
    assert split_text(chinese, 10, count_tokens=len) == [
        "北京是中国的首都。",
        "上海是一座港口城市。",
    ]
    arabic = "القاهرة عاصمة مصر. بغداد عاصمة العراق."
    assert split_text(arabic, 3, count_tokens=words) == [
        "القاهرة عاصمة مصر.",
        "بغداد عاصمة العراق.",
    ]
    korean = "서울은 한국의 수도이다. 부산은 항구 도시이다."
    assert split_text(korean, 3, count_tokens=words) == [
        "서울은 한국의 수도이다.",
        "부산은 항구 도시이다.",
    ]


def test_a_joined_emoji_stays_whole_where_it_fits() -> None:
    family = "👨‍👩‍👧‍👦"
    assert split_text(family * 4, 2 * utf8(family), count_tokens=utf8) == [family * 2] * 2


@pytest.mark.parametrize("heading", ["# Title", "# Title\n\n## Part", "Title\n====="])
def test_a_heading_goes_with_the_text_below(heading: str) -> None:
    body = "Alpha beta gamma delta. " * 12
    text = f"Before it some words.\n\n{heading}\n\n{body}\n\n## Next\n\n{body}"
    passages = split_text(text, 20, count_tokens=words)
    assert bare("".join(passages)) == bare(text)
    for line in (heading.splitlines()[0], "## Next"):
        (passage,) = [passage for passage in passages if line in passage]
        assert re.search(re.escape(line) + r"\s[^A]*Alpha beta gamma delta\.", passage)


def test_a_heading_longer_than_a_passage_is_cut() -> None:
    text = "# " + "long " * 20 + "\n\nBody."
    passages = split_text(text, 5, count_tokens=words)
    assert bare("".join(passages)) == bare(text)


def test_short_sections_share_a_passage() -> None:
    text = "# A\n\none\n\n# B\n\ntwo\n\n# C\n\nthree"
    assert split_text(text, 6, count_tokens=words) == ["# A\n\none\n\n# B\n\ntwo", "# C\n\nthree"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (" ".join(f"word{i}" for i in range(20_000)), words),
        ("中" * 20_000, len),
        ("x" * 20_000, len),
        ("# Part\n\nSome words.\n\n" * 3_000, words),
    ],
    ids=["words", "chinese", "letters", "sections"],
)
def test_long_texts_take_little_time(text: str, count: Callable[[str], int]) -> None:
    counted = 0

    def counting(passage: str) -> int:
        nonlocal counted
        counted += len(passage)
        return count(passage)

    began = time.perf_counter()
    passages = split_text(text, 128, count_tokens=counting)
    assert time.perf_counter() - began < 5
    assert counted < 40 * len(text)
    assert bare("".join(passages)) == bare(text)


@pytest.mark.parametrize("max_tokens", [0, -3])
def test_too_few_tokens(max_tokens: int) -> None:
    with pytest.raises(InputError, match=f"max_tokens is {max_tokens}, but .* at least 1 token"):
        split_text("text", max_tokens, count_tokens=words)


def test_a_character_that_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"character '안' alone takes 3 tokens, .* is 2: give a"):
        split_text("안녕", 2, count_tokens=utf8)


def test_an_error_of_the_counter_gets_through() -> None:
    def broken(text: str) -> int:
        raise RuntimeError("no tokenizer")

    with pytest.raises(RuntimeError, match="no tokenizer"):
        split_text("text", 2, count_tokens=broken)
