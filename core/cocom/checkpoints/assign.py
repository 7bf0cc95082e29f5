"""Tensors of a checkpoint into a model: modules, LoRA adapters, the rows of added tokens; strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cocom.backbone import Backbone
from cocom.checkpoints.tensors import Tensors

__all__ = ["assign_adapter", "assign_control_rows", "assign_ends", "assign_module"]


def assign_module(module: nn.Module, tensors: Tensors, name_of: Callable[[str], str]) -> None:
    """Put tensors of the checkpoint into a module, strictly."""
    with torch.no_grad():
        for name, target in module.state_dict().items():
            target.copy_(tensors.take(name_of(name), tuple(target.shape)))


def assign_adapter(
    model: nn.Module, adapter: str, tensors: Tensors, name_of: Callable[[str, str], str]
) -> None:
    """Put a LoRA adapter's tensors into a model that has it, strictly.

    Args:
        model: With the adapter injected.
        adapter: Its name in the model.
        tensors: The checkpoint's tensors; the adapter's are taken out.
        name_of: From a linear layer's name and "A" or "B" to the name in the checkpoint.
    """
    from peft.tuners.lora import LoraLayer

    with torch.no_grad():
        for name, layer in model.named_modules():
            if not isinstance(layer, LoraLayer):
                continue
            for half, parts in (("A", layer.lora_A), ("B", layer.lora_B)):
                weight: Any = parts[adapter].weight
                weight.copy_(tensors.take(name_of(name, half), tuple(weight.shape)))


def assign_control_rows(backbone: Backbone, rows: torch.Tensor) -> None:
    """Give the control tokens the embedding rows that the checkpoint added behind the vocabulary."""
    start = backbone.text.vocabulary_size
    added = rows[start : start + backbone.control.num_embeddings]
    # Gemma 3 scales inside its embedding layer, which the control tokens do not pass.
    words: Any = backbone.model.get_input_embeddings()
    scale = float(getattr(words, "embed_scale", 1.0))
    with torch.no_grad():
        backbone.control.weight[: added.shape[0]].copy_(added.to(backbone.control.weight) * scale)


def assign_ends(model: Any, embedding: torch.Tensor, head: torch.Tensor | None) -> None:
    """Give a language model its input embedding and its head; tied ones part if they must.

    Args:
        model: Its two ends have the shapes of the tensors.
        embedding: Shape (vocabulary, hidden).
        head: The same shape; None leaves a tied head tied.
    """
    with torch.no_grad():
        words, output = model.get_input_embeddings(), model.get_output_embeddings()
        words.weight.copy_(embedding)
        if head is None:
            return
        if output.weight is words.weight and not torch.equal(embedding, head):
            output.weight = nn.Parameter(torch.empty_like(words.weight))
            model.config.tie_word_embeddings = False
        output.weight.copy_(head)
