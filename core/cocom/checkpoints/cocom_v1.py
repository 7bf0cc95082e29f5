"""naver/cocom-v0 and -v1, and their light variants: one safetensors checkpoint with everything in it."""

from __future__ import annotations

from typing import Any

from cocom.checkpoints.assign import assign_adapter, assign_control_rows, assign_module
from cocom.checkpoints.parts import (
    LoadOptions,
    base_config,
    base_tokenizer,
    built_model,
    full_model,
    setting,
)
from cocom.checkpoints.source import Source
from cocom.checkpoints.tensors import Tensors, read_safetensors
from cocom.config import CocomConfig, EncoderConfig, LoraSettings, PromptTemplate
from cocom.engine import Cocom
from cocom.errors import CheckpointError

__all__ = ["LAYOUTS", "LIGHT_LAYOUTS", "configure", "preview", "read"]

LAYOUTS = ("fixed", "append")
LIGHT_LAYOUTS = ("fixed", "hub")
_CONTEXT = 128  # passage tokens of the published training; no config.json says it


def configure(
    config: dict[str, Any], options: LoadOptions, longest: int | None = None
) -> CocomConfig:
    """Our settings for a published config.json.

    Args:
        config: Its values.
        options: `layout` and `window` count here.
        longest: Most tokens of a row of the light compressor's tokenizer.

    Raises:
        CheckpointError: A value is missing or cannot be.
    """
    rate = setting(config, "compr_rate", int)
    light = config.get("compr_model_name") is not None
    layout = options.layout or "fixed"
    known = LIGHT_LAYOUTS if light else LAYOUTS
    if layout not in known:
        raise CheckpointError(
            f"layout {layout!r} is unknown for this checkpoint: choose {' or '.join(known)} "
            "(cocom.checkpoints.published reproduces others)."
        )
    window = options.window or _CONTEXT
    passage = "{passage}<SEP>" if setting(config, "sep", bool, False) else "{passage}"
    encoder = None
    if light:
        kind = setting(config, "compr_linear_type", str, "concat")
        if kind not in ("concat", "mean"):
            raise CheckpointError(
                f"config.json: compr_linear_type is {kind!r}, but must be 'concat' or 'mean'."
            )
        encoder = EncoderConfig(head=kind, counts="row")
        if layout == "hub":
            window = options.window or longest or _CONTEXT
    count: Any = "proportional"
    if layout == "fixed":
        count = window // rate if light else "fixed"
    lora = setting(config, "lora", bool, False)
    rank = setting(config, "lora_r", int, 16)
    return CocomConfig(
        rates=(rate,),
        # The light compressor's window counts its two special tokens.
        window=window - 2 if light else window,
        embedding_count=count,
        weights="shared_lora" if lora else "full",
        lora=LoraSettings(r=rank, alpha=2 * rank) if lora else LoraSettings(),
        encoder=encoder,
        prompt=PromptTemplate(
            user=("{bos}" if light and layout == "hub" else "")
            + "{bos}{passages}[INST]{question}\n[/INST]\n",
            passage=passage,
            answer_prefix="",
        ),
    )


def preview(source: Source, config: dict[str, Any], options: LoadOptions) -> CocomConfig:
    """Our settings, without reading weights or base models."""
    return configure(config, options)


def read(source: Source, config: dict[str, Any], options: LoadOptions) -> Cocom:
    """Load the checkpoint."""
    base = options.base_of(config.get("decoder_model_name"))
    tokenizer = base_tokenizer(base, options)
    tensors = read_safetensors(source)
    light = config.get("compr_model_name") is not None
    encoder_base = options.base_of(config["compr_model_name"], decoder=False) if light else ""
    encoder_tokenizer: Any = base_tokenizer(encoder_base, options) if light else None
    longest = getattr(encoder_tokenizer, "model_max_length", None)
    settings = configure(config, options, longest if longest and longest < 10**6 else None)
    lora = settings.weights != "full"
    prefix = "decoder.base_model.model." if lora else "decoder."

    def stored(name: str) -> str:
        layer, _, leaf = name.rpartition(".")
        adapted = f"{prefix}{layer}.base_layer.{leaf}"
        return adapted if adapted in tensors else prefix + name

    rows = len(tokenizer) + len(settings.control_token_names())
    model = full_model(base, rows, tensors, stored, options)
    encoder = _encoder(encoder_base, tensors, options) if light else None
    cocom = Cocom(model, tokenizer, settings, encoder=encoder, encoder_tokenizer=encoder_tokenizer)
    if lora:
        assign_adapter(
            cocom.backbone.model,
            "shared",
            tensors,
            lambda layer, half: f"{prefix}{layer}.lora_{half}.default.weight",
        )
    if cocom.encoder is not None:
        assign_module(cocom.encoder.head, tensors, lambda name: f"compr.linear.{name}")
    tensors.finish()
    embedding: Any = cocom.backbone.model.get_input_embeddings()
    assign_control_rows(cocom.backbone, embedding.weight.detach())
    return cocom


def _encoder(base: str, tensors: Tensors, options: LoadOptions) -> Any:
    from transformers import MODEL_MAPPING

    shape = base_config(base, options)
    try:
        kind = MODEL_MAPPING[type(shape)]
    except KeyError as error:
        raise CheckpointError(
            f"the light compressor '{base}' is no model this can read."
        ) from error
    return built_model(
        kind, shape, tensors, lambda name: f"compr.model.{name}", options.for_encoder()
    )
