"""What to keep of several passages: ranked words, an exact budget, and the text that results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import accumulate

from cocom.baselines.passage_units import TokenCounts
from cocom.baselines.result import HardCompression, HardPassage
from cocom.baselines.spans import kept_spans, kept_text, stripped_spans
from cocom.baselines.words import Word

__all__ = ["Selection"]


class Selection:
    """The words of several passages, numbered through, of which some are kept."""

    def __init__(
        self,
        texts: Sequence[str],
        words: Sequence[Sequence[Word]],
        count_tokens: Callable[[str], int],
        *,
        drop_consecutive: bool = False,
    ) -> None:
        """Number the words.

        Args:
            texts: The passages.
            words: The words of each.
            count_tokens: Tells how many tokens a text has.
            drop_consecutive: Whether a force token is dropped behind one like it with nothing kept between.
        """
        self._texts = texts
        self._words = words
        self._tokens = TokenCounts(count_tokens)
        self._drop = drop_consecutive
        self._first = [0, *accumulate(map(len, words))]

    def numbers(self, passage: int) -> range:
        """Numbers of a passage's words."""
        return range(self._first[passage], self._first[passage + 1])

    def order(self, passages: Collection[int]) -> list[int]:
        """The words of some passages, the likeliest first; equally likely ones in their own order."""
        ranked = [
            (-word.probability, number)
            for passage in sorted(passages)
            for number, word in zip(self.numbers(passage), self._words[passage], strict=True)
        ]
        return [number for _, number in sorted(ranked)]

    def forced(self, passages: Collection[int]) -> set[int]:
        """The words of some passages that are kept in any case."""
        return {
            number
            for passage in passages
            for number, word in zip(self.numbers(passage), self._words[passage], strict=True)
            if word.forced
        }

    def tokens(self, passage: int) -> int:
        """How many tokens a whole passage has."""
        return self._tokens(self._texts[passage])

    def count(self, kept: Collection[int]) -> int:
        """How many tokens the passages have if some words are kept."""
        return sum(
            self._tokens(kept_text(text, spans))
            for text, spans in zip(self._texts, self._spans(kept), strict=True)
        )

    def result(self, kept: Collection[int], scores: Sequence[float | None]) -> HardCompression:
        """The passages with some words kept.

        Args:
            kept: Numbers of these words.
            scores: How much each passage matters.
        """
        passages: list[HardPassage] = []
        dropped: list[int] = []
        for index, spans in enumerate(self._spans(kept)):
            source = self._texts[index]
            if text := kept_text(source, spans):
                exact = stripped_spans(source, spans)
                passages.append(HardPassage(index, text, source, exact, scores[index]))
            else:
                dropped.append(index)
        return HardCompression(
            tuple(passages),
            tuple(dropped),
            sum(map(self._tokens, self._texts)),
            sum(self._tokens(passage.text) for passage in passages),
        )

    def whole(self, scores: Sequence[float | None]) -> HardCompression:
        """The passages as they are."""
        origin = sum(map(self._tokens, self._texts))
        return HardCompression(
            tuple(
                HardPassage(index, text, text, ((0, len(text)),), score)
                for index, (text, score) in enumerate(zip(self._texts, scores, strict=True))
            ),
            (),
            origin,
            origin,
        )

    def _spans(self, kept: Collection[int]) -> list[tuple[tuple[int, int], ...]]:
        mine: list[list[int]] = [[] for _ in self._texts]
        passage = 0
        for number in sorted(kept):
            while number >= self._first[passage + 1]:
                passage += 1
            mine[passage].append(number - self._first[passage])
        return [
            kept_spans(
                [word.unit for word in words],
                self._without_repeats(words, own) if self._drop else own,
            )
            for words, own in zip(self._words, mine, strict=True)
        ]

    def _without_repeats(self, words: Sequence[Word], kept: Sequence[int]) -> list[int]:
        left: list[int] = []
        for number in kept:
            token = words[number].token
            if not (token and left and words[left[-1]].token == token):
                left.append(number)
        return left
