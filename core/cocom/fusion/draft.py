"""What one answer from several prompts is made of: its searches, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cocom.fusion.line import FusedLine
from cocom.fusion.marginal import by_sequence, by_token
from cocom.fusion.search import Search, penalized
from cocom.fusion.streams import Streams
from cocom.running.request import ReadRequest

__all__ = ["Draft", "answer_table"]


class Draft:
    """One answer while it is written, in streams that stand side by side.

    By token, one search goes on behind all prompts: each of its answers is a stream for every prompt. By
    sequence, every prompt has a search of its own.

    Attributes:
        line: The answer.
        searches: In the order of their streams.
        base: Its first stream.
        logits: Behind the prompts, where they are needed at the end, shape (prompts, vocabulary).
    """

    def __init__(self, line: FusedLine, base: int) -> None:
        self.line = line
        self.base = base
        self.logits: torch.Tensor | None = None
        prior, options = line.fused.prior, line.options
        penalty = 0.0 if options.length_penalty is None else options.length_penalty
        self._penalty = penalty
        self.searches = [
            Search(part, beams=options.beams, penalty=penalty, end_tokens=line.end_tokens)
            for part in ([(0.0,)] * len(prior) if options.by_sequence else [prior])
        ]

    @property
    def tries_all(self) -> bool:
        """Whether every answer that is found is tried behind every prompt."""
        return self.line.options.fusion == "rag-sequence" and len(self.searches) > 1

    @property
    def draws(self) -> bool:
        """Whether tokens are written at once, one by one."""
        return not self.line.options.in_one_piece

    def streams_of(self, search: Search) -> int:
        """How many streams a search takes; a prompt stays where answers are to be tried behind it."""
        return len(search.prior) * (len(search.going) or (1 if self.tries_all else 0))

    @property
    def streams(self) -> int:
        """How many streams it takes."""
        return sum(self.streams_of(search) for search in self.searches)

    def last_tokens(self) -> list[int]:
        """What each of its streams reads next."""
        ids: list[int] = []
        for search in self.searches:
            last = [written.ids[-1] for written in search.going for _ in search.prior]
            ids += last or [0] * self.streams_of(search)
        return ids

    def end_drawn(self) -> None:
        """Say what there is to say of an answer that was written token by token and is over."""
        (search,) = self.searches
        ended = (search.going or search.found)[0]
        self.line.fusion = self.line.fused.scores(*by_token(search.prior, ended.each))

    def settle(self, streams: Streams, rows: Sequence[int]) -> None:
        """End the line, if there is nothing more to find or nobody waits for it any more.

        Args:
            streams: What the prompts are in.
            rows: A stream of each search.
        """
        line = self.line
        if line.over:
            return
        if all(search.over for search in self.searches):
            if line.options.by_sequence:
                self._choose(streams, rows)
            else:
                best = self.searches[0].found[0]
                scores = by_token(self.searches[0].prior, best.each)
                line.write(best.ids, line.fused.scores(*scores))
        elif line.stopped:
            search = self.searches[0]
            line.ids = list((search.going or search.found)[0].ids)
            line.finish()

    def _choose(self, streams: Streams, rows: Sequence[int]) -> None:
        """Weigh whole answers: each under every prompt, or only under those that found it."""
        prior, fused = self.line.fused.prior, self.line.fused
        own = [{w.ids: w.log_probability for w in search.found} for search in self.searches]
        answers = list(dict.fromkeys(ids for found in own for ids in found))
        if self.tries_all:
            assert self.logits is not None
            table = answer_table(streams, rows, self.logits, fused.prompts, answers)
            logs = [[sum(tokens) for tokens in each] for each in table]
        else:
            never = -float("inf")
            logs = [[found.get(ids, never) for found in own] for ids in answers]
        scored = [by_sequence(prior, each) for each in logs]
        best = max(
            range(len(answers)),
            key=lambda i: penalized(scored[i][0], len(answers[i]), self._penalty),
        )
        self.line.write(answers[best], fused.scores(*scored[best]))


def answer_table(
    streams: Streams,
    rows: Sequence[int],
    logits: torch.Tensor,
    prompts: Sequence[ReadRequest],
    answers: Sequence[Sequence[int]],
) -> list[list[list[float]]]:
    """Log-probabilities of answers behind prompts: for each answer, for each prompt, of each token.

    Args:
        streams: What the prompts are in.
        rows: A stream of each.
        logits: Behind them, shape (prompts, vocabulary).
        prompts: What they are.
        answers: Tokens of each, one at least.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    begun = wide[:, [answer[0] for answer in answers]] - wide.logsumexp(-1, keepdim=True)
    first: list[list[float]] = begun.T.tolist()
    rest = streams.behind(rows, prompts, answers)
    return [
        [[log, *more] for log, more in zip(logs, each, strict=True)]
        for logs, each in zip(first, rest, strict=True)
    ]
