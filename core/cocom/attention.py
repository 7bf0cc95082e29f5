"""Attention over prompts laid end to end, and of new rows to prompts that were read before.

Transformers calls the attention function of this module in place of its own while a model is used inside
`attending`. The function hands queries, keys and values of each layer to the *layout* that was passed to
the model's forward pass, and the layout knows which rows see which. So no row is padding, no mask of the
whole batch is ever built, and keys and values are written where they stay.

Shapes: T rows of a pass, B prompts, H query heads, K key heads (H is a multiple of K), D head size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["NAME", "KeyValues", "Layout", "Packed", "Stepped", "attending"]

NAME = "cocom"
"""What transformers knows the attention by."""


class KeyValues(Protocol):
    """Where keys and values of prompts stay while their answers are written."""

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep the keys and values of new rows, shape (T, K, D) each."""
        ...

    def read(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all prompts, shape (B, K, W, D) each, W the widest prompt."""
        ...


class Layout(Protocol):
    """Which rows of a forward pass see which."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention of one layer.

        Args:
            layer: Number of the layer.
            query: Shape (batch, H, rows, D).
            key: Shape (batch, K, rows, D).
            value: As `key`.
            scale: Of the products; None takes 1 / sqrt(D).
            window: Rows that a row sees, itself included; None for all before it.

        Returns:
            Shape (batch, rows, H, D).
        """
        ...


class Packed:
    """Prompts laid end to end in one row (1, T): each row sees its own prompt up to itself.

    All may follow one head, whose keys and values are there already: then each row sees that too.

    Attributes:
        windows: The window that each layer asked for.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        device: torch.device,
        keep: KeyValues | None = None,
        head: KeyValues | None = None,
        varlen: bool = True,
    ) -> None:
        """Lay out a pass.

        Args:
            lengths: Rows of each prompt, without the head.
            device: Where the model computes.
            keep: Where keys and values are to stay, if they are needed later.
            head: Keys and values of the rows before every prompt.
            varlen: Attend in all prompts at once on CUDA; else in those of one length at a time.
        """
        self._runs = [(length, len(list(same))) for length, same in groupby(lengths)]
        self._longest = max(lengths)
        self.windows: dict[int, int | None] = {}
        self._keep = keep
        self._head = head
        self._starts: torch.Tensor | None = None
        if varlen and device.type == "cuda" and head is None:
            ends = torch.tensor([0, *lengths]).cumsum(0)
            self._starts = ends.to(device, torch.int32)

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """As `Layout.attend`, with a batch of 1."""
        self.windows[layer] = window
        queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))
        if self._keep is not None:
            self._keep.write(layer, keys, values)
        if self._starts is not None and query.dtype in (torch.bfloat16, torch.float16):
            return self._at_once(queries, keys, values, scale, window)[None]
        before = None if self._head is None else self._head.read(layer)
        parts: list[torch.Tensor] = []
        start = 0
        for length, count in self._runs:
            rows = slice(start, start + length * count)
            start = rows.stop
            split = (count, length)
            found = _causal(
                queries[rows].unflatten(0, split).transpose(1, 2),
                keys[rows].unflatten(0, split).transpose(1, 2),
                values[rows].unflatten(0, split).transpose(1, 2),
                before,
                scale,
                window,
            )
            parts.append(found.transpose(1, 2).flatten(0, 1))
        return torch.cat(parts)[None] if len(parts) > 1 else parts[0][None]

    def _at_once(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """All prompts in one kernel that knows where each ends."""
        from torch.nn.attention.varlen import varlen_attn

        found: Any = varlen_attn(
            queries,
            keys,
            values,
            self._starts,  # type: ignore[arg-type]
            self._starts,
            self._longest,
            self._longest,
            scale=scale,
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=queries.shape[1] != keys.shape[1],
        )
        return found  # type: ignore[no-any-return]


class Stepped:
    """One new row for each prompt (B, 1): it sees all rows of its prompt that were kept, and itself."""

    def __init__(
        self, kept: KeyValues, lengths: torch.Tensor, width: int, *, even: bool = False
    ) -> None:
        """Lay out a pass.

        Args:
            kept: Keys and values of the prompts, where those of the new rows go.
            lengths: Rows of each prompt before the new one, shape (B,).
            width: Rows of the widest prompt that `kept` reads.
            even: Whether every prompt is `width` long with its new row, so that nothing is hidden.
        """
        self._kept = kept
        self._lengths = lengths
        self._width = width
        self._even = even
        self._masks: dict[int | None, torch.Tensor | None] = {}

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """As `Layout.attend`, with one row a prompt."""
        self._kept.write(layer, key[:, :, 0], value[:, :, 0])
        keys, values = self._kept.read(layer)
        # Query heads that share a key head stand as rows of one head, so that no key is copied.
        grouped = query.view(query.shape[0], keys.shape[1], -1, query.shape[-1])
        found = scaled_dot_product_attention(
            grouped, keys, values, attn_mask=self._mask(window), scale=scale
        )
        return found.reshape(query.shape[0], 1, query.shape[1], values.shape[-1])

    def _mask(self, window: int | None) -> torch.Tensor | None:
        if window not in self._masks:
            self._masks[window] = self._seen(window)
        return self._masks[window]

    def _seen(self, window: int | None) -> torch.Tensor | None:
        if self._even and (window is None or window >= self._width):
            return None
        places = torch.arange(self._width, device=self._lengths.device)
        last = self._lengths[:, None]
        seen = places <= last
        if window is not None:
            seen &= places > last - window
        return seen[:, None, None]


def _causal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    before: tuple[torch.Tensor, torch.Tensor] | None,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    """Causal attention of prompts of one length, (B, H, L, D) and (B, K, L, D), behind a head or not."""
    shared = query.shape[1] != key.shape[1]
    if before is not None:
        key, value = (
            torch.cat([head.expand(len(own), -1, -1, -1), own], 2)
            for head, own in zip(before, (key, value), strict=True)
        )
    rows, width = query.shape[2], key.shape[2]
    if rows == width and (window is None or window >= width):
        return scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=shared
        )
    last = torch.arange(width - rows, width, device=query.device)[:, None]
    places = torch.arange(width, device=query.device)
    seen = places <= last
    if window is not None:
        seen &= places > last - window
    return scaled_dot_product_attention(
        query, key, value, attn_mask=seen, scale=scale, enable_gqa=shared
    )


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cocom: Layout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls; without a layout somebody else uses the model, and it attends as usual."""
    if cocom is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options |= {"scaling": scaling, "sliding_window": sliding_window}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if unknown := [name for name in _UNKNOWN if options.get(name) is not None]:
        raise NotImplementedError(f"attention with {unknown}")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    return cocom.attend(layer, query, key, value, scaling, sliding_window), None


_UNKNOWN = ("softcap", "s_aux", "position_bias")


def unused_mask(device: torch.device) -> torch.Tensor:
    """A mask that keeps transformers from making one; layouts need none."""
    return torch.empty((1, 1, 1, 1), device=device)


@contextmanager
def attending(configs: Sequence[Any]) -> Iterator[None]:
    """Have a model attend as its layouts say; its own attention is back afterwards.

    Args:
        configs: The configs that the model's layers look at.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = NAME
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name
