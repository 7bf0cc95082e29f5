"""The hash of everything that fixes an embedding's meaning."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = ["fingerprint_of"]

_SAMPLES = 4096


def fingerprint_of(model: Cocom) -> str:
    """Hash of a model's weights, tokenizers and settings, 64 hexadecimal digits.

    Of each tensor up to 4,096 evenly spaced values enter, rounded to bfloat16, so that the same
    weights loaded in another dtype or onto another device have the same fingerprint.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    digest.update(model.backbone.text.digest.encode())
    if model.encoder is not None:
        digest.update(model.encoder.text.digest.encode())
    for part, module in sorted(model.modules().items()):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name}{tuple(tensor.shape)}".encode())
            flat = tensor.detach().flatten()
            step = max(1, flat.numel() // _SAMPLES)
            values = flat[::step][:_SAMPLES].to("cpu", torch.bfloat16)
            digest.update(values.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
