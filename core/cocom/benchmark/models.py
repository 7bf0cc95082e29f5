"""Models to measure: trained ones by name or folder, random ones of a named shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from cocom.config import CocomConfig
from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.persistence import placed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["SHAPES", "describe", "open_model", "random_model"]

RATES = (4, 16, 128)
WINDOW = 128
_POSITIONS = 16384  # fifty passages as text, and an answer
_NEVER = 1e-3  # what is left of the output weights of ids that the tokenizer does not know

SHAPES: dict[str, dict[str, Any]] = {
    "llama-60m": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 640,
        "intermediate_size": 1728,
        "num_hidden_layers": 10,
        "num_attention_heads": 10,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "llama-100m": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "llama-1b": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "tie_word_embeddings": False,
    },
    "mistral-7b": {
        "model_type": "mistral",
        "vocab_size": 32768,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "sliding_window": None,
        "tie_word_embeddings": False,
    },
}
"""Shapes that a random model can have; the larger two are those of TinyLlama and Mistral-7B-v0.3."""


def open_model(
    name: str, *, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> Cocom:
    """Load a model, or make one up.

    Args:
        name: Of `SHAPES`, or what `Cocom.from_pretrained` takes.
        device: None takes CUDA if there is one, else the CPU.
        dtype: None takes, for a random model, bfloat16 on CUDA and float32 on the CPU.

    Raises:
        CheckpointError: The name is neither, or the dtype is unknown.
        InputError: There is no such device.
    """
    try:
        present = device is None or torch.device(device).type != "cuda" or torch.cuda.is_available()
    except RuntimeError as error:
        raise InputError(f"device {device!r} is unknown: give cpu, cuda or cuda:N.") from error
    if not present:
        raise InputError(f"device {str(device)!r} is not there: torch finds no CUDA; give cpu.")
    if name not in SHAPES:
        return Cocom.from_pretrained(name, device=device, dtype=dtype)
    place, kind = placed(device, dtype)
    return random_model(name, place, kind or torch.bfloat16)


def random_model(name: str, device: torch.device, dtype: torch.dtype) -> Cocom:
    """A model of a named shape whose weights are drawn where they stay, in the type they keep.

    The tokenizer is the shipped model's, which has fewer tokens than the model: ids that it lacks are never
    generated, because their output weights are made small.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    from cocom.checkpoints.loading import find
    from cocom.checkpoints.source import HubOptions

    folder = find("cocom-tiny", HubOptions()).whole() / "backbone"
    shape = dict(SHAPES[name])
    config = AutoConfig.for_model(
        shape.pop("model_type"),
        **shape,
        max_position_embeddings=_POSITIONS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    cocom = Cocom(model, tokenizer, CocomConfig(rates=RATES, window=WINDOW))
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        head.weight[cocom.backbone.text.vocabulary_size :] *= _NEVER
    return cocom


def describe(model: Cocom, name: str) -> dict[str, Any]:
    """What a report says of a model."""
    network: Any = model.backbone.model
    config = network.config.get_text_config()
    return {
        "name": name,
        "random_weights": name in SHAPES,
        "parameters": sum(
            p.numel() for part in model.modules().values() for p in part.parameters()
        ),
        "kind": config.model_type,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "key_value_heads": getattr(config, "num_key_value_heads", config.num_attention_heads),
        "vocabulary": config.vocab_size,
        "dtype": str(model.backbone.dtype).removeprefix("torch."),
        "attention": str(getattr(network.config, "_attn_implementation", "")),
        "weights": model.config.weights,
        "window": model.config.window,
        "rates": list(model.config.rates),
        "light_compressor": model.encoder is not None,
    }
