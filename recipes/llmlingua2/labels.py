"""Labels that say which words of a passage to keep, made from the questions that people asked about it.

The paper (arXiv 2403.12968) lets GPT-4 shorten texts and labels the words that it keeps. Without
GPT-4, this is a substitute: a word is to be kept if it is part of an answer, or if a question about the
passage uses it and it is no stop word. What nobody asked about counts as not worth keeping, so the labels
hold for questions of the kind that were asked, and say nothing about grammar or style.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bm25s.stopwords import STOPWORDS_EN_PLUS
from Stemmer import Stemmer

FORBIDDEN = ("squad_", "covid_qa", "selqa")  # sets for evaluation only
STOP_WORDS = frozenset(STOPWORDS_EN_PLUS)
_WORD = re.compile(r"\w+")
_stem = Stemmer("english")


@dataclass
class Labelled:
    """A passage with what was asked about it.

    Attributes:
        text: The passage.
        title: The article that it is from.
        questions: Questions, and the accepted answers of each.
    """

    text: str
    title: str
    questions: list[tuple[str, list[str]]] = field(default_factory=list)

    def kept(self) -> list[tuple[int, int]]:
        """Characters of the words to keep: first, and behind the last."""
        spans = []
        for _, answers in self.questions:
            found = [a for a in answers if a and a in self.text]
            if found:
                shortest = min(found, key=len)
                start = self.text.index(shortest)
                spans.append((start, start + len(shortest)))
        asked = {stem for question, _ in self.questions for stem in content(question)}
        for match in _WORD.finditer(self.text):
            word = match.group().lower()
            if word not in STOP_WORDS and _stem.stemWord(word) in asked:
                spans.append(match.span())
        return spans


def content(text: str) -> set[str]:
    """Stems of the words of a text that are no stop words."""
    words = (match.group().lower() for match in _WORD.finditer(text))
    return {_stem.stemWord(word) for word in words if word not in STOP_WORDS}


def read(files: Iterable[Path], *, evaluation: bool = False) -> list[Labelled]:
    """Passages of question-answering files, one line a question.

    Args:
        files: The files.
        evaluation: Whether this is for measuring, so that sets for evaluation may be read.

    Raises:
        ValueError: A file is for evaluation only.
    """
    passages: dict[str, Labelled] = {}
    for file in files:
        for record in _lines(file):
            source = str(record.get("source", ""))
            if not evaluation and source.startswith(FORBIDDEN):
                raise ValueError(f"{file} is {source}, which is for evaluation only: leave it out.")
            # QAMR's titles name the sentence too: Wiki1k:wikipedia:ARTICLE:PARAGRAPH:SENTENCE.
            title = ":".join(record["title"].split(":")[:3])
            if re.search(r"reddit|amazon", source):
                title = record["passage"]  # one title for all of them
            own = passages.setdefault(record["passage"], Labelled(record["passage"], title))
            own.questions.append((record["question"], list(record["answers"])))
    return list(passages.values())


def without_overlap(passages: Sequence[Labelled], files: Iterable[Path]) -> list[Labelled]:
    """Those passages that share no 13 words in a row with the passages of some files."""
    seen = {gram for file in files for record in _lines(file) for gram in _grams(record["passage"])}
    return [passage for passage in passages if seen.isdisjoint(_grams(passage.text))]


def split(passages: Sequence[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Passages to train on and to measure with, a tenth of the articles, no article in both."""
    by_title: dict[str, list[Labelled]] = defaultdict(list)
    for passage in passages:
        by_title[passage.title].append(passage)
    titles = sorted(by_title)
    random.Random(seed).shuffle(titles)
    tenth = len(titles) // 10
    held_out = [p for title in titles[:tenth] for p in by_title[title]]
    return [p for title in titles[tenth:] for p in by_title[title]], held_out


def _lines(file: Path) -> list[dict]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _grams(text: str, size: int = 13) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
