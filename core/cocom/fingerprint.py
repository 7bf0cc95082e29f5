"""The hash of everything that fixes an embedding's meaning."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

from cocom.config import CocomConfig, EncoderConfig

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = ["fingerprint_of"]

_CHUNK = 1 << 24  # values hashed at a time


def fingerprint_of(model: Cocom) -> str:
    """Hash of a model's weights, tokenizers and settings, 64 hexadecimal digits.

    Every weight enters, rounded to bfloat16, so that the same weights loaded in another dtype or onto
    another device have the same fingerprint (float16 cannot hold very small ones). So do the settings
    that decide what an embedding means; the text around question and passages may change.
    About half a second for a billion weights.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(_meaning(model.config), sort_keys=True).encode())
    digest.update(model.backbone.text.digest.encode())
    if model.encoder is not None:
        digest.update(model.encoder.text.digest.encode())
    for part, module in sorted(model.modules().items()):
        for name, value in sorted(module.state_dict().items()):
            if not isinstance(value, torch.Tensor):  # a note of a quantization library
                digest.update(f"{part}.{name}={value}".encode())
                continue
            tensor = _plain(value)
            digest.update(f"{part}.{name}{tuple(tensor.shape)}".encode())
            for chunk in tensor.flatten().split(_CHUNK):
                values = chunk.to(torch.bfloat16).cpu().contiguous()
                digest.update(values.view(torch.int16).numpy())
    return digest.hexdigest()


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """An ordinary tensor; those of quantization libraries that are none are unpacked."""
    tensor = tensor.detach()
    ordinary = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    if not ordinary and hasattr(tensor, "dequantize") and hasattr(tensor, "tensor_data_names"):
        unpacked: torch.Tensor = tensor.dequantize()
        return unpacked
    return tensor


def _meaning(config: CocomConfig) -> dict[str, Any]:
    """Settings that decide what an embedding means, where they differ from the defaults.

    Defaults stay out, so that a setting added later leaves older fingerprints as they are.
    """
    settings = config.to_dict()
    prompt = settings.pop("prompt")
    lora = settings.pop("lora")
    usual = CocomConfig().to_dict()
    usual_prompt = usual.pop("prompt")
    meaning = {name: value for name, value in settings.items() if value != usual[name]}
    for name in ("compress_prefix", "compress_suffix"):
        if prompt[name] != usual_prompt[name]:
            meaning[name] = prompt[name]
    if config.encoder is not None:
        head = EncoderConfig().__dict__
        meaning["encoder"] = {k: v for k, v in settings["encoder"].items() if v != head[k]}
    return {**meaning, "lora_scale": lora["alpha"] / lora["r"]}
