"""LongLLMLingua (arXiv 2310.06839): what the question makes neither likelier nor less likely is left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from cocom.baselines.budget import is_number
from cocom.baselines.causal_method import CausalMethod
from cocom.baselines.coarse import Coarse, Request
from cocom.baselines.ranking import STATEMENT, dynamic_shares, question_losses, within_budget
from cocom.errors import ConfigError, InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from cocom.baselines.published_causal import Published
    from cocom.baselines.published_prompt import PublishedPrompt

__all__ = ["LongLLMLingua"]


class LongLLMLingua(CausalMethod):
    """Keeps the passages that explain the question, and in them the tokens that the question makes likelier.

    The passages are ranked by how likely the question is behind each of them, and taken until
    `context_budget` tokens more than the target are spent. More tokens stay of the first ones and fewer of
    the last. A token's score is its loss without the question less its loss with it. What an answer quotes of
    the result is restored by `cocom.baselines.recover`.

    One object may serve several threads; they take turns at the model.

        compressor = LongLLMLingua("cocom-tiny")
        compressor.compress(passages, question="Where was Ada Lovelace born?", rate=4).texts

    Attributes:
        losses: The model as it scores tokens.
        iterative_size: Tokens of a window.
        context_budget: Tokens by which the passages that are taken may exceed the target.
        reorder: "sort" reads what explains the question best first, "original" keeps the order given.
        dynamic_ratio: How much larger a share stays of the first passage, and smaller of the last.
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
        reorder: Literal["sort", "original"] = "sort",
        dynamic_ratio: float = 0.3,
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
            reorder: "sort" reads what explains the question best first, "original" keeps the order given.
            dynamic_ratio: How much larger a share stays of the first passage, and smaller of the last.
            compat: "llmlingua" keeps the tokens that the package llmlingua 0.2.2 does, its mistakes included
                and its budgets not met; to compare with figures made with it.

        Raises:
            ConfigError: A setting cannot be.
            CheckpointError: The model cannot be loaded.
            ModelError: The model or its tokenizer is of no use here.
        """
        if reorder not in ("sort", "original"):
            raise ConfigError(f"reorder must be 'sort' or 'original', got {reorder!r}.")
        if not is_number(dynamic_ratio) or not 0 <= dynamic_ratio <= 1:
            raise ConfigError(f"dynamic_ratio must be between 0 and 1, got {dynamic_ratio!r}.")
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
        self.reorder = reorder
        self.dynamic_ratio = dynamic_ratio

    def _coarse(self, requests: Sequence[Request]) -> list[Coarse]:
        questions = [
            tuple(self.losses.encoding.ids(f"{request.question}{STATEMENT}"))
            for request in requests
        ]
        for question in questions:
            self.losses.check_question(len(question))
        several = [len(request.passages) > 1 for request in requests]
        found = question_losses(
            self.losses,
            (
                (passage.ids, question)
                for request, question, ranked in zip(requests, questions, several, strict=True)
                if ranked
                for passage in request.passages
            ),
        )
        result = []
        for request, question, many in zip(requests, questions, several, strict=True):
            scores = (
                [-found[passage.ids, question] for passage in request.passages] if many else None
            )
            result.append(self._ranked(request, scores))
        return result

    def _ranked(self, request: Request, scores: Sequence[float] | None) -> Coarse:
        tokens = [passage.tokens for passage in request.passages]
        ranked = list(range(len(tokens)))
        if scores is not None:
            ranked.sort(key=lambda place: (-scores[place], place))
        budget = sum(tokens) if request.fits else request.target + self.context_budget
        ranked = within_budget(ranked, tokens, budget, request.forced_passages)
        share = min(1.0, request.target / max(1, sum(tokens[place] for place in ranked)))
        shares = dict(
            zip(ranked, dynamic_shares(share, self.dynamic_ratio, len(ranked)), strict=True)
        )
        order = ranked if self.reorder == "sort" else sorted(ranked)
        return Coarse(
            order, [shares[place] for place in order], scores, {}, by_rank=self.reorder == "sort"
        )

    def _publish(
        self, published: Published, texts: Sequence[str], request: Request
    ) -> PublishedPrompt:
        return published.compress(
            texts,
            request.target,
            question=request.question,
            size=self.iterative_size,
            context_budget=self.context_budget,
            spread=self.dynamic_ratio,
            sort=self.reorder == "sort",
        )

    def _condition(self, request: Request) -> Sequence[int]:
        return self.losses.encoding.ids(f"{request.question}\n\n")

    def _check_question(self, question: str | None) -> None:
        if not isinstance(question, str) or not question.strip():
            raise InputError(
                f"LongLLMLingua compresses for a question, got {question!r}: give the question, or use "
                "LLMLingua."
            )
