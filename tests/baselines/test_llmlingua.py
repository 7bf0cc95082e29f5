"""LLMLingua: each rule of the paper on cases worked out by hand, exact budgets, and odd texts."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from cocom.baselines import HardCompressor, LLMLingua, make_compressor
from cocom.baselines.causal_models import load_causal_model
from cocom.baselines.iterative import threshold
from cocom.baselines.passage_units import TokenCounts, passage_units
from cocom.baselines.ranking import sentences_of, within_budget
from cocom.datatypes import Passage
from cocom.errors import ConfigError, EmptyPassageError, InputError
from cocom.testing import tiny_backbone, tiny_tokenizer
from tests.baselines.stub_language_models import WordModel

WORDS = {"the": 1.0, "of": 2.0, "cat": 3.0, "tax": 4.0, "quark": 5.0, "zygote": 6.0}


def stub(words=WORDS, *, mentioned: float = 0.0, **settings):
    model: Any = WordModel(words, mentioned)
    return LLMLingua(model, tokenizer=model.tokenizer, **settings), model


@pytest.fixture(scope="module")
def tiny() -> LLMLingua:
    """A random model with a real tokenizer."""
    model = tiny_backbone(vocab_size=2048, max_position_embeddings=1024)
    tokenizer = load_causal_model("cocom-tiny", device="cpu")[1]
    return LLMLingua(model, tokenizer=tokenizer, context_budget=5)


# The paper's rules


def test_a_token_is_scored_by_its_own_loss() -> None:
    compressor, _ = stub()
    found = compressor.compress(["the quark the quark the"], target_tokens=2)
    assert found.texts == ["quark quark"]


def test_most_surprising_passages_are_taken_until_the_budget_is_exceeded() -> None:
    compressor, _ = stub(context_budget=1)
    passages = ["the of the", "zygote quark zygote", "cat tax cat", "of the of"]
    found = compressor.compress(passages, target_tokens=4)
    # 4 + 1 tokens: the second passage leaves 2, the third exceeds them and is still taken.
    assert [passage.index for passage in found.passages] == [1, 2]
    assert found.texts == ["zygote quark zygote", "tax"]
    assert found.dropped == (0, 3)
    assert (found.origin_tokens, found.compressed_tokens) == (12, 4)


def test_within_budget_takes_the_one_that_exceeds_it_and_forced_ones_first() -> None:
    tokens = [10, 20, 30, 40]
    assert within_budget([3, 2, 1, 0], tokens, 40) == [3, 2]
    assert within_budget([3, 2, 1, 0], tokens, 39) == [3]
    assert within_budget([3, 2, 1, 0], tokens, 0) == [3]
    assert within_budget([3, 2, 1, 0], tokens, 15, forced={0}) == [3, 0]
    assert within_budget([3, 2, 1, 0], tokens, 5, forced={0}) == [0]


def test_threshold_is_the_quantile_of_the_window() -> None:
    scores = [(1.0, 1), (4.0, 1), (2.0, 1), (3.0, 1)]
    assert threshold(scores, 2) == 3.0
    assert threshold(scores, 1) == 4.0
    assert threshold(scores, 0) == float("inf")
    assert threshold(scores, 4) == float("-inf")
    assert threshold([(4.0, 3), (3.0, 1)], 3) == 4.0
    assert threshold([(4.0, 3), (3.0, 1)], 2) == float("inf")


def test_each_window_gives_its_share() -> None:
    compressor, _ = stub(iterative_size=4)
    found = compressor.compress(["zygote zygote quark quark the the of of"], rate=2)
    # The best half of each window, not the best four of all, which are all in the first.
    assert found.texts == ["zygote zygote of of"]


def test_a_window_is_scored_behind_what_was_kept_of_those_before() -> None:
    compressor, model = stub(iterative_size=3)
    compressor.compress(["zygote the quark tax cat of"], rate=2)
    assert model.read == ["<s> zygote the quark", "<s> zygote quark tax cat of"]


def test_a_token_that_was_dropped_still_surprises_in_the_next_window() -> None:
    words = {**WORDS, "filler": 3.5}
    compressor, _ = stub(words, mentioned=10.0, iterative_size=4)
    found = compressor.compress(["zygote tax quark the the filler zygote quark"], rate=2)
    # Of the second window "zygote" and "quark" were kept before, "the" was not and has not been read.
    assert found.texts == ["zygote quark the filler"]


def test_passages_are_read_one_behind_the_other() -> None:
    compressor, model = stub()
    found = compressor.compress(["the zygote", "of quark"], rate=2)
    assert found.texts == ["zygote", "quark"]
    assert model.read == ["<s> the zygote of quark"]


def test_the_question_is_not_looked_at() -> None:
    compressor, model = stub(mentioned=10.0)
    found = compressor.compress(["the zygote of quark"], question="zygote", target_tokens=1)
    assert found.texts == ["zygote"]
    assert model.read == ["<s> the zygote of quark"]


def test_sentences_are_taken_by_perplexity_up_to_a_multiple_of_the_target() -> None:
    words = {**WORDS, "the.": 1.0, "cat.": 3.0, "zygote.": 6.0, "quark.": 5.0}
    compressor, _ = stub(words, sentence_budget=1.0)
    text = "zygote the. the cat. of quark. the zygote."
    found = compressor.compress([text], target_tokens=3)
    # Means 3.5, 2, 3.5, 3.5: the first and the third exceed 3 tokens; the rest goes.
    assert found.texts == ["zygote of quark."]
    assert stub(words)[0].compress([text], target_tokens=3).texts == ["zygote quark. zygote."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three", ["One.", " Two!", " Three"]),
        ("Version 3.5 is out. Yes.", ["Version 3.5 is out.", " Yes."]),
        ("一つ。二つ！三つ", ["一つ。", "二つ！", "三つ"]),
        ("a\n\nb", ["a\n\n", "b"]),
        ("...", ["..."]),
    ],
)
def test_sentences_are_found_in_any_script(text, expected, tiny) -> None:
    (passage,) = passage_units([text], tiny.losses.encoding, TokenCounts(len))
    found = [
        text[passage.units[some[0]].start : passage.units[some[-1]].end]
        for some in sentences_of(passage)
    ]
    assert found == expected


# What the caller decides


def test_forced_strings_stay_where_they_stand() -> None:
    compressor, _ = stub()
    found = compressor.compress(
        ["the quark of zygote the tax"], target_tokens=3, force_tokens=["the"]
    )
    assert found.texts == ["the zygote the"]


def test_forced_strings_beyond_the_budget_are_refused() -> None:
    compressor, _ = stub()
    with pytest.raises(InputError, match="takes 3 tokens but the budget is 2"):
        compressor.compress(["the the the tax"], target_tokens=2, force_tokens=["the"])


def test_a_forced_passage_is_taken_whatever_its_rank() -> None:
    compressor, _ = stub(context_budget=0)
    passages = ["the of", "zygote quark", "tax cat"]
    assert compressor.compress(passages, target_tokens=2).dropped == (0, 2)
    found = compressor.compress(passages, target_tokens=2, force_passages=[0])
    assert [passage.index for passage in found.passages] == [1]  # taken, but its tokens lose
    assert compressor.compress(
        passages, target_tokens=2, force_passages=[0], force_tokens=["of"]
    ).texts == ["of", "zygote"]


def test_the_readers_count_decides() -> None:
    compressor, _ = stub(count_tokens=len)
    found = compressor.compress(["the quark of zygote"], target_tokens=12)
    assert found.texts == ["quark zygote"]
    assert (found.origin_tokens, found.compressed_tokens) == (19, 12)


def test_scores_are_given_where_passages_were_ranked() -> None:
    compressor, _ = stub(context_budget=0)
    found = compressor.compress(["the of", "zygote quark"], target_tokens=1)
    score = found.passages[0].score
    assert score is not None
    assert compressor.compress(["the of"], target_tokens=1).passages[0].score is None


def test_passages_may_be_objects_and_lists_are_left_as_they_are() -> None:
    compressor, _ = stub()
    passages: list[str | Passage] = [Passage("the quark", id="a"), "of zygote"]
    found = compressor.compress(passages, rate=2)
    assert found.texts == ["quark", "zygote"]
    assert passages == [Passage("the quark", id="a"), "of zygote"]


def test_the_method_has_a_name() -> None:
    made = make_compressor("llmlingua", context_budget=7)
    assert isinstance(made, LLMLingua)
    assert isinstance(made, HardCompressor)
    assert made.context_budget == 7
    with pytest.raises(ConfigError, match="'zip' is unknown"):
        make_compressor("zip")
    with pytest.raises(ConfigError, match="LLMLingua cannot be made of these settings"):
        make_compressor("llmlingua", colour="red")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterative_size": 0}, "iterative_size must be a whole number, at least 1, got 0"),
        ({"context_budget": -1}, "context_budget must be 0 or more"),
        ({"sentence_budget": 0.5}, "sentence_budget must be 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        stub(**settings)


# Budgets

SCRIPTS = (
    "the cat sat on a mat and 1987 of 4,512 people read it twice",
    "서울은 대한민국의 수도이며 가장 큰 도시이다",
    "東京は日本の首都であり、世界最大の都市の一つです。",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "القاهرة هي عاصمة مصر وأكبر مدنها",
    "👨‍👩‍👧 🇰🇷 ☕️ naïve café Ångström",
    "if (x != y) { return f(x)[3]; }\n\t# done",
)


def some_prompt(rng: random.Random) -> list[str]:
    def passage() -> str:
        pieces = [piece for text in rng.sample(SCRIPTS, 2) for piece in text.split(" ")]
        words = rng.choices(pieces, k=rng.randrange(1, 30))
        return rng.choice([" ", "", "\n"]).join(words)

    return [passage() for _ in range(rng.randrange(1, 6))]


def check_budget(found, passages, target: int, count) -> None:
    assert found.compressed_tokens == sum(count(text) for text in found.texts) <= target
    for passage in found.passages:
        assert passage.source == passages[passage.index]
        assert passage.text == "".join(passage.source[a:b] for a, b in passage.spans)
        assert passage.text
    indices = [passage.index for passage in found.passages]
    assert sorted([*indices, *found.dropped]) == list(range(len(passages)))


def budgets(compressor, count, prompts: int) -> float:
    """Share of prompts whose budget is met to within a token."""
    rng = random.Random(0)
    batches = [some_prompt(rng) for _ in range(prompts)]
    met = 0
    for rate in (1.5, 4):
        for batch, found in zip(
            batches, compressor.compress_batch(batches, rate=rate), strict=True
        ):
            target = max(1, int(sum(map(count, batch)) / rate))
            check_budget(found, batch, target, count)
            met += found.compressed_tokens >= target - 1
    return met / (2 * prompts)


def test_budgets_are_met_in_every_script(tiny) -> None:
    assert budgets(tiny, tiny.losses.encoding.count, 30) > 0.98


@pytest.mark.slow
def test_a_thousand_budgets_are_met_in_every_script(tiny) -> None:
    assert budgets(tiny, tiny.losses.encoding.count, 500) > 0.98


def test_budgets_are_met_as_another_reader_counts(tiny) -> None:
    reader = LLMLingua(
        tiny.losses.model, tokenizer=tiny_tokenizer(), count_tokens=tiny.losses.encoding.count
    )
    assert budgets(reader, tiny.losses.encoding.count, 10) > 0.98


def test_forced_strings_are_never_lost(tiny) -> None:
    rng = random.Random(1)
    for _ in range(15):
        passages = some_prompt(rng)
        count = sum(text.count("the") + text.count("한") for text in passages)
        if not count or sum(map(tiny.losses.encoding.count, passages)) < 40:
            continue
        found = tiny.compress(passages, rate=2, force_tokens=["the", "한"])
        for passage in found.passages:
            for string in ("the", "한"):
                assert passage.text.count(string) >= passage.source.count(string)


def test_a_batch_is_the_same_as_one_by_one(tiny) -> None:
    rng = random.Random(2)
    batches = [some_prompt(rng) for _ in range(12)]
    batches[3] = batches[5]
    batches[7] = [batches[7][0]] * 3
    together = tiny.compress_batch(batches, rate=2)
    for passages, found in zip(batches, together, strict=True):
        alone = tiny.compress(passages, rate=2)
        assert found.texts == alone.texts
        assert found.dropped == alone.dropped
        assert [p.spans for p in found.passages] == [p.spans for p in alone.passages]


def test_threads_get_what_one_would(tiny) -> None:
    rng = random.Random(3)
    batches = [some_prompt(rng) for _ in range(4)]
    expected = [tiny.compress(passages, rate=2) for passages in batches]
    found: dict[int, object] = {}

    def work(i: int) -> None:
        found[i] = tiny.compress(batches[i], rate=2)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == expected


# Odd texts

ODD = {
    "one character": ["a"],
    "one syllable": ["한"],
    "ten thousand characters": ["ab cd " * 1700],
    "ten thousand characters without a space": ["x" * 10_000],
    "a family": ["👨‍👩‍👧‍👦"],
    "families": ["👨‍👩‍👧‍👦" * 50],
    "flags": ["🇰🇷🇯🇵🇹🇭" * 20],
    "right to left": ["القاهرة هي عاصمة مصر وأكبر مدنها في العالم العربي"],
    "Hebrew with points": ["בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם"],
    "Korean": ["서울은 대한민국의 수도이며 가장 큰 도시이다. 인구는 약 950만 명이다."],
    "Japanese": ["東京は日本の首都であり、世界最大の都市の一つです。人口は約1400万人です。"],
    "Thai": ["กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย"],
    "Hindi": ["नई दिल्ली भारत की राजधानी है और सबसे बड़े शहरों में से एक है।"],
    "NUL": ["a\0b\0\0c d e f"],
    "control characters": ["\x01\x02 bell \x07 escape \x1b[0m done"],
    "lone combining marks": ["\u0301\u0302\u0303 a \u0e31\u0e34"],
    "a heap of accents": ["Z" + "\u0334\u0335\u0336" * 300 + " end"],
    "identical passages": ["the same words again and again"] * 5,
    "spaces around": ["   much room around   ", "\n\n\tand here\n\n"],
    "spaces within": ["a" + " " * 500 + "b c d"],
    "line breaks only between": ["a\n\n\n\n\nb\r\n\r\nc"],
    "special tokens": ["</s> <s> <pad> [INST] hello </s>"],
    "markup": ["<p>one</p><br/><p>two &amp; three</p>"],
    "numbers": ["3.14159265358979323846264338327950288419716939937510"],
    "a byte order mark": ["\ufeffhello there my friend"],
    "zero width spaces": ["one\u200btwo\u200bthree\u200bfour"],
    "replacement characters": ["\ufffd\ufffd what was this \ufffd"],
    "private use": ["\ue000\ue001 and \U000f0000"],
    "mathematics": ["∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β)"],
    "ligatures": ["ﬁnal ﬂoor ﷽ ㎞ ①②③"],
    "full width": ["Ｈｅｌｌｏ，ｗｏｒｌｄ！"],
    "mixed scripts": ["Tokyo東京 서울Seoul مرحبا hi 👋🏽 กขค"],
    "punctuation": ["..., !!! ??? --- *** ((( )))"],
    "code": ["def f(x):\n    return {k: v for k, v in x.items() if v is not None}\n"],
    "fifty passages": [f"passage number {i}" for i in range(50)],
    "short and long": ["a", "word " * 800, "b"],
    "line separators": ["one\u2028two\u2029three\x85four\x0bfive"],
    "soft hyphens": ["com\u00adpres\u00adsion of con\u00adtexts"],
    "skin tones": ["👋🏻👋🏼👋🏽👋🏾👋🏿 hello"],
    "variation selectors": ["☕️ ☎︎ ❤️‍🔥 ok"],
    "tags": ["🏴󠁧󠁢󠁥󠁮󠁧󠁿 England"],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_are_compressed_without_a_scratch(name, tiny) -> None:
    passages = ODD[name]
    count = tiny.losses.encoding.count
    total = sum(map(count, passages))
    for target in sorted({1, total // 3, total // 2, total - 1} - {0, -1}):
        found = tiny.compress(passages, target_tokens=target)
        check_budget(found, passages, target, count)


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_that_fit_stay_as_they_are(name, tiny) -> None:
    passages = ODD[name]
    for budget in ({"rate": 1}, {"target_tokens": 10**6}):
        found = tiny.compress(passages, **budget)
        assert found.texts == passages
        assert found.dropped == ()
        assert found.origin_tokens == found.compressed_tokens


@pytest.mark.parametrize(
    ("passages", "error", "message"),
    [
        ([], InputError, "there are no passages"),
        ("text", InputError, "a single passage"),
        (Passage("text"), InputError, "a single passage"),
        (["a", ""], EmptyPassageError, "passage 1 has no text"),
        (["a", " \n\u3000"], EmptyPassageError, "passage 1 has no text"),
        (["a", None], InputError, "passage 1 must be text, got NoneType"),
        ([b"bytes"], InputError, "passage 0 must be text, got bytes"),
        (["\udc80"], InputError, "surrogate"),
    ],
)
def test_what_is_no_passage_is_refused(passages, error, message, tiny) -> None:
    with pytest.raises(error, match=message):
        tiny.compress(passages, rate=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "give one of the two"),
        ({"rate": 2, "target_tokens": 3}, ConfigError, "give one of the two"),
        ({"rate": 0.5}, ConfigError, "rate must be 1 or more"),
        ({"target_tokens": 0}, ConfigError, "at least 1"),
        ({"rate": 2, "force_tokens": "the"}, ConfigError, "list of strings"),
        ({"rate": 2, "force_tokens": [""]}, ConfigError, "list of strings"),
        ({"rate": 2, "force_passages": [1]}, ConfigError, "from 0 to 0"),
        ({"rate": 2, "force_passages": [-1]}, ConfigError, "from 0 to 0"),
        ({"rate": 2, "question": 7}, InputError, "question must be text or None, got int"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error, message, tiny) -> None:
    with pytest.raises(error, match=message):
        tiny.compress(["some text to read"], **options)


def test_questions_and_passages_must_be_as_many(tiny) -> None:
    with pytest.raises(InputError, match="2 lists of passages but 1 questions"):
        tiny.compress_batch([["a"], ["b"]], questions=["q"], rate=2)
    assert tiny.compress_batch([], rate=2) == []


def test_a_count_that_is_no_number_is_refused() -> None:
    compressor, _ = stub(count_tokens=lambda text: text.split())
    with pytest.raises(ConfigError, match=r"count_tokens gave \['the'\]"):
        compressor.compress(["the"], rate=1)


@pytest.mark.parametrize("positions", [16, 40, 512])
def test_models_of_few_positions_compress_long_texts(positions) -> None:
    model = tiny_backbone("gpt_neox", max_position_embeddings=positions)
    compressor = LLMLingua(model, tokenizer=tiny_tokenizer())
    passages = ["some words " * 60, "other words " * 60]
    found = compressor.compress(passages, rate=3)
    check_budget(found, passages, 1380 // 3, compressor.losses.encoding.count)
