"""Real text and questions for the shipped model, kept clear of the evaluation set.

The folder given as --data holds `qa/*.jsonl.gz` (id, source, title, passage, question, answers) and
`text/*.jsonl.gz` (text). Passages that share 13 consecutive words with an evaluation passage are left
out; SQuAD dev itself is read for that comparison only.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TRAIN_QUESTIONS = ("squadshifts_wiki", "squadshifts_reddit", "squadshifts_amazon", "qamr")
TRAIN_TEXTS = ("redocred", "wiki_split")
EVALUATION = "squad_v1.1_dev"


@dataclass(frozen=True)
class RealPassage:
    """A passage with its questions and, for each, one accepted answer; and the article it is from."""

    text: str
    questions: tuple[tuple[str, str], ...]
    article: str


@dataclass(frozen=True)
class RealData:
    """What is trained on: passages with questions by source, and running text."""

    passages: dict[str, list[RealPassage]]
    texts: list[str]


def load_real_data(folder: Path, seed: int) -> RealData:
    """Read the training sets, without anything that overlaps the evaluation set."""
    seen = {
        gram
        for record in _lines(folder / "qa" / f"{EVALUATION}.jsonl.gz")
        for gram in _grams(record["passage"])
    }
    passages: dict[str, list[RealPassage]] = {}
    for name in TRAIN_QUESTIONS:
        by_text: dict[str, list[tuple[str, str]]] = defaultdict(list)
        articles: dict[str, str] = {}
        for record in _lines(folder / "qa" / f"{name}.jsonl.gz"):
            answer = min(record["answers"], key=len)
            # QAMR's titles name the sentence too: Wiki1k:wikipedia:ARTICLE:PARAGRAPH:SENTENCE.
            articles[record["passage"]] = ":".join(record["title"].split(":")[:3])
            if len(answer) <= 60 and answer in record["passage"]:
                by_text[record["passage"]].append((record["question"], answer))
        kept = [
            RealPassage(text, tuple(questions), articles[text])
            for text, questions in sorted(by_text.items())
            if seen.isdisjoint(_grams(text))
        ]
        random.Random(seed).shuffle(kept)
        passages[name] = kept
    texts = [
        tidy(record["text"])
        for name in TRAIN_TEXTS
        for record in _lines(folder / "text" / f"{name}.jsonl.gz")
        if seen.isdisjoint(_grams(record["text"]))
    ]
    return RealData(passages, texts)


def tidy(text: str) -> str:
    """Undo word-by-word tokenization: ` ,` and `( x )` as people write them."""
    text = re.sub(r"\s+([,.;:!?%)\]])", r"\1", text)
    text = re.sub(r"([(\[])\s+", r"\1", text)
    text = re.sub(r"\s+('s|n't|'re|'ve|'ll|'d)\b", r"\1", text)
    return re.sub(r"\s+", " ", text.replace(" '' ", " ")).strip()


def _lines(path: Path) -> Iterable[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _grams(text: str, size: int = 13) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
