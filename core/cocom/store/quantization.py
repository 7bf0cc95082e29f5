"""Context embeddings in one byte a value, for stores on disk: about half of what bfloat16 takes.

"int8" has a scale for every 64 values, so that an outlier costs only its neighbours their precision;
"fp8" has one for a whole row. "none" changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from cocom.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["Quantization", "dequantize", "quantize", "row_bytes"]

Quantization = Literal["none", "int8", "fp8"]

_BLOCK = 64
_INT8_LARGEST = 127
_FP8_LARGEST = 448


def quantize(
    embeddings: torch.Tensor, how: Quantization
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Bring embeddings into the form they are stored in.

    With "int8", a value comes back within half the scale of its block, which is 1/127 of the largest
    magnitude there, rounded up. With "fp8", it comes back within 1/16 of itself or 1/1024 of its row's
    scale, 1/448 of the largest magnitude there. Rounding to the embeddings' dtype adds to that.

    Args:
        embeddings: Shape (rows, hidden), in float32, float16 or bfloat16.
        how: "none", "int8" or "fp8".

    Returns:
        The values, shape (rows, hidden), and their scales: None for "none", else shape (rows, scales of a
        row), in bfloat16 for "int8" and float32 for "fp8".

    Raises:
        InputError: `how` is none of the three, shape or dtype is another, or a value is not finite ("none"
            keeps such values too).
    """
    import torch

    _check_how(how)
    _check_embeddings(embeddings)
    embeddings = embeddings.detach()
    if how == "none":
        return embeddings, None
    hidden = embeddings.shape[1]
    # Below the smallest normal number a scale would itself lose its digits.
    smallest = torch.finfo(torch.float32).tiny
    # Large temporaries take longer than the arithmetic: one copy, and all else in place.
    values = embeddings.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if how == "fp8":
        scales = _largest(values, how).div_(_FP8_LARGEST).clamp_(min=smallest)
        return values.div_(scales).to(torch.float8_e4m3fn), scales
    blocks = _in_blocks(values)
    # Up to the next bfloat16, because rounding down would clip the largest value of a block.
    bits = _largest(blocks, how).div_(_INT8_LARGEST).clamp_(min=smallest).view(torch.int32)
    scales = bits.add_(0xFFFF).bitwise_and_(-0x10000).view(torch.float32)
    rounded = blocks.div_(scales).round_().to(torch.int8)
    return rounded.flatten(1)[:, :hidden].contiguous(), scales.squeeze(-1).to(torch.bfloat16)


def dequantize(
    values: torch.Tensor, scales: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """Turn what `quantize` made into embeddings again, computed in float32.

    Args:
        values: Shape (rows, hidden); any rows of what was quantised.
        scales: Those of the same rows, or None.
        dtype: The one that the embeddings had.

    Returns:
        The embeddings, shape (rows, hidden).

    Raises:
        InputError: Values, scales and dtype do not go together.
    """
    import torch

    _check_stored(values, scales, dtype)
    if scales is None:
        return values
    if values.dtype == torch.int8:
        blocks = _in_blocks(values).to(torch.float32)
        result = blocks.mul_(scales.to(torch.float32).unsqueeze(-1)).flatten(1)
        result = result[:, : values.shape[1]]
    else:
        result = _fp8_to_float32(values).mul_(scales * 256)
    # Half a step above the largest number of a dtype would be infinite.
    largest = torch.finfo(dtype).max
    return result.clamp_(-largest, largest).to(dtype).contiguous()


def row_bytes(hidden: int, dtype: torch.dtype, how: Quantization) -> tuple[int, int]:
    """Bytes that the values and the scales of one row take.

    Args:
        hidden: Values of a row.
        dtype: That of the embeddings.
        how: "none", "int8" or "fp8".

    Raises:
        InputError: `how` or `dtype` is none of those that `quantize` takes, or `hidden` is below 1.
    """
    _check_how(how)
    _check_dtype(dtype)
    if hidden < 1:
        raise InputError(f"hidden must be at least 1, got {hidden}.")
    if how == "none":
        return hidden * dtype.itemsize, 0
    return hidden, 4 if how == "fp8" else 2 * _blocks_of(hidden)


def _largest(values: torch.Tensor, how: Quantization) -> torch.Tensor:
    """The largest magnitude along the last dimension, which stays with size 1."""
    import torch

    found = torch.maximum(values.amax(-1, keepdim=True), values.amin(-1, keepdim=True).neg_())
    finite = found.isfinite()
    if not finite.all():
        row = int(finite.flatten(1).all(1).logical_not().nonzero()[0])
        raise InputError(
            f"row {row} of the embeddings holds a value that is not finite, which '{how}' cannot keep: "
            "compress the passage again, or use quantization 'none'."
        )
    return found


def _blocks_of(hidden: int) -> int:
    return -(-hidden // _BLOCK)


def _in_blocks(values: torch.Tensor) -> torch.Tensor:
    """Shape (rows, blocks, 64); the last block is filled up with zeros."""
    from torch.nn.functional import pad

    missing = -values.shape[1] % _BLOCK
    filled = pad(values, (0, missing)) if missing else values
    return filled.view(len(values), _blocks_of(values.shape[1]), _BLOCK)


def _fp8_to_float32(values: torch.Tensor) -> torch.Tensor:
    """Values divided by 256, exactly; ten times as fast on a CPU as torch's own conversion.

    The bits of a float8_e4m3fn, its sign moved, are those of a float16 whose exponent counts from 15 rather
    than 7. NaN, which `quantize` never writes, would become a number.
    """
    import torch

    bits = values.view(torch.int8).to(torch.int16)  # the sign fills the upper byte
    bits = bits.bitwise_left_shift_(7).bitwise_and_(~0x4000)
    return bits.view(torch.float16).to(torch.float32)


def _check_how(how: Quantization) -> None:
    if how not in get_args(Quantization):
        raise InputError(f"quantization must be 'none', 'int8' or 'fp8', got {how!r}.")


def _check_dtype(dtype: torch.dtype) -> None:
    import torch

    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise InputError(
            f"embeddings must be float32, float16 or bfloat16, got {dtype}: convert them with "
            "Tensor.to(torch.float32)."
        )


def _check_embeddings(embeddings: torch.Tensor) -> None:
    _check_shape("embeddings", embeddings)
    _check_dtype(embeddings.dtype)


def _check_shape(name: str, values: torch.Tensor) -> None:
    import torch

    if not isinstance(values, torch.Tensor):
        raise InputError(f"{name} must be a tensor, got {type(values).__name__}.")
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(
            f"{name} must have the shape (rows, hidden), got {tuple(values.shape)}: give the vectors of a "
            "passage as rows."
        )


def _check_stored(values: torch.Tensor, scales: torch.Tensor | None, dtype: torch.dtype) -> None:
    import torch

    _check_shape("values", values)
    _check_dtype(dtype)
    rows, hidden = values.shape
    wanted: tuple[tuple[int, int], torch.dtype] | None = None
    if values.dtype == torch.int8:
        wanted = (rows, _blocks_of(hidden)), torch.bfloat16
    elif values.dtype == torch.float8_e4m3fn:
        wanted = (rows, 1), torch.float32
    elif values.dtype != dtype:
        raise InputError(
            f"values have the dtype {values.dtype}, but expected torch.int8, torch.float8_e4m3fn or, not "
            f"quantised, {dtype}: give what quantize returned."
        )
    given = None if scales is None else (tuple(scales.shape), scales.dtype)
    if given != wanted:
        raise InputError(
            f"the scales of {values.dtype} values of shape {(rows, hidden)} must be {_described(wanted)}, "
            f"got {_described(given)}: give what quantize returned for the same rows."
        )


def _described(scales: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "None" if scales is None else f"{scales[1]} of shape {scales[0]}"
