"""Prompts in sections and JSON, with any hard compressor."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cocom.baselines.json_sections import JsonKey, compress_json
from cocom.baselines.result import HardCompression, HardPassage
from cocom.baselines.sections import compress_sections
from cocom.datatypes import Passage
from cocom.errors import ConfigError, InputError

from .known_classifier import known


class FirstWords:
    """Keeps the first words of the passages taken together, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.count_tokens: Callable[[str], int] = lambda text: len(text.split())

    def compress(
        self,
        passages: Sequence[str | Passage],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> HardCompression:
        texts = [p.text if isinstance(p, Passage) else p for p in passages]
        self.asked.append(
            {"texts": texts, "question": question, "rate": rate, "target": target_tokens}
        )
        origin = sum(len(text.split()) for text in texts)
        left = most = min(origin, target_tokens or int(origin / (rate or 1)))
        kept = []
        for index, text in enumerate(texts):
            words = text.split()[:left]
            left -= len(words)
            if words:
                kept.append(HardPassage(index, " ".join(words), text, ()))
        kept.reverse()  # in another order, as methods may that rank passages
        return HardCompression(tuple(kept), (), origin, most)


PROMPT = """<llmlingua, compress=False>Answer in one word:</llmlingua>
<llmlingua, rate=0.5, compress=True>
one two three four
</llmlingua>

<llmlingua>five six</llmlingua> <llmlingua,compress=True>seven eight nine ten</llmlingua>
"""


def test_every_section_in_its_own_way() -> None:
    compressor = FirstWords()
    found = compress_sections(compressor, PROMPT, question="Which?", target_tokens=9)
    assert found.text == "Answer in one word:\n\none two\n\n\nfive six seven\n"
    assert found.texts == ["Answer in one word:", "\none two\n", "five six", "seven"]
    assert [section.compress for section in found.sections] == [False, True, True, True]
    assert found.sections[1].source == "\none two three four\n"
    assert (found.origin_tokens, found.compressed_tokens) == (14, 9)
    assert found.rate == pytest.approx(14 / 9)
    asked = compressor.asked
    assert [(a["texts"], a["rate"], a["target"]) for a in asked] == [
        (["\none two three four\n"], 2.0, None),
        (["five six", "seven eight nine ten"], None, 3),
    ]
    assert {a["question"] for a in asked} == {"Which?"}


def test_no_budget_is_needed_where_sections_say_everything() -> None:
    prompt = "<llmlingua, rate=0.25>a b c d</llmlingua><llmlingua, compress=False> e</llmlingua>"
    found = compress_sections(FirstWords(), prompt)
    assert found.text == "a e"
    with pytest.raises(ConfigError, match="3 of 3 parts have no rate of their own"):
        compress_sections(FirstWords(), "<llmlingua>a</llmlingua>" * 3)


def test_a_budget_that_is_not_reached_changes_nothing() -> None:
    found = compress_sections(FirstWords(), PROMPT, rate=1)
    assert found.texts[2:] == ["five six", "seven eight nine ten"]


def test_what_stays_may_exceed_the_budget() -> None:
    with pytest.raises(InputError, match="stays in any case takes 6 tokens, but the budget is 5"):
        compress_sections(FirstWords(), PROMPT, target_tokens=5)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("<llmlingua>a", "line 1 is not closed"),
        ("\na</llmlingua>", "line 2 closes a section that was not opened"),
        ("<llmlingua>a<llmlingua>b</llmlingua></llmlingua>", "is not closed by"),
        ("<llmlingua, rate=2>a</llmlingua>", "says rate=2"),
        ("<llmlingua, rate=0>a</llmlingua>", "says rate=0"),
        ("<llmlingua, rate=much>a</llmlingua>", "says rate=much"),
        ("<llmlingua, rate=nan>a</llmlingua>", "says rate=nan"),
        ("<llmlingua, rate=0.5, rate=0.5>a</llmlingua>", "says 'rate=0.5'"),
        ("<llmlingua, compress=no>a</llmlingua>", "says compress=no"),
        ("<llmlingua, keep>a</llmlingua>", "says 'keep'"),
        ("<llmlingua,>a</llmlingua>", "says ''"),
        ("<llmlingua rate=0.5>a</llmlingua>", "has no comma behind its name"),
        ("<LLMLingua>a</LLMLingua>", "cannot be read"),
        ("<llmlingua>a</ llmlingua>", "cannot be read"),
        ("<llmlingua>a</llmlingua> and b", "'and b' stands outside of any section"),
    ],
)
def test_malformed_tags(prompt: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compress_sections(FirstWords(), prompt, rate=2)


def test_sections_with_a_real_method_hold_the_budget() -> None:
    words = {
        f"{a}{b}": (ord(a) * 7 + ord(b) * 13) % 97 / 100 + 0.01 for a in "abcd" for b in "efgh"
    }
    compressor, _ = known(words)
    text = " ".join(words)
    prompt = (
        f"<llmlingua, compress=False>ae be</llmlingua> <llmlingua, rate=0.5>{text}</llmlingua>\n"
        f"<llmlingua>{text}</llmlingua><llmlingua> {text}</llmlingua>"
    )
    for target in range(11, 51):
        found = compress_sections(compressor, prompt, target_tokens=target)
        assert found.compressed_tokens == compressor.count_tokens(found.text)
        assert min(target, 42) - 1 <= found.compressed_tokens <= target
        assert found.text.startswith("ae be ")


DATA = {
    "id": 17,
    "title": "one two",
    "body": ["three four five", {"note": "six seven", "ok": True}],
    "price": 3.5,
    "none": None,
    "empty": "",
}


def test_json_keeps_its_keys_and_types() -> None:
    keys = {"title": JsonKey(compress=False), "note": JsonKey(rate=2)}
    found = compress_json(FirstWords(), DATA, keys, target_tokens=18)
    assert found.data == {
        **DATA,
        "body": ["three four", {"note": "six", "ok": True}],
    }
    assert json.loads(found.text) == found.data
    assert list(found.data) == list(DATA)
    assert found.compressed_tokens == len(found.text.split()) == 18
    assert found.origin_tokens == len(json.dumps(DATA).split())
    assert DATA["body"] == ["three four five", {"note": "six seven", "ok": True}]


def test_json_text_and_texts_alone() -> None:
    found = compress_json(FirstWords(), '["a b c d"]', rate=2)
    assert (found.data, found.text, found.rate) == (["a b"], '["a b"]', 2.0)
    assert compress_json(FirstWords(), "a b c d", rate=4).data == "a"
    assert compress_json(FirstWords(), {"a": 1}, rate=1).data == {"a": 1}


def test_a_text_may_become_empty_but_stays_a_text() -> None:
    found = compress_json(FirstWords(), {"a": "b c", "d": "e f"}, target_tokens=4)
    assert found.data == {"a": "b", "d": ""}


def test_json_with_quotes_and_lines_stays_json() -> None:
    compressor, _ = known({"a": 0.9, '"': 0.8, "b": 0.1})
    found = compress_json(compressor, {"k": 'a " b\n\\ "'}, target_tokens=14)
    assert json.loads(found.text) == found.data != {"k": ""}
    assert compressor.count_tokens(found.text) <= 14


@pytest.mark.parametrize("data", ["{", '{"a": 1, "a": 2}', {"a": {1, 2}}, [float("nan")], "[NaN]"])
def test_what_is_no_json(data: Any) -> None:
    with pytest.raises(InputError, match="the data is no JSON"):
        compress_json(FirstWords(), data, rate=2)


def test_unusable_settings() -> None:
    with pytest.raises(ConfigError, match="the rate of key 'a' must be 1 or more"):
        compress_json(FirstWords(), {"a": "b"}, {"a": JsonKey(rate=0.5)})
    with pytest.raises(ConfigError, match="1 of 1 parts have no rate of their own"):
        compress_json(FirstWords(), {"a": "b"})
    with pytest.raises(InputError, match="takes 2 tokens, but the budget is 1"):
        compress_json(FirstWords(), {"a": "b c d"}, target_tokens=1)
