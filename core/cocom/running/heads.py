"""The start that many prompts share, such as a system prompt: read once, its keys and values kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cocom.backbone import Backbone
from cocom.key_values import HeadKeyValues
from cocom.passes import Passes
from cocom.running.request import ReadRequest

__all__ = ["SharedHeads"]

_LEAST = 8  # rows that are worth keeping
_MOST = 1024
_LONGER = 16  # rows more than a head that is there, to make one of its own
_HEADS = 4
_SHARE = 4  # a head is used where it is at least the fourth part of the prompts


class SharedHeads:
    """Finds what prompts have in common with those before them, and keeps that.

    Heads hold tokens only, no context embeddings, and are forgotten when a weight changes.
    """

    def __init__(self, backbone: Backbone, passes: Passes) -> None:
        self._backbone = backbone
        self._passes = passes
        self._heads: dict[tuple[int, ...], HeadKeyValues] = {}
        self._last: tuple[int, ...] = ()
        self._state: object = None

    def find(self, requests: Sequence[ReadRequest]) -> tuple[int, HeadKeyValues | None]:
        """The rows that all requests share, and their keys and values, if that is worth it."""
        starts = [request.start for request in requests]
        common = _common(starts)
        shared = _common([common, self._last])[:_MOST]
        self._last = starts[-1]
        rows = sum(request.rows for request in requests)
        if len(common) * len(requests) * _SHARE < rows or not self._same_weights():
            return 0, None
        kept = max((ids for ids in self._heads if common[: len(ids)] == ids), key=len, default=())
        if len(shared) >= max(_LEAST, len(kept) + _LONGER if kept else 0):
            kept = self._keep(shared)
        if not kept or len(kept) * len(requests) * _SHARE < rows:
            return 0, None
        self._heads[kept] = head = self._heads.pop(kept)  # the last used is the last to go
        return len(kept), head

    def clear(self) -> None:
        """Forget all heads."""
        self._heads.clear()

    def _keep(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        head = HeadKeyValues()
        self._passes.keys_and_values(torch.tensor(ids, device=self._backbone.device), head)
        self._heads[ids] = head
        while len(self._heads) > _HEADS:
            del self._heads[next(iter(self._heads))]
        return ids

    def _same_weights(self) -> bool:
        """Forget everything if a weight has changed; False where that cannot be told."""
        try:
            state = [(p.data_ptr(), p._version) for p in self._backbone.parameters()]
        except RuntimeError:  # made in inference mode
            return False
        if state != self._state:
            self._heads.clear()
            self._state = state
        return True


def _common(ids: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The start that all have in common."""
    first, last = min(ids), max(ids)  # of sorted sequences, these differ first
    size = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    return first[:size]
