"""Texts cut into words, whatever the script and the tokenizer."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import regex  # type: ignore[import-untyped]

from cocom.baselines.spans import Unit
from cocom.baselines.words import Word, forced_words, words_of


def pieces_of(text: str, *lengths: int) -> list[tuple[int, int]]:
    """Places of pieces of these lengths, one after the other; white space is no piece."""
    offsets, at = [], 0
    for length in lengths:
        while text[at].isspace():
            at += 1
        offsets.append((at, at + length))
        at += length
    return offsets


def characters_of(text: str) -> list[tuple[int, int]]:
    return [(i, i + 1) for i, c in enumerate(text) if not c.isspace()]


def cut(text: str, offsets: list[tuple[int, int]] | None = None) -> list[str]:
    words = words_of(text, characters_of(text) if offsets is None else offsets)
    return [text[word.start : word.end] for word in words]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the quick fox", ["the", " quick", " fox"]),
        ("Stop, look. Go!", ["Stop", ",", " look", ".", " Go", "!"]),
        ("It cost $3.14 (or 5%).", ["It", " cost", " $3.14", " (or", " 5%", ")", "."]),
        ("don't e-mail ada@b.org", ["don't", " e-mail", " ada@b.org"]),
        ("from 1990-1995, -5 °C", ["from", " 1990-1995", ",", " -5", " °C"]),
        ("paid US$3 or A€5", ["paid", " US$3", " or", " A€5"]),
        ("a thing—which is", ["a", " thing", "—which", " is"]),
        ('{"key":"value"}', ["{", '"key', '"', ":", '"value', '"', "}"]),
        ("one\n\n two ", ["one", "\n\n two "]),
        ("학교에 갔다.", ["학교에", " 갔다", "."]),
        ("שלום עולם", ["שלום", " עולם"]),
    ],
)
def test_words_end_at_space_and_punctuation(text: str, words: list[str]) -> None:
    assert cut(text) == words


def test_scripts_without_spaces_have_the_words_of_the_tokenizer() -> None:
    assert cut("中国的经济。", pieces_of("中国的经济。", 2, 1, 2, 1)) == [
        "中国",
        "的",
        "经济",
        "。",
    ]
    assert cut("コンピュータを使う") == ["コンピュータ", "を", "使", "う"]
    thai = "ประเทศไทย"
    assert cut(thai, pieces_of(thai, 6, 3)) == ["ประเทศ", "ไทย"]


def test_no_mark_leaves_its_letter() -> None:
    assert cut("น้ำ") == ["น้ำ"]
    assert cut("👨‍👩‍👧 👍🏽", [(i, i + 1) for i in range(8)]) == ["👨‍👩‍👧", " 👍🏽"]
    assert cut("cafe\u0301 au", [(0, 4), (6, 8)]) == ["cafe\u0301", " au"]


def test_pieces_of_a_word_stay_together() -> None:
    text = "unbelievable"
    assert cut(text, pieces_of(text, 2, 5, 5)) == [text]


def test_pieces_that_hold_the_space_make_the_same_words() -> None:
    text = "so it  goes on"
    bytes_ = [(0, 2), (2, 5), (5, 6), (6, 8), (8, 11), (11, 14)]
    assert cut(text, bytes_) == ["so", " it", "  goes", " on"]


def test_an_endless_word_is_cut() -> None:
    text = "a" * 100
    assert [len(word) for word in cut(text)] == [40, 40, 20]


def test_text_without_any_token_is_one_word() -> None:
    assert cut("\0\0", []) == ["\0\0"]
    assert cut(" \n", []) == []


def test_words_are_the_text_again() -> None:
    rng = random.Random(5)
    alphabet = "ab1 .,-—(\n'é中のไ้한👍🏽\u200d\u0301\0$%"
    for _ in range(2000):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 30)))
        offsets, at = [], 0
        while at < len(text):
            end = min(len(text), at + rng.randrange(1, 4))
            if rng.random() < 0.8 or end - at > 1:
                offsets.append((at, end))
            at = end
        words = words_of(text, offsets)
        assert "".join(text[word.start : word.end] for word in words) == (text if words else "")
        assert all(a.tokens[1] == b.tokens[0] for a, b in pairwise(words))
        if words and offsets:
            assert (words[0].tokens[0], words[-1].tokens[1]) == (0, len(offsets))
        edges = {match.start() for match in regex.finditer(r"\X", text)}
        assert all(word.start in edges for word in words)


def test_dropping_words_joins_no_two_others() -> None:
    rng = random.Random(6)
    text = 'The 3.5-litre engine—a V8 (1990/91)—is rare,very rare;so don\'t "sell"it. e.g.[this]one'
    words = words_of(text, characters_of(text))
    whole = {text[word.start : word.end].strip(" —(\"'[];,.)") for word in words}
    whole |= {piece for word in whole for piece in regex.findall(r"\w+", word)}
    for _ in range(500):
        left = "".join(text[word.start : word.end] for word in words if rng.random() < 0.5)
        assert set(regex.findall(r"\w+", left)) <= whole


def forced(text: str, *tokens: str, digits: bool = False) -> list[tuple[str, bool]]:
    offsets = characters_of(text)
    words = forced_words(text, words_of(text, offsets), [0.5] * len(offsets), tokens, digits=digits)
    assert [word.unit.start for word in words[1:]] == [word.unit.end for word in words[:-1]]
    return [(text[word.unit.start : word.unit.end], word.forced) for word in words]


def test_force_tokens_are_words_of_their_own() -> None:
    assert forced("Do not, nothing.", "not", ".") == [
        ("Do", False),
        (" not", True),
        (",", False),
        (" nothing", False),
        (".", True),
    ]
    assert forced("one \n two\n", "\n") == [
        ("one", False),
        (" \n", True),
        (" two", False),
        ("\n", True),
    ]
    assert forced("New York is", "New York") == [("New", True), (" York", True), (" is", False)]


def test_a_force_token_inside_a_word_keeps_the_word() -> None:
    assert forced("pi is 3.14.", ".") == [
        ("pi", False),
        (" is", False),
        (" 3.14", True),
        (".", True),
    ]
    assert forced("我不是", "不") == [("我", False), ("不", True), ("是", False)]


def test_words_with_digits_are_kept() -> None:
    assert forced("in 1867 at B12", digits=True) == [
        ("in", False),
        (" 1867", True),
        (" at", False),
        (" B12", True),
    ]


def test_a_word_has_the_mean_of_its_tokens() -> None:
    (word,) = forced_words("abc", [Unit(0, 3, (0, 3))], [0.1, 0.2, 0.9], ())
    assert word == Word(Unit(0, 3, (0, 3)), word.probability)
    assert word.probability == pytest.approx(0.4)
