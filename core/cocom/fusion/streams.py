"""Prompts side by side, and what is written behind each: one row of the model's steps for each stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from cocom.attention import unused_mask
from cocom.backbone import Backbone
from cocom.fusion.branches import Branches, lay_branches
from cocom.running.heads import SharedHeads
from cocom.running.request import ReadRequest, build_prompts
from cocom.running.steps import Steps

__all__ = ["NUMBERS", "SlotStreams", "Streams", "groups_of"]

NUMBERS = 1 << 26
"""Logits that are looked at in one pass, at most; a single answer may have more."""

_PROMPT_ROWS = 8192  # read in one pass
_ANSWER_ROWS = 512  # tried in one pass behind each prompt: every row is compared with all of them


class Streams(Protocol):
    """Prompts that have been read, in an order, and the tokens written behind each."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def read(self, prompts: Sequence[ReadRequest], most: Sequence[int]) -> torch.Tensor:
        """Read prompts, which are the last then.

        Args:
            prompts: What to read.
            most: Tokens that may be written behind each.

        Returns:
            Logits behind them, shape (prompts, vocabulary).
        """
        ...

    def step(self, ids: Sequence[int]) -> torch.Tensor:
        """Write a token behind each.

        Returns:
            Logits behind them, shape (streams, vocabulary).
        """
        ...

    def arrange(self, sources: Sequence[int]) -> None:
        """Go on with these, in this order; several may be one that there is."""
        ...

    def behind(
        self, rows: Sequence[int], prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Log-probabilities of whole answers behind prompts, but for their first tokens.

        Args:
            rows: Streams that hold the prompts, with whatever is written behind them.
            prompts: What they hold.
            answers: Tokens of each; all are tried behind every prompt.

        Returns:
            For each answer, for each prompt, one for each token but the first.
        """
        ...

    def clear(self) -> None:
        """Let go of all."""
        ...


class SlotStreams:
    """Streams in the slots of `Steps`; see `Streams`."""

    def __init__(self, backbone: Backbone, heads: SharedHeads, steps: Steps) -> None:
        """Prepare.

        Args:
            backbone: Reads.
            heads: What prompts begin with.
            steps: Holds keys and values.
        """
        self._backbone = backbone
        self._heads = heads
        self._steps = steps
        self._lengths: list[int] = []
        self._positions: list[int] = []
        self._rooms: list[int] = []
        self._vocabulary = 1

    @property
    def rows(self) -> int:
        """As `Streams`."""
        return len(self._lengths)

    def read(self, prompts: Sequence[ReadRequest], most: Sequence[int]) -> torch.Tensor:
        """As `Streams.read`."""
        rooms = [prompt.rows + more for prompt, more in zip(prompts, most, strict=True)]
        room = max(*rooms, *self._rooms, 0)
        size, head = self._heads.find(prompts)
        found: list[torch.Tensor] = []
        for group in groups_of([prompt.rows for prompt in prompts], _PROMPT_ROWS):
            some = [prompts[i] for i in group]
            built = build_prompts(self._backbone, some, skip=size)
            found.append(self._steps.read(built, self.rows, room, size, head))
            self._lengths += [prompt.rows for prompt in some]
            self._positions += built.following
            self._rooms += [rooms[i] for i in group]
        self._vocabulary = found[0].shape[-1]
        return torch.cat(found) if len(found) > 1 else found[0]

    def step(self, ids: Sequence[int]) -> torch.Tensor:
        """As `Streams.step`."""
        logits = self._steps.step(ids, self._positions, self._lengths)
        self._lengths = [length + 1 for length in self._lengths]
        self._positions = [position + 1 for position in self._positions]
        return logits

    def arrange(self, sources: Sequence[int]) -> None:
        """As `Streams.arrange`."""
        if list(sources) == list(range(self.rows)):
            return
        lengths, positions, rooms = (
            [part[source] for source in sources]
            for part in (self._lengths, self._positions, self._rooms)
        )
        if any(source != target for target, source in enumerate(sources)):
            self._steps.arrange(sources, max(lengths), max(rooms))
        self._lengths, self._positions, self._rooms = lengths, positions, rooms

    def behind(
        self, rows: Sequence[int], prompts: Sequence[ReadRequest], answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """As `Streams.behind`: every prompt is there already, so only the answers are read."""
        # The answer's first token follows the prompt; what was written since does not matter.
        following = [self._positions[row] - self._lengths[row] for row in rows]
        starts = [gap + prompt.rows for gap, prompt in zip(following, prompts, strict=True)]
        found: list[list[list[float]]] = [[[] for _ in prompts] for _ in answers]
        sizes = [len(answer) - 1 for answer in answers]
        most = min(_ANSWER_ROWS, NUMBERS // (len(rows) * self._vocabulary))
        for group in groups_of(sizes, most):
            some = [answers[i] for i in group if sizes[i]]
            if not some:
                continue
            table = self._tried(rows, [p.rows for p in prompts], starts, some).tolist()
            for z, logs in enumerate(table):
                at = 0
                for i in group:
                    found[i][z] = logs[at : at + sizes[i]]
                    at += sizes[i]
        return found

    def clear(self) -> None:
        """As `Streams.clear`."""
        self._lengths, self._positions, self._rooms = [], [], []

    def _tried(
        self,
        rows: Sequence[int],
        lengths: Sequence[int],
        starts: Sequence[int],
        answers: Sequence[Sequence[int]],
    ) -> torch.Tensor:
        """Log-probabilities (prompts, T) of the T tokens of all answers but their first ones."""
        device = self._backbone.device
        laid = lay_branches(answers).to(device)
        kept = self._steps.kept
        none = torch.empty(0, dtype=torch.long, device=device)
        kept.aim(none, none, used=max(rows) + 1, width=max(lengths))
        layout = Branches(
            kept,
            torch.tensor(rows, device=device),
            torch.tensor(lengths, device=device),
            laid,
        )
        model: Any = self._backbone.model
        logits = model(
            input_ids=laid.ids.expand(len(rows), -1),
            position_ids=torch.tensor(starts, device=device)[:, None] + laid.offsets,
            attention_mask=unused_mask(device),
            use_cache=False,
            cocom=layout,
        ).logits
        wide = logits if logits.dtype == torch.float64 else logits.float()
        targets = laid.targets.expand(len(rows), -1)[:, :, None]
        logs: torch.Tensor = wide.gather(2, targets)[:, :, 0] - wide.logsumexp(-1)
        return logs


def groups_of(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Indices in their order, cut into groups whose sizes add up to at most `most`, or one alone."""
    groups: list[list[int]] = []
    total = 0
    for i, size in enumerate(sizes):
        if not groups or total + size > most:
            groups.append([])
            total = 0
        groups[-1].append(i)
        total += size
    return groups
