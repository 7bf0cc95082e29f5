"""What the package llmlingua 0.2.2 keeps by LLMLingua and LongLLMLingua, to compare with its figures.

It differs from the papers. A token is kept by the loss of the token behind it. Nothing stands before the
first token. A threshold is the quantile over the kept prefix, the window and all that is still to come, which
has the losses it had before anything was dropped. Less than a window at the end is not compressed, and of a
prompt shorter than a window whatever its arithmetic of negative places reaches. Its budget is a wish.

Left out is what the package does where the model's positions run out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cocom.baselines.causal_losses import CausalLosses, Losses
from cocom.baselines.published_prompt import SEPARATOR, PublishedPrompt
from cocom.baselines.ranking import STATEMENT, within_budget
from cocom.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


__all__ = ["Published"]


class Published:
    """The package's rules on a model of one's own."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._losses = CausalLosses(model, tokenizer)
        self._losses.start = ()  # nothing stands before a text but what the tokenizer puts there
        self._tokenizer = tokenizer

    def compress(
        self,
        passages: Sequence[str],
        target: float,
        *,
        question: str | None = None,
        size: int = 200,
        context_budget: int = 100,
        spread: float = 0.0,
        sort: bool = False,
    ) -> PublishedPrompt:
        """Compress the passages of one question.

        Args:
            passages: Their texts.
            target: How many tokens should stay.
            question: What tokens are scored for, by LongLLMLingua; None is LLMLingua.
            size: Tokens of a window.
            context_budget: Tokens by which the passages taken may exceed the target.
            spread: How much larger a share stays of the first passage, and smaller of the last.
            sort: Passages are read in the order of their rank.

        Raises:
            InputError: The prompt is longer than the model can read.
        """
        with self._losses.used():
            ranked = self._ranked(passages, target + context_budget, question)
            offsets = _offsets(spread, len(ranked))
            pairs = list(zip(ranked, offsets, strict=True))
            if not sort:
                pairs.sort()
            return self._tokens(
                [passages[place] for place, _ in pairs],
                [place for place, _ in pairs],
                [offset for _, offset in pairs],
                target,
                question,
                size,
            )

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text).input_ids)

    def _ranked(self, passages: Sequence[str], budget: float, question: str | None) -> list[int]:
        places = list(range(len(passages)))
        if len(passages) == 1:
            return places
        lengths = [len(self._ids(text)) for text in passages]
        if question is None:
            rows = [(ids[:1], ids[1:]) for ids in map(self._ids, passages)]
        else:
            rows = [
                (ids[:length], ids[length:])
                for text, length in zip(passages, lengths, strict=True)
                for ids in [self._ids(text + question + STATEMENT)]
            ]
        means = [float(np.mean(losses)) for losses in self._losses.of(rows)]
        order = sorted(places, key=lambda place: means[place] * (1 if question else -1))
        return within_budget(order, lengths, budget)

    def _tokens(
        self,
        texts: Sequence[str],
        order: list[int],
        offsets: Sequence[float],
        target: float,
        question: str | None,
        size: int,
    ) -> PublishedPrompt:
        encoding = self._losses.encoding
        text = SEPARATOR.join(texts)
        before = "" if question is None else question + SEPARATOR
        ((ids, places),) = encoding.encode([before + text])
        limit = self._losses.positions
        if limit is not None and len(ids) > limit:
            raise InputError(
                f"question and passages have {len(ids)} tokens but the model reads {limit} at once: with "
                "compat='llmlingua' nothing longer can be compressed, leave it out."
            )
        start = next((i for i, (_, end) in enumerate(places) if end > len(before)), len(ids))
        lengths = [encoding.count(one) + 2 for one in texts]
        steps = _steps(lengths, offsets, target, size)
        kept = self._kept(ids, start if question else 0, steps, size)
        own = [(max(0, a - len(before)), b - len(before)) for a, b in places[start:]]
        return PublishedPrompt(
            text, order, own, [i - start for i in kept], [int(ids[i]) for i in kept]
        )

    def _kept(
        self,
        ids: Sequence[int],
        start: int,
        steps: Sequence[Sequence[tuple[int, float]]],
        size: int,
    ) -> list[int]:
        """Numbers of the tokens that are kept behind the question."""
        state = _State(list(range(len(ids))), start)
        end = min(size + start, len(ids))
        read = 0
        for turn, parts in enumerate(steps):
            if end > len(state.left):
                break
            now = [ids[i] for i in state.left]
            upto = end if turn else len(now)
            whole = self._behind(now, read, upto)
            if not len(whole):
                break
            state.losses = _put(state.losses, whole, read, upto)
            if start:
                first = max(0, read - start)
                alone = self._behind(now[start:], first, upto - start)
                state.alone = _put(state.alone, alone, first, upto - start)
            read = max(0, end - size) if turn else 0
            for tokens, share in parts:
                end = state.drop(end - size + tokens, tokens, share) + size
        return [i for i in state.left if i >= start]

    def _behind(self, ids: Sequence[int], read: int, end: int) -> Losses:
        """Losses of the tokens behind a place, which itself is not scored, up to another."""
        return self._losses.of([(ids[: read + 1], ids[read + 1 : end])])[0]


class _State:
    """Tokens that are left, and the losses the package goes by.

    Attributes:
        left: Numbers of the tokens.
        start: How many of them are the question's.
        losses: At each place the loss of the token behind it.
        alone: The same without the question.
    """

    def __init__(self, left: list[int], start: int) -> None:
        self.left = left
        self.start = start
        self.losses: Losses = np.zeros(0, np.float32)
        self.alone: Losses = np.zeros(0, np.float32)

    def drop(self, end: int, tokens: int, share: float) -> int:
        """Drop from the last tokens before a place, and tell where it is then.

        Places may be negative, and then count from the end, as in the package.
        """
        scores = self.losses
        if self.start:
            behind = self.losses[self.start :]
            scores = self.alone[: len(behind)] - behind
        stays = scores > _threshold(scores, share)
        if self.start:
            stays = np.concatenate([self.losses[: self.start] > 0, stays])
        stays = np.concatenate([stays, self.losses[:1] > 0])
        stays[end:] = True
        stays[: end - tokens] = True
        self.losses = self.losses[stays[:-1]]
        if self.start:
            self.alone = self.alone[
                _fitted(stays, len(self.alone) + self.start + 1)[self.start : -1]
            ]
        stays = _fitted(stays, len(self.left))[: len(self.left)]
        self.left = [i for i, stay in zip(self.left, stays, strict=True) if stay]
        return end - int((~stays[:end]).sum())


def _fitted(stays: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    missing = max(0, length - len(stays))
    return np.concatenate([stays, np.ones(missing, dtype=bool)])


def _put(losses: Losses, more: Losses, read: int, end: int) -> Losses:
    """Losses, with those of the tokens between two places as they are now."""
    missing = max(0, end - 1 - len(losses))
    losses = np.concatenate([losses, np.zeros(missing, np.float32)])
    losses[read : end - 1] = more
    return losses


def _threshold(scores: Losses, share: float) -> float:
    if share == 1.0:
        return float("-inf")
    place = max(0, min(len(scores) - 1, int(len(scores) * share) - 1))
    return float(np.sort(scores)[::-1][place])


def _offsets(spread: float, count: int) -> list[float]:
    """What is added to the share of each passage, by rank."""
    if count < 2 or not spread:
        return [0.0] * count
    return [step * (spread / (count - 1)) for step in range(count - 1, -count, -2)]


def _steps(
    lengths: Sequence[int], offsets: Sequence[float], target: float, size: int
) -> list[list[tuple[int, float]]]:
    """For each window, of how many tokens which share is to stay."""
    base = target / (sum(lengths) + 1)
    windows: list[list[tuple[int, float]]] = [[]]
    filled = 1
    for length, offset in zip(lengths, offsets, strict=True):
        share = max(min(1, base + offset), 0)
        if filled + length < size:
            windows[-1].append((length, share))
            filled += length
            continue
        windows[-1].append((size - filled, share))
        filled += length - size
        # A rest of just one window stays a rest.
        whole = filled // size if filled > size else 0
        windows += [[(size, share)] for _ in range(whole)]
        filled -= whole * size
        windows.append([(filled, share)] if filled else [])
    return windows if windows[-1] else windows[:-1]
