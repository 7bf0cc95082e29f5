"""What tests of passages that are read apart share: a model of a few tokens, texts, and ways to decode."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cocom import Answer, Cocom, CocomConfig, PromptTemplate
from cocom.generation import Fusion
from cocom.testing import tiny_backbone

__all__ = [
    "END",
    "FUSIONS",
    "QUESTION",
    "STOP",
    "TEXTS",
    "WAYS",
    "letters_cocom",
    "near",
    "scored",
]

END = 1
TEXTS = ("Ada was born in Rome.", "The river is long.", "x" * 40, "Bo fell.", "It rains in May.")
QUESTION = "Where was Ada born?"
FUSIONS: tuple[Fusion, ...] = ("rag-token", "rag-sequence", "rag-sequence-fast")
STOP = tuple("aeinost ,.;0123456789")
WAYS: list[dict[str, Any]] = [
    *({"fusion": fusion, "beams": beams} for fusion in FUSIONS for beams in (1, 3)),
    {"fusion": "rag-token", "temperature": 1.2, "seed": 3, "top_k": 20, "top_p": 0.9},
    {"fusion": "rag-token", "stop": STOP},
    {"fusion": "rag-sequence", "stop": STOP, "beams": 2},
    {"fusion": "rag-sequence", "beams": 2, "length_penalty": 1.0},
]
_LETTERS = "abcdefgh"


def letters_cocom(tokens: int, seed: int, **settings: Any) -> Cocom:
    """A random model whose tokens are something unknown (0), the end (1) and letters."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "</s>", *_LETTERS[: tokens - 2]]
    tokenizer = Tokenizer(
        models.BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>")
    )
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", padding_side="left"
    )
    shape = {"vocab_size": tokens, "bos_token_id": None, "eos_token_id": END, **settings}
    backbone = tiny_backbone(seed=seed, **shape)
    prompt = PromptTemplate(user="{passages}|{question}=", passage="{passage};", answer_prefix="")
    return Cocom(backbone, fast, CocomConfig(rates=(2,), window=16, prompt=prompt))


def near(one: Answer, other: Answer) -> bool:
    """Whether two answers are the same, and so is what is said of them but for rounding."""
    same = dataclasses.replace(one, fusion=None) == dataclasses.replace(other, fusion=None)
    return same and scored(one) == pytest.approx(scored(other), abs=1e-4)


def scored(answer: Answer) -> list[float]:
    assert answer.fusion is not None
    return [answer.fusion.log_probability, *answer.fusion.shares]
