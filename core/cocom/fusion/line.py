"""One answer from passages that are read apart, while it is written."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from cocom.datatypes import Answer, FusionScores
from cocom.fusion.request import FusedRequest
from cocom.generation import GenerationOptions, before_stop
from cocom.running.line import Line, Watcher
from cocom.text_tokens import TextTokens

__all__ = ["FusedLine"]


class FusedLine(Line):
    """One answer from several prompts; `request` is the first of them.

    Attributes:
        fused: What is read.
        fusion: What is said of the answer, once there is one.
    """

    def __init__(
        self,
        fused: FusedRequest,
        options: GenerationOptions,
        watcher: Watcher,
        *,
        text: TextTokens,
        ends: Set[int],
    ) -> None:
        """Begin an answer; see `Line`."""
        self.fused = fused
        super().__init__(fused.prompts[0], options, watcher, text=text, ends=ends)

    def restart(self) -> None:
        """As `Line`."""
        super().restart()
        self.fusion: FusionScores | None = None

    @property
    def rows(self) -> int:
        """As `Line`."""
        return self.fused.rows

    @property
    def end_tokens(self) -> int:
        """How many different tokens end an answer."""
        return len(self._ends)

    def ends_with(self, ids: Sequence[int]) -> bool:
        """Whether an answer ends with the last of these tokens."""
        if ids[-1] in self._ends or len(ids) >= self.options.max_new_tokens:
            return True
        stop = self.options.stop
        return bool(stop) and before_stop(self._tokens.decode(ids), stop)[1]

    def write(self, ids: Sequence[int], fusion: FusionScores) -> None:
        """End with an answer that was found as a whole."""
        self.ids = list(ids)
        self.fusion = fusion
        self.finish()

    def _answer(self) -> Answer:
        answer = self.fused.answer(self.ids, self.options, text=self._tokens, ends=self._ends)
        return replace(answer, fusion=self.fusion)
