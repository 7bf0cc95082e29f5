"""What the reader is given for a question's passages by each system, at equal numbers of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from cocom.baselines.result import HardCompression, HardCompressor
from cocom.baselines.spans import kept_text
from cocom.datatypes import ContextEmbeddings
from cocom.engine import Cocom
from cocom.evaluation.columns import Question
from cocom.evaluation.shortened import Spans, first_tokens, random_words
from cocom.evaluation.soft import SoftCache
from cocom.evaluation.systems import System

__all__ = ["Given", "Giver", "Kept"]

Kept = tuple[int, Spans]
"""A passage's place among the question's passages, and what stayed of it."""


@runtime_checkable
class _Batched(Protocol):
    """A hard compressor that takes many questions' passages together."""

    def compress_batch(
        self,
        batch: Sequence[Sequence[str]],
        /,
        *,
        questions: Sequence[str],
        target_tokens: int,
    ) -> list[HardCompression]: ...


@dataclass(frozen=True)
class Given:
    """The passages of a question as the reader reads them.

    Attributes:
        passages: Texts or context embeddings.
        rows: How many rows they are: embeddings, or tokens as the reader counts them.
        budget: Most rows that were allowed; None where nothing was shortened.
        tokens: Tokens of the whole passages.
        seconds: Time of compressing them.
        kept: What stayed of shortened text, in the order to read it in; None for other forms.
        scores: The retriever's scores of the passages; None if there are none.
    """

    passages: tuple[str | ContextEmbeddings, ...]
    rows: int
    budget: int | None
    tokens: int
    seconds: float = 0.0
    kept: tuple[Kept, ...] | None = None
    scores: tuple[float, ...] | None = None


@dataclass
class Giver:
    """Gives passages in every system's form.

    Attributes:
        model: Compresses, and counts tokens as it reads them.
        open_hard: Opens a hard compressor by its method's name; it counts by the function it is given.
        seed: Fixes which words are drawn at random.
    """

    model: Cocom
    open_hard: Callable[[str, Callable[[str], int]], HardCompressor]
    seed: int = 0
    _soft: SoftCache = field(init=False)
    _hard: dict[str, HardCompressor] = field(init=False, default_factory=dict)
    _tokens: dict[str, int] = field(init=False, default_factory=dict)
    _rows: dict[tuple[str, int, str | None], int] = field(init=False, default_factory=dict)
    _shortened: dict[tuple[str, str, int], tuple[Spans, float]] = field(
        init=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self._soft = SoftCache(self.model)

    def give(self, system: System, questions: Sequence[Question]) -> list[Given]:
        """The passages of some questions in a system's form.

        Args:
            system: The form.
            questions: Those with their passages.
        """
        if system.kind == "none":
            return [Given((), 0, None, 0) for _ in questions]
        if system.kind == "text":
            return [self._as_text(question) for question in questions]
        assert system.rate is not None
        if system.kind in ("soft", "wrong"):
            return self._as_embeddings(system, questions, system.rate)
        if system.kind == "hard":
            return self._by_method(system.method, questions, system.rate)
        return [self._shortly(system.kind, question, system.rate) for question in questions]

    def count(self, text: str) -> int:
        """Tokens of a text as the reader counts them."""
        return len(self.model.backbone.text.encode_text(text))

    def soft_rows(self, text: str, rate: int, question: str) -> int:
        """Context embeddings that a passage becomes, which is known without making them."""
        query = question if self.model.reads_query else None
        key = text, rate, query
        if key not in self._rows:
            compressor = self.model.window_compressor
            self._rows[key] = sum(
                compressor.row(window.ids, rate, window.before).window.embeddings
                for window in compressor.windows(text, query)
            )
        return self._rows[key]

    def _tokens_of(self, text: str) -> int:
        if text not in self._tokens:
            self._tokens[text] = self.count(text)
        return self._tokens[text]

    def _as_text(self, question: Question) -> Given:
        tokens = sum(map(self._tokens_of, question.passages))
        return Given(question.passages, tokens, None, tokens, scores=question.scores)

    def _as_embeddings(
        self, system: System, questions: Sequence[Question], rate: int
    ) -> list[Given]:
        wrong = system.kind == "wrong"
        passages = [q.wrong if wrong else q.passages for q in questions]
        made = self._soft.of([q.question for q in questions], passages, rate)
        return [
            Given(
                tuple(soft.contexts for soft in own),
                sum(len(soft.contexts) for soft in own),
                None,
                sum(soft.contexts.text_tokens for soft in own),
                sum(soft.seconds for soft in own),
                scores=None if wrong else question.scores,
            )
            for question, own in zip(questions, made, strict=True)
        ]

    def _by_method(self, method: str, questions: Sequence[Question], rate: int) -> list[Given]:
        if method not in self._hard:
            self._hard[method] = self.open_hard(method, self.count)
        budgets = [sum(self.soft_rows(p, rate, q.question) for p in q.passages) for q in questions]
        began = time.perf_counter()
        found = _compress_all(self._hard[method], questions, budgets)
        # A question's share of the time is its passages' share of the text.
        tokens = [sum(map(self._tokens_of, q.passages)) for q in questions]
        each = (time.perf_counter() - began) / max(1, sum(tokens))
        return [
            Given(
                tuple(one.texts),
                sum(map(self.count, one.texts)),
                budget,
                size,
                each * size,
                tuple((passage.index, passage.spans) for passage in one.passages),
            )
            for one, budget, size in zip(found, budgets, tokens, strict=True)
        ]

    def _shortly(self, kind: str, question: Question, rate: int) -> Given:
        budget, seconds = 0, 0.0
        kept: list[Kept] = []
        texts: list[str] = []
        for index, text in enumerate(question.passages):
            room = self.soft_rows(text, rate, question.question)
            budget += room
            if (kind, text, room) not in self._shortened:
                offsets = self.model.backbone.text.offsets(text)
                began = time.perf_counter()
                if kind == "truncated":
                    spans = first_tokens(text, offsets, room, self.count)
                else:
                    spans = random_words(text, offsets, room, self.count, seed=self.seed)
                self._shortened[kind, text, room] = spans, time.perf_counter() - began
            spans, spent = self._shortened[kind, text, room]
            seconds += spent
            if short := kept_text(text, spans):
                kept.append((index, spans))
                texts.append(short)
        rows = sum(map(self.count, texts))
        tokens = sum(map(self._tokens_of, question.passages))
        return Given(tuple(texts), rows, budget, tokens, seconds, tuple(kept))


def _compress_all(
    compressor: HardCompressor, questions: Sequence[Question], budgets: Sequence[int]
) -> list[HardCompression]:
    """Compress each question's passages to its budget, those of one budget together."""
    found: dict[int, HardCompression] = {}
    for budget in sorted(set(budgets)):
        group = [i for i, own in enumerate(budgets) if own == budget]
        passages = [questions[i].passages for i in group]
        asked = [questions[i].question for i in group]
        if isinstance(compressor, _Batched):
            made = compressor.compress_batch(passages, questions=asked, target_tokens=budget)
        else:
            made = [
                compressor.compress(texts, question=question, target_tokens=budget)
                for texts, question in zip(passages, asked, strict=True)
            ]
        found |= zip(group, made, strict=True)
    return [found[i] for i in range(len(questions))]
