"""Merged adapters: the same results, the same fingerprint, and no role without its adapter."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from cocom import Cocom, CocomConfig, EncoderConfig, LoraSettings
from cocom.config import Weights
from cocom.errors import CheckpointError, InputError, ModelError
from cocom.passes import passes_of
from cocom.persistence import load_weights
from cocom.splice import pack_windows
from cocom.store import MemoryStore
from cocom.testing import Family, tiny_backbone, tiny_cocom, tiny_tokenizer
from cocom.training.step import TrainingModule
from cocom.view import CocomView

Role = Literal["read", "compress"]
ROLES: tuple[Role, ...] = ("read", "compress")
PASSAGES = ["Ada was born in Rome.", "two", "The river is long. " * 9]
ONLY_READS = "the adapter 'read' was merged into the weights, so this model cannot compress"
LIGHT = CocomConfig(
    rates=(4,), weights="separate_lora", encoder=EncoderConfig("memory_mlp", lora_r=4)
)


def config(weights: Weights = "separate_lora", **more: Any) -> CocomConfig:
    return CocomConfig(rates=(4,), weights=weights, **more)


def light() -> Cocom:
    model = tiny_cocom(LIGHT)
    assert model.encoder is not None
    with torch.no_grad():
        for name, parameter in model.encoder.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return model


def logits(model: Cocom) -> torch.Tensor:
    backbone = model.backbone
    ids = torch.tensor([backbone.text.encode_text("Who was born in Rome?")])
    with torch.no_grad(), backbone.role("read"):
        return backbone.logits(
            backbone.embed(ids),
            torch.ones_like(ids),
            torch.arange(ids.shape[1])[None],
            torch.arange(ids.shape[1]),
        )


def has_adapters(module: torch.nn.Module) -> bool:
    return any(isinstance(m, BaseTunerLayer) for m in module.modules())


def same_contexts(model: Cocom, other: Cocom) -> bool:
    pairs = zip(model.compress(PASSAGES), other.compress(PASSAGES), strict=True)
    return all(torch.allclose(a.embeddings, b.embeddings, atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize("weights", ["shared_lora", "separate_lora"])
@pytest.mark.parametrize("role", ROLES)
def test_a_merged_model_computes_the_same(weights: Weights, role: Role) -> None:
    model, merged = tiny_cocom(config(weights)), tiny_cocom(config(weights))
    contexts = model.compress(PASSAGES)
    merged.merge_adapter(role)
    assert not has_adapters(merged.backbone)
    if role == "compress" or weights == "shared_lora":
        assert same_contexts(model, merged)
    if role == "read" or weights == "shared_lora":
        assert torch.allclose(logits(model), logits(merged), atol=1e-5)
        expected = model.answer("Who?", contexts, max_new_tokens=24)
        assert merged.answer("Who?", contexts, max_new_tokens=24) == expected
    assert merged.fingerprint == model.fingerprint


def test_merging_does_something() -> None:
    model = tiny_cocom(config())
    bare = tiny_cocom(config())
    with torch.no_grad():
        for name, parameter in bare.backbone.named_parameters():
            if ".lora_B.read." in name:
                parameter.zero_()
    model.merge_adapter()
    bare.merge_adapter()
    assert not torch.allclose(logits(model), logits(bare), atol=1e-2)


@pytest.mark.parametrize("family", ["mistral", "qwen2", "gemma3", "gpt_neox"])
def test_other_families_merge_as_well(family: Family) -> None:
    targets = LoraSettings(target_modules="all-linear")
    model, merged = (tiny_cocom(config(lora=targets), family=family) for _ in range(2))
    merged.merge_adapter()
    assert torch.allclose(logits(model), logits(merged), atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # peft's own, of tied weights
def test_a_weight_that_two_layers_share_changes_only_where_the_adapter_is() -> None:
    targets = LoraSettings(target_modules=("lm_head", "q_proj"))
    model, merged = (tiny_cocom(config(lora=targets), tie_word_embeddings=True) for _ in range(2))
    words: Any = merged.backbone.model.get_input_embeddings()
    before = words.weight.clone()
    merged.merge_adapter()
    assert torch.equal(words.weight, before)
    assert torch.allclose(logits(model), logits(merged), atol=1e-5)


def test_a_light_compressor_has_an_adapter_of_its_own() -> None:
    model = light()
    merged = light()
    contexts = model.compress(PASSAGES)
    assert merged.encoder is not None
    merged.merge_adapter("compress")
    assert not has_adapters(merged.encoder)
    assert has_adapters(merged.backbone)
    assert same_contexts(model, merged)
    merged.merge_adapter("read")
    assert not has_adapters(merged.backbone)
    expected = model.answer("Who?", contexts, max_new_tokens=24)
    assert merged.answer("Who?", merged.compress(PASSAGES), max_new_tokens=24) == expected
    assert merged.fingerprint == model.fingerprint


def test_the_other_role_is_refused() -> None:
    model = tiny_cocom(config())
    contexts = model.compress(PASSAGES)
    model.merge_adapter()
    with pytest.raises(ModelError, match=ONLY_READS + r": load .* merge_adapter\('compress'\)\.$"):
        model.compress(PASSAGES)
    with pytest.raises(ModelError, match=ONLY_READS):
        model.merge_adapter("compress")
    with (
        pytest.raises(ModelError, match=ONLY_READS),
        model.backbone.role("read"),
        model.backbone.role("compress"),
    ):
        pass
    assert model.answer("Who?", contexts, max_new_tokens=2).token_ids
    model = tiny_cocom(config())
    model.merge_adapter("compress")
    with pytest.raises(ModelError, match=r"'compress' was merged .* this model cannot read"):
        model.answer("Who?", contexts)
    with pytest.raises(ModelError, match=r"'compress' was merged .* this model cannot read"):
        list(model.stream("Who?", contexts))
    assert model.compress(PASSAGES)


def test_merging_twice_is_merging_once() -> None:
    model = tiny_cocom(config())
    model.merge_adapter()
    before = logits(model)
    model.merge_adapter()
    assert torch.equal(logits(model), before)


def test_full_weights_have_nothing_to_merge(tmp_path: Path) -> None:
    model = tiny_cocom(config("full"))
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    for role in ROLES:
        model.merge_adapter(role)
    assert all(torch.equal(before[n], v) for n, v in model.backbone.state_dict().items())
    model.save_pretrained(tmp_path / "model")
    assert Cocom.from_pretrained(tmp_path / "model").fingerprint == model.fingerprint


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InputError, match="role must be 'read' or 'compress', got 'write'"):
        tiny_cocom(config()).merge_adapter("write")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: tiny_cocom(config("shared_lora")), light])
@pytest.mark.parametrize("role", ROLES)
def test_a_merged_model_is_not_saved(make: Any, role: Role, tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path / "before")
    model.merge_adapter(role)
    with pytest.raises(
        CheckpointError, match=r"an adapter was merged .* cannot be taken out exactly"
    ):
        model.save_pretrained(tmp_path / "model")
    with pytest.raises(
        CheckpointError, match=r"an adapter was merged .* cannot be taken out exactly"
    ):
        model.push_to_hub("owner/name")
    assert not (tmp_path / "model").exists()
    with pytest.raises(CheckpointError, match=r"weights in '.*before' have no place: load them"):
        load_weights(model, tmp_path / "before")


def test_a_merged_model_is_not_trained() -> None:
    model = tiny_cocom(config("shared_lora"))
    rows = [model.window_compressor.row(model.backbone.text.encode_text("Ada"), 4)]
    batch = pack_windows(rows, model.backbone.pad_id, uniform=False)
    assert batch.ids.numel()
    model.merge_adapter()
    module = TrainingModule(model)
    with pytest.raises(ModelError, match=r"'shared' was merged .* cannot be trained any more"):
        module(windows=rows, read=[])
    module.eval()
    other = light()
    other.merge_adapter("compress")
    assert other.encoder is not None
    row = other.encoder.row(other.encoder.text.encode_text("Ada"), 4)
    with pytest.raises(ModelError, match=r"'compress' was merged .* cannot be trained any more"):
        other.encoder.embed([row], train=True)
    assert len(other.encoder.embed([row]))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_merged_too(copied: Any) -> None:
    model = tiny_cocom(config())
    contexts = model.compress(PASSAGES)
    model.merge_adapter()
    other = copied(model)
    assert other.fingerprint == model.fingerprint
    expected = model.answer("Who?", contexts, max_new_tokens=4)
    assert other.answer("Who?", contexts, max_new_tokens=4) == expected
    with pytest.raises(ModelError, match=ONLY_READS):
        other.compress(PASSAGES)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_switch_their_own_adapters(copied: Any) -> None:
    model = tiny_cocom(config())
    other = copied(model)
    with model.backbone.role("compress"):
        assert same_contexts(model, other)
        layers = [m for m in other.backbone.modules() if isinstance(m, BaseTunerLayer)]
        assert all(layer.active_adapters == ["read"] for layer in layers)
    assert all(layer in other.backbone._adapted for layer in layers)


def test_an_adapter_that_somebody_switched_is_put_right() -> None:
    model, other = tiny_cocom(config()), tiny_cocom(config())
    for layer in other.backbone._adapted[::2]:
        layer.set_adapter(["compress"])
    assert torch.equal(logits(model), logits(other))


def test_roles_switch_without_freezing_anything() -> None:
    backbone = tiny_cocom(config()).backbone
    for i, parameter in enumerate(backbone.parameters()):
        parameter.requires_grad_(i % 3 == 0)
    before = [p.requires_grad for p in backbone.parameters()]
    with backbone.role("compress", train=True):
        assert [p.requires_grad for p in backbone.parameters()] == before
    assert [p.requires_grad for p in backbone.parameters()] == before


@pytest.mark.parametrize("merged_writes", [True, False])
def test_a_store_serves_merged_and_unmerged_models(merged_writes: bool) -> None:
    model, merged = tiny_cocom(config("shared_lora")), tiny_cocom(config("shared_lora"))
    merged.merge_adapter()
    writer, reader = (merged, model) if merged_writes else (model, merged)
    store = MemoryStore()
    references = CocomView(writer, store=store).compress(PASSAGES)
    view = CocomView(reader, store=store)
    assert view.compress(PASSAGES) == references
    asked = f"Who? {references[0]}"
    (answer,) = view.reply([asked], max_new_tokens=8)
    (expected,) = CocomView(writer, store=store).reply([asked], max_new_tokens=8)
    assert answer == expected
    assert answer.usage.context_rows


def test_after_an_error_the_merged_role_goes_on() -> None:
    model = tiny_cocom(config())
    contexts = model.compress(PASSAGES)
    model.merge_adapter()
    expected = model.answer("Who?", contexts, max_new_tokens=4)

    def fail(*_: object) -> None:
        raise RuntimeError("the cable is loose")

    hook = model.backbone.model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="the cable is loose"):
        model.answer("Who?", contexts)
    hook.remove()
    assert model.answer("Who?", contexts, max_new_tokens=4) == expected


def test_after_an_interruption_the_model_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_cocom(config())
    contexts = model.compress(PASSAGES)

    def fail(_: str) -> None:
        raise MemoryError

    monkeypatch.setattr(model.backbone._adapted[5], "get_delta_weight", fail)
    with pytest.raises(MemoryError):
        model.merge_adapter()
    for use in (model.merge_adapter, lambda: model.answer("Who?", contexts)):
        with pytest.raises(ModelError, match="merging the adapter 'read' was interrupted"):
            use()


def test_quantized_and_offloaded_weights_are_refused() -> None:
    model = tiny_cocom(config())
    before = logits(model)
    model.backbone.model.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(ModelError, match=r"LlamaForCausalLM keeps quantized .* lose precision"):
        model.merge_adapter()
    del model.backbone.model.config.quantization_config
    assert torch.equal(logits(model), before)
    assert model.compress(PASSAGES)

    layer = model.backbone._adapted[0].get_base_layer()
    kept = layer.weight
    layer.weight = torch.nn.Parameter(kept.to("meta"))
    with pytest.raises(ModelError, match="has weights that its device_map keeps out of memory"):
        model.merge_adapter()
    layer.weight = kept
    assert torch.equal(logits(model), before)

    layer.weight = torch.nn.Parameter(kept.to(torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"quantized weights \(Parameter, torch.int8\)"):
        model.merge_adapter()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_differs_by_rounding_only(dtype: torch.dtype) -> None:
    model = tiny_cocom(config("shared_lora"))
    model.backbone.to(dtype)
    merged = copy.deepcopy(model)
    merged.merge_adapter()
    assert {p.dtype for p in merged.backbone.parameters()} == {dtype}
    exact = copy.deepcopy(model)
    exact.backbone.float()
    wanted = logits(exact)
    wrong = [(logits(m).float() - wanted).abs().mean().item() for m in (model, merged)]
    assert wrong[1] < 2 * wrong[0] + 1e-3


def test_the_model_that_was_given_is_the_one_that_changes() -> None:
    language = tiny_backbone()
    model = Cocom(language, tiny_tokenizer(), config("shared_lora"))
    assert has_adapters(language)
    model.merge_adapter()
    assert not has_adapters(language)
    assert not hasattr(language, "peft_config")


@pytest.mark.parametrize("role", ["compress", "read"])
def test_a_merged_model_is_run_without_padding_still(role: Literal["compress", "read"]) -> None:
    model = tiny_cocom(CocomConfig(weights="separate_lora"))
    model.merge_adapter(role)
    assert passes_of(model.backbone).usable()
