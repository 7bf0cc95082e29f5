"""The light compressor: a BERT-like encoder with a map into the reader's space (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from cocom.config import CocomConfig
from cocom.datatypes import Window
from cocom.errors import ConfigError
from cocom.exclusive import ExclusiveModule
from cocom.splice import WindowRow, gather_states, pack_windows
from cocom.text_tokens import TextTokens
from cocom.windows import TextWindow

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["EncoderCompressor"]


class EncoderCompressor(ExclusiveModule):
    """Windows of the encoder's own token ids -> context embeddings of the reader.

    Attributes:
        encoder: Any Hugging Face encoder.
        head: Linear map of `concat` and `mean`, or the MLP of `memory_mlp`.
        memory: Input embeddings of the memory tokens (`memory_mlp` only).
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: CocomConfig,
        hidden_size: int,
    ) -> None:
        """Wrap an encoder for a reader whose input embeddings are `hidden_size` wide.

        Raises:
            ConfigError: The window and the encoder's special tokens exceed its positions.
        """
        super().__init__()
        assert config.encoder is not None
        self.encoder = encoder
        self._config = config
        self._kind = config.encoder.head
        names = config.memory_token_names() if self._kind == "memory_mlp" else ()
        self.text = TextTokens(tokenizer, names)
        before, after = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._before = [] if before is None else [int(before)]
        self._after = [] if after is None else [int(after)]
        self.pad_id = int(tokenizer.pad_token_id or 0)
        width = int(encoder.config.hidden_size)
        memory = -(-config.window // min(config.rates)) if self._kind == "memory_mlp" else 0
        needed = len(self._before) + config.window + len(self._after) + memory
        positions = getattr(encoder.config, "max_position_embeddings", None)
        if positions is not None and needed > positions:
            raise ConfigError(
                f"window {config.window} needs {needed} positions but the encoder has {positions}: "
                "lower window or take an encoder with more positions."
            )
        self.head: nn.Module
        if self._kind == "memory_mlp":
            inner = config.encoder.mlp_hidden or hidden_size
            self.memory = nn.Embedding(len(names), width)
            nn.init.normal_(self.memory.weight, std=0.02)
            self.head = nn.Sequential(
                nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, hidden_size)
            )
        else:
            groups = config.rates[0] if self._kind == "concat" else 1
            self.head = nn.Linear(width * groups, hidden_size)
        # Beside the encoder, and in its type.
        self.to(encoder.device, encoder.dtype)

    def windows(self, text: str) -> list[TextWindow]:
        """Cut a passage into windows."""
        return self.text.windows(text, self._config.window)

    def row(self, ids: Sequence[int], rate: int) -> WindowRow:
        """Lay out one window for the forward pass."""
        window = Window(len(ids), self._config.embeddings_for(len(ids), rate))
        row = [*self._before, *ids, *self._after]
        if self._kind == "memory_mlp":
            names = self._config.memory_token_run(rate, window.embeddings)
            row += [self.text.control_ids[name] for name in names]
        return WindowRow(row, window, len(self._before), rate)

    def embed(self, rows: Sequence[WindowRow], *, train: bool = False) -> torch.Tensor:
        """Context embeddings of windows, one after the other, shape (M, H); differentiable."""
        with self.used():
            if not train:
                self.eval()
            if self._kind == "memory_mlp":
                return self._memory_states(rows)
            return self._group_states(rows)

    def _memory_states(self, rows: Sequence[WindowRow]) -> torch.Tensor:
        batch = pack_windows(rows, self.pad_id, uniform=False).to(self.memory.weight.device)
        size = self.text.vocabulary_size
        control = batch.ids >= size
        words = self.encoder.get_input_embeddings()(batch.ids.masked_fill(control, 0))
        memory = self.memory((batch.ids - size).clamp(min=0)).to(words.dtype)
        hidden = self.encoder(
            inputs_embeds=torch.where(control[..., None], memory, words),
            attention_mask=batch.attention_mask,
        ).last_hidden_state
        mapped: torch.Tensor = self.head(gather_states(hidden, batch.memory_index))
        return mapped

    def _group_states(self, rows: Sequence[WindowRow]) -> torch.Tensor:
        batch = pack_windows(rows, self.pad_id, uniform=False).to(self.encoder.device)
        hidden = self.encoder(
            input_ids=batch.ids, attention_mask=batch.attention_mask
        ).last_hidden_state
        return torch.cat([self._groups(h, row) for h, row in zip(hidden, rows, strict=True)])

    def _groups(self, hidden: torch.Tensor, row: WindowRow) -> torch.Tensor:
        states = hidden[row.start : row.start + row.window.tokens]
        missing = row.window.embeddings * row.rate - row.window.tokens
        if self._kind == "concat":
            padded = nn.functional.pad(states, (0, 0, 0, missing))
            grouped: torch.Tensor = self.head(padded.view(row.window.embeddings, -1))
            return grouped
        mapped = nn.functional.pad(self.head(states), (0, 0, 0, missing))
        sizes = torch.full((row.window.embeddings, 1), float(row.rate), device=mapped.device)
        sizes[-1] -= missing
        summed = mapped.view(row.window.embeddings, row.rate, -1).sum(1)
        return summed / sizes.to(summed.dtype)
