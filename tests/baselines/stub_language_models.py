"""Causal language models whose every loss can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

__all__ = ["SUM", "WordModel", "word_tokenizer"]

SUM = 1e6


def word_tokenizer(words: Sequence[str]) -> Any:
    """One token a word; words are parted by spaces."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="<s>"
    )


class WordModel(nn.Module):
    """A word has a loss of its own, until it has been read: then it costs less.

    Args:
        costs: Loss of each word, less a constant that is the same wherever the word stands.
        mentioned: How much less a word costs once it stands somewhere before.
    """

    _is_stateful = True  # it is given everything from the start at each call

    def __init__(self, costs: Mapping[str, float], mentioned: float = 0.0) -> None:
        super().__init__()
        self.tokenizer = word_tokenizer(list(costs))
        self.costs = torch.tensor([20.0, 20.0, *costs.values()])
        self.mentioned = mentioned
        config = SimpleNamespace(vocab_size=len(costs) + 2, max_position_embeddings=None)
        config.get_text_config = lambda: config
        self.config: Any = config
        self.read: list[str] = []
        self.train()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.read.append(self.tokenizer.decode(input_ids[0]))
        logits = []
        for row in input_ids:
            seen = torch.zeros_like(self.costs)
            for token in row:
                seen[token] = 1.0
                row_logits = -self.costs + self.mentioned * seen
                # The unknown word takes what is left of a sum that is always the same.
                row_logits[0] = torch.log(SUM - row_logits[1:].exp().sum())
                logits.append(row_logits)
        return SimpleNamespace(logits=torch.stack(logits).view(*input_ids.shape, -1))
