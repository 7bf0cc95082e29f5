"""What a model's compressor computes for a passage, told from its config: no weights are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cocom.config import CocomConfig
from cocom.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

    from cocom.checkpoints.source import HubOptions, Source

__all__ = ["CompressorShape", "shape_of"]

_TRIMMED = "mistral_trimmed"
_AROUND = 2  # special tokens around a passage in a light compressor, as in `cocom info`
_ONE_TOKEN = re.compile(r"<[^<>\s]+>|\{bos\}|\{eos\}")
_CHARACTERS = 4  # of a prompt's text in one token, about


@dataclass(frozen=True)
class CompressorShape:
    """The sizes that decide what a passage costs and what it becomes.

    Attributes:
        name: The model, as it was given.
        config: Our settings for it.
        width: Values of a context embedding, the reader's hidden size.
        dtype: Name of the type that weights are stored in; None where no config tells.
        parameters: Of the model that compresses, token embeddings and adapter included.
        weights: Those of them that a row is multiplied with: neither token embeddings nor LM head, and of
            a mixture of experts only as many as one token takes.
        layers: Layers of the model that compresses.
        attention: Values of its queries in one layer: heads times their size.
        states: Width of its hidden states.
    """

    name: str
    config: CocomConfig
    width: int
    dtype: str | None
    parameters: int
    weights: int
    layers: int
    attention: int
    states: int

    def windows(self, tokens: int) -> int:
        """Windows of a passage: full ones, and one for the rest.

        Real passages are cut after sentences and may have more.
        """
        return -(-tokens // self.config.window)

    def embeddings(self, tokens: int, rate: int) -> int:
        """Context embeddings of a passage."""
        return self._over_windows(self._count, tokens, rate)

    def rows(self, tokens: int, rate: int) -> int:
        """Rows of the forward passes for a passage: its tokens, those around them, memory tokens."""
        return self._over_windows(self._rows, tokens, rate)

    def flops(self, tokens: int, rate: int) -> int:
        """Floating-point operations of compressing a passage.

        The paper compresses (section 3.1) with one forward pass over <ENC>, the passage's n tokens and k
        memory tokens, k = ceil(n / xi) at the compression rate xi. So a window has L = n + k rows and
        those of the tokens around. With N weights that a row is multiplied with, D layers, and queries
        of width A in each, the pass takes

            2 N L        a multiplication and an addition for each weight and row
            4 D A L^2    queries times keys, then attention times values: 2 A L^2 each

        operations. There is no LM head in it: only hidden states are read. A light compressor (section
        3.4) adds its linear map. Attention counts whole, although a causal kernel may skip half of it;
        norms, activations and the softmax are left out, as torch's FlopCounterMode leaves them out.
        """
        return self._over_windows(self._flops, tokens, rate)

    def _over_windows(self, of: Callable[[int, int], int], tokens: int, rate: int) -> int:
        full, rest = divmod(tokens, self.config.window)
        return full * of(self.config.window, rate) + (of(rest, rate) if rest else 0)

    def _flops(self, tokens: int, rate: int) -> int:
        rows = self._rows(tokens, rate)
        multiplied = self.weights * rows + self._head(tokens, rate)
        return 2 * multiplied + 4 * self.layers * self.attention * rows**2

    def _count(self, tokens: int, rate: int) -> int:
        encoder = self.config.encoder
        if encoder is not None and encoder.counts == "row":
            # The special tokens of a group of states, or one of them and one group more.
            tokens += _AROUND
        return self.config.embeddings_for(tokens, rate)

    def _rows(self, tokens: int, rate: int) -> int:
        encoder, count = self.config.encoder, self._count(tokens, rate)
        if encoder is None:
            prompt = self.config.prompt
            return (
                tokens + count + sum(map(_length, (prompt.compress_prefix, prompt.compress_suffix)))
            )
        if encoder.memory_tokens:
            padded = self.config.window if encoder.padding == "right" else tokens
            return padded + _AROUND + count
        return max(tokens + _AROUND, count * rate if encoder.counts == "row" else 0)

    def _head(self, tokens: int, rate: int) -> int:
        """Multiplications of a light compressor's map into the reader's space."""
        encoder, count = self.config.encoder, self._count(tokens, rate)
        if encoder is None or encoder.head == "memory":
            return 0
        if encoder.head == "memory_mlp":
            return count * (encoder.mlp_hidden or self.width) * (self.states + self.width)
        mapped = tokens if encoder.head == "mean" and encoder.counts == "text" else count * rate
        return mapped * self.states * self.width


def shape_of(
    name_or_path: str | PathLike[str],
    *,
    base: Any = None,
    hub: HubOptions | None = None,
) -> CompressorShape:
    """Read the configs of a model and of the base models it builds on.

    Args:
        name_or_path: The shipped model, a folder or a hub repository.
        base: As for `Cocom.from_pretrained`.
        hub: How to reach the hub.

    Raises:
        CheckpointError: A config is missing, damaged or of no known format.
    """
    from cocom.checkpoints.formats import FORMATS, format_of
    from cocom.checkpoints.loading import MANIFEST, find
    from cocom.checkpoints.parts import LoadOptions, base_config
    from cocom.checkpoints.source import HubOptions
    from cocom.persistence import quiet, read_manifest

    hub = hub or HubOptions()
    source = find(name_or_path, hub)
    published: dict[str, Any] = {}
    encoder: Any = None
    with quiet():
        try:
            if source.has(MANIFEST):
                manifest = read_manifest(source.need(MANIFEST).parent)
                config = CocomConfig.from_dict(manifest["config"])
                reader = _inner_config(source, "backbone")
                if config.encoder is not None:
                    encoder = _inner_config(source, "encoder")
            else:
                kind, published = format_of(source)
                options = LoadOptions(base=base, hub=hub)
                config = FORMATS[kind].preview(source, published, options)
                named = published.get("decoder_model_name")
                reader = base_config(options.base_of(named), options)
                if kind == "pisco-2026":
                    encoder = _inner_config(source, "compressor")
                elif config.encoder is not None:
                    trimmed = published["compr_model_name"] == _TRIMMED
                    own = published.get("compr_base_model_name" if trimmed else "compr_model_name")
                    encoder = base_config(options.base_of(own, decoder=own == named), options)
                    if trimmed:
                        _trim(encoder, published, source.name)
        except ConfigError as error:
            raise CheckpointError(f"'{source.name}' cannot be used: {error}") from error
        return _sizes(str(name_or_path), config, reader, encoder, published)


def _sizes(
    name: str, config: CocomConfig, reader: Any, encoder: Any, published: Mapping[str, Any]
) -> CompressorShape:
    """Sizes of models that are built without memory for their weights."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    from cocom.checkpoints.source import first_line

    try:
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(reader, trust_remote_code=False)
            width = int(model.get_input_embeddings().embedding_dim)
            if encoder is None:
                if config.weights != "full":
                    _adapt(model, config.lora.r, config.lora.target_modules)
            else:
                model = AutoModel.from_config(encoder, trust_remote_code=False)
                if config.encoder is not None and config.encoder.lora_r:
                    _adapt(model, config.encoder.lora_r, "all-linear")
        text = model.config.get_text_config()
        states = int(text.hidden_size)
        heads = int(getattr(text, "num_attention_heads", 0))  # a model may have no attention
        size = getattr(text, "head_dim", None) or (states // heads if heads else 0)
        return CompressorShape(
            name=name,
            config=config,
            width=width,
            dtype=_dtype(published.get("dtype") or published.get("torch_dtype") or text.dtype),
            parameters=sum(p.numel() for p in model.parameters()),
            weights=_weights(model.base_model, getattr(text, "num_experts_per_tok", None)),
            layers=int(text.num_hidden_layers),
            attention=heads * int(size),
            states=states,
        )
    except Exception as error:
        raise CheckpointError(
            f"the model that '{name}' builds on cannot be put together from its config "
            f"({first_line(error)})."
        ) from error


def _weights(model: nn.Module, experts: int | None) -> int:
    from torch import nn

    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    total = 0
    for name, weight in model.named_parameters():
        # A pooler reads one row of a window only.
        if weight.ndim < 2 or id(weight) in tables or "pooler" in name:
            continue
        count = int(weight.numel())
        if experts and weight.ndim == 3:  # all experts in one tensor, of which a token takes some
            count = count // weight.shape[0] * experts
        total += count
    return total


def _adapt(model: nn.Module, rank: int, targets: str | tuple[str, ...]) -> None:
    """Add the adapter that is active when compressing; it is not merged."""
    from peft import LoraConfig, inject_adapter_in_model

    names = targets if isinstance(targets, str) else list(targets)
    settings = LoraConfig(r=rank, target_modules=names, task_type="CAUSAL_LM")
    inject_adapter_in_model(settings, model, adapter_name="compress")


def _inner_config(source: Source, folder: str) -> Any:
    from transformers import AutoConfig

    from cocom.checkpoints.source import first_line

    path = source.need(f"{folder}/config.json")
    try:
        return AutoConfig.from_pretrained(
            path.parent, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise CheckpointError(
            f"'{source.name}/{folder}/config.json' cannot be read ({first_line(error)})."
        ) from error


def _trim(base: Any, published: Mapping[str, Any], name: str) -> None:
    """Leave a base as many layers as a light compressor keeps: the first, or every so many; in place."""
    from cocom.checkpoints.parts import setting

    first = setting(published, "compr_n_layers", int, 0)
    every = setting(published, "compr_every_n_layer", int, 0)
    layers = base.num_hidden_layers // every if every else first
    if not 0 < layers <= base.num_hidden_layers:
        raise CheckpointError(
            f"'{name}': config.json keeps {layers} layers of a base that has {base.num_hidden_layers}."
        )
    base.num_hidden_layers = layers
    if getattr(base, "layer_types", None):
        base.layer_types = base.layer_types[:layers]


def _dtype(value: object) -> str | None:
    return None if value is None else str(value).removeprefix("torch.")


def _length(template: str) -> int:
    """Tokens of a template: names of tokens count one each, other text by its length."""
    return len(_ONE_TOKEN.findall(template)) + -(-len(_ONE_TOKEN.sub("", template)) // _CHARACTERS)
