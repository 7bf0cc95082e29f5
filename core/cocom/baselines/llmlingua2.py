"""LLMLingua-2 (arXiv 2403.12968): a token classifier says which words to keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cocom.baselines.budget import fit, target_of
from cocom.baselines.published import PublishedRule
from cocom.baselines.result import HardCompression
from cocom.baselines.selection import Selection
from cocom.baselines.token_probabilities import Pieces, TokenProbabilities, load_classifier
from cocom.baselines.words import forced_words, words_of
from cocom.datatypes import Passage
from cocom.errors import ConfigError, EmptyPassageError, InputError
from cocom.windows import cut_windows

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LLMLingua2"]


class LLMLingua2:
    """Keeps the words of passages that a classifier finds most worth keeping, whatever the question is.

    Each word's probability of being kept is the mean over its tokens. As in the paper, the
    words of all passages together are ranked by it, and the first ones that fit the budget stay, in their
    own order and as the passages spell them.

        compressor = LLMLingua2("microsoft/llmlingua-2-xlm-roberta-large-meetingbank")
        compressor.compress(passages, rate=4).texts

    Attributes:
        classifier: The model with its tokenizer.
        count_tokens: Tells how many tokens a text has; budgets are counted with it.
        published: What the package does, if that was asked for.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel = "llmlingua2-tiny",
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        count_tokens: Callable[[str], int] | None = None,
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        filter_passages: bool = False,
        batch_tokens: int = 8192,
        compat: Literal["llmlingua"] | None = None,
    ) -> None:
        r"""Load a classifier, or take one.

        Args:
            model: "llmlingua2-tiny" (ships with the package), a folder, a name on the hub, or a loaded model
                for token classification. Of its labels, one called "keep" or the like says to keep a token,
                and without such a name the second.
            tokenizer: Its tokenizer; needed with a loaded model.
            device: Where to load it; None takes CUDA if there is any.
            dtype: Type to compute in; None takes the saved one on CUDA and float32 on a CPU.
            count_tokens: Tells how many tokens a text is for its reader; None counts the classifier's own.
            force_tokens: Words and signs to keep wherever they stand, such as "\n" or "not".
            force_reserve_digit: Keep every word with a digit.
            drop_consecutive: Drop a force token behind one like it when nothing between them is kept.
            filter_passages: First drop the passages whose words are the least likely to be kept, so that the
                rest has at most halfway from the budget to all tokens; the best passage always stays. What is
                dropped goes with the force tokens in it.
            batch_tokens: Tokens in one forward pass, padding included.
            compat: "llmlingua" keeps the words that the package llmlingua 0.2.2 keeps, whose budget is a
                percentile in each stretch of 510 tokens, and so is met more or less.

        Raises:
            CheckpointError: There is no such model, or it has no trained token classifier.
            ConfigError: A loaded model without its tokenizer, or settings that cannot be.
            ModelError: The model or the tokenizer lacks what the method needs.
        """
        strings = () if isinstance(force_tokens, str) else tuple(force_tokens)
        if isinstance(force_tokens, str) or not all(isinstance(s, str) and s for s in strings):
            raise ConfigError(
                f"force_tokens must be texts that are not empty, got {force_tokens!r}: give a list such as "
                "['.', '\\n']."
            )
        if compat not in (None, "llmlingua"):
            raise ConfigError(f"compat is {compat!r}: give 'llmlingua' or None.")
        loaded, own = load_classifier(model, tokenizer, device, dtype)
        self.classifier = TokenProbabilities(loaded, own, batch_tokens)
        self.count_tokens = count_tokens or self.classifier.count
        self._force = tuple(dict.fromkeys(strings))
        self._digits = force_reserve_digit
        self._drop = drop_consecutive
        self._filter = filter_passages
        self.published: PublishedRule | None = None
        if compat:
            if not self.classifier.reads_all:
                raise ConfigError(
                    f"compat is 'llmlingua', whose windows have 512 tokens, but the classifier reads no more "
                    f"than {self.classifier.room} of a text: leave compat out, or take one that reads them."
                )
            self.published = PublishedRule(
                self.classifier,
                self.count_tokens,
                self._force,
                force_reserve_digit,
                drop_consecutive,
                filter_passages,
            )

    def compress(
        self,
        passages: Sequence[str | Passage],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> HardCompression:
        """Compress the passages of one question together.

        Args:
            passages: Texts of any length, in any script.
            question: Not looked at; other methods do.
            rate: Tokens for each that is kept, at least 1: at rate 4 a quarter stays.
            target_tokens: Most tokens that all passages together may keep.

        Returns:
            The passages in the order given; the score of each is the mean probability of its words.

        Raises:
            ConfigError: Neither rate nor target_tokens is given, or both, or one cannot be.
            InputError: There are no passages, one is no text or blank, or what is forced to stay exceeds the
                budget.
        """
        (result,) = self.compress_batch(
            [passages],
            questions=None if question is None else [question],
            rate=rate,
            target_tokens=target_tokens,
        )
        return result

    def compress_batch(
        self,
        passages: Sequence[Sequence[str | Passage]],
        *,
        questions: Sequence[str | None] | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> list[HardCompression]:
        """Compress the passages of many questions; each question's as `compress` does.

        Args:
            passages: Those of each question.
            questions: Not looked at; if given, one for each list of passages.
            rate: Tokens for each that is kept.
            target_tokens: Most tokens that the passages of one question together may keep.

        Raises:
            ConfigError: As `compress`.
            InputError: As `compress`, or questions and lists of passages differ in number.
        """
        target_of(1, rate, target_tokens)  # says what is wrong before the model runs
        if questions is not None and len(questions) != len(passages):
            raise InputError(
                f"there are {len(questions)} questions and {len(passages)} lists of passages: give one list "
                "for each question."
            )
        groups = [_texts(group) for group in passages]
        if self.published is not None:
            return [self.published.compress(group, rate, target_tokens) for group in groups]
        distinct = dict.fromkeys(text for group in groups for text in group)
        pieces = {text: self.classifier.pieces(text) for text in distinct}
        probabilities = self._probabilities(pieces)
        return [self._select(group, pieces, probabilities, rate, target_tokens) for group in groups]

    def _probabilities(self, pieces: dict[str, Pieces]) -> dict[str, list[float]]:
        """Probability of each token of each text, all texts read together."""
        windows = [
            (text, window.ids)
            for text, own in pieces.items()
            for window in cut_windows(text, own.ids, own.offsets, self.classifier.room)
        ]
        found: dict[str, list[float]] = {text: [] for text in pieces}
        for (text, _), kept in zip(
            windows, self.classifier.of([ids for _, ids in windows]), strict=True
        ):
            found[text] += kept
        return found

    def _select(
        self,
        texts: Sequence[str],
        pieces: dict[str, Pieces],
        probabilities: dict[str, list[float]],
        rate: float | None,
        target_tokens: int | None,
    ) -> HardCompression:
        words = [
            forced_words(
                text,
                words_of(text, pieces[text].offsets),
                probabilities[text],
                self._force,
                digits=self._digits,
            )
            for text in texts
        ]
        selection = Selection(texts, words, self.count_tokens, drop_consecutive=self._drop)
        scores = [
            sum(word.probability for word in own) / len(own) if own else None for own in words
        ]
        origin = sum(map(selection.tokens, range(len(texts))))
        target = target_of(origin, rate, target_tokens)
        if target == origin:
            return selection.whole(scores)
        passages = self._passages(selection, scores, (origin + target) / 2)
        order = selection.order(passages)
        kept = fit(
            order,
            target,
            selection.count,
            forced=selection.forced(passages),
            guess=len(order) * target // origin,
        )
        return selection.result(kept, scores)

    def _passages(
        self, selection: Selection, scores: Sequence[float | None], most: float
    ) -> Collection[int]:
        """Which passages are not dropped as a whole."""
        best = [i for i, score in enumerate(scores) if score is not None]
        if not self._filter:
            return best
        best.sort(key=lambda i: (-(scores[i] or 0.0), i))
        taken: list[int] = []
        for index in best:
            tokens = selection.tokens(index)
            if taken and tokens > most:
                continue
            taken.append(index)
            most -= tokens
        return taken


def _texts(passages: Sequence[str | Passage]) -> list[str]:
    if isinstance(passages, str | Passage):
        raise InputError("passages is a single passage: give a list of passages, even for one.")
    if not passages:
        raise InputError("there are no passages to compress: give at least one.")
    texts = [passage.text if isinstance(passage, Passage) else passage for passage in passages]
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"passage {index} must be text, got {type(text).__name__}: pass a str or a Passage."
            )
        if not text.strip():
            raise EmptyPassageError(
                f"passage {index} has no text to compress, got {text[:20]!r}: leave it out."
            )
    return texts
