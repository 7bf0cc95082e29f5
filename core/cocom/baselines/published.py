"""The words that the package llmlingua 0.2.2 keeps, for comparison with figures made with it.

It differs from the paper: every stretch of up to 511 tokens has a threshold of its own, a percentile in whole
hundredths, so that a budget is met more or less; words are what their pieces say, so that 3.14 is three; a
token that the tokenizer does not know is dropped; and for XLM-R the special tokens around a text are unknown
ones. Two things are left out: a force token of several pieces stays as it is, where the package puts a new
token with a random embedding, and the text is made of the source's own characters.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cocom.baselines.result import HardCompression, HardPassage
from cocom.baselines.spans import Unit, kept_spans, kept_text, stripped_spans
from cocom.baselines.token_probabilities import Pieces, TokenProbabilities

__all__ = ["PublishedRule", "PublishedWord"]

_WINDOW = 512
_ENDS = frozenset({".", "\n"})


@dataclass
class PublishedWord:
    """A word as the package sees it.

    Attributes:
        text: Its pieces, put together.
        unit: Where it is in the source, what stands in front of it included, and its tokens.
        probability: The mean over its tokens, those that are forced counted as 1.
        plain: The mean over its tokens.
        kept: Whether it is kept.
    """

    text: str
    unit: Unit
    probability: float
    plain: float
    kept: bool = False


@dataclass
class PublishedRule:
    """What the package does with the probabilities of tokens.

    Attributes:
        classifier: Gives them.
        count_tokens: Tells how many tokens a text has.
        force_tokens: Words to keep, of one piece each.
        digits: Whether tokens with a digit are kept.
        drop_consecutive: Whether equal force tokens in a row are dropped but for the first.
        filter_passages: Whether the passages that matter least are dropped first.
        unknown_around: Whether unknown tokens are around a text for XLM-R.
    """

    classifier: TokenProbabilities
    count_tokens: Callable[[str], int]
    force_tokens: tuple[str, ...] = ()
    digits: bool = False
    drop_consecutive: bool = False
    filter_passages: bool = False
    unknown_around: bool = True

    def compress(
        self, texts: Sequence[str], rate: float | None, target_tokens: int | None
    ) -> HardCompression:
        """Compress passages to about a rate, or about some tokens."""
        origin = [self.count_tokens(text) for text in texts]
        words = self.label(texts, rate, target_tokens)
        whole = self._share(rate, target_tokens, origin) >= 1
        passages: list[HardPassage] = []
        dropped: list[int] = []
        for index, (source, windows) in enumerate(zip(texts, words, strict=True)):
            own = [word for window in windows for word in window]
            spans = kept_spans([w.unit for w in own], [i for i, w in enumerate(own) if w.kept])
            if whole:  # unknown tokens too
                passages.append(
                    HardPassage(index, source, source, ((0, len(source)),), _score(windows))
                )
            elif text := kept_text(source, spans):
                exact = stripped_spans(source, spans)
                passages.append(HardPassage(index, text, source, exact, _score(windows)))
            else:
                dropped.append(index)
        kept = sum(self.count_tokens(passage.text) for passage in passages)
        return HardCompression(tuple(passages), tuple(dropped), sum(origin), kept)

    def label(
        self, texts: Sequence[str], rate: float | None, target_tokens: int | None
    ) -> list[list[list[PublishedWord]]]:
        """The words of each window of each passage, marked as kept or not."""
        words = self._words(texts)
        origin = [self.count_tokens(text) for text in texts]
        share = self._share(rate, target_tokens, origin)
        taken = list(range(len(texts)))
        if self.filter_passages and len(texts) > 1:
            first = (share + 1) / 2 if target_tokens is None else min(2 * share, 1.0)
            scores = [_score(windows) or 0.0 for windows in words]
            least = np.percentile(scores, int(100 * (1 - first)))
            taken = [i for i in taken if scores[i] >= least]
            if target_tokens is not None:
                share = self._share(rate, target_tokens, [origin[i] for i in taken])
        for index in taken:
            for window in words[index]:
                self._mark(window, 1 - share)
        return words

    @staticmethod
    def _share(rate: float | None, target_tokens: int | None, origin: Sequence[int]) -> float:
        if rate is not None:
            return 1 / rate
        assert target_tokens is not None
        return min(target_tokens / max(1, sum(origin)), 1.0)

    def _words(self, texts: Sequence[str]) -> list[list[list[PublishedWord]]]:
        parts = [self._parts(text) for text in texts]
        defect = self.unknown_around and self._sentence_pieces()
        found = iter(
            self.classifier.of(
                [own.ids for windows in parts for own in windows],
                around=self.classifier.unknown if defect else None,
            )
        )
        return [[self._join(own, next(found)) for own in windows] for windows in parts]

    def _parts(self, text: str) -> list[Pieces]:
        """The package's windows of a text, each tokenized anew; places are those in the text."""
        whole = self.classifier.pieces(text)
        parts: list[Pieces] = []
        for first, last in _windows(self.classifier.names(whole.ids)):
            start, stop = whole.offsets[first][0], whole.offsets[last - 1][1]
            if last < len(whole.ids):  # a lone "▁" stands where its word does
                stop = min(stop, whole.offsets[last][0])
            own = self.classifier.pieces(text[start:stop])
            offsets = tuple((a + start, b + start) for a, b in own.offsets)
            parts.append(Pieces(own.ids[: _WINDOW - 1], offsets[: _WINDOW - 1]))
        return parts

    def _sentence_pieces(self) -> bool:
        return self.classifier.tokenizer.convert_tokens_to_ids("[CLS]") in (
            None,
            self.classifier.unknown,
        )

    def _join(self, pieces: Pieces, probabilities: Sequence[float]) -> list[PublishedWord]:
        """The words of one window."""
        marked = self._sentence_pieces()
        names = self.classifier.names(pieces.ids)
        words: list[PublishedWord] = []
        own: list[list[float]] = []
        plain: list[list[float]] = []
        at = pieces.offsets[0][0] if pieces.offsets else 0
        for number, (name, probability) in enumerate(zip(names, probabilities, strict=True)):
            stop = max(at, pieces.offsets[number][1])
            if pieces.ids[number] == self.classifier.unknown:
                at = stop
                continue
            digit = self.digits and re.search(r"\d", name) is not None
            pure = name.lstrip("▁" if marked else "#")
            begins = (
                not words
                or pure in self.force_tokens
                or (
                    name.startswith("▁") or name in string.punctuation
                    if marked
                    else not name.startswith("##")
                )
            )
            if begins:
                forced = digit or pure in self.force_tokens
                words.append(PublishedWord(name, Unit(at, stop, (number, number + 1)), 0.0, 0.0))
                own.append([1.0 if forced else probability])
                plain.append([probability])
            else:
                last = words[-1]
                unit = Unit(last.unit.start, stop, (last.unit.tokens[0], number + 1))
                words[-1] = PublishedWord(last.text + pure, unit, 0.0, 0.0)
                own[-1].append(1.0 if digit else probability)
                plain[-1].append(probability)
            at = stop
        for word, forced_mean, mean in zip(words, own, plain, strict=True):
            word.probability = sum(forced_mean) / len(forced_mean)
            word.plain = sum(mean) / len(mean)
        return words

    def _mark(self, words: Sequence[PublishedWord], reduce: float) -> None:
        """Mark the words of one window that are kept."""
        if reduce <= 0 or not words:
            for word in words:
                word.kept = True
            return
        if self.drop_consecutive:
            self._unforce_repeats(words, reduce)
        counted = [word.probability for word in words for _ in range(self.count_tokens(word.text))]
        if not counted:
            return
        least = np.percentile(counted, int(100 * reduce + 1))
        previous = ""
        for word in words:
            if not (word.probability > least or least == word.probability == 1.0):
                continue
            if self.drop_consecutive and word.text in self.force_tokens and word.text == previous:
                continue
            word.kept = True
            previous = word.text

    def _unforce_repeats(self, words: Sequence[PublishedWord], reduce: float) -> None:
        least = np.percentile([word.probability for word in words], int(100 * reduce))
        between = False
        previous = ""
        for word in words:
            if word.text not in self.force_tokens:
                between = between or word.probability > least
                continue
            if between:
                between = False
            elif word.text == previous:
                word.probability = 0.0
            previous = word.text


def _windows(names: Sequence[str]) -> list[tuple[int, int]]:
    """Where the package cuts a text's tokens: behind the last full stop or newline that fits."""
    cuts: list[tuple[int, int]] = []
    start, room = 0, _WINDOW - 2
    while start < len(names):
        end = start + room
        if end > len(names) - 1:
            end = len(names) - 1
        else:
            end = next((i for i in range(end, start, -1) if names[i] in _ENDS), end)
        cuts.append((start, end + 1))
        start = end + 1
    return cuts


def _score(windows: Sequence[Sequence[PublishedWord]]) -> float | None:
    plain = [word.plain for window in windows for word in window]
    return sum(plain) / len(plain) if plain else None
