"""Losses: each token's own, whatever the length, the batch and what was read before."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cocom.baselines.causal_losses import CausalLosses
from cocom.baselines.causal_models import load_causal_model
from cocom.baselines.kept_prefixes import KeptPrefixes
from cocom.errors import CheckpointError, ConfigError, InputError, ModelError
from cocom.testing import tiny_backbone, tiny_tokenizer

FAMILIES = ("llama", "mistral", "qwen3", "gemma2", "gemma3", "gpt_neox")


def some(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(5, 250) for _ in range(count)]


def plain(losses: CausalLosses, before: list[int], ids: list[int]) -> np.ndarray:
    """One pass over everything, and each token's loss from the logits of the token before it."""
    row = torch.tensor([[*losses.start, *before, *ids]])
    with torch.no_grad():
        logits = losses.model(input_ids=row, use_cache=False).logits[0]
    return F.cross_entropy(logits[:-1], row[0, 1:], reduction="none").numpy()[-len(ids) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_those_of_one_plain_pass(family) -> None:
    rng = random.Random(family)
    losses = CausalLosses(tiny_backbone(family), tiny_tokenizer())
    lengths = [(0, 1), (0, 120), (3, 7), (40, 600), (1300, 20), (0, 1200)]
    rows = [(some(rng, a), some(rng, b)) for a, b in lengths]
    for (before, ids), found in zip(rows, losses.of(rows), strict=True):
        np.testing.assert_allclose(found, plain(losses, before, ids), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_are_scored_behind_what_was_kept(family) -> None:
    rng = random.Random(family)
    losses = CausalLosses(tiny_backbone(family), tiny_tokenizer())
    kept = [some(rng, count) for count in (0, 9, 30, 2)]
    prefixes = KeptPrefixes(losses, kept)
    for turn, lengths in enumerate([(5, 0, 50, 20), (30, 30, 30, 30), (7, 12), (3, 0)]):
        if turn == 2:
            prefixes.select([0, 3])
            kept = [kept[0], kept[3]]
        windows = [some(rng, length) for length in lengths]
        for before, window, found in zip(kept, windows, prefixes.score(windows), strict=True):
            assert len(found) == len(window)
            if window:
                np.testing.assert_allclose(found, plain(losses, before, window), atol=1e-5)
        stays = [[token for token in window if rng.random() < 0.5] for window in windows]
        prefixes.keep(stays)
        for before, more in zip(kept, stays, strict=True):
            before.extend(more)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3"])
def test_layers_that_see_a_few_tokens_only_are_given_no_padding(family) -> None:
    rng = random.Random(0)
    losses = CausalLosses(tiny_backbone(family, sliding_window=16), tiny_tokenizer())
    rows: list[tuple[list[int], list[int]]] = [([], some(rng, count)) for count in (5, 30, 700)]
    for (_, ids), found in zip(rows, losses.of(rows), strict=True):
        np.testing.assert_allclose(found, plain(losses, [], ids), atol=1e-5)


def test_a_model_of_few_positions_reads_on_behind_what_fits() -> None:
    rng = random.Random(0)
    losses = CausalLosses(tiny_backbone("gpt_neox", max_position_embeddings=32), tiny_tokenizer())
    before, ids = some(rng, 100), some(rng, 10)
    prefixes = KeptPrefixes(losses, [before])
    # 32 positions less the start token and the window leave 21; three quarters of these are 15.
    np.testing.assert_allclose(
        prefixes.score([ids])[0], plain(losses, before[-15:], ids), atol=1e-5
    )
    prefixes.keep([ids[:4]])
    np.testing.assert_allclose(
        prefixes.score([ids])[0], plain(losses, before[-15:] + ids[:4], ids), atol=1e-5
    )
    long = some(rng, 333)
    found = losses.of([(before, long)])[0]
    assert found.shape == (333,)
    assert np.isfinite(found).all()
    windows = prefixes.score([long])[0]
    assert windows.shape == (333,)


def test_without_a_start_token_the_first_token_is_a_guess() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = tokenizer.eos_token = None
    losses = CausalLosses(tiny_backbone(), tokenizer)
    ids = some(random.Random(0), 9)
    alone, behind = losses.of([((), ids), (ids[:2], ids[2:])])
    assert alone[0] == pytest.approx(np.log(len(tokenizer)))
    np.testing.assert_allclose(alone[2:], behind, atol=1e-5)


def test_the_end_token_stands_in_for_a_missing_start_token() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = None
    assert CausalLosses(tiny_backbone(), tokenizer).start == (tokenizer.eos_token_id,)


def test_train_mode_comes_back_also_after_an_error() -> None:
    losses = CausalLosses(tiny_backbone(), tiny_tokenizer())
    losses.model.train()
    losses.model.lm_head.eval()
    losses.of([((), [5, 6, 7])])
    assert losses.model.training
    assert not losses.model.lm_head.training
    with pytest.raises(ModelError, match="gives token 1000000 but the model has 261"):
        losses.of([((), [5, 10**6])])
    assert losses.model.training
    assert not losses.model.lm_head.training
    assert torch.is_grad_enabled()


def test_threads_take_turns() -> None:
    losses = CausalLosses(tiny_backbone(), tiny_tokenizer())
    losses.model.train()
    ids = some(random.Random(0), 80)
    expected = losses.of([((), ids)])[0]
    found: list[np.ndarray] = []

    def work() -> None:
        found.extend(losses.of([((), ids)])[0] for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all((one == expected).all() for one in found)


def test_bfloat16_stays_bfloat16_and_losses_come_in_float32() -> None:
    model: Any = tiny_backbone().to(torch.bfloat16)  # type: ignore[arg-type]
    losses = CausalLosses(model, tiny_tokenizer())
    ids = some(random.Random(0), 50)
    full = CausalLosses(tiny_backbone(), tiny_tokenizer()).of([((), ids)])[0]
    found = losses.of([((), ids)])[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, full, atol=0.5)


def test_special_tokens_in_a_text_are_text() -> None:
    encoding = CausalLosses(tiny_backbone(), tiny_tokenizer()).encoding
    assert encoding.count("</s>") == 4
    assert encoding.ids("[INST]") != [3]


def test_half_a_surrogate_pair_is_refused() -> None:
    encoding = CausalLosses(tiny_backbone(), tiny_tokenizer()).encoding
    with pytest.raises(InputError, match="surrogate"):
        encoding.encode(["\ud800"])


def test_a_tokenizer_that_knows_no_places_is_refused() -> None:
    with pytest.raises(ModelError, match="no fast backend"):
        CausalLosses(tiny_backbone(), object())  # type: ignore[arg-type]


def test_a_model_that_reads_next_to_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="is 8: take one that reads at least 16"):
        CausalLosses(tiny_backbone(max_position_embeddings=8), tiny_tokenizer())


def test_models_are_loaded_by_name_folder_or_as_they_are(tmp_path) -> None:
    model, tokenizer = load_causal_model("cocom-tiny", dtype="float32", device="cpu")
    assert model.dtype == torch.float32
    assert not model.training
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_causal_model(tmp_path, dtype=torch.bfloat16)
    assert again.dtype == torch.bfloat16
    same, _ = load_causal_model(model, tokenizer)
    assert same is model


def test_what_cannot_be_loaded_is_said(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_causal_model(tmp_path)
    with pytest.raises(ConfigError, match="give its tokenizer too"):
        load_causal_model(tiny_backbone())
    with pytest.raises(ConfigError, match="move the model itself"):
        load_causal_model(tiny_backbone(), tiny_tokenizer(), device="cpu")
    with pytest.raises(ConfigError, match="dtype 'float99' is unknown"):
        load_causal_model("cocom-tiny", dtype="float99")
