"""Loads the small causal language model that says how surprising each token is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.baselines.model_files import device_of, folder_of, no_bars
from cocom.errors import CheckpointError, ConfigError, ModelError
from cocom.processor import fast_bfloat16

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["load_causal_model"]

_SHIPPED = "cocom-tiny"


def load_causal_model(
    model: str | os.PathLike[str] | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and its tokenizer.

    Args:
        model: "cocom-tiny" (the backbone that ships with the package), a folder, a name on the Hugging Face
            hub, or a model that is loaded already and stays where and as it is.
        tokenizer: Its tokenizer; needed with a model that is loaded already.
        device: Where to load it; None takes CUDA if there is any.
        dtype: Type to compute in; None takes the saved one on CUDA, and on a CPU float32, or bfloat16 if that
            is the saved one and fast there. "auto" takes the saved one.

    Raises:
        ConfigError: What is given does not go together.
        CheckpointError: The model cannot be loaded.
        ModelError: The model is an encoder.
    """
    if not isinstance(model, str | os.PathLike):
        if tokenizer is None:
            raise ConfigError(
                f"model is a {type(model).__name__} that is loaded already and tokenizer is None: give its "
                "tokenizer too."
            )
        if device is not None or dtype is not None:
            raise ConfigError(
                f"model is loaded already, but device is {device} and dtype is {dtype}: move the model "
                "itself, and leave them out."
            )
        loaded = model, tokenizer
    else:
        loaded = _load(_folder(model), tokenizer, device, dtype)
    _refuse_encoder(loaded[0])
    return loaded


def _folder(model: str | os.PathLike[str]) -> str:
    """Where the weights are: for a model of this package, in its folder `backbone`."""
    folder = folder_of(model)
    inner = Path(folder) / "backbone"
    return str(inner) if inner.is_dir() else folder


def _load(
    name: str,
    tokenizer: PreTrainedTokenizerBase | None,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = device_of(device)
    kind: Any = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    if kind != "auto" and kind is not None and not isinstance(kind, torch.dtype):
        raise ConfigError(f"dtype {dtype!r} is unknown: choose float32, bfloat16, float16 or auto.")
    try:
        with no_bars():
            if kind is None:
                kind = "auto"
                if place.type == "cpu":
                    saved = AutoConfig.from_pretrained(name, trust_remote_code=False).dtype
                    keep = saved == torch.bfloat16 and fast_bfloat16()
                    kind = saved if keep else torch.float32
            if tokenizer is None:
                tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            found: Any = AutoModelForCausalLM.from_pretrained(
                name, dtype=kind, trust_remote_code=False, output_loading_info=True
            )
            loaded, info = found
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CheckpointError(
            f"The causal language model '{name}' cannot be loaded: give the folder of one, its name on the "
            f"hub, or '{_SHIPPED}' ({reason})."
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"'{name}' has no weights for {missing[0]}, so it is no trained causal language model: give one, "
            "not an encoder or an embedding model."
        )
    assert tokenizer is not None
    return loaded.to(place).eval(), tokenizer


def _refuse_encoder(model: PreTrainedModel) -> None:
    """Refuse a model whose tokens see those behind them.

    Raises:
        ModelError: It is one.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

    config: Any = model.config
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        raise ModelError(
            f"{type(model).__name__} is an encoder, in which tokens see those behind them: take a causal "
            "language model."
        )
