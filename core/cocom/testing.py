"""Tiny models built in memory, for our tests and for those of our users.

They are random and know nothing: they check plumbing, not language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from cocom.config import CocomConfig, EncoderConfig
from cocom.engine import Cocom
from cocom.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Family", "tiny_backbone", "tiny_cocom", "tiny_encoder", "tiny_tokenizer"]

Family = Literal["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt_neox"]

_CHAT = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}{% endfor %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level tokenizer without merges: any text, one token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=["[INST]", "[/INST]"],
        padding_side="left",
    )
    fast.chat_template = _CHAT
    return fast


def tiny_backbone(family: Family = "llama", *, seed: int = 0, **settings: Any) -> PreTrainedModel:
    """A random two-layer causal language model of a family, with `tiny_tokenizer`'s vocabulary."""
    from transformers import AutoConfig, AutoModelForCausalLM

    names = {"gemma3": "gemma3_text"}
    shape: dict[str, Any] = {
        "vocab_size": len(tiny_tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.2,
    }
    if family == "gpt_neox":
        del shape["num_key_value_heads"], shape["head_dim"]
    config = AutoConfig.for_model(names.get(family, family), **{**shape, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    return model


def tiny_encoder(
    *, seed: int = 0, **settings: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random two-layer BERT and its tokenizer."""
    from transformers import BertConfig, BertModel

    tokenizer = tiny_tokenizer()
    tokenizer.cls_token, tokenizer.sep_token = "<s>", "</s>"
    tokenizer.pad_token = "<unk>"
    config = BertConfig(
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "pad_token_id": 0,
            **settings,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config).eval()
    return model, tokenizer


def tiny_cocom(
    config: CocomConfig | None = None, *, family: Family = "llama", seed: int = 0, **settings: Any
) -> Cocom:
    """A random COCOM model that works in milliseconds.

    Args:
        config: How to put it together; None takes the defaults.
        family: Kind of backbone.
        seed: Of its weights.
        **settings: More settings of the backbone's configuration.

    Raises:
        InputError: `family` is unknown.
    """
    if family not in Family.__args__:  # type: ignore[attr-defined]
        raise InputError(f"family {family!r} is unknown: choose one of {Family.__args__}.")  # type: ignore[attr-defined]
    config = config or CocomConfig()
    encoder, encoder_tokenizer = (
        tiny_encoder(seed=seed) if isinstance(config.encoder, EncoderConfig) else (None, None)
    )
    backbone = tiny_backbone(family, seed=seed, **settings)
    with torch.random.fork_rng(devices=[]):  # adapters and maps are drawn too
        torch.manual_seed(seed)
        cocom = Cocom(
            backbone,
            tiny_tokenizer(),
            config,
            encoder=encoder,
            encoder_tokenizer=encoder_tokenizer,
        )
        # LoRA starts as no change at all, and an adapter that does nothing hides mistakes.
        for name, parameter in cocom.backbone.model.named_parameters():
            if ".lora_B." in name:
                nn.init.normal_(parameter, std=0.1)
    return cocom
