"""Published checkpoints built here from tiny models, and those beside the repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cocom.testing import tiny_backbone, tiny_tokenizer

RANK = 4


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model as the hub has them."""
    folder = tmp_path_factory.mktemp("base") / "tiny-llama"
    tiny_backbone().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def _linear(model: nn.Module) -> dict[str, nn.Linear]:
    found = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    return {name: module for name, module in found.items() if name != "lm_head"}


def _lora(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, module in _linear(model).items():
        rows, columns = module.weight.shape
        made[f"{name}.lora_A"] = torch.randn(RANK, columns, generator=generator)
        made[f"{name}.lora_B"] = torch.randn(rows, RANK, generator=generator) * 0.1
    return {name: tensor.bfloat16() for name, tensor in made.items()}


def _grown(names: int) -> Any:
    model: Any = tiny_backbone(seed=3)
    model.resize_token_embeddings(len(tiny_tokenizer()) + names, mean_resizing=False)
    return model.to(torch.bfloat16)


@pytest.fixture(scope="session")
def cocom_v1(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """naver/cocom-v1 in two shards."""
    folder = tmp_path_factory.mktemp("published") / "cocom-v1"
    folder.mkdir()
    model = _grown(4)
    adapted = _linear(model)
    tensors = {}
    for name, tensor in model.state_dict().items():
        layer, _, leaf = name.rpartition(".")
        stored = f"{layer}.base_layer.{leaf}" if layer in adapted else name
        tensors[f"decoder.base_model.model.{stored}"] = tensor.clone()
    for name, tensor in _lora(model, 1).items():
        tensors[f"decoder.base_model.model.{name}.default.weight"] = tensor
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2]}
    shards["model-00002-of-00002.safetensors"] = names[1::2]
    for shard, own in shards.items():
        save_file({n: tensors[n] for n in own}, folder / shard)
    index = {"weight_map": {n: shard for shard, own in shards.items() for n in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "model_type": "COCOM",
        "decoder_model_name": "tiny/llama",
        "compr_model_name": None,
        "compr_rate": 16,
        "lora": True,
        "lora_r": RANK,
        "sep": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def pisco(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """naver/pisco with both adapters."""
    folder = tmp_path_factory.mktemp("published") / "pisco"
    folder.mkdir()
    model = _grown(8 + 3)
    adapters = {
        name: {f"{k}.weight": v for k, v in _lora(model, seed).items()}
        for seed, name in enumerate(("encoder_adapter", "decoder_adapter"))
    }
    torch.save(adapters, folder / "adapters.pth")
    state = model.state_dict()
    layers = {k: state[k].clone() for k in ("model.embed_tokens.weight", "lm_head.weight")}
    torch.save(layers, folder / "decoder_first_last_layers.pth")
    config = {
        "model_type": "COCOM",
        "decoder_model_name": "tiny/llama",
        "compr_model_name": None,
        "compr_rate": 16,
        "doc_max_length": 128,
        "different_mem_tokens": True,
        "training_form": "both_separately",
        "lora": True,
        "lora_r": RANK,
        "sep": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def published_case(shared: Path) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """A case of the golden files: its folder and what the published code computed."""

    def find(name: str) -> tuple[Path, dict[str, Any]]:
        folder = shared / "formats" / name
        return folder, json.loads((folder / "expected.json").read_text(encoding="utf-8"))

    return find
