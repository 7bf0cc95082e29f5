"""naver/oscar-*: PISCO's decoder with a compressor of its own, which may read the question too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cocom.checkpoints import pisco
from cocom.checkpoints.assign import assign_adapter, assign_module
from cocom.checkpoints.parts import LoadOptions, base_model, base_tokenizer, setting
from cocom.checkpoints.source import Source
from cocom.checkpoints.tensors import Tensors, read_pth
from cocom.config import CocomConfig, EncoderConfig
from cocom.engine import Cocom
from cocom.errors import CheckpointError
from cocom.text_tokens import TextTokens

__all__ = ["configure", "preview", "read"]

_TRIMMED = "mistral_trimmed"
_QUERY_TOKENS = 64  # the room for a query, on top of the passage's


def configure(config: dict[str, Any], options: LoadOptions, tokenizer: Any) -> CocomConfig:
    """Our settings for a published config.json and the compressor's tokenizer.

    Raises:
        CheckpointError: A value is missing or cannot be.
    """
    settings = pisco.configure(config, options)
    trimmed = config["compr_model_name"] == _TRIMMED
    text = None if tokenizer is None else TextTokens(tokenizer)
    special = 1 if text is None else sum(map(len, text.around()))
    longest = setting(config, "doc_max_length", int) + _QUERY_TOKENS
    if trimmed:
        # The query's frame is counted generously: 8 tokens, of which some are special.
        query, room = "\nQuery:\n{query}Document:\n", longest + 8 - special
    else:
        pair = 3 if text is None else sum(map(len, text.around(pair=True)))
        query, room = "pair", longest + 3 - pair
    # A trimmed model keeps the padding side of its tokenizer, any other gets left padding.
    side: Any = tokenizer.padding_side if trimmed and tokenizer is not None else "left"
    mlp = setting(config, "compr_use_mlp", bool, True)
    adapted = setting(config, "lora_compressor", bool, False)
    return replace(
        settings,
        # Published rows hold the passage with its special tokens in two tokens more than its length.
        window=settings.window + 2 - special,
        weights="shared_lora",
        encoder=EncoderConfig(
            head="memory_mlp" if mlp else "memory",
            mlp_hidden=setting(config, "compr_mlp_hidden_dim", int) if mlp else 0,
            query=query,
            query_window=room,
            padding=side,
            final_norm=not trimmed or setting(config, "compr_rms_norm", bool, False),
            # The published code casts a trimmed compressor with its buffers.
            rotary_bfloat16=trimmed,
            distinct_memory=True,
            lora_r=setting(config, "lora_r_compressor", int, settings.lora.r) if adapted else 0,
        ),
    )


def preview(source: Source, config: dict[str, Any], options: LoadOptions) -> CocomConfig:
    """Our settings, without reading weights; without the base's tokenizer, by one special token."""
    try:
        tokenizer = base_tokenizer(_base(config, options), options)
    except CheckpointError:
        tokenizer = None
    return configure(config, options, tokenizer)


def _base(config: dict[str, Any], options: LoadOptions) -> str:
    trimmed = setting(config, "compr_model_name", str) == _TRIMMED
    named = config.get("compr_base_model_name") if trimmed else config["compr_model_name"]
    return options.base_of(named, decoder=named == config.get("decoder_model_name"))


def read(source: Source, config: dict[str, Any], options: LoadOptions) -> Cocom:
    """Load the checkpoint."""
    trimmed = setting(config, "compr_model_name", str) == _TRIMMED
    base = _base(config, options)
    tokenizer = base_tokenizer(base, options)
    settings = configure(config, options, tokenizer)
    encoder: Any = base_model(base, options)
    if trimmed:
        _trim(encoder, config)
    vocabulary = TextTokens(tokenizer).vocabulary_size
    encoder.resize_token_embeddings(
        vocabulary + len(settings.encoder_memory_names()), mean_resizing=False
    )
    assert settings.encoder is not None
    if settings.encoder.lora_r:
        _first_layer(source, encoder)
    else:
        _whole(source, encoder, settings)
    cocom = pisco.read_decoder(
        source, config, options, settings, encoder=encoder, encoder_tokenizer=tokenizer
    )
    own = cocom.encoder
    assert own is not None
    rows = encoder.get_input_embeddings().weight.detach()
    with torch.no_grad():
        own.memory.weight.copy_(rows[vocabulary:])
    if settings.encoder.lora_r:
        name = "compressor/compressor_adapters.pth"
        adapter = Tensors(f"'{source.name}/{name}'", _plain(read_pth(source, name)))
        # Copies of what the other file holds.
        adapter.drop("embed_tokens.weight")
        adapter.drop("lm_head.weight")
        assign_adapter(
            own.encoder, "compress", adapter, lambda layer, half: f"{layer}.lora_{half}.weight"
        )
        adapter.finish()
    if settings.encoder.head == "memory_mlp":
        name = "compressor/mlp.pth"
        tensors = Tensors(f"'{source.name}/{name}'", read_pth(source, name))
        assign_module(own.head, tensors, lambda part: part)
        tensors.finish()
    return cocom


def _trim(encoder: Any, config: dict[str, Any]) -> None:
    """Keep the first layers, or every so many; in place."""
    layers = getattr(encoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise CheckpointError(f"{type(encoder).__name__} has no layers that could be trimmed.")
    first = setting(config, "compr_n_layers", int, 0)
    every = setting(config, "compr_every_n_layer", int, 0)
    if bool(first) == bool(every) and not first:
        raise CheckpointError(
            "config.json: compr_n_layers and compr_every_n_layer are both missing, one must tell which "
            "layers the trimmed compressor keeps."
        )
    by_step = [i * every for i in range(len(layers) // every)] if every else []
    kept = by_step or list(range(first))
    if not kept or kept[-1] >= len(layers):
        raise CheckpointError(
            f"config.json: the trimmed compressor keeps {len(kept)} layers, but its base has {len(layers)}."
        )
    encoder.layers = nn.ModuleList(layers[i] for i in kept)
    for place, layer in enumerate(encoder.layers):
        for part in layer.modules():
            if hasattr(part, "layer_idx"):
                part.layer_idx = place
    encoder.config.num_hidden_layers = len(kept)
    kinds = getattr(encoder.config, "layer_types", None)
    if kinds:
        encoder.config.layer_types = [kinds[i] for i in kept]


def _first_layer(source: Source, encoder: Any) -> None:
    """The checkpoint's embedding; everything else is the base's."""
    name = "compressor/first_layer.pth"
    first = Tensors(f"'{source.name}/{name}'", read_pth(source, name))
    embedding = encoder.get_input_embeddings().weight
    # One tensor, the resized embedding, whatever the model calls it.
    key = next(iter(first.names()), "embed_tokens.weight")
    with torch.no_grad():
        embedding.copy_(first.take(key, tuple(embedding.shape)))
    first.finish()


def _whole(source: Source, encoder: Any, settings: CocomConfig) -> None:
    """Every weight from the checkpoint."""
    name = "compressor/compressor.pth"
    tensors = Tensors(f"'{source.name}/{name}'", _plain(read_pth(source, name)))
    tensors.drop("lm_head.weight")
    assert settings.encoder is not None
    if not settings.encoder.final_norm:
        tensors.drop("norm.weight")
        encoder.norm = nn.Identity()
    assign_module(encoder, tensors, lambda part: part)
    tensors.finish()


def _plain(tensors: dict[str, Any]) -> dict[str, Any]:
    """Names as the model without a head has them."""
    return {k.removeprefix("custom_model.").removeprefix("model."): v for k, v in tensors.items()}
