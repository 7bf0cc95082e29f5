"""LLMLingua (arXiv 2310.05736): what a small language model would have guessed is left out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from cocom.baselines.budget import is_number
from cocom.baselines.causal_method import CausalMethod
from cocom.baselines.coarse import Coarse, Request
from cocom.baselines.ranking import mean_losses, sentences_of, within_budget
from cocom.errors import ConfigError, InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from cocom.baselines.published_causal import Published
    from cocom.baselines.published_prompt import PublishedPrompt

__all__ = ["LLMLingua"]


class LLMLingua(CausalMethod):
    """Keeps the passages, and in them the tokens, that surprise a small causal language model most.

    A *budget controller* ranks the passages by perplexity, highest first, and takes them until
    `context_budget` tokens more than the target are spent; if wanted it does the same with their sentences.
    *Iterative token-level compression* then goes through what is left, window by window. At
    last tokens are added or taken until the reader counts exactly as many as it was promised.

    The question is not looked at. One object may serve several threads; they take turns at the model.

        compressor = LLMLingua("cocom-tiny")
        compressor.compress(passages, rate=4).texts

    Attributes:
        losses: The model as it scores tokens.
        iterative_size: Tokens of a window.
        context_budget: Tokens by which the passages that are taken may exceed the target.
        sentence_budget: Multiple of the target up to which sentences are taken.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | PreTrainedModel = "cocom-tiny",
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        count_tokens: Callable[[str], int] | None = None,
        iterative_size: int = 200,
        context_budget: int = 100,
        sentence_budget: float | None = None,
        compat: Literal["llmlingua"] | None = None,
    ) -> None:
        """Take or load the small model.

        Args:
            model: "cocom-tiny" (ships with the package), a folder, a name on the Hugging Face hub, or a
                causal language model that is loaded already.
            tokenizer: The model's tokenizer; needed with a model that is loaded already.
            device: Where to load the model; None takes CUDA if there is any.
            dtype: Type to compute in; None takes the saved one on CUDA, and on a CPU float32, or bfloat16 if
                that is the saved one and fast there.
            count_tokens: Counts tokens as the reader will; None counts the small model's.
            iterative_size: Tokens of a window.
            context_budget: Tokens by which the passages that are taken may exceed the target.
            sentence_budget: Multiple of the target up to which sentences are taken, 1.4 in the paper's code;
                None leaves sentences alone.
            compat: "llmlingua" keeps the tokens that the package llmlingua 0.2.2 does, its mistakes included
                and its budgets not met; to compare with figures made with it.

        Raises:
            ConfigError: A setting cannot be.
            CheckpointError: The model cannot be loaded.
            ModelError: The model or its tokenizer is of no use here.
        """
        if sentence_budget is not None and not (
            is_number(sentence_budget) and 1 <= sentence_budget < math.inf
        ):
            raise ConfigError(f"sentence_budget must be 1 or more, got {sentence_budget!r}.")
        if sentence_budget is not None and compat is not None:
            raise ConfigError(
                f"sentence_budget is {sentence_budget} and compat is {compat!r}: the package cuts sentences "
                "another way, so leave one of the two out."
            )
        super().__init__(
            model,
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            count_tokens=count_tokens,
            iterative_size=iterative_size,
            context_budget=context_budget,
            compat=compat,
        )
        self.sentence_budget = sentence_budget

    def _coarse(self, requests: Sequence[Request]) -> list[Coarse]:
        asked = [request for request in requests if self._must_rank(request)]
        means = mean_losses(
            self.losses, (passage.ids for request in asked for passage in request.passages)
        )
        found = []
        for request in requests:
            places = list(range(len(request.passages)))
            scores = None
            if self._must_rank(request):
                scores = [means[passage.ids] for passage in request.passages]
                ranked = sorted(places, key=lambda place: (-scores[place], place))
                places = sorted(
                    within_budget(
                        ranked,
                        [passage.tokens for passage in request.passages],
                        request.target + self.context_budget,
                        request.forced_passages,
                    )
                )
            tokens = sum(request.passages[place].tokens for place in places)
            share = min(1.0, request.target / max(1, tokens))
            found.append(Coarse(places, [share] * len(places), scores, {}))
        if self.sentence_budget is None:
            return found
        return self._sentences(requests, found)

    def _must_rank(self, request: Request) -> bool:
        """Whether the order decides on what is taken."""
        tokens = [passage.tokens for passage in request.passages]
        return sum(tokens) - min(tokens) > request.target + self.context_budget

    def _sentences(self, requests: Sequence[Request], coarse: Sequence[Coarse]) -> list[Coarse]:
        """Leave out the sentences that surprise least."""
        assert self.sentence_budget is not None
        sentences: list[list[tuple[int, range, tuple[int, ...]]]] = []
        for request, found in zip(requests, coarse, strict=True):
            sentences.append([])
            for place in found.order if not request.fits else ():
                passage = request.passages[place]
                for units in sentences_of(passage):
                    first, last = passage.units[units[0]], passage.units[units[-1]]
                    ids = passage.ids[first.tokens[0] : last.tokens[1]]
                    sentences[-1].append((place, units, ids))
        means = mean_losses(self.losses, (ids for some in sentences for _, _, ids in some))
        result = []
        for request, found, some in zip(requests, coarse, sentences, strict=True):
            if not some:
                result.append(found)
                continue
            counts = [len(ids) for _, _, ids in some]
            ranked = sorted(range(len(some)), key=lambda i: (-means[some[i][2]], i))
            # In the model's own tokens, which are all that is known of a sentence.
            scale = sum(counts) / max(1, sum(request.passages[p].tokens for p in found.order))
            kept = set(within_budget(ranked, counts, request.target * scale * self.sentence_budget))
            left_out: dict[int, set[int]] = {}
            for number, (place, units, _) in enumerate(some):
                if number not in kept:
                    left_out.setdefault(place, set()).update(units)
            share = min(1.0, request.target * scale / max(1, sum(counts[i] for i in kept)))
            result.append(Coarse(found.order, [share] * len(found.order), found.scores, left_out))
        return result

    def _publish(
        self, published: Published, texts: Sequence[str], request: Request
    ) -> PublishedPrompt:
        return published.compress(
            texts, request.target, size=self.iterative_size, context_budget=self.context_budget
        )

    def _condition(self, request: Request) -> Sequence[int]:
        return ()

    def _check_question(self, question: str | None) -> None:
        if question is not None and not isinstance(question, str):
            raise InputError(f"question must be text or None, got {type(question).__name__}.")
