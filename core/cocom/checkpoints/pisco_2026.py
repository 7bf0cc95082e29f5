"""The naver/pisco repository of 2026: a complete compressor, a connector, an adapted decoder."""

from __future__ import annotations

from typing import Any

import torch

from cocom.checkpoints.assign import assign_adapter, assign_control_rows, assign_ends, assign_module
from cocom.checkpoints.parts import (
    LoadOptions,
    complete_model,
    grown_model,
    setting,
    stripped_tokenizer,
)
from cocom.checkpoints.pisco import SYSTEM
from cocom.checkpoints.source import Source
from cocom.checkpoints.tensors import Tensors, read_pth
from cocom.config import CocomConfig, EncoderConfig, LoraSettings, PromptTemplate
from cocom.engine import Cocom
from cocom.errors import CheckpointError
from cocom.text_tokens import TextTokens

__all__ = ["LAYOUTS", "configure", "preview", "read"]

LAYOUTS = ("prompt",)
_ADDED = ("<MEM>", "<AE>")
_LONGEST = 128  # tokens of a compressor's row, where config.json does not say


def configure(config: dict[str, Any], options: LoadOptions, tokenizer: Any) -> CocomConfig:
    """Our settings for a published config.json and the compressor's tokenizer.

    Raises:
        CheckpointError: A value is missing or cannot be.
    """
    if (options.layout or "prompt") not in LAYOUTS:
        raise CheckpointError(
            f"layout {options.layout!r} is unknown for this checkpoint: it has {LAYOUTS[0]!r} only."
        )
    if not setting(config, "lora_decoder", bool, True):
        raise CheckpointError("config.json: lora_decoder is false, which no published one is.")
    rank = setting(config, "lora_r_decoder", int, 16)
    before, _, after = TextTokens(tokenizer).around()
    longest = options.window or setting(config, "compressor_max_length", int, _LONGEST)
    room = longest - len(before) - len(after)
    return CocomConfig(
        rates=(setting(config, "compr_rate", int),),
        window=room,
        weights="shared_lora",
        lora=LoraSettings(r=rank, alpha=2 * rank),
        encoder=EncoderConfig(
            head="memory_mlp",
            mlp_hidden=setting(config, "compressor_mlp_hidden_dim", int),
            counts="row",
            query="Query: {query}\n Document: ",
            query_window=room,
        ),
        prompt=PromptTemplate(
            system=SYSTEM,
            user="\n\nBackground:{passages}\n Question: {question}",
            chat=True,
            passage="Document {index}:{passage}",
            answer_prefix="",
        ),
    )


def preview(source: Source, config: dict[str, Any], options: LoadOptions) -> CocomConfig:
    """Our settings, without reading weights."""
    tokenizer = stripped_tokenizer(source.need_folder("compressor_tokenizer"), _ADDED)
    return configure(config, options, tokenizer)


def read(source: Source, config: dict[str, Any], options: LoadOptions) -> Cocom:
    """Load the checkpoint."""
    encoder_tokenizer = stripped_tokenizer(source.need_folder("compressor_tokenizer"), _ADDED)
    tokenizer = stripped_tokenizer(source.need_folder("decoder_tokenizer"), _ADDED)
    settings = configure(config, options, encoder_tokenizer)
    encoder: Any = complete_model(source, "compressor", options)
    state = Tensors(
        f"'{source.name}/decoder_state.pt'", _plain(read_pth(source, "decoder_state.pt"))
    )
    model: Any = grown_model(
        options.base_of(config.get("decoder_model_name")), len(tokenizer) + len(_ADDED), options
    )
    _assign_embeddings(model, state)
    cocom = Cocom(model, tokenizer, settings, encoder=encoder, encoder_tokenizer=encoder_tokenizer)
    assign_adapter(
        cocom.backbone.model,
        "shared",
        state,
        lambda layer, half: f"{layer}.lora_{half}.default.weight",
    )
    state.finish()
    own = cocom.encoder
    assert own is not None
    connector = Tensors(f"'{source.name}/connector.pt'", read_pth(source, "connector.pt"))
    assign_module(own.head, connector, lambda part: part)
    connector.finish()
    rows = encoder.get_input_embeddings().weight.detach()
    place = own.text.vocabulary_size
    if rows.shape[0] <= place:
        raise CheckpointError(
            f"'{source.name}/compressor' embeds {rows.shape[0]} tokens, so <MEM>, number {place}, has no row."
        )
    with torch.no_grad():
        own.memory.weight.copy_(rows[place : place + 1])
    assign_control_rows(cocom.backbone, model.get_input_embeddings().weight.detach())
    return cocom


def _assign_embeddings(model: Any, state: Tensors) -> None:
    shape = tuple(model.get_input_embeddings().weight.shape)
    for name in ("model.embed_tokens", "lm_head"):
        state.drop(f"{name}.original_module.weight")
    embedding = state.take("model.embed_tokens.modules_to_save.default.weight", shape)
    trained = "lm_head.modules_to_save.default.weight"
    tied = bool(model.config.tie_word_embeddings) and trained not in state
    assign_ends(model, embedding, None if tied else state.take(trained, shape))


def _plain(tensors: dict[str, Any]) -> dict[str, Any]:
    """Names without the wrapper that peft may have left."""
    return {k.removeprefix("base_model.model."): v for k, v in tensors.items()}
