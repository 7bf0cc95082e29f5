"""Loading options: memory, types, variants of the formats that no golden file has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cocom import Cocom
from cocom.checkpoints.published import reproduce
from cocom.errors import CheckpointError, InputError
from cocom.testing import tiny_backbone, tiny_encoder, tiny_tokenizer


def config_with(source: Path, target: Path, **values: Any) -> Path:
    shutil.copytree(source, target)
    path = target / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return target


@pytest.mark.parametrize("fast", [False, True], ids=["slow", "fast"])
def test_the_stored_type_and_others(
    fast: bool, cocom_v1: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocom.checkpoints.loading.fast_bfloat16", lambda: fast)
    for dtype, expected in (
        ("auto", torch.bfloat16),
        (None, torch.bfloat16 if fast else torch.float32),
        ("float16", torch.float16),
        ("float32", torch.float32),
    ):
        model = Cocom.from_pretrained(cocom_v1, base=base, device="cpu", dtype=dtype)
        kinds = {p.dtype for part in model.modules().values() for p in part.parameters()}
        assert kinds == {expected}
        assert model.compress(["Ada was born in Rome."])[0].embeddings.dtype == expected


def test_attention_is_handed_on(cocom_v1: Path, base: Path) -> None:
    model = Cocom.from_pretrained(cocom_v1, base=base, device="cpu", attn_implementation="eager")
    assert model.backbone.model.config._attn_implementation == "eager"


def test_a_device_map_is_handed_on(pisco: Path, base: Path) -> None:
    pytest.importorskip("accelerate")
    model = Cocom.from_pretrained(pisco, base=base, device_map={"": "cpu"})
    assert model.answer("Who?", model.compress(["Ada."]), max_new_tokens=2).token_ids


def test_layouts_differ_where_they_should(cocom_v1: Path, base: Path) -> None:
    options: dict[str, Any] = {"base": base, "device": "cpu", "dtype": "float32"}
    fixed = Cocom.from_pretrained(cocom_v1, **options)
    append = Cocom.from_pretrained(cocom_v1, layout="append", **options)
    text = "Ada was born in Rome."  # 21 tokens
    a, b = fixed.compress([text])[0], append.compress([text])[0]
    assert (len(a), len(b)) == (8, 2)
    assert torch.allclose(a.embeddings[:2], b.embeddings, atol=1e-5)
    assert fixed.fingerprint != append.fingerprint


@pytest.mark.filterwarnings("ignore")  # torchao's own
def test_eight_bit_through_torchao(pisco: Path, base: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed")
    options: dict[str, Any] = {"base": base, "device": "cpu", "dtype": "bfloat16"}
    whole = Cocom.from_pretrained(pisco, **options)
    model = Cocom.from_pretrained(pisco, quantization="8bit", **options)
    assert model.fingerprint != whole.fingerprint
    a, b = (m.compress(["Ada was born in Rome."])[0].embeddings.float() for m in (whole, model))
    assert 0 < (a - b).abs().max() < a.std()
    assert model.answer("Who?", model.compress(["Ada."]), max_new_tokens=2).token_ids
    with pytest.raises(CheckpointError, match="quantized weights cannot be saved"):
        model.save_pretrained(tmp_path / "model")


def test_quantization_without_a_library(
    pisco: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    from cocom.errors import MissingExtraError

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'8bit' needs the package 'bitsandbytes'"):
        Cocom.from_pretrained(pisco, base=base, device="cpu", quantization="8bit")


def test_several_lengths_and_extra_tokens(pisco: Path, base: Path, tmp_path: Path) -> None:
    folder = config_with(pisco, tmp_path / "a", doc_max_length=140)
    model = Cocom.from_pretrained(folder, base=base, device="cpu")
    assert (model.config.window, len(model.compress(["Ada."])[0])) == (140, 8)
    hub = Cocom.from_pretrained(folder, base=base, layout="hub128", device="cpu")
    assert (hub.config.window, len(hub.compress(["Ada."])[0])) == (128, 8)
    folder = config_with(pisco, tmp_path / "b", kbtc_training=True)
    with pytest.raises(CheckpointError, match=r"embed_tokens.weight' has shape \(272, .*\(273, "):
        Cocom.from_pretrained(folder, base=base, device="cpu")
    layers = torch.load(folder / "decoder_first_last_layers.pth", weights_only=True)
    grown = {k: torch.cat([v, v[:1]]) for k, v in layers.items()}
    torch.save(grown, folder / "decoder_first_last_layers.pth")
    model = Cocom.from_pretrained(folder, base=base, device="cpu")
    assert model.config.control_token_names()[-1] == "<KBTC>"


def test_copies_of_the_embedding_among_the_adapters_are_ignored(
    pisco: Path, base: Path, tmp_path: Path
) -> None:
    shutil.copytree(pisco, tmp_path / "copy")
    adapters = torch.load(tmp_path / "copy" / "adapters.pth", weights_only=True)
    layers = torch.load(pisco / "decoder_first_last_layers.pth", weights_only=True)
    for adapter in adapters.values():
        adapter.update(layers)
    torch.save(adapters, tmp_path / "copy" / "adapters.pth")
    loaded = [Cocom.from_pretrained(f, base=base, device="cpu") for f in (pisco, tmp_path / "copy")]
    assert loaded[0].fingerprint == loaded[1].fingerprint


def test_the_retrievers_adapter_of_clara_is_left_aside(
    pisco: Path, base: Path, tmp_path: Path
) -> None:
    folder = config_with(pisco, tmp_path / "clara", model_type="CLaRa")
    adapters = torch.load(folder / "adapters.pth", weights_only=True)
    torch.save(
        {**adapters, "query_reasoner_adapter": adapters["decoder_adapter"]}, folder / "adapters.pth"
    )
    model = Cocom.from_pretrained(folder, base=base, device="cpu")
    assert model.config.prompt.enable_thinking is False
    (folder / "config.json").write_text((pisco / "config.json").read_text())
    with pytest.raises(CheckpointError, match="does not tell of: query_reasoner_adapter"):
        Cocom.from_pretrained(folder, base=base, device="cpu")


def test_one_adapter_for_both_roles(pisco: Path, base: Path, tmp_path: Path) -> None:
    folder = config_with(pisco, tmp_path / "one", training_form="both")
    adapters = torch.load(folder / "adapters.pth", weights_only=True)
    torch.save({"decoder_adapter": adapters["decoder_adapter"]}, folder / "adapters.pth")
    model = Cocom.from_pretrained(folder, base=base, device="cpu")
    assert model.config.weights == "shared_lora"
    assert model.answer("Who?", model.compress(["Ada."]), max_new_tokens=2).token_ids


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny-bert"
    model, tokenizer = tiny_encoder()
    model.save_pretrained(folder)
    # As BERT's own tokenizer does, put the special tokens around by itself.
    from tokenizers.processors import TemplateProcessing

    ids = [("<s>", 1), ("</s>", 2)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ids
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def light(cocom_v1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light checkpoint with the mean map and without LoRA."""
    folder = tmp_path_factory.mktemp("published") / "light"
    folder.mkdir()
    decoder = tiny_backbone(seed=3)
    decoder.resize_token_embeddings(len(tiny_tokenizer()) + 4, mean_resizing=False)
    encoder, _ = tiny_encoder(seed=5)
    linear = nn.Linear(24, 32)
    parts = (("decoder.", decoder), ("compr.model.", encoder), ("compr.linear.", linear))
    tensors = {
        f"{prefix}{name}": tensor.detach().clone()
        for prefix, module in parts
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors")
    config = {
        "decoder_model_name": "tiny/llama",
        "compr_model_name": "tiny/bert",
        "compr_rate": 4,
        "compr_linear_type": "mean",
        "lora": False,
        "sep": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_light_checkpoint_with_mean(light: Path, base: Path, bert: Path, tmp_path: Path) -> None:
    where = {"tiny/llama": base, "tiny/bert": bert}
    model = Cocom.from_pretrained(light, base=where, layout="hub", window=64, device="cpu")
    text = "Ada was born in Rome."
    context = model.compress([text])[0]
    # 21 tokens and two special ones, in groups of four: the last one is filled with padding.
    assert len(context) == 6
    run = reproduce(model, ["Who?"], [[text]], layout="hub", max_length=64, max_new_tokens=3)
    assert run.enc_input_ids.shape == (1, 24)
    assert torch.allclose(run.context_embeddings[0], context.embeddings, atol=1e-5)
    encoder = model.encoder
    assert encoder is not None
    ids, mask = run.enc_input_ids, run.enc_attention_mask
    with torch.no_grad():
        states = encoder.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        by_hand = encoder.head(states)[0].view(6, 4, -1).mean(1)
    assert torch.allclose(by_hand, context.embeddings, atol=1e-5)
    whole = config_with(light, tmp_path / "whole", compr_rate=128)
    assert len(Cocom.from_pretrained(whole, base=where, device="cpu").compress([text])[0]) == 1
    fixed = Cocom.from_pretrained(light, base=where, window=66, device="cpu")
    assert len(fixed.compress([text])[0]) == 16  # 66 // 4


@pytest.fixture
def oscar(pisco: Path, tmp_path: Path) -> Path:
    """OSCAR around PISCO's decoder with one adapter; tests add the compressor."""
    folder = config_with(
        pisco,
        tmp_path / "oscar",
        training_form="both",
        compr_base_model_name="tiny/llama",
        compr_rms_norm=False,
        compr_use_mlp=True,
        compr_mlp_hidden_dim=20,
        lora_compressor=False,
    )
    adapters = torch.load(folder / "adapters.pth", weights_only=True)
    torch.save({"decoder_adapter": adapters["decoder_adapter"]}, folder / "adapters.pth")
    (folder / "compressor").mkdir()
    return folder


def mlp(folder: Path, width: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        made = nn.Sequential(nn.Linear(width, 20), nn.ReLU(), nn.Linear(20, 32))
    torch.save(made.state_dict(), folder / "compressor" / "mlp.pth")
    return made


@pytest.mark.parametrize(
    ("trim", "kept"), [({"compr_n_layers": 1}, [0]), ({"compr_every_n_layer": 2}, [0])]
)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_trimmed_compressor_with_all_its_weights(
    trim: dict[str, int], kept: list[int], norm: bool, side: str, oscar: Path, tmp_path: Path
) -> None:
    folder = config_with(
        oscar, tmp_path / "case", compr_model_name="mistral_trimmed", compr_rms_norm=norm, **trim
    )
    base = tmp_path / "base"
    whole = tiny_backbone(seed=11)
    whole.save_pretrained(base)
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = side
    tokenizer.save_pretrained(base)
    whole.resize_token_embeddings(len(tokenizer) + 8, mean_resizing=False)
    model: Any = whole.model
    model.layers = nn.ModuleList(model.layers[i] for i in kept)
    if not norm:
        model.norm = nn.Identity()
    state = {f"custom_model.model.{k}": v for k, v in model.state_dict().items()}
    torch.save(state, folder / "compressor" / "compressor.pth")
    head = mlp(folder, 32)
    loaded = Cocom.from_pretrained(folder, base=base, device="cpu")
    text = "Ada was born in Rome."
    for query in (None, "Where?"):
        context = loaded.compress([text], query=query)[0]
        lead = f"\nQuery:\n{query}Document:\n" if query else ""
        row = tokenizer(lead + text).input_ids
        length = 128 + 64 + 8 if query else 128 + 2
        ids = torch.zeros(1, length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        ids[0, place], mask[0, place] = torch.tensor(row), 1
        first = len(tokenizer)
        ids = torch.cat([ids, torch.arange(first, first + 8)[None]], 1)
        mask = torch.cat([mask, torch.ones(1, 8, dtype=torch.long)], 1)
        positions = torch.arange(length + 8)[None]
        with torch.no_grad():
            states = model(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
            ).last_hidden_state[:, -8:]
            by_hand = head(states)[0]
        assert torch.allclose(context.embeddings, by_hand, atol=1e-4), query
    loaded.save_pretrained(tmp_path / "ours")
    again = Cocom.from_pretrained(tmp_path / "ours", device="cpu")
    assert again.fingerprint == loaded.fingerprint


def test_a_compressor_of_another_kind_reads_pairs(
    oscar: Path, base: Path, bert: Path, tmp_path: Path
) -> None:
    folder = config_with(oscar, tmp_path / "case", compr_model_name="tiny/bert")
    encoder, _ = tiny_encoder(seed=2)
    encoder.resize_token_embeddings(len(tiny_tokenizer()) + 8, mean_resizing=False)
    torch.save(encoder.state_dict(), folder / "compressor" / "compressor.pth")
    head = mlp(folder, 24)
    where = {"tiny/llama": base, "tiny/bert": bert}
    model = Cocom.from_pretrained(folder, base=where, device="cpu")
    plain = tiny_tokenizer()
    question, text = "Where?", "Ada was born in Rome."
    q, d = (plain(t, add_special_tokens=False).input_ids for t in (question, text))
    for query, row, length in (
        (None, [1, *d, 2], 130),
        (question, [1, *q, 2, *d, 2], 128 + 64 + 3),
    ):
        context = model.compress([text], query=query)[0]
        ids = torch.zeros(1, length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        ids[0, length - len(row) :], mask[0, length - len(row) :] = torch.tensor(row), 1
        first = len(plain)
        ids = torch.cat([ids, torch.arange(first, first + 8)[None]], 1)
        mask = torch.cat([mask, torch.ones(1, 8, dtype=torch.long)], 1)
        with torch.no_grad():
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, -8:]
            by_hand = head(states)[0]
        assert torch.allclose(context.embeddings, by_hand, atol=1e-4), query
        run = reproduce(model, [question], [[text]], query=query is not None, max_new_tokens=2)
        assert torch.allclose(run.context_embeddings[0], by_hand, atol=1e-4)


def test_the_compressors_memory_tokens_are_distinct_whatever_the_decoders_are(
    oscar: Path, base: Path, bert: Path, tmp_path: Path
) -> None:
    folder = config_with(
        oscar, tmp_path / "case", compr_model_name="tiny/bert", different_mem_tokens=False
    )
    layers = torch.load(folder / "decoder_first_last_layers.pth", weights_only=True)
    fewer = {k: v[: len(tiny_tokenizer()) + 4].clone() for k, v in layers.items()}
    torch.save(fewer, folder / "decoder_first_last_layers.pth")
    encoder, _ = tiny_encoder(seed=2)
    encoder.resize_token_embeddings(len(tiny_tokenizer()) + 8, mean_resizing=False)
    torch.save(encoder.state_dict(), folder / "compressor" / "compressor.pth")
    mlp(folder, 24)
    where = {"tiny/llama": base, "tiny/bert": bert}
    model = Cocom.from_pretrained(folder, base=where, device="cpu")
    assert model.config.memory_token_names() == ("<MEM>",)
    context = model.compress(["Ada."])[0]
    assert len(context) == 8
    run = reproduce(model, ["Who?"], [["Ada."]], max_new_tokens=2)
    assert torch.allclose(run.context_embeddings[0], context.embeddings, atol=1e-4)


def test_queries_where_none_is_read_and_too_long_ones(pisco: Path, base: Path) -> None:
    model = Cocom.from_pretrained(pisco, base=base, device="cpu")
    with pytest.raises(InputError, match="compressor reads passages alone, but a query was given"):
        model.compress(["Ada."], query="Who?")
    with pytest.raises(InputError, match="query must be a text that asks something, got ''"):
        model.compress(["Ada."], query="")


_MEASURE = """
import gc, sys, torch
torch.set_num_threads(1)
from cocom import Cocom
import cocom.checkpoints.loading, cocom.checkpoints.formats, peft, transformers.models.llama
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(l for l in lines if l.startswith(name)).split()[1]) / 1024
Cocom.from_pretrained(device="cpu")
gc.collect()
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
model = Cocom.from_pretrained(sys.argv[1], base=sys.argv[2], dtype="auto", device="cpu")
model.fingerprint
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_the_weights_alone(tmp_path: Path) -> None:
    size: dict[str, Any] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 8,
        "head_dim": 64,
    }
    heads: dict[str, Any] = {"num_attention_heads": 16, "num_key_value_heads": 16}
    model: Any = tiny_backbone(**size, **heads)
    model.to(torch.bfloat16)
    model.config.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    model.resize_token_embeddings(len(tiny_tokenizer()) + 4, mean_resizing=False)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tensors = {f"decoder.{k}": v for k, v in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    config = {"decoder_model_name": "x", "compr_rate": 16, "lora": False, "sep": True}
    (folder / "config.json").write_text(json.dumps(config))
    weights = sum(t.numel() * 2 for t in tensors.values()) / 2**20
    assert weights > 200
    del model, tensors
    command = [sys.executable, "-c", _MEASURE, str(folder), str(tmp_path / "base")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        if "Permission" in error.stderr:
            pytest.skip("the peak of memory cannot be reset here")
        raise AssertionError(error.stderr) from error
    assert float(done.stdout) < 1.2 * weights
