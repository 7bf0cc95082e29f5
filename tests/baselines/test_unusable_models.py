"""Models that hard compressors cannot use, or not as they are: what is said, and what is computed."""

from __future__ import annotations

import copy
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    BertModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
)

from cocom.baselines import HardCompressor, LLMLingua, LLMLingua2, LongLLMLingua
from cocom.baselines.causal_losses import CausalLosses
from cocom.baselines.causal_models import load_causal_model
from cocom.baselines.kept_prefixes import KeptPrefixes
from cocom.baselines.model_files import folder_of
from cocom.errors import CheckpointError, CocomError, ConfigError, ModelError
from cocom.testing import tiny_backbone, tiny_tokenizer

PASSAGES = ["The Brooklyn Bridge opened on 24 May 1883.", "P. T. Barnum led 21 elephants."]
SMALL: dict[str, Any] = {
    "vocab_size": 261, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32,
}  # fmt: skip
SHIPPED = Path(folder_of("llmlingua2-tiny"))


def saved(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BertModel(BertConfig(**SMALL)), CheckpointError, "no trained causal language"),
        (lambda: LlamaModel(LlamaConfig(**SMALL)), CheckpointError, "no weights for lm_head"),
        (lambda: BertForMaskedLM(BertConfig(**SMALL)), ModelError, "LMHeadModel is an encoder"),
    ],
)
def test_what_is_no_causal_language_model_is_refused(
    make: Callable[[], PreTrainedModel], error: type[CocomError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        LLMLingua(saved(make(), tmp_path), device="cpu")


def test_a_loaded_encoder_is_refused() -> None:
    with pytest.raises(ModelError, match="BertForMaskedLM is an encoder"):
        LLMLingua(BertForMaskedLM(BertConfig(**SMALL)), tokenizer=tiny_tokenizer())


def test_a_classifier_of_other_labels_is_refused() -> None:
    model = BertForTokenClassification(BertConfig(**{**SMALL, "num_labels": 3}))
    with pytest.raises(ModelError, match=r"of the 3 labels .* called 'keep' or the like"):
        LLMLingua2(model, tokenizer=tiny_tokenizer())
    model.config.label2id = {"drop": 0, "unsure": 1, "Keep": 2}
    assert LLMLingua2(model, tokenizer=tiny_tokenizer()).classifier.keep == 2


def test_a_classifier_too_short_for_the_package_s_windows_is_refused() -> None:
    model = BertForTokenClassification(BertConfig(**{**SMALL, "max_position_embeddings": 64}))
    with pytest.raises(ConfigError, match="512 tokens, but the classifier reads no more than 64"):
        LLMLingua2(model, tokenizer=tiny_tokenizer(), compat="llmlingua")


def test_the_tokenizer_of_another_model_is_refused() -> None:
    causal = tiny_backbone(vocab_size=100)
    with pytest.raises(ModelError, match="but the model has 100 of them"):
        LLMLingua(causal, tokenizer=tiny_tokenizer()).compress(PASSAGES, rate=2)
    classifier = BertForTokenClassification(BertConfig(**{**SMALL, "vocab_size": 100}))
    with pytest.raises(ModelError, match="but the model has 100 of them"):
        LLMLingua2(classifier, tokenizer=tiny_tokenizer()).compress(PASSAGES, rate=2)


def test_numbers_that_are_none_are_refused() -> None:
    causal: Any = tiny_backbone()
    classifier = BertForTokenClassification(BertConfig(**SMALL))
    with torch.no_grad():
        causal.lm_head.weight[7] = float("nan")
        classifier.classifier.weight[0] = float("nan")
    with pytest.raises(ModelError, match="losses that are no numbers"):
        LLMLingua(causal, tokenizer=tiny_tokenizer()).compress(PASSAGES, rate=2)
    with pytest.raises(ModelError, match="probabilities that are no numbers"):
        LLMLingua2(classifier, tokenizer=tiny_tokenizer()).compress(PASSAGES, rate=2)


def _cut(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 1000)


def _other_size(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"vocab_size": 8192', '"vocab_size": 8190'))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_cut, CheckpointError, "cannot be loaded"),
        (_other_size, CheckpointError, "cannot be loaded"),
        (_no_tokenizer, ModelError, "has no vocabulary but its special tokens"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_classifier_is_refused(
    damage: Callable[[Path], None], error: type[CocomError], message: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(SHIPPED, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(error, match=message):
        LLMLingua2(folder, device="cpu")


@pytest.mark.parametrize("method", [LLMLingua, LLMLingua2])
def test_a_device_that_there_is_not(method: Callable[..., HardCompressor]) -> None:
    with pytest.raises(ConfigError, match="device 'warp' is unknown"):
        method(device="warp")


# What ships, and shorter types


def test_what_ships_loads_offline_from_anywhere(tmp_path: Path) -> None:
    code = (
        "from cocom.baselines import LLMLingua2\n"
        "made = LLMLingua2(device='cpu')\n"
        "print(made.classifier.model.dtype, made.compress(['It is 486 metres long.'], rate=2).texts)"
    )
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch.float32 ['")
    assert done.stderr == ""


def test_a_folder_of_the_same_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(folder_of("llmlingua2-tiny")) == SHIPPED
    (tmp_path / "llmlingua2-tiny").mkdir()
    assert folder_of("llmlingua2-tiny") == "llmlingua2-tiny"
    assert folder_of("other/llmlingua2-tiny") == "other/llmlingua2-tiny"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_shorter_weights_are_computed_in_float32_on_a_cpu(
    kind: torch.dtype, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier: Any = BertForTokenClassification(BertConfig(**SMALL))
    classifier.to(kind)
    causal: Any = tiny_backbone()
    folder = saved(classifier, tmp_path / "classifier")
    loaded = LLMLingua2(folder, device="cpu").classifier
    assert loaded.model.dtype == torch.float32
    exact = LLMLingua2(classifier.float(), tokenizer=tiny_tokenizer()).classifier
    ids = loaded.pieces(PASSAGES[0]).ids
    assert loaded.of([ids]) == exact.of([ids])
    assert LLMLingua2(folder, device="cpu", dtype=kind).classifier.model.dtype == kind
    if kind == torch.float16:
        folder = saved(causal.to(kind), tmp_path / "causal")
        assert load_causal_model(folder, device="cpu")[0].dtype == torch.float32
        assert load_causal_model(folder, device="cpu", dtype="auto")[0].dtype == kind


# Copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_sees_nothing_special_in_a_text_either(copied: Callable[[Any], Any]) -> None:
    causal = LLMLingua(tiny_backbone(), tokenizer=tiny_tokenizer())
    classifier = LLMLingua2(device="cpu")
    for made, text in ((causal, "a </s> b <s>"), (classifier, "a [SEP] b [CLS]")):
        again = copied(made)
        assert again.count_tokens(text) == made.count_tokens(text)
        passages = [*PASSAGES, text]
        assert again.compress(passages, rate=2) == made.compress(passages, rate=2)


# Padding, and positions that run out


def some(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(5, 260) for _ in range(count)]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gpt_neo", {"num_hidden_layers": 2, "num_heads": 2, "window_size": 16,
                     "attention_types": [[["global", "local"], 1]]}),
        ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 512}),
        ("mistral", {"sliding_window": 600, "num_key_value_heads": 2}),
    ],
)  # fmt: skip
def test_padding_does_not_count_as_tokens(family: str, settings: dict[str, Any]) -> None:
    config = AutoConfig.for_model(family, **{**SMALL, "initializer_range": 0.3, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    losses = CausalLosses(model, tiny_tokenizer())
    assert losses.together(20, 600) == 1
    rng = random.Random(0)
    counts = (1200, 700, 30) if family == "mistral" else (90, 40, 7)
    rows: list[tuple[list[int], list[int]]] = [(some(rng, 3), some(rng, n)) for n in counts]
    for row, found in zip(rows, losses.of(rows), strict=True):
        np.testing.assert_allclose(found, losses.of([row])[0], atol=1e-5)


def test_the_question_stays_where_positions_run_out() -> None:
    rng = random.Random(0)
    losses = CausalLosses(tiny_backbone("gpt_neox", max_position_embeddings=32), tiny_tokenizer())
    question, kept, window = some(rng, 8), some(rng, 60), some(rng, 5)
    prefixes = KeptPrefixes(losses, [question], [len(question)])
    prefixes.keep([kept])
    # 32 positions less the start token, the question and the window leave 18; of these 13.
    expected = losses.of([([*question, *kept[-13:]], window)])[0]
    np.testing.assert_allclose(prefixes.score([window])[0], expected, atol=1e-5)
    assert prefixes.score([some(rng, 70)])[0].shape == (70,)


@pytest.mark.parametrize("length", [1, 12, 35])
def test_long_texts_are_scored_for_the_question_to_their_end(length: int) -> None:
    model = tiny_backbone("gpt_neox", max_position_embeddings=200)
    compressor = LongLLMLingua(model, tokenizer=tiny_tokenizer())
    text = "some words and others " * 40
    found = [
        compressor.compress([text], question=letter * length, rate=2) for letter in ("a", "zq")
    ]
    assert all(one.compressed_tokens == 440 for one in found)
    # Far behind the first positions the question still decides on what stays.
    ends = [[span for span in one.passages[0].spans if span[0] > 500] for one in found]
    assert ends[0] != ends[1]


def test_questions_of_any_length_go_together_where_positions_run_out() -> None:
    model = tiny_backbone("gpt_neox", max_position_embeddings=200)
    compressor = LongLLMLingua(model, tokenizer=tiny_tokenizer())
    text = "some words and others " * 30
    questions = ["a", "zq" * 35, "who was it?"]
    together = compressor.compress_batch([[text]] * 3, questions=questions, rate=2)
    for question, found in zip(questions, together, strict=True):
        assert found == compressor.compress([text], question=question, rate=2)
