"""What is compressed and asked: passages of uneven length from the package's own sample documents."""

from __future__ import annotations

import json
import random
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

from cocom.datatypes import ContextEmbeddings
from cocom.documents import load_documents
from cocom.engine import Cocom
from cocom.errors import ModelError
from cocom.requests import PassageLike

__all__ = ["Workload"]

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ATTEMPTS = 200
_SHORTEST, _USUAL = 0.2, 0.7  # of a window: the shortest passages, and the most frequent length


@dataclass
class Workload:
    """Passages, questions, and the same choice of them for every context.

    Attributes:
        model: Compresses and counts tokens.
        size: Different passages.
        passages: The texts.
        questions: To be asked in turn.
        tokens: Of each passage, as the compressor counts.
        turns: Numbers for `asked`, of which each use takes the next: no prompt follows one that is like it.
    """

    model: Cocom
    size: int = 64
    passages: list[str] = field(init=False)
    questions: list[str] = field(init=False)
    tokens: list[int] = field(init=False)
    turns: Iterator[int] = field(init=False, default_factory=count)
    _compressed: dict[int, list[ContextEmbeddings]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        samples = Path(str(files("cocom"))) / "samples"
        texts = [document.text for document in load_documents([samples / "documents"])]
        plain = [" ".join(text.split()) for text in texts]
        sentences = [sentence for text in plain for sentence in _SENTENCE.split(text)]
        lines = (samples / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        self.questions = [json.loads(line)["question"] for line in lines]
        order = random.Random(0)
        window, tokens = self.model.config.window, self.model.count_tokens
        self.passages = [_passage(order, sentences, window, tokens) for _ in range(self.size)]
        self.tokens = [tokens(passage) for passage in self.passages]

    def compress(self, rate: int) -> list[ContextEmbeddings]:
        """All passages at a rate, compressed once and kept."""
        if rate not in self._compressed:
            made = self.model.compress(self.passages, rate=rate, keep_text=False)
            self._compressed[rate] = made
        return self._compressed[rate]

    def asked(
        self, context: str, passages: int, batch: int, turn: int = 0
    ) -> tuple[list[str], list[Any]]:
        """Questions and the passages of each; contexts differ in form only, not in the choice.

        Args:
            context: "none", "text" or "rate N".
            passages: For each question.
            batch: Questions.
            turn: Another one gives prompts that begin with other words, else the same: what a model keeps
                of a prompt that it read before must not help it.
        """
        pool: Sequence[PassageLike] = self.passages
        if context.startswith("rate "):
            pool = self.compress(int(context.removeprefix("rate ")))
        questions: list[str] = []
        chosen: list[list[PassageLike]] = []
        for number in range(batch):
            order = random.Random(number)
            questions.append(_turned(self.questions[number % len(self.questions)], turn))
            # A pool that is smaller than the number asked for is gone through again.
            places = [p for _ in range(-(-passages // self.size)) for p in _mixed(order, self.size)]
            given = [pool[place] for place in places[:passages]] if context != "none" else []
            if given and isinstance(given[0], str):
                given[0] = _turned(given[0], turn)
            chosen.append(given)
        return questions, chosen

    def describe(self) -> dict[str, Any]:
        """How long the passages are, in tokens."""
        return {
            "passages": len(self.tokens),
            "shortest": min(self.tokens),
            "median": statistics.median(self.tokens),
            "mean": round(statistics.fmean(self.tokens), 1),
            "longest": max(self.tokens),
        }


def _turned(text: str, turn: int) -> str:
    """The same words, of which another is the first."""
    words = text.split()
    start = turn % len(words)
    return " ".join([*words[start:], *words[:start]])


def _mixed(order: random.Random, size: int) -> list[int]:
    return order.sample(range(size), size)


def _passage(
    order: random.Random, sentences: Sequence[str], window: int, tokens: Callable[[str], int]
) -> str:
    """Sentences that follow one another, up to a length that is drawn and never beyond the window."""
    wanted = round(order.triangular(_SHORTEST * window, window, _USUAL * window))
    for _ in range(_ATTEMPTS):
        found = ""
        start = order.randrange(len(sentences))
        for sentence in [*sentences[start:], *sentences[:start]]:
            longer = f"{found} {sentence}".strip()
            if tokens(longer) > window:
                break
            found = longer
            if tokens(found) >= wanted:
                return found
        if tokens(found) >= _SHORTEST * window:
            return found
    raise ModelError(
        f"no passage of the sample documents fits the model's window of {window} tokens: measure a model "
        "with a longer one."
    )
