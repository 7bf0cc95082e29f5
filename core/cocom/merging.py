"""LoRA adapters folded into the weights that they adapt, so that no layer computes with them any more."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cocom.errors import ModelError

__all__ = ["MergedAdapter", "adapted_layers"]


class MergedAdapter:
    """Which adapter of a model was folded into its weights, and what that rules out.

    Attributes:
        name: Of the adapter; empty if none was.
    """

    def __init__(self) -> None:
        self.name = ""
        self._whole = True

    def merge(self, model: nn.Module, name: str) -> None:
        """Fold an adapter into a model's weights and take all its adapters away; once is enough.

        Raises:
            ModelError: Another adapter was merged before, or the weights are quantized or elsewhere.
        """
        self.check(name)
        if self.name or not adapted_layers(model):
            return
        _check_weights(model)
        self.name, self._whole = name, False
        _merge(model, name)
        self._whole = True

    def check(self, wanted: str, *, train: bool = False) -> None:
        """Make sure that a role or an adapter can still be used.

        Raises:
            ModelError: It was not the one that was merged, or is to be trained.
        """
        if not self.name:
            return
        again = "load the model again"
        if not self._whole:
            raise ModelError(
                f"merging the adapter '{self.name}' was interrupted, and of weights of which some are merged "
                f"there is no use: {again}."
            )
        if train:
            raise ModelError(
                f"the adapter '{self.name}' was merged into the weights and cannot be trained any more: "
                f"{again} and train it before merging."
            )
        if self.name not in ("shared", wanted):
            raise ModelError(
                f"the adapter '{self.name}' was merged into the weights, so this model cannot {wanted}: "
                f"{again} for that, without merging or with merge_adapter('{wanted}')."
            )


def adapted_layers(model: nn.Module) -> list[Any]:
    """The layers of a model that have adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _check_weights(model: nn.Module) -> None:
    config: Any = getattr(model, "config", None)
    quantized = getattr(config, "quantization_config", None) is not None
    for layer in adapted_layers(model):
        weight: torch.Tensor = layer.get_base_layer().weight
        plain = type(weight) in (torch.Tensor, nn.Parameter) and weight.is_floating_point()
        if quantized or not plain:
            kind = f"{type(weight).__name__}, {weight.dtype}"
            raise ModelError(
                f"{type(model).__name__} keeps quantized weights ({kind}), and to quantize them again with "
                "the adapter in them would lose precision: load it without quantization to merge."
            )
        if weight.is_meta:
            raise ModelError(
                f"{type(model).__name__} has weights that its device_map keeps out of memory: load it "
                "without offloading to merge."
            )


@torch.no_grad()
def _merge(model: nn.Module, name: str) -> None:
    layers = set(adapted_layers(model))
    for path, layer in [(p, m) for p, m in model.named_modules() if m in layers]:
        plain: Any = layer.get_base_layer()
        old: nn.Parameter = plain.weight
        exact = torch.promote_types(old.dtype, torch.float32)
        change: torch.Tensor = layer.get_delta_weight(name)
        merged = (old.to(exact) + change.to(exact)).to(old.dtype)
        # A new tensor, because a layer without an adapter may share the old one.
        plain.weight = nn.Parameter(merged, requires_grad=old.requires_grad)
        parent, _, last = path.rpartition(".")
        setattr(model.get_submodule(parent), last, plain)
    model.__dict__.pop("peft_config", None)
