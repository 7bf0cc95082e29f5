"""Forward passes of the language model without padding: prompts end to end, and steps of many prompts.

Whether a model computes the same this way as on its own is found out once, by trying: architectures
differ, and an answer that is nearly right is worse than one that is slow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from cocom.attention import NAME, KeyValues, Layout, Packed, Stepped, attending, unused_mask
from cocom.backbone import Backbone, Role
from cocom.forks import renew_after_fork
from cocom.packing import EndToEnd
from cocom.products import Products

__all__ = ["Passes", "passes_of"]

_log = logging.getLogger(__name__)

# Their frequencies follow the longest prompt of a pass, so prompts are not independent of each other.
_UNEVEN_ROPE = {"dynamic", "longrope"}


class Passes:
    """Forward passes of one backbone; made once for each by `passes_of`."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        found = {
            id(config): config
            for module in [backbone.model, *backbone.model.modules()]
            if hasattr(config := getattr(module, "config", None), "_attn_implementation")
        }
        self._configs: list[Any] = list(found.values())
        self._names = [config._attn_implementation for config in self._configs]
        # A copy that was made while the model was in use.
        self._names = ["sdpa" if name == NAME else name for name in self._names]
        self.renew()
        renew_after_fork(self)
        self._checked: tuple[torch.device, torch.dtype, str | None] | None = None
        self._usable = False
        self._varlen = False
        self._windows: dict[int, int | None] = {}
        self._products: tuple[object, Products] | None = None

    def renew(self) -> None:
        """Give the model its own attention back, wherever it was copied or forked."""
        for config, name in zip(self._configs, self._names, strict=True):
            if config._attn_implementation == NAME:
                config._attn_implementation = name

    @contextmanager
    def role(self, role: Role) -> Iterator[None]:
        """Use the backbone in one role, through these passes and without gradients."""
        # What is kept for later must not be bound to a caller's inference mode.
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            self._backbone.role(role),
            attending(self._configs),
        ):
            yield

    def hidden(self, rows: EndToEnd, embeds: torch.Tensor) -> torch.Tensor:
        """Last hidden states (T, H) of input embeddings (T, H); no LM head, no other layer's states."""
        layout = Packed(rows.lengths, device=embeds.device, varlen=self._varlen)
        output = self._backbone.decoder()(
            inputs_embeds=embeds[None],
            attention_mask=unused_mask(embeds.device),
            position_ids=rows.position_ids[None],
            use_cache=False,
            cocom=layout,
        )
        states: torch.Tensor = output.last_hidden_state[0]
        return states

    def first(
        self,
        rows: EndToEnd,
        embeds: torch.Tensor,
        *,
        keep: KeyValues,
        head: KeyValues | None = None,
    ) -> torch.Tensor:
        """Logits (prompts, vocabulary) behind prompts whose input embeddings are (T, H).

        Args:
            rows: The prompts.
            embeds: Their input embeddings.
            keep: Where keys and values stay.
            head: Keys and values of what stands before every prompt.
        """
        layout = Packed(
            rows.lengths, device=embeds.device, keep=keep, head=head, varlen=self._varlen
        )
        logits = self._logits(
            layout,
            inputs_embeds=embeds[None],
            position_ids=rows.position_ids[None],
            logits_to_keep=rows.last.to(embeds.device),
        )[0]
        self._windows = layout.windows
        return logits

    def step(self, ids: torch.Tensor, positions: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Logits (B, vocabulary) behind one more token for each prompt, ids and positions (B,)."""
        found = self._logits(layout, input_ids=ids[:, None], position_ids=positions[:, None])
        return found[:, -1]

    def keys_and_values(self, ids: torch.Tensor, keep: KeyValues) -> None:
        """Only keep the keys and values of some tokens, ids (T,), that stand at the start of prompts."""
        places = torch.arange(len(ids), device=ids.device)
        self._backbone.decoder()(
            inputs_embeds=self._backbone.embed(ids)[None],
            attention_mask=unused_mask(ids.device),
            position_ids=places[None],
            use_cache=False,
            cocom=Packed([len(ids)], device=ids.device, keep=keep),
        )

    def usable(self) -> bool:
        """Whether the model computes the same through these passes as on its own."""
        backbone = self._backbone
        own = self._own_attention()
        if own == NAME:  # asked inside `role`
            return self._usable
        state = (backbone.device, backbone.dtype, own)
        if self._checked != state:
            # Models that offer nothing but their eager attention have something in it that others lack.
            self._usable = own not in (None, "eager") and not self._uneven() and self._tries()
            self._checked = state
            if not self._usable:
                _log.info("%s is run by transformers' generate.", type(backbone.model).__name__)
        return self._usable

    def products(self) -> Products:
        """The model's linear layers, to be computed the fastest way."""
        state = (self._backbone.device, self._backbone.dtype)
        if self._products is None or self._products[0] != state:
            self._products = (state, Products(self._backbone.model))
        return self._products[1]

    def _own_attention(self) -> str | None:
        config: Any = self._backbone.model.config.get_text_config()
        name: str | None = config._attn_implementation
        return name

    def _uneven(self) -> bool:
        config: Any = self._backbone.model.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or {}
        kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
        return any(kind.get("rope_type") in _UNEVEN_ROPE for kind in kinds)

    def _tries(self) -> bool:
        """Whether it does with one of the kernels that there are, which is used from then on."""
        self._varlen = self._backbone.device.type == "cuda"
        if self._agrees():
            return True
        if not self._varlen:
            return False
        self._varlen = False
        return self._agrees()

    def _agrees(self) -> bool:
        backbone = self._backbone
        size = backbone.text.vocabulary_size
        generator = torch.Generator().manual_seed(0)
        prompts = [
            torch.randint(size, (n,), generator=generator).to(backbone.device) for n in (3, 7, 7)
        ]
        try:
            # Of a model that compresses only, the other role's adapter is gone.
            role: Role = "compress" if backbone.merged.name == "compress" else "read"
            with torch.no_grad(), backbone.role(role):
                model: Any = backbone.model
                wanted = torch.stack(
                    [model(input_ids=ids[None], use_cache=False).logits[0, -2:] for ids in prompts]
                )
            with self.role(role):
                found = torch.stack(self._tried(prompts), 1)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            _log.debug("passes end to end failed", exc_info=error)
            return False
        limit = 1e-3 if backbone.dtype == torch.float32 else 5e-2
        off = torch.linalg.vector_norm((found - wanted).float(), dim=-1)
        close = off <= limit * torch.linalg.vector_norm(wanted.float(), dim=-1)
        return bool(close.all()) and self._knows_windows()

    def _knows_windows(self) -> bool:
        """Whether layers told the windows that the config has; some build them into the mask alone.

        The prompts that are tried are shorter than any window.
        """
        config: Any = self._backbone.model.config.get_text_config()
        kinds = getattr(config, "layer_types", None)
        if getattr(config, "attention_chunk_size", None) or "chunked_attention" in (kinds or ()):
            return False
        if kinds is not None:
            sliding = [i for i, kind in enumerate(kinds) if kind == "sliding_attention"]
        elif getattr(config, "sliding_window", None) is not None:
            sliding = list(self._windows)
        else:
            sliding = []
        return all(self._windows.get(layer) is not None for layer in sliding)

    def _tried(self, prompts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Logits behind the last token but one, and behind the last, of each prompt."""
        from cocom.key_values import SlotKeyValues

        device = self._backbone.device
        lengths = [len(ids) - 1 for ids in prompts]
        kept = SlotKeyValues()
        kept.reserve(len(prompts), max(lengths) + 1)
        places = torch.cat([torch.arange(n) for n in lengths])
        rows = EndToEnd(
            torch.cat([ids[:-1] for ids in prompts]), places, places[:0], tuple(lengths)
        ).to(device)
        slots = torch.repeat_interleave(torch.arange(len(prompts)), torch.tensor(lengths))
        kept.aim(slots.to(device), rows.position_ids, used=0, width=0)
        first = self.first(rows, self._backbone.embed(rows.ids), keep=kept)
        at = torch.tensor(lengths, device=device)
        width = max(lengths) + 1
        every = torch.arange(len(prompts), device=device)
        kept.aim(every, at, used=len(prompts), width=width)
        step = self.step(torch.stack([ids[-1] for ids in prompts]), at, Stepped(kept, at, width))
        return [first, step]

    def _logits(self, layout: Layout, **inputs: Any) -> torch.Tensor:
        output = self._backbone.model(
            attention_mask=unused_mask(self._backbone.device),
            use_cache=False,
            cocom=layout,
            **inputs,
        )
        logits: torch.Tensor = output.logits
        return logits


def passes_of(backbone: Backbone) -> Passes:
    """The passes of a backbone, the same every time."""
    found = backbone.__dict__.get("_passes")
    if found is None:
        found = backbone.__dict__["_passes"] = Passes(backbone)
    assert isinstance(found, Passes)
    return found
