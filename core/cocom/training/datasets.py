"""Records in, examples out: order, rates and objectives drawn by index.

Every dataset is a pure function of (seed, index), so a resumed training sees what it would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from torch.utils.data import Dataset

from cocom.engine import Cocom
from cocom.errors import ConfigError
from cocom.training.objectives import Example, Objectives
from cocom.training.records import QuestionRecord

__all__ = ["Mixture", "Questions", "Texts"]


class Questions(Dataset[list[Example]]):
    """Question answering over records, shuffled anew each time through."""

    def __init__(
        self,
        model: Cocom,
        records: Sequence[QuestionRecord],
        *,
        epochs: int = 1,
        text_share: float = 0.0,
        shuffle_passages: bool = True,
        seed: int = 0,
    ) -> None:
        """Draw examples from records.

        Args:
            model: Gives prompts and rates; each example gets one of the model's rates.
            records: What to learn.
            epochs: Times through the records.
            text_share: Share of examples whose passages stay text.
            shuffle_passages: Put a record's passages in random order.
            seed: Of order, rates and everything else that is drawn.
        """
        self._objectives = Objectives(model)
        self._rates = model.config.rates
        self._records = records
        self._epochs = epochs
        self._text_share = text_share
        self._shuffle = shuffle_passages
        self._seed = seed

    def __len__(self) -> int:
        return len(self._records) * self._epochs

    def __getitem__(self, index: int) -> list[Example]:
        rng = random.Random(f"{self._seed}/{index}")
        record = self._records[_shuffled(index, len(self._records), self._seed)]
        passages = list(record.passages)
        if self._shuffle:
            rng.shuffle(passages)
        rate = None if rng.random() < self._text_share else rng.choice(self._rates)
        answer = rng.choice(record.answers)
        return self._objectives.question_answering(
            [record.question], [answer], passages, [rate] * len(passages)
        )


class Texts(Dataset[list[Example]]):
    """The two pre-training objectives over running text, mixed by a ratio (section 3.2)."""

    def __init__(
        self,
        model: Cocom,
        texts: Sequence[str],
        *,
        epochs: int = 1,
        continuation_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Draw examples from texts.

        Args:
            model: Gives prompts, windows and rates; each example gets one of the model's rates.
            texts: What to learn from; longer ones than a window give one window at a time.
            epochs: Times through the texts.
            continuation_share: Share of continuation; the rest is auto-encoding.
            seed: Of order, rates, windows and splits.

        Raises:
            ConfigError: `continuation_share` is no share.
        """
        if not 0 <= continuation_share <= 1:
            raise ConfigError(f"continuation_share must be in [0, 1], got {continuation_share}.")
        self._model = model
        self._objectives = Objectives(model)
        self._texts = texts
        self._epochs = epochs
        self._share = continuation_share
        self._seed = seed

    def __len__(self) -> int:
        return len(self._texts) * self._epochs

    def __getitem__(self, index: int) -> list[Example]:
        rng = random.Random(f"{self._seed}/{index}")
        text = self._texts[_shuffled(index, len(self._texts), self._seed)]
        windows = self._model.window_compressor.windows(text)
        rate = rng.choice(self._model.config.rates)
        at = rng.randrange(len(windows))
        part = text[windows[at].start : windows[at].end]
        if rng.random() >= self._share:
            return [self._objectives.auto_encoding(part, rate)]
        starts = [start for start, _ in self._model.backbone.text.offsets(part) if start > 0]
        following = text[windows[at].end : windows[min(at + 1, len(windows) - 1)].end]
        if following.strip() and rng.random() < 0.5:
            return [self._objectives.continuation(part + following, len(part), rate)]
        if not starts:
            return [self._objectives.auto_encoding(part, rate)]
        return [self._objectives.continuation(part, rng.choice(starts), rate)]


class Mixture(Dataset[list[Example]]):
    """Examples from several sources, each drawn with its weight.

    A source is called with (index, generator) and returns examples; `block` consecutive indices come
    from the same source, so that the rows of a batch are of like length.
    """

    def __init__(
        self,
        sources: Sequence[tuple[float, Callable[[int, random.Random], list[Example]]]],
        *,
        length: int,
        block: int = 1,
        seed: int = 0,
    ) -> None:
        self._sources = [source for _, source in sources]
        self._weights = [weight for weight, _ in sources]
        self._length = length
        self._block = block
        self._seed = seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> list[Example]:
        block = random.Random(f"{self._seed}/block/{index // self._block}")
        source = block.choices(self._sources, self._weights)[0]
        return source(index, random.Random(f"{self._seed}/{index}"))


def _shuffled(index: int, size: int, seed: int) -> int:
    """Place `index % size` of a permutation that is new each time through."""
    epoch, place = divmod(index, size)
    order = _permutation(size, f"{seed}/{epoch}")
    return order[place]


_KEPT: dict[tuple[int, str], list[int]] = {}


def _permutation(size: int, seed: str) -> list[int]:
    if (size, seed) not in _KEPT:
        _KEPT.clear()
        order = list(range(size))
        random.Random(seed).shuffle(order)
        _KEPT[size, seed] = order
    return _KEPT[size, seed]
