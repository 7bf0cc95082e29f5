"""What is kept of texts so far, as prefixes that a model has read: the next window is scored behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cocom.errors import ModelError

if TYPE_CHECKING:
    import torch

    from cocom.baselines.causal_losses import CausalLosses, Losses

__all__ = ["KeptPrefixes"]

_STRETCH = 1024  # tokens of a long prefix that are read in one go


class KeptPrefixes:
    """Prefixes of several texts that grow by what is kept of each window.

    The keys and values of a prefix stay in a cache. Those of a window that was scored are cut off again: what
    is kept of it is read anew, without what was dropped between. Where the model's positions run out, it
    reads on behind what is fixed and the last three quarters of what fits between that and the window.
    """

    def __init__(
        self,
        losses: CausalLosses,
        prefixes: Sequence[Sequence[int]],
        fixed: Sequence[int] | None = None,
    ) -> None:
        """Begin with some tokens, behind the model's start token.

        Args:
            losses: Whose model reads them.
            prefixes: Token ids for each text.
            fixed: How many of these each text keeps even where the model's positions run out; None for none.
        """
        self._losses = losses
        self._seen = [[*losses.start, *prefix] for prefix in prefixes]
        self._fixed = list(fixed or [0] * len(self._seen))
        self._read = [0] * len(self._seen)  # of each prefix, tokens whose keys and values are there
        self._cache: Any = None
        # Columns of the cache that hold a token, (rows, columns).
        self._mask: torch.Tensor | None = None

    def keep(self, kept: Sequence[Sequence[int]]) -> None:
        """Let the prefixes grow.

        Args:
            kept: Token ids for each text.
        """
        for seen, more in zip(self._seen, kept, strict=True):
            seen.extend(more)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with some of the texts.

        Args:
            rows: Their places among the present ones.
        """
        import torch

        self._seen = [self._seen[i] for i in rows]
        self._fixed = [self._fixed[i] for i in rows]
        self._read = [self._read[i] for i in rows]
        if self._mask is None:
            return
        self._mask = self._mask[list(rows)]
        if self._mask.shape[1]:
            places = torch.tensor(list(rows), device=self._losses.model.device)
            self._cache.batch_select_indices(places)
        else:  # a cache without columns is not cut to fewer rows
            self._forget()

    def score(self, windows: Sequence[Sequence[int]]) -> list[Losses]:
        """Losses of the next tokens of each text, given its prefix, which stays as it is.

        Args:
            windows: Token ids for each text; none for a text is right too.
        """
        limits = [self._losses.longest_behind(fixed) for fixed in self._fixed]
        rows = zip(windows, limits, strict=True)
        if any(limit is not None and len(window) > limit for window, limit in rows):
            return self._in_parts(windows, min(limit for limit in limits if limit is not None))
        return self._score(windows, stay=False)

    def read_on(self, windows: Sequence[Sequence[int]]) -> list[Losses]:
        """As `score`, then `keep` of the whole windows, for half the work.

        Args:
            windows: Token ids for each text, no more than the model can read at once.
        """
        losses = self._score(windows, stay=True)
        self.keep(windows)
        return losses

    def _score(self, windows: Sequence[Sequence[int]], *, stay: bool) -> list[Losses]:
        with self._losses.used():
            if self._losses.recurrent:
                rows = zip(self._seen, windows, strict=True)
                return [self._alone(seen, window) for seen, window in rows]
            self._make_room(windows)
            return self._together(windows, stay)

    def _in_parts(self, windows: Sequence[Sequence[int]], size: int) -> list[Losses]:
        """Windows that the model cannot read at once, each part behind those before it."""
        start = len(self._losses.start)
        prefixes = [seen[start:] for seen in self._seen]
        apart = KeptPrefixes(self._losses, prefixes, self._fixed)
        found: list[list[Losses]] = [[] for _ in windows]
        for at in range(0, max(map(len, windows)), size):
            parts = [window[at : at + size] for window in windows]
            for losses, part in zip(found, apart.read_on(parts), strict=True):
                losses.append(part)
        return [np.concatenate(losses) for losses in found]

    def _forget(self) -> None:
        """Read everything anew with the next window."""
        self._read = [0] * len(self._seen)
        self._cache = None
        self._mask = None

    def _make_room(self, windows: Sequence[Sequence[int]]) -> None:
        positions = self._losses.positions
        if positions is None:
            return
        short = False
        for row, (seen, window) in enumerate(zip(self._seen, windows, strict=True)):
            if len(seen) + len(window) > positions:
                first = len(self._losses.start) + self._fixed[row]
                last = (positions - len(window) - first) * 3 // 4
                self._seen[row] = seen[:first] + seen[len(seen) - last :]
                short = True
        if short:
            self._forget()

    def _alone(self, seen: Sequence[int], window: Sequence[int]) -> Losses:
        """Score a window and everything before it in one go."""
        import torch

        if not len(window):
            return np.zeros(0, np.float32)
        self._losses.check([*seen, *window])
        ids = torch.tensor([[*seen, *window]], device=self._losses.model.device)
        logits = self._losses.model(input_ids=ids, use_cache=False).logits
        return self._losses_of(logits[0, max(0, len(seen) - 1) :], window, bool(seen))

    def _together(self, windows: Sequence[Sequence[int]], stay: bool) -> list[Losses]:
        """Score windows of several texts, whose prefixes the cache holds but for the last token.

        Args:
            windows: The windows.
            stay: They are kept in the cache, but for the last token.
        """
        waiting = [seen[read:] for seen, read in zip(self._seen, self._read, strict=True)]
        while (head := max(map(len, waiting))) > _STRETCH:
            parts = [rest[: min(_STRETCH, len(rest) - 1)] for rest in waiting]
            self._forward(parts, [()] * len(parts), 1)
            self._grow(parts)
            waiting = [rest[len(part) :] for rest, part in zip(waiting, parts, strict=True)]
        width = max(map(len, windows))
        if not width:
            return [np.zeros(0, np.float32) for _ in windows]
        logits = self._forward(waiting, windows, width + bool(head))
        found = []
        for row, rest, window in zip(logits, waiting, windows, strict=True):
            # Without a prefix of its own a row has nothing that stands before its first token.
            own = row if rest or not head else row[1:]
            found.append(self._losses_of(own, window, bool(rest)))
        if stay:
            self._hide_last(waiting, windows, width)
        else:
            self._cut(width + bool(head))
            self._grow([rest[:-1] for rest in waiting])
        return found

    def _grow(self, parts: Sequence[Sequence[int]]) -> None:
        self._read = [read + len(part) for read, part in zip(self._read, parts, strict=True)]

    def _forward(
        self, before: Sequence[Sequence[int]], windows: Sequence[Sequence[int]], wanted: int
    ) -> torch.Tensor:
        """Read tokens behind what the cache holds, and add them to it.

        Args:
            before: Tokens of the prefixes; shorter ones stand to the right.
            windows: Tokens to score; shorter ones stand to the left.
            wanted: Columns, from the last, whose logits are wanted.

        Returns:
            Logits, shape (rows, wanted, vocabulary).
        """
        import torch
        from transformers import DynamicCache

        losses = self._losses
        head, tail = max(map(len, before)), max(map(len, windows))
        ids = np.zeros((len(before), head + tail), np.int64)
        mask = np.zeros_like(ids, dtype=bool)
        places = np.zeros_like(ids)
        for row, (first, then) in enumerate(zip(before, windows, strict=True)):
            a, b = head - len(first), head + len(then)
            losses.check([*first, *then])
            ids[row, a:b] = [*first, *then]
            mask[row, a:b] = True
            places[row, a:b] = range(self._read[row], self._read[row] + b - a)
        device = losses.model.device
        if self._cache is None:
            self._cache = DynamicCache()
        old = self._mask
        self._mask = torch.from_numpy(mask)
        if old is not None:
            self._mask = torch.cat([old, self._mask], dim=1)
        options: dict[str, Any] = {}
        if not bool(self._mask.all()):
            options["attention_mask"] = self._mask.to(device, torch.int64)
        if losses.takes_positions:
            options["position_ids"] = torch.from_numpy(places).to(device)
        if losses.takes_logits_to_keep:
            options["logits_to_keep"] = wanted
        logits: torch.Tensor = losses.model(
            input_ids=torch.from_numpy(ids).to(device),
            past_key_values=self._cache,
            use_cache=True,
            **options,
        ).logits
        return logits[:, -wanted:]

    def _cut(self, columns: int) -> None:
        """Take the last columns out of the cache."""
        assert self._mask is not None
        self._cache.crop(-columns)
        self._mask = self._mask[:, :-columns]

    def _hide_last(
        self, waiting: Sequence[Sequence[int]], windows: Sequence[Sequence[int]], width: int
    ) -> None:
        """Leave the last token of each row to be read again, for what it says about the next one."""
        if all(len(window) == width for window in windows):
            self._cut(1)
            self._grow(
                [[*rest, *window][:-1] for rest, window in zip(waiting, windows, strict=True)]
            )
            return
        assert self._mask is not None
        start = self._mask.shape[1] - width
        for row, (rest, window) in enumerate(zip(waiting, windows, strict=True)):
            if rest or window:
                self._mask[row, start + len(window) - 1] = False
                self._read[row] += len(rest) + len(window) - 1

    def _losses_of(self, logits: torch.Tensor, window: Sequence[int], has_first: bool) -> Losses:
        """Each token's own loss, from the logits of the token before it.

        Args:
            logits: Shape (columns, vocabulary), from the token before the window on if there is one, else
                from its first.
            window: The tokens.
            has_first: There is a token before; without, the first one is a guess.
        """
        import torch
        from torch.nn import functional as F

        behind = list(window) if has_first else list(window[1:])
        wanted = torch.tensor(behind, dtype=torch.int64, device=logits.device)
        losses = F.cross_entropy(logits[: len(behind)].float(), wanted, reduction="none")
        values: Losses = losses.cpu().numpy()
        if np.isnan(values).any():
            raise ModelError(
                f"the {type(self._losses.model).__name__} gives losses that are no numbers: its weights are "
                f"damaged, or {self._losses.model.dtype} is too short for them; load it with dtype='float32'."
            )
        if not has_first and len(window):
            values = np.concatenate([np.array([self._losses.guess], np.float32), values])
        return values
