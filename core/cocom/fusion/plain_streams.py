"""Streams through the model's own forward pass and cache, padded on the left: right for every model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from cocom.backbone import Backbone
from cocom.running.request import ReadRequest, with_contexts
from cocom.splice import pack_prompts
from cocom.text_tokens import EncodedPrompt

__all__ = ["PlainStreams"]


class PlainStreams:
    """Streams in transformers' cache; prompts are read when there are none. See `Streams`.

    Attributes:
        rows: How many there are.
    """

    def __init__(self, backbone: Backbone) -> None:
        """Prepare.

        Args:
            backbone: Reads.
        """
        self._backbone = backbone
        self._takes = set(inspect.signature(backbone.model.forward).parameters)
        self.clear()

    def clear(self) -> None:
        """As `Streams.clear`."""
        self.rows = 0
        self._cache: Any = None
        self._mask = torch.empty(0)
        self._positions = torch.empty(0)

    def read(self, prompts: Sequence[ReadRequest], most: Sequence[int]) -> torch.Tensor:
        """As `Streams.read`."""
        from transformers import DynamicCache

        assert not self.rows
        self._cache = DynamicCache(config=self._backbone.model.config)
        logits, self._mask, self._positions = self._read(prompts, 1, self._cache)
        self.rows = len(prompts)
        return logits[:, -1]

    def step(self, ids: Sequence[int]) -> torch.Tensor:
        """As `Streams.step`."""
        device = self._backbone.device
        ones = self._mask.new_ones((self.rows, 1))
        self._mask = torch.cat([self._mask, ones], 1)
        self._positions = self._positions + 1
        model: Any = self._backbone.model
        output = model(
            input_ids=torch.tensor(ids, device=device)[:, None],
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            **self._known(position_ids=self._positions[:, None]),
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def arrange(self, sources: Sequence[int]) -> None:
        """As `Streams.arrange`."""
        if list(sources) == list(range(self.rows)):
            return
        if not sources:
            self.clear()
            return
        at = torch.tensor(sources, device=self._mask.device)
        self._cache.reorder_cache(at)
        self._mask, self._positions = self._mask[at], self._positions[at]
        self.rows = len(sources)

    def behind(
        self, rows: Sequence[int], prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """As `Streams.behind`: every prompt is read again with each answer behind it."""
        found: list[list[list[float]]] = []
        for answer in answers:
            size = len(answer) - 1
            if not size:
                found.append([[] for _ in prompts])
                continue
            longer = [
                EncodedPrompt((*given.prompt.ids, *answer[:-1]), given.prompt.slots)
                for given in prompts
            ]
            whole = [replace(g, prompt=p) for g, p in zip(prompts, longer, strict=True)]
            logits = self._read(whole, size, None)[0][:, -size:].float()
            targets = torch.tensor(answer[1:], device=logits.device).expand(len(prompts), -1)
            logs = logits.log_softmax(-1).gather(2, targets[:, :, None])[:, :, 0]
            found.append(logs.tolist())
        return found

    def _read(
        self, prompts: Sequence[ReadRequest], keep: int, cache: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the last rows of prompts, which rows are no padding, and each one's last position."""
        backbone = self._backbone
        uniform = backbone.config.memory_positions == "uniform"
        batch = pack_prompts(
            [prompt.row() for prompt in prompts], backbone.pad_id, uniform=uniform, left=True
        ).to(backbone.device)
        model: Any = backbone.model
        output = model(
            inputs_embeds=with_contexts(backbone.embed(batch.ids), batch.slot_index, prompts),
            attention_mask=batch.attention_mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **self._known(position_ids=batch.position_ids, logits_to_keep=keep),
        )
        return output.logits, batch.attention_mask, batch.position_ids[:, -1]

    def _known(self, **inputs: Any) -> dict[str, Any]:
        """Those that the model takes."""
        return {name: value for name, value in inputs.items() if name in self._takes}
