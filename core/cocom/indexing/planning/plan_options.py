"""What a plan for compressing a corpus is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from cocom.errors import InputError

__all__ = ["DTYPES", "PlanOptions", "Quantization"]

Quantization = Literal["none", "int8", "fp8"]  # as the store has them, whose module needs torch

_MOST = 10**15
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class PlanOptions:
    """What is to be planned; None leaves a figure to the model's config or to an assumption.

    Attributes:
        passages: How many there are.
        rate: Passage tokens per embedding; None takes the model's first rate.
        tokens: Of a passage, as the compressor counts them; None assumes one full window.
        gpus: That share the work.
        dtype: Type of the embeddings; None takes the one the model stores.
        quantization: How the store keeps embeddings: "int8" with a bfloat16 scale for each 64 values, "fp8"
            with a float32 scale for each embedding.
        keep_text: Whether the store keeps the passages' texts.
        text_bytes: Of a passage's text; None assumes 4.2 a token.
        throughput: Passages a second on one GPU, if it is known.
        mfu: Share of `peak` that compressing reaches; only without a throughput.
        peak: TFLOP/s of a GPU in matrix products; only without a throughput.
        gpu_price: Dollars for a GPU-hour.
        storage_price: Dollars for a GB (10^9 bytes) and month.
    """

    passages: int
    rate: int | None = None
    tokens: int | None = None
    gpus: int = 1
    dtype: str | None = None
    quantization: Quantization = "none"
    keep_text: bool = True
    text_bytes: float | None = None
    throughput: float | None = None
    mfu: float | None = None
    peak: float | None = None
    gpu_price: float | None = None
    storage_price: float | None = None

    def __post_init__(self) -> None:
        for name in ("passages", "tokens", "gpus"):
            value = getattr(self, name)
            if name == "tokens" and value is None:
                continue
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not 1 <= value <= _MOST:
                raise InputError(
                    f"{name} must be a whole number from 1 to {_MOST:.0e}, got {value!r}."
                )
        for name in ("throughput", "mfu", "peak"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, got {value}.")
        if self.mfu is not None and self.mfu > 1:
            raise InputError(f"mfu is a share of the peak and must be at most 1, got {self.mfu}.")
        for name in ("text_bytes", "gpu_price", "storage_price"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be a number from 0, got {value}.")
        for name, known in (
            ("dtype", (None, *DTYPES)),
            ("quantization", get_args(Quantization)),
        ):
            if getattr(self, name) not in known:
                names = ", ".join(filter(None, known))
                raise InputError(f"{name} must be one of {names}, got {getattr(self, name)!r}.")
        if not self.keep_text and self.text_bytes is not None:
            raise InputError(
                f"text_bytes is {self.text_bytes}, but texts are not kept: leave one of the two out."
            )
