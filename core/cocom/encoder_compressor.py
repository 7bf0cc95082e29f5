"""The light compressor: a smaller model with a map into the reader's space (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cocom.config import CocomConfig
from cocom.datatypes import Window
from cocom.errors import ConfigError, InputError
from cocom.exclusive import ExclusiveModule
from cocom.merging import MergedAdapter
from cocom.splice import CompressBatch, WindowRow, gather_states, pack_windows
from cocom.text_tokens import TextTokens
from cocom.windows import TextWindow

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["EncoderCompressor"]


class EncoderCompressor(ExclusiveModule):
    """Windows of the encoder's own token ids -> context embeddings of the reader.

    Attributes:
        encoder: Any Hugging Face model that gives hidden states.
        head: Linear map of `concat` and `mean`, the MLP of `memory_mlp`, nothing for `memory`.
        memory: Input embeddings of the memory tokens, if the head has any.
        merged: Whether the encoder's adapter was folded into its weights.
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
            ConfigError: The window and the encoder's special tokens exceed its positions, or states
                without a map are not as wide as the reader's embeddings.
        """
        super().__init__()
        assert config.encoder is not None
        self.encoder = encoder
        self._config = config
        self._shape = config.encoder
        names = config.encoder_memory_names()
        self.text = TextTokens(tokenizer, names)
        self._before, self._after = self._special_ids()
        self._between = self.text.around(pair=True)[1] if self._shape.query == "pair" else []
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.text.bos_id
        self.pad_id = int(pad or 0)  # masked, so any will do
        if not self._shape.final_norm:
            _drop_final_norm(encoder)
        if self._shape.lora_r:
            _add_adapter(encoder, self._shape.lora_r)
        width = int(encoder.config.hidden_size)
        self._check_positions()
        self.merged = MergedAdapter()
        self.head: nn.Module = nn.Identity()
        if self._shape.memory_tokens:
            self.memory = nn.Embedding(len(names), width)
            nn.init.normal_(self.memory.weight, std=0.02)
        if self._shape.head == "memory_mlp":
            inner = self._shape.mlp_hidden or hidden_size
            self.head = nn.Sequential(
                nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, hidden_size)
            )
        elif self._shape.head != "memory":
            groups = config.rates[0] if self._shape.head == "concat" else 1
            self.head = nn.Linear(width * groups, hidden_size)
        elif width != hidden_size:
            raise ConfigError(
                f"encoder.head is 'memory', but the encoder's states are {width} wide and the reader's "
                f"embeddings {hidden_size}: choose 'memory_mlp'."
            )
        if self._shape.rotary_bfloat16 and encoder.dtype == torch.bfloat16:
            _round_frequencies(encoder)
        # Beside the encoder, and in its type; its own buffers stay as precise as they are.
        for name, part in self.named_children():
            if name != "encoder":
                part.to(encoder.device, encoder.dtype)

    def _special_ids(self) -> tuple[list[int], list[int]]:
        tokenizer = self.text.tokenizer
        before, after = tokenizer.cls_token_id, tokenizer.sep_token_id
        if before is None and after is None:
            first, _, last = self.text.around()
            return first, last
        return (
            [] if before is None else [int(before)],
            [] if after is None else [int(after)],
        )

    def _check_positions(self) -> None:
        config, shape = self._config, self._shape
        around = len(self._before) + len(self._after)
        needed = max(config.window, shape.query_window) + around
        if shape.memory_tokens:
            needed += max(config.most_embeddings, self._count(needed, min(config.rates)))
        elif shape.counts == "row":
            rate = max(config.rates)
            needed = max(needed, self._count(config.window + around, rate) * rate)
        positions = getattr(self.encoder.config, "max_position_embeddings", None)
        if positions is not None and needed > positions:
            raise ConfigError(
                f"window {config.window} needs {needed} positions but the encoder has {positions}: "
                "lower window or take an encoder with more positions."
            )

    def windows(self, text: str, query: str | None = None) -> list[TextWindow]:
        """Cut a passage into windows.

        Raises:
            InputError: A query for a compressor that reads none, or one that leaves no room.
        """
        shape = self._shape
        if query is None:
            return self.text.windows(text, self._config.window, first=True)
        if not shape.query:
            raise InputError(
                "this model's compressor reads passages alone, but a query was given: leave query out."
            )
        if shape.query == "pair":
            own = self.text.encode_text(query, first=True)
            room = shape.query_window - len(own)
            if room < 1:
                raise InputError(
                    f"the query takes {len(own)} tokens of the {shape.query_window} that query and "
                    "passage have together: shorten the query."
                )
            before = [*own, *self._between]
            found = self.text.windows(text, room, first=True)
        else:
            lead = shape.query.replace("{query}", query)
            before, found = self.text.windows_after(lead, text, shape.query_window)
        return [TextWindow(w.ids, w.start, w.end, tuple(before)) for w in found]

    def row(self, ids: Sequence[int], rate: int, before: Sequence[int] = ()) -> WindowRow:
        """Lay out one window for the forward pass; `before` are the tokens of a query."""
        shape = self._shape
        start = len(self._before) + len(before)
        row = [*self._before, *before, *ids, *self._after]
        counted = len(row) if shape.counts == "row" else len(ids)
        window = Window(len(ids), self._count(counted, rate))
        if not shape.memory_tokens:
            return WindowRow(row, window, start, rate)
        longest = shape.query_window + len(self._between) if before else self._config.window
        room = max(0, longest + len(self._before) + len(self._after) - len(row))
        padding = room if shape.padding == "right" else 0
        return WindowRow(
            [*row, *[self.pad_id] * padding, *self.memory_ids(window.embeddings, rate)],
            window,
            start,
            rate,
            padding=padding,
            shift=room if shape.padding == "left" else 0,
        )

    def memory_ids(self, count: int, rate: int) -> list[int]:
        """Ids of the memory tokens behind a window of `count` embeddings."""
        return [self.text.control_ids[n] for n in self._config.encoder_memory_run(rate, count)]

    def _count(self, tokens: int, rate: int) -> int:
        if self._shape.counts == "row" and self._shape.memory_tokens:
            tokens += 1  # floor(tokens / rate) + 1
        return self._config.embeddings_for(tokens, rate)

    def embed(self, rows: Sequence[WindowRow], *, train: bool = False) -> torch.Tensor:
        """Context embeddings of windows, one after the other, shape (M, H); differentiable."""
        with self.used():
            self.merged.check("compress", train=train)
            if not train:
                self.eval()
            if self._shape.memory_tokens:
                return self._memory_states(rows)
            return self._group_states(rows)

    def merge_adapter(self) -> None:
        """Fold the encoder's adapter into its weights, if it has one (see `Cocom.merge_adapter`)."""
        if self._shape.lora_r:
            with self.used():
                self.merged.merge(self.encoder, "compress")

    def _memory_states(self, rows: Sequence[WindowRow]) -> torch.Tensor:
        batch = pack_windows(rows, self.pad_id, uniform=False).to(self.memory.weight.device)
        mapped: torch.Tensor = self.head(gather_states(self.states(batch), batch.memory_index))
        return mapped

    def states(self, batch: CompressBatch) -> torch.Tensor:
        """Last hidden states of rows with memory tokens, shape (W, L, width)."""
        size = self.text.vocabulary_size
        control = batch.ids >= size
        words = self.encoder.get_input_embeddings()(batch.ids.masked_fill(control, 0))
        memory = self.memory((batch.ids - size).clamp(min=0)).to(words.dtype)
        more: dict[str, Any] = {}
        if self._shape.padding != "none":
            more["position_ids"] = batch.position_ids
        if hasattr(self.encoder.config, "use_cache"):
            more["use_cache"] = False
        states: torch.Tensor = self.encoder(
            inputs_embeds=torch.where(control[..., None], memory, words),
            attention_mask=batch.attention_mask,
            **more,
        ).last_hidden_state
        return states

    def _group_states(self, rows: Sequence[WindowRow]) -> torch.Tensor:
        whole = self._shape.counts == "row"
        least = max(row.window.embeddings * row.rate for row in rows) if whole else 0
        batch = pack_windows(rows, self.pad_id, uniform=False, least=least).to(self.encoder.device)
        hidden = self.encoder(
            input_ids=batch.ids, attention_mask=batch.attention_mask
        ).last_hidden_state
        groups = self._whole_groups if whole else self._groups
        return torch.cat([groups(h, row) for h, row in zip(hidden, rows, strict=True)])

    def _groups(self, hidden: torch.Tensor, row: WindowRow) -> torch.Tensor:
        states = hidden[row.start : row.start + row.window.tokens]
        missing = row.window.embeddings * row.rate - row.window.tokens
        if self._shape.head == "concat":
            padded = nn.functional.pad(states, (0, 0, 0, missing))
            grouped: torch.Tensor = self.head(padded.view(row.window.embeddings, -1))
            return grouped
        mapped = nn.functional.pad(self.head(states), (0, 0, 0, missing))
        sizes = torch.full((row.window.embeddings, 1), float(row.rate), device=mapped.device)
        sizes[-1] -= missing
        summed = mapped.view(row.window.embeddings, row.rate, -1).sum(1)
        return summed / sizes.to(summed.dtype)

    def _whole_groups(self, hidden: torch.Tensor, row: WindowRow) -> torch.Tensor:
        return self.group(hidden, row.window.embeddings, row.rate)

    def group(self, hidden: torch.Tensor, count: int, rate: int) -> torch.Tensor:
        """The first `count` groups of `rate` states each through the linear map, shape (count, H)."""
        states = hidden[: count * rate]
        if self._shape.head == "concat":
            grouped: torch.Tensor = self.head(states.reshape(count, -1))
            return grouped
        return self.head(states).view(count, rate, -1).mean(1)  # type: ignore[no-any-return]


def _add_adapter(encoder: nn.Module, rank: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    shape = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.1, target_modules="all-linear")
    inject_adapter_in_model(shape, encoder, adapter_name="compress")


def _round_frequencies(encoder: nn.Module) -> None:
    for name, buffer in encoder.named_buffers():
        if name.endswith("inv_freq"):
            buffer.copy_(buffer.to(torch.bfloat16))


def _drop_final_norm(encoder: Any) -> None:
    if not isinstance(getattr(encoder, "norm", None), nn.Module):
        raise ConfigError(
            f"encoder.final_norm is off, but {type(encoder).__name__} has no last normalisation called norm."
        )
    encoder.norm = nn.Identity()
