"""The language model as its own compressor: memory tokens behind the passage (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cocom.backbone import Backbone
from cocom.datatypes import Window
from cocom.errors import ConfigError, InputError
from cocom.packing import lay_windows
from cocom.passes import passes_of
from cocom.splice import WindowRow, gather_states, pack_windows
from cocom.windows import TextWindow

__all__ = ["DecoderCompressor"]


class DecoderCompressor:
    """Windows of token ids -> context embeddings, through the backbone's *compress* role."""

    def __init__(self, backbone: Backbone) -> None:
        """Compress with `backbone`.

        Raises:
            ConfigError: A window, its prompt and its memory tokens exceed the model's positions.
        """
        self.backbone = backbone
        self._config = backbone.config
        text = backbone.text
        self._prefix = text.encode_template(self._config.prompt.compress_prefix)
        self._suffix = text.encode_template(self._config.prompt.compress_suffix)
        memory = self._config.most_embeddings
        needed = len(self._prefix) + self._config.window + len(self._suffix) + memory
        limit = backbone.max_positions
        if limit is not None and needed > limit:
            raise ConfigError(
                f"window {self._config.window} needs {needed} positions but the model has {limit}: lower "
                "window or take a model with more positions."
            )

    def windows(self, text: str, query: str | None = None) -> list[TextWindow]:
        """Cut a passage into windows.

        Raises:
            InputError: A query was given, which this compressor does not read.
        """
        if query is not None:
            raise InputError(
                "this model's compressor reads passages alone, but a query was given: leave query out."
            )
        return self.backbone.text.windows(text, self._config.window)

    def row(self, ids: Sequence[int], rate: int, before: Sequence[int] = ()) -> WindowRow:
        """Lay out one window for the forward pass; there is no query, so `before` is empty."""
        assert not before
        window = Window(len(ids), self._config.embeddings_for(len(ids), rate))
        control = self.backbone.text.control_ids
        memory = [control[n] for n in self._config.memory_token_run(rate, window.embeddings)]
        return WindowRow(
            [*self._prefix, *ids, *self._suffix, *memory], window, len(self._prefix), rate
        )

    def embed(self, rows: Sequence[WindowRow], *, train: bool = False) -> torch.Tensor:
        """Context embeddings of windows, one after the other, shape (M, H); differentiable."""
        passes = passes_of(self.backbone)
        if not train and passes.usable():
            laid = lay_windows(rows, uniform=self._config.memory_positions == "uniform").to(
                self.backbone.device
            )
            with passes.role("compress"):
                states = passes.hidden(laid, self.backbone.embed(laid.ids))
            return states.index_select(0, laid.places)
        batch = pack_windows(
            rows, self.backbone.pad_id, uniform=self._config.memory_positions == "uniform"
        ).to(self.backbone.device)
        # Padding stands behind everything a causal model looks at, so no row needs to be masked.
        unmasked = torch.ones_like(batch.attention_mask)
        with self.backbone.role("compress", train=train):
            hidden = self.backbone.hidden(batch.ids, unmasked, batch.position_ids)
        return gather_states(hidden, batch.memory_index)
