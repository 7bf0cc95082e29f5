"""The decode loop: answers of any length side by side, new ones joining as soon as there is room.

Prompts are read end to end without padding, and then every step reads one token of each answer. What has
ended leaves at once; so a batch is never held up by its longest answer.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import torch

from cocom.backbone import Backbone
from cocom.errors import CocomError
from cocom.generation import GenerationOptions
from cocom.passes import passes_of
from cocom.running.heads import SharedHeads
from cocom.running.line import Line
from cocom.running.request import build_prompts
from cocom.running.runner import Take
from cocom.running.sampling import next_tokens
from cocom.running.steps import Steps

__all__ = ["DecodingRunner", "Writing"]

_PROMPT_ROWS = 8192  # read in one pass


class Writing(Protocol):
    """The lines of one run.

    Attributes:
        failed: What could not be written with others, and can be tried alone.
    """

    failed: list[Line]

    @property
    def lines(self) -> Sequence[Line]:
        """What is being written."""
        ...

    def join(self, lines: Sequence[Line]) -> None:
        """Read prompts and write the first token of each answer."""
        ...

    def step(self) -> None:
        """Write one more token of each answer."""
        ...

    def tell(self) -> None:
        """Tell what has become of lines that are over."""
        ...


class DecodingRunner:
    """Runs prompts on a model of this process through passes without padding."""

    def __init__(self, backbone: Backbone, *, compile: bool = False, graphs: bool = True) -> None:
        """Prepare.

        Args:
            backbone: Reads.
            compile: Compile the decode step with torch.compile.
            graphs: Replay the decode step as a CUDA graph, on CUDA.
        """
        self._backbone = backbone
        self._passes = passes_of(backbone)
        self._heads = SharedHeads(backbone, self._passes)
        self._options = (compile, graphs)
        self._free: list[Steps] = []
        self._generation = 0

    def together(self, first: GenerationOptions, other: GenerationOptions) -> bool:
        """Whatever the options, beam search aside, lines are written together."""
        return first.beams == other.beams == 1

    def run(self, take: Take) -> None:
        """As `Runner.run`."""
        steps = self._taken_steps()
        writing = self._begin(steps)
        alone: deque[Line] = deque()
        generation = self._generation
        more = True
        while more:
            with self._passes.role("read"):
                if generation != self._generation:  # meanwhile weights have changed
                    generation = self._generation
                    steps.forget()
                while more:
                    alone.extend(writing.failed)
                    writing.failed.clear()
                    joining: Sequence[Line] = []
                    if not alone:
                        joining = take(writing.lines)
                    elif not writing.lines:
                        steps.rest(all=True)  # what the others took
                        joining = [alone.popleft()]
                    writing.join(joining)
                    more = bool(joining or writing.lines or writing.failed or alone)
                    if writing.lines:
                        writing.step()
                    # Others have their turn after a token, not before one.
                    if not writing.lines or self._backbone.wanted:
                        break
                    writing.tell()
            writing.tell()
        steps.rest()
        if generation == self._generation:
            self._free.append(steps)

    def _begin(self, steps: Steps) -> Writing:
        return _Writing(self._backbone, self._heads, steps)

    def forget(self) -> None:
        """Drop what was computed with weights that have changed."""
        self._heads.clear()
        self._free.clear()  # captured steps know where the weights were
        self._generation += 1

    def _taken_steps(self) -> Steps:
        try:
            steps = self._free.pop()
        except IndexError:
            return self._new_steps()
        return (
            steps if steps.suits(self._backbone.device, self._backbone.dtype) else self._new_steps()
        )

    def _new_steps(self) -> Steps:
        compile, graphs = self._options
        place = self._backbone.device, self._backbone.dtype
        return Steps(self._passes, *place, compile=compile, graphs=graphs)


class _Writing:
    """The lines of one run, each in the slot of its number; see `Writing`."""

    def __init__(self, backbone: Backbone, heads: SharedHeads, steps: Steps) -> None:
        self.lines: list[Line] = []
        self.failed: list[Line] = []
        self._over: list[Line] = []
        self._lengths: list[int] = []  # rows kept of each
        self._positions: list[int] = []  # of the next row of each
        self._backbone = backbone
        self._heads = heads
        self._steps = steps

    def join(self, lines: Sequence[Line]) -> None:
        """As `Writing`."""
        group: list[Line] = []
        rows = 0
        for line in lines:
            try:
                line.request.embeddings()
            except CocomError as error:  # its own fault: nobody else has to wait for it
                line.fail(error)
                self._over.append(line)
                continue
            if group and rows + line.request.rows > _PROMPT_ROWS:
                self._try_reading(group)
                group, rows = [], 0
            group.append(line)
            rows += line.request.rows
        if group:
            self._try_reading(group)

    def tell(self) -> None:
        """As `Writing`."""
        for line in self._over:
            line.tell()
        self._over.clear()

    def _try_reading(self, group: list[Line]) -> None:
        before = len(self.lines)
        try:
            self._read(group)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            for part in (self.lines, self._lengths, self._positions):
                del part[before:]
            self._sort_out(group, error, single=not before and len(group) == 1)

    def _read(self, group: list[Line]) -> None:
        requests = [line.request for line in group]
        size, head = self._heads.find(requests)
        prompts = build_prompts(self._backbone, requests, skip=size)
        first = len(self.lines)
        lines = [*self.lines, *group]
        room = max(line.request.rows + line.options.max_new_tokens for line in lines)
        logits = self._steps.read(prompts, first, room, size, head)
        self.lines += group
        self._lengths += [request.rows for request in requests]
        self._positions += prompts.following
        self._write(logits, first)

    def step(self) -> None:
        """As `Writing`."""
        try:
            ids = [line.ids[-1] for line in self.lines]
            logits = self._steps.step(ids, self._positions, self._lengths)
            for i in range(len(self.lines)):
                self._lengths[i] += 1
                self._positions[i] += 1
            self._write(logits, 0)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            lines, self.lines = self.lines, []
            self._lengths, self._positions = [], []
            self._over += [line for line in lines if line.over]
            self._sort_out([line for line in lines if not line.over], error, len(lines) == 1)

    def _write(self, logits: torch.Tensor, first: int) -> None:
        """Add a token to the lines from `first` on, and let go those that are over."""
        lines = self.lines[first:]
        for line, token in zip(lines, next_tokens(logits, lines), strict=True):
            line.add(token)
        for slot in reversed(range(first, len(self.lines))):
            if self.lines[slot].over:
                self._leave(slot)

    def _leave(self, slot: int) -> None:
        self._over.append(self.lines[slot])
        last = len(self.lines) - 1
        if slot != last:  # the last one takes its place
            self._steps.move(last, slot, self._lengths[last])
        self.lines[slot] = self.lines[last]
        self._lengths[slot] = self._lengths[last]
        self._positions[slot] = self._positions[last]
        del self.lines[last], self._lengths[last], self._positions[last]

    def _sort_out(self, lines: Sequence[Line], error: Exception, single: bool) -> None:
        """One bad request, or too large a batch, is no reason for the others to fail."""
        for line in lines:
            if single or line.told:
                line.fail(error)
                self._over.append(line)
            else:
                line.restart()
                self.failed.append(line)
