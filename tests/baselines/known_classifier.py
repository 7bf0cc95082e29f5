"""A stand-in for a token classifier: what it says of each token is known."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from cocom.baselines.llmlingua2 import LLMLingua2

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def word_pieces(pieces: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the BERT kind with these pieces."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*_SPECIAL, *pieces]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


class Known(nn.Module):
    """Gives each token id a probability of being kept, and remembers what it read."""

    def __init__(self, probabilities: Mapping[int, float], size: int, positions: int) -> None:
        super().__init__()
        values = torch.tensor([probabilities.get(i, 0.5) for i in range(size)])
        self.logits = nn.Parameter(torch.stack([(1 - values).log(), values.log()], 1))
        self.dropout = nn.Dropout(0.9)
        self.config = SimpleNamespace(
            num_labels=2, label2id={}, max_position_embeddings=positions, pad_token_id=0
        )
        self.read: list[list[list[int]]] = []

    @property
    def device(self) -> torch.device:
        return self.logits.device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        rows = zip(input_ids.tolist(), attention_mask.sum(1).tolist(), strict=True)
        self.read.append([row[:length] for row, length in rows])
        return SimpleNamespace(logits=self.dropout(self.logits[input_ids]))


def known(
    probabilities: Mapping[str, float], *, positions: int = 512, **settings: Any
) -> tuple[LLMLingua2, Known]:
    """A compressor that keeps tokens with these probabilities; the tokens are its vocabulary."""
    tokenizer = word_pieces(list(probabilities))
    vocabulary = tokenizer.get_vocab()
    ids = {vocabulary[name]: p for name, p in probabilities.items()}
    model = Known(ids, len(tokenizer), positions)
    stand_in: Any = model
    return LLMLingua2(stand_in, tokenizer=tokenizer, **settings), model
