"""Golden numbers of BGE-M3's three forms, by the published code (FlagEmbedding).

The published code is heavy, so it gets an environment of its own:

    python -m venv oracle
    oracle/bin/pip install torch==2.13.0 FlagEmbedding==1.4.2
    oracle/bin/python scripts/oracles/bge_m3.py

The model is the tiny random one of tests/retrieval/bge_m3_tiny.py, which the tests make again.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from FlagEmbedding import BGEM3FlagModel

RETRIEVAL = Path(__file__).resolve().parents[2] / "tests" / "retrieval"
GOLDEN = RETRIEVAL / "golden" / "bge_m3.json"
sys.path.insert(0, str(RETRIEVAL))

from bge_m3_tiny import HIDDEN, LENGTH, draw, make  # noqa: E402

PAIRS = [
    ("where is the bridge", "The bridge crosses the East river."),
    ("where is the bridge", "the king and the queen"),
    ("the the the the", "the bridge the river the city the the"),
    ("bridge", "bridge bridge bridge bridge bridge"),
    ("bridge bridge bridge", "bridge"),
    ("Who was born in Warsaw?", "Marie was born in Warsaw in 1867."),
    ("Who was born in Warsaw?", "Tokyo is the capital 東京 of 日本"),
    ("서울은 한국의 수도", "서울이 한국의 수도는 어디"),
    ("한국의 수도는 어디?", "서울은 한국의 수도이다. 한강이 서울을 지난다."),
    ("한강", "the river"),
    ("日本の首都はどこですか", "東京は日本の首都です。"),
    ("東京", "京都は日本の都"),
    ("首都とは", "首都 首都 首都"),
    ("🙂", "🙂👍"),
    ("👍👍👍", "a book 👍 a moon 🙂 a mountain"),
    ("🦉🦉", "🦉"),  # in no vocabulary
    ("zqx ☃ ✈", "☃"),
    ("✈ the bridge ✈", "✈ the bridge"),
    ("the bridge", "☃☃☃"),
    ("?", "."),
    (".", ""),
    ("the", ""),
    ("", "the bridge"),
    ("   ", "\n\t"),
    ("a", "a"),
    ("café", "cafe\u0301"),
    ("WARSAW warsaw Warsaw", "warsaw"),
    ("the <mask> of the </s> city", "the <s> city <unk> <pad"),
    ("moon light", "the moon and the light of the first sound train " * 12),
    ("which mountain book " * 30, "music"),  # longer than the model reads
    ("which train", "two years of music and water, ten kings, 한국 東京 🙂 " * 20),  # so is this
    (
        "where is the bridge",
        "Where is the bridge? In the east of the city, where the river opened.",
    ),
]
WEIGHTS = {"default": None, "0.4 0.2 0.4": [0.4, 0.2, 0.4], "1 0.3 1": [1.0, 0.3, 1.0]}
BATCHES = (1, 5, 32)


def main() -> None:
    """Write the golden file."""
    texts = list(dict.fromkeys(text for pair in PAIRS for text in pair))
    golden = {
        "made with": {
            name: importlib.metadata.version(name)
            for name in ("FlagEmbedding", "transformers", "tokenizers", "torch")
        },
        "texts": texts,
        "pairs": [[texts.index(text) for text in pair] for pair in PAIRS],
        "models": {str(size): numbers(texts, size) for size in (HIDDEN, HIDDEN // 2)},
    }
    lines = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace('],"', '],\n"')
    GOLDEN.write_text(lines + "\n", encoding="utf-8")
    print(f"{GOLDEN.name}: {len(PAIRS)} pairs, {len(texts)} texts, {len(lines)} characters")


def numbers(texts: list[str], dimension: int) -> dict[str, Any]:
    """All that is compared for a model whose multi-vectors have this many values."""
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder), dimension=dimension)
        model = BGEM3FlagModel(str(path), use_fp16=False, devices="cpu", colbert_dim=dimension)
        encoded = [encode(model, texts, batch) for batch in BATCHES]
        for other in encoded[1:]:
            apart = np.abs(other["dense"] - encoded[0]["dense"]).max()
            print(f"batches of another size change the dense form by at most {apart:.1e}")
        first = encoded[0]
        # Every token's vector, by its products with two fixed directions.
        directions = draw("directions", (2, dimension), 1.0)
        return {
            "dense": rounded(first["dense"]),
            "sparse": [{k: round(float(w), 6) for k, w in row.items()} for row in first["sparse"]],
            "multi_vectors": [rounded(rows @ directions.T) for rows in first["multi_vectors"]],
            "multi_vector_scores": [
                round(float(model.colbert_score(*(first["multi_vectors"][i] for i in pair))), 6)
                for pair in [[texts.index(text) for text in pair] for pair in PAIRS]
            ],
            "scores": {
                name: {str(batch): scores(model, weights, batch) for batch in BATCHES}
                for name, weights in WEIGHTS.items()
            },
        }


def encode(model: Any, texts: list[str], batch: int) -> dict[str, Any]:
    """The three forms."""
    made = model.encode(
        texts,
        batch_size=batch,
        max_length=LENGTH,
        return_dense=True,
        return_sparse=True,
        return_colbert_vecs=True,
    )
    return {
        "dense": made["dense_vecs"],
        "sparse": made["lexical_weights"],
        "multi_vectors": made["colbert_vecs"],
    }


def scores(model: Any, weights: list[float] | None, batch: int) -> dict[str, list[float]]:
    """The scores of all pairs, several pairs at a time."""
    made = model.compute_score(
        PAIRS,
        batch_size=batch,
        max_query_length=LENGTH,
        max_passage_length=LENGTH,
        weights_for_different_modes=weights,
    )
    return {name: rounded(np.array(made[name])) for name in sorted(made)}


def rounded(values: np.ndarray) -> Any:
    """Numbers with six decimals."""
    return np.round(values.astype(np.float64), 6).tolist()


if __name__ == "__main__":
    main()
