"""What compressing a corpus takes: bytes, GPU-hours and money, and what each figure rests on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cocom.errors import InputError
from cocom.indexing.planning.figures import Figure, asked, computed, given
from cocom.indexing.planning.plan_options import DTYPES, PlanOptions

if TYPE_CHECKING:
    from cocom.indexing.planning.shape import CompressorShape
    from cocom.indexing.planning.throughput import MeasuredThroughput

__all__ = ["INDEX_BYTES", "IndexPlan", "PlanOptions", "plan"]

# Of a store beside embeddings and texts, a passage: 82 of the index, 38 to know what the source had, and 74
# in its shard; measured on stores of a million, and of a hundred thousand, passages.
INDEX_BYTES = 194

_TEXT_BYTES = 4.2  # a token of English
_PEAK = 790.0  # TFLOP/s that matrix products in bfloat16 reach on an H200
_MFU = 0.4
_GPU_PRICE = 2.5
_STORAGE_PRICE = 0.023  # object storage


@dataclass(frozen=True)
class IndexPlan:
    """The figures of a plan.

    Attributes:
        model: Its name.
        dtype: Type of a stored value.
        assumed: Options that nobody gave and that some figure therefore rests on.
        passages: How many.
        tokens: Of a passage.
        rate: Compression rate.
        embeddings: Of a passage.
        width: Values of an embedding.
        row_bytes: Of a stored embedding, scales included.
        passage_bytes: Of a passage's embeddings.
        embedding_bytes: Of all embeddings.
        text_bytes: Of all texts.
        index_bytes: Of what the store needs to find passages.
        total_bytes: Of embeddings, texts and index.
        weights: Of the compressor, as many as each of its rows is multiplied with.
        flops: Floating-point operations of compressing a passage.
        throughput: Passages a second on one GPU.
        gpus: That share the work.
        gpu_hours: Of compressing all passages.
        hours: Until they are compressed.
        gpu_price: Of a GPU-hour.
        cost: Of compressing all passages.
        cost_per_million: Of compressing a million passages.
        storage_price: Of a GB and month.
        storage_cost: Of keeping the store for a month.
    """

    model: str
    dtype: str
    assumed: tuple[str, ...]
    passages: Figure
    tokens: Figure
    rate: Figure
    embeddings: Figure
    width: Figure
    row_bytes: Figure
    passage_bytes: Figure
    embedding_bytes: Figure
    text_bytes: Figure
    index_bytes: Figure
    total_bytes: Figure
    weights: Figure
    flops: Figure
    throughput: Figure
    gpus: Figure
    gpu_hours: Figure
    hours: Figure
    gpu_price: Figure
    cost: Figure
    cost_per_million: Figure
    storage_price: Figure
    storage_cost: Figure

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; a figure is a mapping of value, unit, basis, note and assumes."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values


def plan(
    shape: CompressorShape, options: PlanOptions, measured: MeasuredThroughput | None = None
) -> IndexPlan:
    """Compute a plan.

    A measured throughput counts before a given one, and that before an estimate: the peak times the
    share of it that is reached, divided by the operations for a passage. What one passage takes is
    computed for a passage of so many tokens, even if their number is assumed; what all take is not.

    Args:
        shape: Of the model.
        options: What is to be planned.
        measured: Throughput of the model where the work will be done, with the same tokens and rate.

    Raises:
        ConfigError: The model does not serve the rate.
        InputError: The throughput was measured for other passages.
    """
    rate = shape.config.check_rate(options.rate)
    unit = "tokens an embedding"
    window = shape.config.window
    corpus = {
        "passages": given(options.passages, "passages"),
        "tokens": asked(
            "tokens", options.tokens, "tokens a passage", window, "one full window of the model"
        ),
        "rate": given(rate, unit)
        if options.rate is not None
        else computed(rate, unit, "the model's first rate"),
    }
    store = _store(shape, options, corpus)
    work = _work(shape, options, corpus, measured)
    money = _money(options, store["total_bytes"], work["gpu_hours"])
    figures = {**corpus, **store, **work, **money}
    return IndexPlan(
        model=shape.name,
        dtype=_dtype(shape, options),
        assumed=computed(0, "", "", *figures.values()).assumes,
        **figures,
    )


def _store(
    shape: CompressorShape, options: PlanOptions, corpus: dict[str, Figure]
) -> dict[str, Figure]:
    passages, tokens = corpus["passages"], corpus["tokens"]
    length = int(tokens.value)
    count = shape.embeddings(length, int(corpus["rate"].value))
    windows = shape.windows(length)
    cuts = f": {windows} windows, or more, because they end with sentences" if windows > 1 else ""
    row = _row(shape, options)
    how = f"from the model's config, for {length} tokens{cuts}"
    each = computed(count * row.value, "bytes a passage", how, row)
    stored = computed(
        passages.value * each.value, "bytes", "passages x bytes a passage", passages, tokens, each
    )
    text = given(0, "bytes")
    if options.keep_text:
        own = asked(
            "text_bytes",
            options.text_bytes,
            "bytes a passage",
            _TEXT_BYTES * length,
            f"{_TEXT_BYTES} a token",
        )
        parents = (own, tokens) if options.text_bytes is None else (own,)
        how = f"passages x {own.value:g} bytes, {own.note}"
        text = computed(passages.value * own.value, "bytes", how, *parents)
    index = Figure(
        passages.value * INDEX_BYTES,
        "bytes",
        "measured",
        f"passages x {INDEX_BYTES} bytes, as in a store of a million",
    )
    return {
        "embeddings": computed(count, "embeddings a passage", f"from the model's config{cuts}"),
        "width": computed(shape.width, "values an embedding", "from the reader's config"),
        "row_bytes": row,
        "passage_bytes": each,
        "embedding_bytes": stored,
        "text_bytes": text,
        "index_bytes": index,
        "total_bytes": computed(
            stored.value + text.value + index.value,
            "bytes",
            "embeddings + texts + index",
            *(stored, text, index),
        ),
    }


def _row(shape: CompressorShape, options: PlanOptions) -> Figure:
    """Bytes of a stored embedding."""
    import torch

    from cocom.store.quantization import row_bytes

    dtype = options.dtype or _stored(shape) or "bfloat16"
    values, scales = row_bytes(shape.width, getattr(torch, dtype), options.quantization)
    unit = "bytes an embedding"
    if options.quantization != "none":
        note = f"{shape.width} values in {options.quantization}, and {scales} bytes of scales"
        return computed(values + scales, unit, note)
    note = f"{shape.width} values in {dtype}"
    if options.dtype is None and _stored(shape) is None:
        return Figure(values, unit, "assumed", f"{note}: no config names a type", ("dtype",))
    whose = "as the model stores" if options.dtype is None else "as asked"
    return computed(values, unit, f"{note}, {whose}")


def _dtype(shape: CompressorShape, options: PlanOptions) -> str:
    """Name of the type of a stored value."""
    if options.quantization != "none":
        return options.quantization
    return options.dtype or _stored(shape) or "bfloat16"


def _stored(shape: CompressorShape) -> str | None:
    return shape.dtype if shape.dtype in DTYPES else None


def _work(
    shape: CompressorShape,
    options: PlanOptions,
    corpus: dict[str, Figure],
    measured: MeasuredThroughput | None,
) -> dict[str, Figure]:
    passages, tokens, rate = corpus["passages"], corpus["tokens"], corpus["rate"]
    size = (int(tokens.value), int(rate.value))
    flops = computed(
        shape.flops(*size),
        "operations a passage",
        f"2 N L + 4 D A L^2 with N weights, L = {shape.rows(*size)} rows, D = {shape.layers} layers, "
        f"A = {shape.attention}",
    )
    if measured is not None and (measured.tokens, measured.rate) != size:
        raise InputError(
            f"the throughput was measured with {measured.tokens} tokens a passage at rate "
            f"{measured.rate}, but the plan is for {size[0]} at rate {size[1]}: measure it for these."
        )
    speed = _speed(options, measured, flops)
    hours = passages.value / speed.value / 3600
    where = f" on {measured.device}" if measured is not None else ""
    source = f"from {speed.value:,.4g} passages a second, {speed.basis}{where}"
    gpu_hours = computed(hours, "GPU-hours", source, passages, tokens, speed)
    return {
        "weights": computed(
            shape.weights, "weights", f"of {shape.parameters:,}: no token embeddings, no LM head"
        ),
        "flops": flops,
        "throughput": speed,
        "gpus": given(options.gpus, "GPUs"),
        "gpu_hours": gpu_hours,
        "hours": computed(
            hours / options.gpus, "hours", "GPU-hours / GPUs, all busy to the end", gpu_hours
        ),
    }


def _speed(options: PlanOptions, measured: MeasuredThroughput | None, flops: Figure) -> Figure:
    unit = "passages a second on one GPU"
    idle = ["throughput"] * (measured is not None) + ["peak", "mfu"]
    unused = [name for name in idle if getattr(options, name) is not None]
    aside = f"; {', '.join(unused)} not used" if unused else ""
    if measured is not None:
        how = f"on {measured.device} in {measured.dtype}, median of {len(measured.rounds)} rounds"
        return Figure(measured.passages_per_second, unit, "measured", how + aside)
    if options.throughput is not None:
        return Figure(options.throughput, unit, "given", f"as asked{aside}")
    peak = asked("peak", options.peak, "TFLOP/s", _PEAK, "an H200 in bfloat16")
    share = asked("mfu", options.mfu, "of the peak", _MFU, "")
    return computed(
        peak.value * 1e12 * share.value / flops.value,
        unit,
        f"{peak.value:g} TFLOP/s ({peak.note}) x {share.value:g} / operations a passage",
        *(peak, share, flops),
    )


def _money(options: PlanOptions, total: Figure, gpu_hours: Figure) -> dict[str, Figure]:
    hour = asked("gpu_price", options.gpu_price, "dollars a GPU-hour", _GPU_PRICE, "an example")
    month = asked(
        "storage_price",
        options.storage_price,
        "dollars a GB and month",
        _STORAGE_PRICE,
        "object storage",
    )
    cost = computed(
        gpu_hours.value * hour.value, "dollars", f"GPU-hours x ${hour.value:g}", gpu_hours, hour
    )
    return {
        "gpu_price": hour,
        "cost": cost,
        "cost_per_million": computed(
            cost.value / options.passages * 1e6, "dollars", "cost / passages x 10^6", cost
        ),
        "storage_price": month,
        "storage_cost": computed(
            total.value / 1e9 * month.value,
            "dollars a month",
            f"bytes in all x ${month.value:g} a GB",
            *(total, month),
        ),
    }
