"""Which models are run without padding, and that every model answers the same either way."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from cocom import Cocom, CocomConfig, GenerationOptions, Turn
from cocom.attention import NAME, Packed, Stepped
from cocom.config import MemoryPositions, Weights
from cocom.passes import Passes, passes_of
from cocom.reader import Reader, ReadRequest
from cocom.testing import Family, tiny_cocom, tiny_tokenizer
from tests.running.lines import written

FAMILIES: tuple[Family, ...] = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3", "gpt_neox")
WINDOWS: dict[Family, dict[str, Any]] = {
    "mistral": {"sliding_window": 4},
    "qwen2": {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 1},
    "gemma3": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
}
FACTORS = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
ROPES: dict[str, dict[str, Any]] = {
    "linear": {"factor": 2.0},
    "yarn": {"factor": 2.0},
    "llama3": {
        "factor": 2.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "dynamic": {"factor": 2.0},
    "longrope": {**FACTORS, "factor": 2.0, "original_max_position_embeddings": 64},
}


def requests(model: Cocom) -> list[ReadRequest]:
    """Prompts of uneven lengths, with contexts and without, two of them of one length."""
    one, two = model.compress(["Ada was born in Rome.", "The river is long, and so is this text."])
    talks: list[list[Turn]] = [
        [Turn("user", "Who?")],
        [Turn("user", "Why?")],
        [Turn("system", [one, two]), Turn("user", "Where was it, and what about the river?")],
        [Turn("user", [two, "What?"])],
        [Turn("user", [one, one, "x"])],
    ]
    return [model.chat_request(talk) for talk in talks]


def check(model: Cocom) -> None:
    """Both runners write the same, also where answers end at different times."""
    asked = requests(model)
    reader = model._reader
    options = GenerationOptions(max_new_tokens=10)
    want = written(model, asked, options, runner=reader._generating)
    assert written(model, asked, options, runner=reader._decoding) == want
    assert [written(model, [r], options, runner=reader._decoding)[0] for r in asked] == want
    third = [answer.token_ids[:3][-1] for answer in want]
    stops = GenerationOptions(max_new_tokens=10, stop=tuple("aeinost ,.\n"))
    want = written(model, asked, stops, runner=reader._generating)
    assert written(model, asked, stops, runner=reader._decoding, most=3) == want
    # Some of the tokens that it writes are ends now.
    language_model: Any = model.backbone.model
    language_model.generation_config.eos_token_id = [2, *third[::2]]
    model._reader = reader = Reader(model.backbone)
    want = written(model, asked, options, runner=reader._generating)
    assert {answer.finish_reason for answer in want} >= {"stop"}
    assert written(model, asked, options, runner=reader._decoding, most=3) == want
    assert language_model.config._attn_implementation != NAME


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_run_without_padding_and_answer_the_same(family: Family) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family=family, tie_word_embeddings=False)
    assert passes_of(model.backbone).usable()
    assert model._reader.runner(GenerationOptions()) is model._reader._decoding
    assert model._reader.runner(GenerationOptions(beams=2)) is model._reader._generating
    check(model)


@pytest.mark.parametrize("positions", ["end", "uniform"])
@pytest.mark.parametrize("weights", ["full", "shared_lora", "separate_lora"])
def test_adapters_and_positions(weights: Weights, positions: MemoryPositions) -> None:
    config = CocomConfig(rates=(4,), window=16, weights=weights, memory_positions=positions)
    model = tiny_cocom(config)
    assert passes_of(model.backbone).usable()
    check(model)


@pytest.mark.parametrize("family", WINDOWS)
def test_windows_smaller_than_a_prompt(family: Family) -> None:
    model = tiny_cocom(
        CocomConfig(rates=(4,)), family=family, tie_word_embeddings=False, **WINDOWS[family]
    )
    assert passes_of(model.backbone).usable()
    wide = tiny_cocom(CocomConfig(rates=(4,)), family=family, tie_word_embeddings=False)
    options = GenerationOptions(max_new_tokens=10)
    assert written(model, requests(model), options) != written(wide, requests(wide), options)
    check(model)


def test_what_has_something_in_its_attention_that_others_lack_is_run_by_generate() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family="gemma2", tie_word_embeddings=False)
    assert not passes_of(model.backbone).usable()
    options = GenerationOptions(max_new_tokens=6)
    assert model._reader.runner(options) is model._reader._generating
    asked = requests(model)
    together = written(model, asked, options, runner=model._reader.runner(options))
    assert together == [model._reader.read([request], options)[0] for request in asked]
    assert together == model._reader.read(asked, options, batch_size=2)


@pytest.mark.parametrize("kind", ROPES)
def test_positions_that_depend_on_the_longest_prompt_are_left_to_generate(kind: str) -> None:
    rope = {"rope_type": kind, "rope_theta": 10000.0, **ROPES[kind]}
    model = tiny_cocom(CocomConfig(rates=(4,)), rope_parameters=rope)
    even = kind not in ("dynamic", "longrope")
    assert passes_of(model.backbone).usable() == even
    if even:
        check(model)
    else:
        assert model.answer("Who?", model.compress(["Some text."]), max_new_tokens=3).token_ids


def unmasked(self: Stepped, window: int | None) -> None:
    return None


def not_scaled(attend: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def wrong(self: Packed, layer: int, q: Any, k: Any, v: Any, scale: Any, window: Any) -> Any:
        return attend(self, layer, q, k, v * 1.01, scale, window)

    return wrong


def refusing(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("no such kernel")


@pytest.mark.parametrize("broken", ["mask", "nearly", "kernel", "step"])
def test_an_attention_that_is_wrong_is_found_out_and_not_used(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tiny_cocom(CocomConfig(rates=(4,)))
    options = GenerationOptions(max_new_tokens=8)
    contexts = right.compress(["Ada was born in Rome.", "The river."])
    want = right.answer_batch(["Who?", "Where?"], [contexts, []], max_new_tokens=8)
    if broken == "mask":
        monkeypatch.setattr(Stepped, "_seen", unmasked)
    elif broken == "nearly":
        monkeypatch.setattr(Packed, "attend", not_scaled(Packed.attend))
    elif broken == "kernel":
        monkeypatch.setattr(Packed, "attend", refusing)
    else:
        monkeypatch.setattr(Stepped, "attend", refusing)
    model = tiny_cocom(CocomConfig(rates=(4,)))
    assert not passes_of(model.backbone).usable()
    assert model._reader.runner(options) is model._reader._generating
    again = model.compress(["Ada was born in Rome.", "The river."])
    for one, other in zip(contexts, again, strict=True):
        torch.testing.assert_close(one.embeddings, other.embeddings)
    assert model.answer_batch(["Who?", "Where?"], [again, []], max_new_tokens=8) == want
    assert model.backbone.model.config._attn_implementation != NAME


def test_too_little_memory_to_try_is_no_reason_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_cocom()

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(Packed, "attend", full)
        with pytest.raises(torch.OutOfMemoryError):
            passes_of(model.backbone).usable()
    assert passes_of(model.backbone).usable()


def test_a_model_is_tried_once_and_again_when_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[torch.dtype] = []
    real = Passes._agrees

    def counted(self: Passes) -> bool:
        tried.append(self._backbone.dtype)
        return real(self)

    monkeypatch.setattr(Passes, "_agrees", counted)
    model = tiny_cocom(CocomConfig(rates=(4,)))
    assert not tried  # loading a model takes no longer than it has to
    for _ in range(3):
        model.answer("Who?", model.compress(["Some text."]), max_new_tokens=2)
    assert tried == [torch.float32]
    model.backbone.to(torch.bfloat16)
    assert model.answer("Who?", model.compress(["Some text."]), max_new_tokens=2)
    assert tried == [torch.float32, torch.bfloat16]
    language_model: Any = model.backbone.model
    language_model.set_attn_implementation("eager")
    assert not passes_of(model.backbone).usable()
    assert model.answer("Who?", model.compress(["Some text."]), max_new_tokens=2)
    language_model.set_attn_implementation("sdpa")
    assert passes_of(model.backbone).usable()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_run_without_padding(dtype: torch.dtype) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)))
    model.backbone.to(dtype)
    assert passes_of(model.backbone).usable()
    options = GenerationOptions(max_new_tokens=4)
    for answer in written(model, requests(model), options):
        assert len(answer.token_ids) == 4


def test_the_model_is_in_the_mode_it_was_in() -> None:
    model = tiny_cocom(CocomConfig(weights="separate_lora"))
    network = model.backbone.model
    for mode in (True, False):
        network.train(mode)
        assert passes_of(model.backbone).usable()
        model.answer("Who?", model.compress(["Some text."]), max_new_tokens=2)
        assert {module.training for module in network.modules()} == {mode}
    assert all(p.requires_grad for n, p in network.named_parameters() if "lora" in n)


@pytest.mark.parametrize("positions", ["end", "uniform"])
def test_compressing_end_to_end_is_compressing_with_padding(positions: MemoryPositions) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=16, memory_positions=positions))
    compressor: Any = model.window_compressor
    rows = [compressor.row(list(range(10, 10 + n)), 4) for n in (1, 16, 16, 5)]
    found = compressor.embed(rows)
    assert not found.requires_grad
    padded = compressor.embed(rows, train=True)
    assert padded.requires_grad
    torch.testing.assert_close(found, padded.detach(), atol=1e-5, rtol=1e-4)


def test_a_model_that_nobody_holds_any_more_is_let_go() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)))
    model.answer("Who?", model.compress(["Some text."]), max_new_tokens=2)
    held = weakref.ref(model.backbone)
    del model
    gc.collect()
    assert held() is None


@pytest.mark.parametrize(("kind", "usable"), [("phimoe", False), ("mistral", True)])
def test_windows_that_only_the_mask_knows_are_left_to_generate(kind: str, usable: bool) -> None:
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tiny_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
        pad_token_id=0,
    )
    model = Cocom(AutoModelForCausalLM.from_config(config).eval(), tiny_tokenizer())
    assert passes_of(model.backbone).usable() is usable
