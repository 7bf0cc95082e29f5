"""Runs prompts whose passages are read apart: each is a row of the same steps that other prompts take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import torch

from cocom.backbone import Backbone
from cocom.fusion.draft import answer_table
from cocom.fusion.plain_streams import PlainStreams
from cocom.fusion.streams import SlotStreams, Streams, groups_of
from cocom.fusion.writing import PROMPT_ROWS, FusedWriting
from cocom.generation import GenerationOptions
from cocom.running.decoding import DecodingRunner, Writing
from cocom.running.line import Line
from cocom.running.request import ReadRequest
from cocom.running.runner import Runner, Take
from cocom.running.steps import Steps

__all__ = ["FusedRunner", "PlainFusedRunner", "ScoringRunner"]


class ScoringRunner(Runner, Protocol):
    """Writes answers, and tells how likely given ones are."""

    def tables(
        self, prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """As `answer_table`, of prompts that are read for it."""
        ...


class FusedRunner(DecodingRunner):
    """Runs prompts that are read apart through passes without padding."""

    def together(self, first: GenerationOptions, other: GenerationOptions) -> bool:
        """Whatever the options, lines are written together."""
        return True

    def tables(
        self, prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """As `ScoringRunner.tables`."""
        with self._passes.role("read"):
            steps = self._new_steps()
            streams = SlotStreams(self._backbone, self._heads, steps)
            return _tables(streams, prompts, answers)

    def _begin(self, steps: Steps) -> Writing:
        return FusedWriting(SlotStreams(self._backbone, self._heads, steps))


class PlainFusedRunner:
    """The same through the model's own forward pass, in whole batches: for those that need it."""

    def __init__(self, backbone: Backbone) -> None:
        """Prepare.

        Args:
            backbone: Reads.
        """
        self._backbone = backbone

    def together(self, first: GenerationOptions, other: GenerationOptions) -> bool:
        """Whatever the options, lines are written together."""
        return True

    def run(self, take: Take) -> None:
        """As `Runner.run`; nothing joins a batch that is being written."""
        writing = FusedWriting(PlainStreams(self._backbone))
        groups: deque[Sequence[Line]] = deque()
        while True:
            if not groups and not writing.lines:
                lines = take([])
                parts = groups_of([line.rows for line in lines], PROMPT_ROWS)
                groups.extend([lines[i] for i in part] for part in parts)
            if not groups and not writing.lines:
                return
            joining = [] if writing.lines else groups.popleft()
            with torch.no_grad(), self._backbone.role("read"):
                writing.join(joining)
                while writing.lines:
                    writing.step()
                    if self._backbone.wanted:  # others have their turn after a token
                        break
                    writing.tell()
            writing.tell()
            groups.extend([line] for line in writing.failed)
            writing.failed.clear()

    def tables(
        self, prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """As `ScoringRunner.tables`."""
        with torch.no_grad(), self._backbone.role("read"):
            return _tables(PlainStreams(self._backbone), prompts, answers)


def _tables(
    streams: Streams, prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
) -> list[list[list[float]]]:
    logits = streams.read(prompts, [0] * len(prompts))
    return answer_table(streams, range(len(prompts)), logits, prompts, answers)
