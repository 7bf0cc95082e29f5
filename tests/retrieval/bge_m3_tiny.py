"""A tiny random model in the published format of BGE-M3, the same on every machine.

Imports nothing of cocom, so that the oracle's environment can make the very same model.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

WORDS = (
    "the a of in and is was what where who which bridge river city born warsaw king queen water "
    "opened crosses east west first moon light sound train mountain book music year two ten "
    "ing ed er s t ion 서울 한국 수도 은 는 이 가 어디 東京 日本 首都 とは です は の"
)
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEKMNTVW0123456789.,?!'한강울서京都どこ🙂👍é"
HIDDEN, LENGTH = 32, 128


def vocabulary() -> list[tuple[str, float]]:
    """Pieces and their scores, special ones where XLM-R has them."""
    words = WORDS.split()
    pieces = dict.fromkeys(["▁", *CHARACTERS])
    pieces |= dict.fromkeys([f"▁{word}" for word in words] + words)
    ranked = [(piece, -2.0 - 0.01 * i - (len(piece) < 2) * 6) for i, piece in enumerate(pieces)]
    special = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    return [*special, *ranked, ("<mask>", 0.0)]


def draw(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Numbers that depend on the name and the shape alone."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return (generator.standard_normal(shape) * scale).astype(np.float32)


def heads(dimension: int = HIDDEN) -> dict[str, dict[str, np.ndarray]]:
    """Weights of the two heads by the names of their files."""
    return {
        "sparse_linear.pt": {
            "weight": draw("sparse", (1, HIDDEN), 0.2),
            "bias": np.array([0.2], np.float32),
        },
        "colbert_linear.pt": {
            "weight": draw("colbert", (dimension, HIDDEN), 0.2),
            "bias": draw("colbert bias", (dimension,), 0.05),
        },
    }


def backbone() -> Any:
    """The XLM-R of two layers."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH + 2,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    model = XLMRobertaModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            norm = "LayerNorm.weight" in name
            scale = 1.0 if "word_embeddings" in name else 0.1 if norm or "bias" in name else 0.4
            weight.copy_(torch.from_numpy(draw(name, tuple(weight.shape), scale) + norm))
    return model


def make(folder: Path, *, dimension: int = HIDDEN) -> Path:
    """Write the model as BAAI/bge-m3 is published: pickled weights, heads, tokenizer, pooling."""
    import torch
    from transformers import XLMRobertaTokenizer

    model = backbone()
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for name, weights in heads(dimension).items():
        torch.save({key: torch.from_numpy(value) for key, value in weights.items()}, folder / name)
    XLMRobertaTokenizer(vocab=vocabulary(), model_max_length=LENGTH).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    pooling = {
        "word_embedding_dimension": HIDDEN,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return folder
