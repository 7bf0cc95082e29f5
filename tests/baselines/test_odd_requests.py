"""Requests that nobody should make of a hard compressor, and some that only look so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from cocom.baselines import (
    HardCompression,
    HardPassage,
    LLMLingua,
    LLMLingua2,
    LongLLMLingua,
    compress_json,
    compress_sections,
    make_compressor,
    recover,
)
from cocom.baselines.json_sections import JsonKey
from cocom.datatypes import Passage
from cocom.errors import ConfigError, InputError
from cocom.testing import tiny_backbone, tiny_tokenizer
from tests.baselines.known_classifier import known

PASSAGES = ["The Brooklyn Bridge opened on 24 May 1883.", "P. T. Barnum led 21 elephants."]
Method = LLMLingua | LongLLMLingua | LLMLingua2


def make(name: str, **settings: Any) -> Method:
    if name == "llmlingua2":
        return LLMLingua2(device="cpu", **settings)
    kind = LongLLMLingua if name == "longllmlingua" else LLMLingua
    return kind(tiny_backbone(), tokenizer=tiny_tokenizer(), **settings)


NAMES = ["llmlingua", "longllmlingua", "llmlingua2"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"target_tokens": float("nan")}, "target_tokens must be a whole number, got nan"),
        ({"target_tokens": 2.5}, "target_tokens must be a whole number, got 2.5"),
        ({"target_tokens": "9"}, "target_tokens must be a whole number, got '9'"),
        ({"rate": "4"}, "rate must be 1 or more, .* got '4'"),
        ({"rate": float("inf")}, "rate must be 1 or more, .* got inf"),
        ({"rate": True}, "rate must be 1 or more, .* got True"),
    ],
)
def test_what_is_no_budget_is_refused(name: str, budget: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name).compress(PASSAGES, question="Who?", **budget)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "count",
    [
        lambda text: (len(text) * 7919) % 101 + len(text) // 4,
        lambda text: -(-len(text) // 10) * 10,
        lambda text: 1,
        lambda text: 0,
    ],
    ids=["up and down", "in tens", "all alike", "nothing"],
)
def test_any_count_is_held(name: str, count: Callable[[str], int]) -> None:
    passages: list[str | Passage] = [
        *PASSAGES,
        Passage("서울은 대한민국의 수도이다.", id="k"),
        PASSAGES[0],
    ]
    compressor = make(name, count_tokens=count)
    origin = sum(count(p if isinstance(p, str) else p.text) for p in passages)
    for target in (4, 40, 90):
        found = compressor.compress(passages, question="Who?", target_tokens=target)
        assert found.origin_tokens == origin
        assert found.compressed_tokens == sum(map(count, found.texts)) <= target
        places = [passage.index for passage in found.passages]
        assert sorted([*places, *found.dropped]) == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [float("nan"), 2.5, "200", True, 0])
def test_a_window_is_a_whole_number(size: Any) -> None:
    with pytest.raises(ConfigError, match="iterative_size must be a whole number, at least 1"):
        make("llmlingua", iterative_size=size)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("llmlingua", "context_budget"),
        ("llmlingua", "sentence_budget"),
        ("longllmlingua", "dynamic_ratio"),
    ],
)
@pytest.mark.parametrize("value", ["+100", True])
def test_settings_are_numbers(name: str, setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .*, got {re.escape(repr(value))}"):
        make(name, **{setting: value})


def test_one_text_is_no_list_of_questions() -> None:
    questions: Any = "ab"
    with pytest.raises(InputError, match="questions is one text, 'ab'"):
        make("llmlingua").compress_batch([PASSAGES, PASSAGES], questions=questions, rate=2)


def test_force_tokens_of_a_classifier_are_read_once_and_must_be_texts() -> None:
    once: Any = iter(["24"])
    found = make("llmlingua2", force_tokens=once).compress(PASSAGES, rate=8)
    assert "24" in " ".join(found.texts)
    with pytest.raises(ConfigError, match=r"force_tokens must be texts .* got \[7\]"):
        make("llmlingua2", force_tokens=[7])


def test_a_method_needs_a_name() -> None:
    name: Any = ["llmlingua"]
    with pytest.raises(ConfigError, match=r"method \['llmlingua'\] is unknown"):
        make_compressor(name)


# JSON and sections


def test_keys_that_become_the_same_in_json_are_refused() -> None:
    compressor, _ = known({"a": 0.9, "b": 0.1})
    with pytest.raises(InputError, match="an object has a key twice"):
        compress_json(compressor, {1: "a", "1": "b"}, rate=1)
    assert compress_json(compressor, {1: "a", 2: "b"}, rate=1).data == {"1": "a", "2": "b"}


@pytest.mark.parametrize("depth", [900, 3000])
def test_json_nested_too_deep_is_refused(depth: int) -> None:
    compressor, _ = known({"a": 0.9})
    data: Any = "a"
    for _ in range(depth):
        data = [data]
    with pytest.raises(InputError, match="recursion"):
        compress_json(compressor, data, rate=1)
    with pytest.raises(InputError, match="recursion"):
        compress_json(compressor, "[" * depth + "]" * depth, rate=1)


def test_equal_texts_are_compressed_each_in_its_place() -> None:
    compressor, _ = known({"a": 0.9, "b": 0.1})
    keys = {"x": JsonKey(rate=2), "y": JsonKey(compress=False)}
    found = compress_json(compressor, {"x": ["a b", "a b"], "y": "a b", "z": "a b"}, keys, rate=1)
    assert found.data == {"x": ["a", "a"], "y": "a b", "z": "a b"}


@pytest.mark.parametrize("key", [2, {"rate": 2}, JsonKey(rate="2")])  # type: ignore[arg-type]
def test_what_is_no_key_is_refused(key: Any) -> None:
    compressor, _ = known({"a": 0.9})
    with pytest.raises(ConfigError, match="key 'x' must"):
        compress_json(compressor, {"x": "a"}, {"x": key}, rate=2)


@pytest.mark.parametrize(
    "tag",
    [
        '<llmlingua, rate="0.5">a</llmlingua>',
        "<LLMLINGUA>a</LLMLINGUA>",
        "<llmlingua>a<llmlingua>b</llmlingua></llmlingua>",
        "<llmlingua, rate=0.5, rate=0.4>a</llmlingua>",
        "<llmlingua, compress=false>a</llmlingua>",
        "<llmlingua>a",
        "<llmlingua/>",
        "<llmlingua2>a</llmlingua2>",
    ],
)
def test_a_tag_that_is_none_is_refused(tag: str) -> None:
    compressor, _ = known({"a": 0.9})
    with pytest.raises(InputError, match="in line 1"):
        compress_sections(compressor, tag, rate=1)


def test_settings_of_a_tag_may_come_in_any_order() -> None:
    compressor, _ = known({"a": 0.9, "b": 0.1})
    for tag in ("rate=0.5, compress=True", " compress=True ,rate = 0.5"):
        found = compress_sections(compressor, f"<llmlingua, {tag}>a b</llmlingua>")
        assert found.text == "a"


# Recovery

COMPRESSION = HardCompression(
    (
        HardPassage(0, "main 486", "main span is 486", ((0, 4), (12, 16))),
        HardPassage(1, "서울 수도", "서울은 대한민국의 수도", ((0, 2), (9, 12))),
    ),
    (), 9, 4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("", ""),
        (" \n", " \n"),
        (r"(main|486)+ [\s]* $1 \1", r"(main|486)+ [\s]* $1 \1"),
        ("서울 수도!", "서울은 대한민국의 수도!"),
        ("x " * 3000 + "main 486.", "x " * 3000 + "main span is 486."),
        ("\x00 main 486 \ud800", "\x00 main span is 486 \ud800"),
    ],
    ids=["empty", "blank", "signs", "korean", "long", "no characters"],
)
def test_odd_responses_are_recovered(response: str, expected: str) -> None:
    assert recover(COMPRESSION, response) == expected
