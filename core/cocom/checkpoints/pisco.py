"""naver/pisco-* and CLaRa's first stage: adapters and two layers on a base model."""

from __future__ import annotations

from typing import Any

from cocom.checkpoints.assign import assign_adapter, assign_control_rows, assign_ends
from cocom.checkpoints.parts import LoadOptions, base_tokenizer, grown_model, setting
from cocom.checkpoints.source import Source
from cocom.checkpoints.tensors import Tensors, read_pth
from cocom.config import CocomConfig, LoraSettings, PromptTemplate
from cocom.engine import Cocom
from cocom.errors import CheckpointError

__all__ = ["LAYOUTS", "SYSTEM", "configure", "preview", "read", "read_decoder"]

LAYOUTS = ("trained", "hub128")
SYSTEM = (
    "You are a helpful assistant. Your task is to extract relevant information from provided "
    "documents and to answer to questions as briefly as possible."
)
_ADAPTERS = "adapters.pth"
_LAYERS = "decoder_first_last_layers.pth"


def _is_clara(config: dict[str, Any]) -> bool:
    named = f"{config.get('model_type')} {config.get('auto_map')}".lower()
    return "clara" in named or "training_stage" in config


def configure(config: dict[str, Any], options: LoadOptions) -> CocomConfig:
    """Our settings for a published config.json.

    Raises:
        CheckpointError: A value is missing or cannot be.
    """
    rate = setting(config, "compr_rate", int)
    layout = options.layout or "trained"
    if layout not in LAYOUTS:
        raise CheckpointError(
            f"layout {layout!r} is unknown for this checkpoint: choose {' or '.join(LAYOUTS)}."
        )
    trained = setting(config, "doc_max_length", int)
    if not setting(config, "lora", bool, True):
        raise CheckpointError("config.json: lora is false, but this format holds adapters only.")
    rank = setting(config, "lora_r", int, 16)
    separate = setting(config, "training_form", str, "both") == "both_separately"
    return CocomConfig(
        rates=(rate,),
        window=options.window or (128 if layout == "hub128" else trained),
        embedding_count=max(1, trained // rate),
        memory_tokens="distinct"
        if setting(config, "different_mem_tokens", bool, False)
        else "shared",
        weights="separate_lora" if separate else "shared_lora",
        lora=LoraSettings(r=rank, alpha=2 * rank),
        prompt=PromptTemplate(
            system=SYSTEM,
            user="Background:\n{passages}\n\nQuestion:{question}",
            chat=True,
            enable_thinking=False if _is_clara(config) else None,
            # Written whatever `sep` says, as in the published code.
            passage="{passage}<SEP>",
            answer_prefix="",
        ),
        extra_tokens=("<KBTC>",) if setting(config, "kbtc_training", bool, False) else (),
    )


def preview(source: Source, config: dict[str, Any], options: LoadOptions) -> CocomConfig:
    """Our settings, without reading weights or base models."""
    return configure(config, options)


def read(source: Source, config: dict[str, Any], options: LoadOptions) -> Cocom:
    """Load the checkpoint."""
    return read_decoder(source, config, options, configure(config, options))


def read_decoder(
    source: Source,
    config: dict[str, Any],
    options: LoadOptions,
    settings: CocomConfig,
    **encoder: Any,
) -> Cocom:
    """Load base model, adapters and the two layers; `encoder` goes to `Cocom`."""
    adapters = read_pth(source, _ADAPTERS)
    layers = Tensors(f"'{source.name}/{_LAYERS}'", read_pth(source, _LAYERS))
    wanted = _adapter_names(settings)
    for name in wanted.values():
        if not isinstance(adapters.get(name), dict):
            raise CheckpointError(
                f"'{source.name}': {_ADAPTERS} lacks the adapter '{name}', it has "
                f"{', '.join(sorted(adapters)) or 'none'}."
            )
    base = options.base_of(config.get("decoder_model_name"))
    tokenizer = base_tokenizer(base, options)
    rows = len(tokenizer) + len(settings.control_token_names())
    model = grown_model(base, rows, options)
    _assign_first_and_last(model, layers)
    cocom = Cocom(model, tokenizer, settings, **encoder)
    for own, name in wanted.items():
        tensors = Tensors(f"'{source.name}/{_ADAPTERS}' ({name})", adapters.pop(name))
        # Copies of what the other file holds.
        tensors.drop("model.embed_tokens.weight")
        tensors.drop("lm_head.weight")
        assign_adapter(
            cocom.backbone.model, own, tensors, lambda layer, half: f"{layer}.lora_{half}.weight"
        )
        tensors.finish()
    # CLaRa's second stage also trains an adapter that turns questions into queries for its retriever.
    if _is_clara(config):
        adapters.pop("query_reasoner_adapter", None)
    if adapters:
        raise CheckpointError(
            f"'{source.name}': {_ADAPTERS} holds adapters that config.json does not tell of: "
            f"{', '.join(sorted(adapters))}."
        )
    embedding: Any = cocom.backbone.model.get_input_embeddings()
    assign_control_rows(cocom.backbone, embedding.weight.detach())
    return cocom


def _adapter_names(settings: CocomConfig) -> dict[str, str]:
    if settings.weights == "separate_lora":
        return {"compress": "encoder_adapter", "read": "decoder_adapter"}
    return {"shared": "decoder_adapter"}


def _assign_first_and_last(model: Any, layers: Tensors) -> None:
    shape = tuple(model.get_input_embeddings().weight.shape)
    embedding = layers.take("model.embed_tokens.weight", shape)
    tied = bool(model.config.tie_word_embeddings) and "lm_head.weight" not in layers
    assign_ends(model, embedding, None if tied else layers.take("lm_head.weight", shape))
    layers.finish()
