"""How many passages a second a loaded model compresses on the device it is on."""

from __future__ import annotations

import random
import statistics
import time
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cocom.errors import InputError, ModelError

if TYPE_CHECKING:
    import torch

    from cocom.engine import Cocom

__all__ = ["MeasuredThroughput", "measure", "passage_of"]

_WORDS = (
    "the",
    "river",
    "ran",
    "past",
    "an",
    "old",
    "mill",
    "where",
    "two",
    "brothers",
    "kept",
    "bees",
    "and",
    "sold",
    "honey",
    "to",
    "people",
    "who",
    "came",
    "from",
    "town",
    "on",
    "market",
    "days",
)
_TEXTS = 16  # different passages; the model does not remember one from the other
_ATTEMPTS = 50
_NEAR = 40  # characters around the place where a text should be cut


@dataclass(frozen=True)
class MeasuredThroughput:
    """What `measure` found.

    Attributes:
        passages_per_second: Median of the rounds.
        rounds: Passages a second of each.
        passages: Compressed in a round.
        tokens: Of a passage.
        rate: Compression rate.
        device: Name of the device.
        dtype: Type that the model computed in.
    """

    passages_per_second: float
    rounds: tuple[float, ...]
    passages: int
    tokens: int
    rate: int
    device: str
    dtype: str


def measure(
    model: Cocom,
    *,
    tokens: int,
    rate: int | None = None,
    seconds: float = 2.0,
    rounds: int = 5,
) -> MeasuredThroughput:
    """Time `Cocom.compress` on made-up passages, tokenizer included, until the device is done.

    The number of passages in a round is doubled until a round takes long enough, which also warms up.

    Args:
        model: Compresses.
        tokens: Of each passage, as the compressor counts them.
        rate: Passage tokens per embedding; None takes the model's first rate.
        seconds: A round takes at least so long.
        rounds: How many are timed.

    Raises:
        ConfigError: The model does not serve `rate`.
        InputError: A number is not positive.
        ModelError: The tokenizer has no text of exactly so many tokens.
    """
    rate = model.config.check_rate(rate)
    for name, value in (("tokens", tokens), ("seconds", seconds), ("rounds", rounds)):
        if not value > 0:
            raise InputError(f"{name} must be above 0, got {value}.")
    texts = [passage_of(model, tokens, seed=seed) for seed in range(_TEXTS)]

    def took(passages: int) -> float:
        batch = [texts[i % len(texts)] for i in range(passages)]
        _finish(device)
        started = time.perf_counter()
        model.compress(batch, rate=rate, keep_text=False)
        _finish(device)
        return time.perf_counter() - started

    (first,) = model.compress(
        texts[:1], rate=rate
    )  # takes the fingerprint, and gets all code ready
    device = first.embeddings.device
    passages = 1
    # The faster of two, because a new size of batch may be slow once.
    while min(took(passages), took(passages)) < seconds:
        passages *= 2
    speeds = tuple(passages / took(passages) for _ in range(rounds))
    return MeasuredThroughput(
        passages_per_second=statistics.median(speeds),
        rounds=speeds,
        passages=passages,
        tokens=tokens,
        rate=rate,
        device=_name(device),
        dtype=str(first.embeddings.dtype).removeprefix("torch."),
    )


def passage_of(model: Cocom, tokens: int, *, seed: int = 0) -> str:
    """A text without sense of exactly so many tokens, as the model's compressor counts them.

    Args:
        model: Its compressor counts.
        tokens: How many.
        seed: Other words.

    Raises:
        ModelError: None was found.
    """

    def count(text: str) -> int:
        return sum(len(window.ids) for window in model.window_compressor.windows(text))

    for attempt in range(_ATTEMPTS):
        words = random.Random(seed + attempt * 1_000_003).choices(_WORDS, k=tokens + 1)
        text = " ".join(words)
        # The count grows with the text, though not evenly where a word is cut.
        cut = bisect_left(range(len(text)), tokens, key=lambda size: count(text[:size]))
        near = range(max(1, cut - _NEAR), min(len(text), cut + _NEAR) + 1)
        for size in sorted(near, key=lambda size: abs(size - cut)):
            if count(text[:size]) == tokens:
                return text[:size]
    raise ModelError(
        f"no text of exactly {tokens} tokens was found for this model's tokenizer in {_ATTEMPTS} attempts: "
        "give another number of tokens, or the throughput itself."
    )


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"a CPU ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)
