"""Tiny random models of sentence-transformers, made and saved by its own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = (
    "who where what was is the in of born warsaw bridge river rocket marie curie brooklyn voyager "
    "east launched on a yes no ##s q d query passage : instruct ."
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LENGTH = 32


def bert_tokenizer(length: int = LENGTH) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS.split()])}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=length,
    )


def bert(head: str = "Model", *, length: int = LENGTH, **settings: Any) -> Any:
    """A random Bert of one layer, such as `BertModel` or `BertForMaskedLM`."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS.split()),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=length,
        initializer_range=0.5,
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, f"Bert{head}")(config).eval()


def save_plain(folder: Path, model: Any, tokenizer: Any) -> Path:
    """A folder as transformers writes it, without a file of sentence-transformers."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_splade(folder: Path) -> Path:
    """A SPLADE model that gives few terms a weight, as a trained one does."""
    from sentence_transformers import SparseEncoder

    model = bert("ForMaskedLM")
    with torch.no_grad():
        model.cls.predictions.decoder.bias.fill_(-1.5)
        model.cls.predictions.bias.fill_(-1.5)
    plain = save_plain(folder / "plain", model, bert_tokenizer())
    SparseEncoder(str(plain)).save(str(folder / "splade"), create_model_card=False)
    return folder / "splade"


def save_cross_encoder(folder: Path, *, labels: int = 1, length: int = LENGTH) -> Path:
    from sentence_transformers import CrossEncoder

    model = bert("ForSequenceClassification", num_labels=labels, length=length)
    plain = save_plain(folder / "plain", model, bert_tokenizer(length))
    CrossEncoder(str(plain)).save(str(folder / "cross"), create_model_card=False)
    return folder / "cross"


def save_late(folder: Path) -> Path:
    """A late-interaction model of 8 dimensions a token; its random projection is saved."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    plain = save_plain(folder / "plain", bert(), bert_tokenizer())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        project = Dense(
            16,
            8,
            bias=False,
            activation_function=torch.nn.Identity(),
            module_input_name="token_embeddings",
        )
    model = MultiVectorEncoder(
        modules=[
            Transformer(str(plain)),
            project,
            MultiVectorMask(skiplist_words=["."]),
            Normalize(module_input_name="token_embeddings"),
        ],
        prompts={"query": "q ", "document": "d "},
    )
    model.save(str(folder / "late"), create_model_card=False)
    return folder / "late"
