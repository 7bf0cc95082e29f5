"""What the package llmlingua 0.2.2 keeps of some prompts, with tiny random classifiers.

    python -m venv oracle
    oracle/bin/pip install torch==2.13.0 transformers==4.46.3 llmlingua==0.2.2 "numpy<2.3" accelerate
    oracle/bin/python scripts/oracles/llmlingua2.py tests/baselines/golden/llmlingua2.json

Nothing is downloaded: the models and tokenizers are made here, the same ones by any release of transformers,
and the package's own counter of tokens is replaced by `count_tokens`.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {"bert": "bert-base-multilingual-cased", "xlm_roberta": "xlm-roberta-large"}
WINDOWS = (
    "John: So, I've been thinking about the project, and I believe we need to make some changes. First, the "
    "budget is 12,500 dollars, not 10,000. Second, the deadline moved to May 3.",
    "The Brooklyn Bridge opened on 24 May 1883. Its main span is 486.3 metres long! Did P. T. Barnum lead 21 "
    "elephants across it? He did, in 1884.",
    "Voyager 1 was launched on 5 September 1977 from Cape Canaveral; it is not the first probe (Pioneer 10 "
    "was launched in 1972), but it is the farthest one from the Earth.",
    "Marie Curie was born in Warsaw in 1867. She studied physics in Paris. She was not the only one. She won "
    "two Nobel prizes, in 1903 and in 1911.",
    "Unbelievably, multi-word expressions and e-mail addresses (such as ada@example.org) are split...",
)
LONG = " ".join(f"{window} Item {n} follows." for n in range(4) for window in WINDOWS)
UNENDING = " ".join(f"row {n} holds value {n * 37 % 101}" for n in range(90))

CASES: list[dict[str, Any]] = [
    *({"context": [window], "rate": 0.5} for window in WINDOWS),
    *({"context": [window], "rate": 0.33} for window in WINDOWS[:3]),
    {"context": [WINDOWS[0]], "rate": 0.9},
    {"context": [WINDOWS[1]], "rate": 0.04},
    {"context": list(WINDOWS), "rate": 0.25},
    {"context": list(WINDOWS), "target_token": 60},
    {"context": [LONG], "rate": 0.5},
    {"context": [LONG, WINDOWS[2]], "rate": 0.2},
    {"context": [UNENDING], "rate": 0.5},
    {"context": [WINDOWS[1]], "rate": 0.5, "force_tokens": [".", "?", "!"]},
    {"context": [WINDOWS[3]], "rate": 0.25, "force_tokens": ["."], "drop_consecutive": True},
    {"context": list(WINDOWS), "rate": 0.3, "force_reserve_digit": True},
    {
        "context": list(WINDOWS[:4]),
        "rate": 0.4,
        "force_tokens": [".", ","],
        "force_reserve_digit": True,
        "drop_consecutive": True,
    },
    {"context": list(WINDOWS), "rate": 0.5, "use_context_level_filter": True},
    {"context": list(WINDOWS), "target_token": 40, "use_context_level_filter": True},
]


def count_tokens(text: str) -> int:
    """Tokens of a text, in place of the package's counter: four letters each, or one sign."""
    return len(re.findall(r"\w{1,4}|[^\w\s]", text))


def _vocabulary() -> list[str]:
    """Words of the prompts, every second one only, so that the others are several pieces."""
    words = sorted(
        set(re.findall(r"\w+|[^\w\s]", " ".join(WINDOWS) + " row holds value Item follows"))
    )
    return [word for number, word in enumerate(words) if number % 2 or len(word) == 1]


def bert(folder: Path) -> None:
    """A tiny BERT for token classification over word pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    signs = sorted({c for c in "".join(WINDOWS) if not c.isspace()} | set("0123456789"))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [*signs, *(f"##{c}" for c in signs), *(w for w in _vocabulary() if len(w) > 1)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_labels=2,
    )
    _save(BertForTokenClassification(config), folder)


def xlm_roberta(folder: Path) -> None:
    """A tiny XLM-R for token classification over sentence pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import (
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaForTokenClassification,
    )

    signs = sorted({c for c in "".join(WINDOWS) if not c.isspace()} | set("0123456789"))
    pieces: list[tuple[str, float]] = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [("▁", -4.0), *((c, -6.0) for c in signs)]
    pieces += [(f"▁{word}", -5.0) for word in _vocabulary()]
    pieces += [(word, -8.0) for word in _vocabulary() if len(word) > 1]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        num_labels=2,
    )
    _save(XLMRobertaForTokenClassification(config), folder)


def _save(model: Any, folder: Path) -> None:
    """Give a model random weights that depend on nothing but their names and shapes."""
    import torch

    for name, parameter in sorted(model.named_parameters()):
        rng = np.random.default_rng(list(name.encode()))
        wide = 1.0 if "embeddings" in name or "classifier" in name else 0.3
        values = rng.standard_normal(tuple(parameter.shape)) * wide
        if "LayerNorm.weight" in name:
            values = np.ones(tuple(parameter.shape))
        parameter.data.copy_(torch.from_numpy(values.astype(np.float32)))
    model.save_pretrained(folder)


def main(target: Path) -> None:
    """Run every case with both models, for XLM-R also with the special tokens that it was trained with."""
    import tiktoken
    from llmlingua import PromptCompressor, prompt_compressor

    class Counter:
        def encode(self, text: str) -> list[int]:
            return [0] * count_tokens(text)

    tiktoken.encoding_for_model = lambda name: Counter()
    published = prompt_compressor.TokenClfDataset
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as parent:
        for key, build in [
            ("bert", bert),
            ("xlm_roberta", xlm_roberta),
            ("xlm_roberta_mended", xlm_roberta),
        ]:
            name = NAMES[key.removesuffix("_mended")]
            folder = Path(parent) / key / name
            build(folder)
            compressor = PromptCompressor(str(folder), device_map="cpu", use_llmlingua2=True)

            def mended(*given: Any, name: str = name, **named: Any) -> Any:
                return published(*given, **{**named, "model_name": name})

            prompt_compressor.TokenClfDataset = mended if key.endswith("_mended") else published
            results[key] = []
            for case in CASES:
                got = compressor.compress_prompt_llmlingua2(
                    **case, return_word_label=True, word_sep="\n\n\n", label_sep="\t"
                )
                labelled = [
                    w.rsplit("\t", 1) for w in got["fn_labeled_original_prompt"].split("\n\n\n")
                ]
                results[key].append(
                    {
                        "words": " ".join(word for word, _ in labelled),
                        "labels": "".join(label for _, label in labelled),
                    }
                )
    lines = [
        f" {json.dumps(key)}: [\n"
        + ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in found)
        + "\n ]"
        for key, found in results.items()
    ]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
