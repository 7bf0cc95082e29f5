"""Answers from passages that are read apart, side by side: every step is a row for each of their streams."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch

from cocom.errors import CocomError
from cocom.fusion.draft import Draft
from cocom.fusion.line import FusedLine
from cocom.fusion.mixture import Choice, Mixture, mix
from cocom.fusion.search import Search
from cocom.fusion.streams import Streams, groups_of
from cocom.running.line import Line
from cocom.running.sampling import next_tokens

__all__ = ["PROMPT_ROWS", "FusedWriting"]

PROMPT_ROWS = 8192
"""Rows of prompts that are read together, at most, so that one's failure can harm others."""


@dataclass(frozen=True)
class _Place:
    """A search that goes on, and its first stream."""

    draft: Draft
    search: Search
    row: int


class FusedWriting:
    """The answers of one run; see `cocom.running.decoding.Writing`.

    Attributes:
        failed: What could not be written with others, and can be tried alone.
    """

    def __init__(self, streams: Streams) -> None:
        """Prepare.

        Args:
            streams: Where prompts are read and tokens written.
        """
        self.failed: list[Line] = []
        self._streams = streams
        self._drafts: list[Draft] = []
        self._over: list[Line] = []

    @property
    def lines(self) -> Sequence[Line]:
        """What is being written."""
        return [draft.line for draft in self._drafts]

    def join(self, lines: Sequence[Line]) -> None:
        """As `Writing.join`."""
        good: list[FusedLine] = []
        for line in lines:
            assert isinstance(line, FusedLine)
            try:
                for prompt in line.fused.prompts:
                    prompt.embeddings()
            except CocomError as error:  # its own fault: nobody else has to wait for it
                line.fail(error)
                self._over.append(line)
                continue
            good.append(line)
        for group in groups_of([line.rows for line in good], PROMPT_ROWS):
            self._try_reading([good[i] for i in group])

    def step(self) -> None:
        """As `Writing.step`."""
        try:
            ids = [token for draft in self._drafts for token in draft.last_tokens()]
            self._write(0, self._streams.step(ids))
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            lines = list(self.lines)
            self._drafts = []
            self._streams.clear()
            self._over += [line for line in lines if line.over]
            self._sort_out([line for line in lines if not line.over], error, len(lines) == 1)

    def tell(self) -> None:
        """As `Writing.tell`."""
        for line in self._over:
            line.tell()
        self._over.clear()

    def _try_reading(self, group: list[FusedLine]) -> None:
        before = self._streams.rows
        drafts = list(self._drafts)
        try:
            self._read(group)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            self._drafts = drafts
            self._streams.arrange(range(before))
            self._over += [line for line in group if line.over]
            left = [line for line in group if not line.over and line not in self.failed]
            self._sort_out(left, error, single=not drafts and len(group) == 1)

    def _read(self, group: list[FusedLine]) -> None:
        prompts = [prompt for line in group for prompt in line.fused.prompts]
        most = [line.options.max_new_tokens for line in group for _ in line.fused.prompts]
        first = len(self._drafts)
        row = self._streams.rows
        logits = self._streams.read(prompts, most)
        drafts: list[Draft] = []
        at = 0
        for line in group:
            draft = Draft(line, row + at)
            size = len(line.fused.prompts)
            if draft.tries_all:
                draft.logits = logits[at : at + size].clone()
            drafts.append(draft)
            at += size
        self._drafts = [*self._drafts, *drafts]
        self._write(first, logits)

    def _write(self, first: int, logits: torch.Tensor) -> None:
        """Go on with the drafts from `first` on, and let go those that are over.

        Args:
            first: Number of the first draft.
            logits: Behind their streams, shape (streams, vocabulary).
        """
        drafts = self._drafts[first:]
        begin = drafts[0].base
        places: dict[int, list[_Place]] = defaultdict(list)
        rows: dict[Search, int] = {}
        for draft in drafts:
            row = draft.base
            for search in draft.searches:
                rows[search] = row
                if not search.over:
                    places[len(search.prior)].append(_Place(draft, search, row))
                row += draft.streams_of(search)
        parents: dict[Search, list[int]] = {}
        for size, some in places.items():
            parents |= _advance(some, size, logits, begin)
        lost: set[Draft] = set()
        sources: list[list[int]] = [
            list(range(draft.base, draft.base + draft.streams)) for draft in self._drafts[:first]
        ]
        for draft in drafts:
            kept: list[int] = []
            for search in draft.searches:
                size, row = len(search.prior), rows[search]
                stays = [0] if draft.tries_all else []
                for beam in parents.get(search, []) or stays:
                    kept += range(row + beam * size, row + (beam + 1) * size)
            sources.append(kept)
            try:
                draft.settle(self._streams, [rows[search] for search in draft.searches])
            except Exception as error:  # what is tried for one answer harms no other
                traceback.clear_frames(error.__traceback__)
                self._sort_out([draft.line], error, single=len(self._drafts) == 1)
                lost.add(draft)
        self._lay(sources, lost)

    def _lay(self, sources: list[list[int]], lost: Set[Draft]) -> None:
        """Put the streams of what goes on side by side; where one leaves, the last takes its place.

        Args:
            sources: The streams of each draft.
            lost: Drafts that cannot go on.
        """
        pairs = list(zip(self._drafts, sources, strict=True))
        at = 0
        while at < len(pairs):
            draft = pairs[at][0]
            if draft not in lost:
                if not draft.line.over:
                    at += 1
                    continue
                self._over.append(draft.line)
            last = pairs.pop()
            if at < len(pairs):
                pairs[at] = last
        order: list[int] = []
        for draft, kept in pairs:
            draft.base = len(order)
            order += kept
        self._drafts = [draft for draft, _ in pairs]
        self._streams.arrange(order)

    def _sort_out(self, lines: Sequence[Line], error: Exception, single: bool) -> None:
        """One bad request, or too large a batch, is no reason for the others to fail."""
        for line in lines:
            if single or line.told:
                line.fail(error)
                self._over.append(line)
            else:
                line.restart()
                self.failed.append(line)


def _advance(
    places: Sequence[_Place], size: int, logits: torch.Tensor, begin: int
) -> dict[Search, list[int]]:
    """Write a token of each answer of some searches, all of so many prompts.

    Returns:
        As `Search.advance`, for each.
    """
    beams = [
        (place.row - begin + beam * size, place.search.prior)
        for place in places
        for beam in range(len(place.search.going))
    ]
    at = torch.tensor([row for row, _ in beams], device=logits.device)
    at = at[:, None] + torch.arange(size, device=logits.device)
    prior = torch.tensor([p for _, p in beams], dtype=torch.float64, device=logits.device)
    mixture = mix(logits[at], prior)
    parents: dict[Search, list[int]] = {}
    single: list[tuple[int, _Place]] = []
    number = 0
    for place in places:
        search, line = place.search, place.draft.line
        if line.options.beams == 1:
            single.append((number, place))
        else:
            sums = [written.log_probability for written in search.going]
            found = mixture.best(number, sums, search.most)
            mine = [Choice(c.beam - number, c.token, c.log_probability, c.each) for c in found]
            parents[search] = search.advance(mine, line.ends_with)
        number += len(search.going) if line.options.beams == 1 else len(sums)
    if single:
        parents |= _single(single, mixture)
    return parents


def _single(numbered: Sequence[tuple[int, _Place]], mixture: Mixture) -> dict[Search, list[int]]:
    """Write the one next token of searches without beams."""
    at = torch.tensor([number for number, _ in numbered], device=mixture.values.device)
    tokens = next_tokens(mixture.values[at], [place.draft.line for _, place in numbered])
    choices = mixture.of(at, torch.tensor(tokens, device=at.device))
    parents: dict[Search, list[int]] = {}
    for (_, place), choice in zip(numbered, choices, strict=True):
        line = place.draft.line
        one = Choice(0, choice.token, choice.log_probability, choice.each)
        if place.draft.draws:
            line.add(one.token)
            parents[place.search] = place.search.advance([one], lambda _, line=line: line.over)  # type: ignore[misc]
            if line.over:
                place.draft.end_drawn()
        else:
            parents[place.search] = place.search.advance([one], line.ends_with)
    return parents
