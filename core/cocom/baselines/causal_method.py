"""What LLMLingua and LongLLMLingua share: many questions through the model together, and exact budgets."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Literal

from cocom.baselines.budget import is_number, target_of
from cocom.baselines.coarse import Coarse, Request, forced_units, units_left, with_forced
from cocom.baselines.iterative import Text, Worth, compress_iteratively
from cocom.baselines.passage_units import (
    PassageUnits,
    TokenCounts,
    choose,
    passage_units,
    unchanged,
)
from cocom.baselines.ranking import check_places
from cocom.baselines.result import HardCompression
from cocom.datatypes import Passage
from cocom.errors import ConfigError, InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from cocom.baselines.published_causal import Published
    from cocom.baselines.published_prompt import PublishedPrompt

__all__ = ["CausalMethod"]

_SEPARATOR = "\n\n"


class CausalMethod(ABC):
    """Compresses by the losses of a causal language model: passages, then tokens, to an exact budget."""

    def __init__(
        self,
        model: str | os.PathLike[str] | PreTrainedModel,
        *,
        tokenizer: PreTrainedTokenizerBase | None,
        device: str | torch.device | None,
        dtype: str | torch.dtype | None,
        count_tokens: Callable[[str], int] | None,
        iterative_size: int,
        context_budget: int,
        compat: Literal["llmlingua"] | None,
    ) -> None:
        from cocom.baselines.causal_losses import CausalLosses
        from cocom.baselines.causal_models import load_causal_model
        from cocom.baselines.published_causal import Published

        if compat not in (None, "llmlingua"):
            raise ConfigError(f"compat must be None or 'llmlingua', got {compat!r}.")
        if (
            isinstance(iterative_size, bool)
            or not isinstance(iterative_size, int)
            or iterative_size < 1
        ):
            raise ConfigError(
                f"iterative_size must be a whole number, at least 1, got {iterative_size!r}."
            )
        if not is_number(context_budget) or not 0 <= context_budget < math.inf:
            raise ConfigError(f"context_budget must be 0 or more, got {context_budget!r}.")
        loaded = load_causal_model(model, tokenizer, device, dtype)
        self.losses = CausalLosses(*loaded)
        self._published = None if compat is None else Published(*loaded)
        self.iterative_size = iterative_size
        self.context_budget = context_budget
        self.count_tokens = count_tokens or self.losses.encoding.count

    def compress(
        self,
        passages: Sequence[str | Passage],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
        force_tokens: Collection[str] = (),
        force_passages: Collection[int] = (),
    ) -> HardCompression:
        """Compress the passages of one question together.

        Args:
            passages: Texts, in the order a retriever found them.
            question: What they were found for.
            rate: Tokens for each that is kept, at least 1: at rate 4 a quarter stays.
            target_tokens: Most tokens that all passages together may keep; give this or `rate`.
            force_tokens: Strings that stay wherever they stand, also in passages that are ranked out.
            force_passages: Places of passages of which something is to stay, whatever they are ranked.

        Raises:
            ConfigError: Not one of `rate` and `target_tokens` is given, or it cannot be.
            InputError: There are no passages, one has no text, or what is forced exceeds the budget.
        """
        request = self._request(
            passages, question, rate, target_tokens, force_tokens, force_passages
        )
        return self._compress_all([request])[0]

    def compress_batch(
        self,
        batch: Sequence[Sequence[str | Passage]],
        *,
        questions: Sequence[str | None] | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
        force_tokens: Collection[str] = (),
    ) -> list[HardCompression]:
        """Compress the passages of many questions, each as `compress` would, in less time.

        In float32 the results are the same. In shorter types what goes through the model together decides on
        roundings, and so on tokens that matter equally.

        Args:
            batch: The passages of each question.
            questions: The questions.
            rate: Tokens for each that is kept, of every question's passages.
            target_tokens: Most tokens that the passages of each question may keep.
            force_tokens: Strings that stay wherever they stand, also in passages that are ranked out.

        Raises:
            ConfigError: As `compress`.
            InputError: As `compress`, or there are more or fewer questions than lists of passages.
        """
        if questions is None:
            questions = [None] * len(batch)
        if isinstance(questions, str):
            raise InputError(
                f"questions is one text, {questions[:40]!r}: give a list, one for each list of passages."
            )
        force_tokens = _strings(force_tokens)
        if len(questions) != len(batch):
            raise InputError(
                f"there are {len(batch)} lists of passages but {len(questions)} questions: give one for each."
            )
        return self._compress_all(
            [
                self._request(passages, question, rate, target_tokens, force_tokens, ())
                for passages, question in zip(batch, questions, strict=True)
            ]
        )

    def _request(
        self,
        passages: Sequence[str | Passage],
        question: str | None,
        rate: float | None,
        target_tokens: int | None,
        force_tokens: Collection[str],
        force_passages: Collection[int],
    ) -> Request:
        strings, places = _strings(force_tokens), tuple(force_passages)
        if self._published is not None and (strings or places):
            raise ConfigError(
                "force_tokens and force_passages are nothing that the package llmlingua has for this method: "
                "leave them or compat='llmlingua' out."
            )
        self._check_question(question)
        found = passage_units(passages, self.losses.encoding, self._counts())
        return Request(
            passages=found,
            question=question,
            target=target_of(sum(one.tokens for one in found), rate, target_tokens),
            forced_passages=check_places(places, len(found)),
            force_tokens=strings,
        )

    def _counts(self) -> TokenCounts:
        return TokenCounts(self.count_tokens)

    def _compress_all(self, requests: Sequence[Request]) -> list[HardCompression]:
        if self._published is not None:
            return [self._as_published(self._published, request) for request in requests]
        with self.losses.used():
            coarse = [
                with_forced(request, found)
                for request, found in zip(requests, self._coarse(requests), strict=True)
            ]
            texts = {
                number: self._text(request, found)
                for number, (request, found) in enumerate(zip(requests, coarse, strict=True))
                if not request.fits
            }
            worth = compress_iteratively(
                self.losses,
                list(texts.values()),
                size=self.iterative_size,
                separator=self.losses.encoding.ids(_SEPARATOR),
            )
        found = dict(zip(texts, worth, strict=True))
        return [
            self._chosen(request, one, found[number])
            if number in found
            else unchanged(request.passages, one.order, one.scores)
            for number, (request, one) in enumerate(zip(requests, coarse, strict=True))
        ]

    def _text(self, request: Request, coarse: Coarse) -> Text:
        """What is left of a request, as one text; sentences that went are no part of it."""
        forced = forced_units(request, coarse)
        passages, musts = [], []
        for index, must in zip(coarse.order, forced, strict=True):
            whole = request.passages[index]
            stays = units_left(whole, coarse)
            passages.append(
                PassageUnits(
                    whole.index,
                    whole.text,
                    whole.ids,
                    tuple(whole.units[unit] for unit in stays),
                    whole.tokens,
                )
            )
            musts.append({at for at, unit in enumerate(stays) if unit in must})
        return Text(passages, coarse.shares, musts, self._condition(request))

    def _chosen(
        self, request: Request, coarse: Coarse, worth: Sequence[Sequence[Worth]]
    ) -> HardCompression:
        forced = forced_units(request, coarse)
        whole: list[list[Worth | None]] = []
        for index, found, must in zip(coarse.order, worth, forced, strict=True):
            passage = request.passages[index]
            known = dict(zip(units_left(passage, coarse), found, strict=True))
            # Of a passage that is there for its forced strings alone, nothing else fills the budget.
            alone = must and must.issuperset(known)
            gone = None if alone else (-math.inf, -math.inf)
            whole.append([known.get(unit, gone) for unit in range(len(passage.units))])
        return choose(
            request.passages,
            coarse.order,
            whole,
            forced,
            request.target,
            self._counts(),
            coarse.scores,
        )

    def _as_published(self, published: Published, request: Request) -> HardCompression:
        from cocom.baselines.published_prompt import compression_of

        texts = [passage.text for passage in request.passages]
        prompt = self._publish(published, texts, request)
        return compression_of(prompt, request.passages, self._counts())

    @abstractmethod
    def _publish(
        self, published: Published, texts: Sequence[str], request: Request
    ) -> PublishedPrompt:
        """Compress as the package llmlingua does."""

    @abstractmethod
    def _coarse(self, requests: Sequence[Request]) -> list[Coarse]:
        """Choose passages."""

    @abstractmethod
    def _condition(self, request: Request) -> Sequence[int]:
        """Token ids that tokens are scored for, none if for nothing."""

    @abstractmethod
    def _check_question(self, question: str | None) -> None:
        """Refuse a question that the method cannot use."""


def _strings(force_tokens: Collection[str]) -> tuple[str, ...]:
    """The strings that are to stay.

    Raises:
        ConfigError: They are none.
    """
    strings = () if isinstance(force_tokens, str) else tuple(force_tokens)
    if isinstance(force_tokens, str) or not all(isinstance(s, str) and s for s in strings):
        raise ConfigError(
            f"force_tokens must be a list of strings that are not empty, got {force_tokens!r}."
        )
    return strings
