"""The straightforward way gives what ours gives, or comparing their times would mean nothing."""

from __future__ import annotations

import pytest
import torch

from cocom import CocomConfig
from cocom.benchmark import straightforward
from cocom.benchmark.exact import check_lengths, endless
from cocom.errors import ModelError
from cocom.testing import tiny_cocom

PASSAGES = [
    "Ada was born in Rome.",
    "Bo plays the harp in Oslo, where the winters are long and the houses are warm. " * 3,
    "Cy sells lamps.",
]

CONFIGS = [
    CocomConfig(),
    CocomConfig(memory_positions="uniform", memory_tokens="per_rate"),
    CocomConfig(weights="separate_lora", rates=(16,)),
    CocomConfig(embedding_count="fixed", memory_tokens="distinct", rates=(16,)),
]


@pytest.fixture(params=CONFIGS, ids=["plain", "uniform", "lora", "fixed"])
def model(request):
    return tiny_cocom(request.param)


def test_both_ways_give_the_same_embeddings(model) -> None:
    for rate in model.config.rates:
        ours = model.compress(PASSAGES, rate=rate)
        plain = straightforward.compress(model, PASSAGES, rate=rate, batch_size=2)
        assert len(plain) == len(ours) == 3
        for mine, other in zip(ours, plain, strict=True):
            torch.testing.assert_close(mine.embeddings, other, rtol=1e-4, atol=1e-5)


def test_both_ways_give_the_same_tokens(model) -> None:
    compressed = model.compress(PASSAGES, rate=model.config.rates[-1])
    for passages in ([], PASSAGES, compressed, [*PASSAGES[:1], *compressed]):
        with endless(model):
            plain = straightforward.answer(model, "Who?", passages, max_new_tokens=12)
            assert list(model.answer("Who?", passages, max_new_tokens=12).token_ids) == plain
        assert len(plain) == 12


def test_both_ways_end_where_the_model_ends() -> None:
    # The third token that the model writes is made its end.
    model = tiny_cocom()
    third = straightforward.answer(model, "Who?", PASSAGES, max_new_tokens=12)[2]
    network = model.backbone.model
    network.generation_config.eos_token_id = [third]
    model = type(model)(network, model.backbone.text.tokenizer, model.config)
    plain = straightforward.answer(model, "Who?", PASSAGES, max_new_tokens=12)
    assert list(model.answer("Who?", PASSAGES, max_new_tokens=12).token_ids) == plain
    assert plain[-1] == third
    with endless(model):
        assert len(model.answer("Who?", PASSAGES, max_new_tokens=12).token_ids) == 12
    assert model._reader.ends == {third, model.backbone.text.eos_id}


def test_a_checkpoint_s_own_generation_settings_change_neither_way() -> None:
    model = tiny_cocom()
    before = straightforward.answer(model, "Who?", PASSAGES, max_new_tokens=12)
    settings = model.backbone.model.generation_config
    settings.repetition_penalty = 5.0
    assert straightforward.answer(model, "Who?", PASSAGES, max_new_tokens=12) == before
    assert list(model.answer("Who?", PASSAGES, max_new_tokens=12).token_ids) == before
    assert model.backbone.model.generation_config is settings


def test_every_passage_is_padded_to_the_full_window(monkeypatch) -> None:
    model = tiny_cocom()
    shapes = []
    network = model.backbone.model
    network.register_forward_hook(lambda m, a, output: shapes.append(tuple(output.logits.shape)))
    straightforward.compress(model, PASSAGES, rate=4, batch_size=4)
    # Five windows in two batches: <ENC>, <s>, 128 tokens, </s>, and 32 memory tokens.
    full, vocabulary = straightforward.full_rows(model, 4), network.config.vocab_size
    assert full == 163
    assert shapes == [(4, full, vocabulary), (1, full, vocabulary)]


def test_answers_of_another_length_are_no_measurement() -> None:
    check_lengths([32, 32], 32)
    with pytest.raises(ModelError, match="1 of 2 answers have another length, such as 7 tokens"):
        check_lengths([32, 7], 32)


def test_after_an_endless_block_answers_end_as_before() -> None:
    model = tiny_cocom()
    head = model.backbone.model.get_output_embeddings()
    end, state = model.backbone.text.eos_id, torch.zeros(1, 32)
    with torch.no_grad(), endless(model):
        assert head(state)[0, end] == float("-inf")
    with pytest.raises(ZeroDivisionError), endless(model):
        _ = 1 / 0
    with torch.no_grad():
        assert head(state)[0, end] == 0
