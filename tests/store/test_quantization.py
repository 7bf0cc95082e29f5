"""Quantised embeddings: how far values may move, what stays bit for bit, and a message for every fault."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cocom.errors import InputError
from cocom.store.quantization import Quantization, dequantize, quantize, row_bytes

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SMALLEST_SCALE = torch.finfo(torch.float32).tiny

shapes = st.tuples(st.integers(0, 4), st.integers(1, 150))


@st.composite
def patterns(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any bits: subnormal and huge numbers, infinities, NaN with payload, both zeros."""
    dtype = draw(st.sampled_from(DTYPES))
    bits = np.uint32 if dtype == torch.float32 else np.uint16
    own = draw(arrays.arrays(bits, draw(shapes)))
    return torch.from_numpy(own.view(f"i{own.itemsize}")).view(dtype)


def finite(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values.isfinite(), values, torch.zeros((), dtype=values.dtype))


def half_an_ulp(values: torch.Tensor) -> torch.Tensor:
    info = torch.finfo(values.dtype)
    return values.double().abs() * info.eps / 2 + info.smallest_normal * info.eps / 2


def come_back(values: torch.Tensor, how: Quantization) -> tuple[torch.Tensor, torch.Tensor]:
    stored, scales = quantize(values, how)
    assert scales is not None
    again = dequantize(stored, scales, values.dtype)
    assert again.dtype == values.dtype
    assert again.shape == values.shape
    assert again.isfinite().all()
    repeats = 64 if how == "int8" else values.shape[1]
    steps = scales.double().repeat_interleave(repeats, dim=1)[:, : values.shape[1]]
    return again, steps


def relative_error(values: torch.Tensor, again: torch.Tensor) -> float:
    return float((again - values).square().mean().sqrt() / values.square().mean().sqrt())


def with_outliers(rows: int = 64, hidden: int = 4096) -> torch.Tensor:
    """As language models have them: a few dimensions that are much larger than the rest."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, hidden, generator=generator)
    values[:, torch.randperm(hidden, generator=generator)[:20]] *= 30
    return values


@given(patterns())
def test_none_keeps_every_bit(values: torch.Tensor) -> None:
    stored, scales = quantize(values, "none")
    again = dequantize(stored, scales, values.dtype)
    bits = torch.int32 if values.dtype == torch.float32 else torch.int16
    assert scales is None
    assert again.dtype == values.dtype
    assert torch.equal(again.view(bits), values.view(bits))


@given(patterns())
@settings(max_examples=300)
def test_int8_moves_no_value_by_more_than_half_a_step(values: torch.Tensor) -> None:
    values = finite(values)
    again, steps = come_back(values, "int8")
    moved = (again.double() - values.double()).abs()
    assert (moved <= steps * (0.5 + 1e-5) + half_an_ulp(again)).all()


@given(patterns())
@settings(max_examples=300)
def test_an_int8_step_is_a_127th_of_the_largest_value_rounded_up(values: torch.Tensor) -> None:
    values = finite(values)
    _, steps = come_back(values, "int8")
    for start in range(0, values.shape[1], 64):
        exact = values[:, start : start + 64].double().abs().amax(1) / 127
        step = steps[:, start]
        assert (step >= exact * (1 - 2**-23)).all()
        assert (step <= (exact * (1 + 2**-7)).clamp(min=SMALLEST_SCALE)).all()


@given(patterns())
@settings(max_examples=300)
def test_fp8_keeps_four_significant_bits(values: torch.Tensor) -> None:
    values = finite(values)
    again, steps = come_back(values, "fp8")
    moved = (again.double() - values.double()).abs()
    allowed = torch.maximum(values.double().abs() / 16, steps / 1024)
    assert (moved <= allowed * (1 + 1e-5) + half_an_ulp(again)).all()


@pytest.mark.parametrize("how", ["int8", "fp8"])
@given(patterns())
def test_what_was_quantised_once_hardly_changes_again(
    how: Quantization, values: torch.Tensor
) -> None:
    first, steps = come_back(finite(values), how)
    second, _ = come_back(first, how)
    moved = (second.double() - first.double()).abs()
    rounding = 4 * half_an_ulp(first)
    half = (
        steps / 2 if how == "int8" else torch.maximum(first.abs().double() * 2**-20, steps / 1024)
    )
    assert (moved <= half * (1 + 2**-7) + rounding).all()


@given(patterns(), st.integers(0, 3))
def test_a_row_alone_is_as_it_is_among_others(values: torch.Tensor, row: int) -> None:
    values = finite(values)[row : row + 1] if row < len(values) else finite(values)
    everything = torch.cat([torch.ones_like(values), values])
    for how in ("int8", "fp8"):
        alone, _ = come_back(values, how)
        stored, scales = quantize(everything, how)
        assert scales is not None
        count = len(values)
        among = dequantize(stored[count:], scales[count:], values.dtype)
        assert torch.equal(alone, among)


def test_every_value_of_fp8_is_read_as_torch_reads_it() -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    codes = codes[~codes.float().isnan()].unsqueeze(0)
    for scale in (1.0, 3.7e-5, 1.25e20, SMALLEST_SCALE):
        scales = torch.full((1, 1), scale)
        assert torch.equal(dequantize(codes, scales, torch.float32), codes.float() * scales)


@pytest.mark.parametrize("how", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_stay_zeros(how: Quantization, dtype: torch.dtype) -> None:
    values = torch.zeros(2, 130, dtype=dtype)
    values[1, 5] = 1
    again, _ = come_back(values, how)
    assert torch.equal(again[0], values[0])
    assert torch.equal(again[1] != 0, values[1] != 0)


@pytest.mark.parametrize("how", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_and_smallest_numbers_come_back(how: Quantization, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    for size in (info.max, info.smallest_normal, info.smallest_normal * info.eps):
        values = torch.full((1, 64), size, dtype=dtype)
        values[0, 1:] *= -1
        again, steps = come_back(values, how)
        moved = (again.double() - values.double()).abs()
        assert (moved <= steps / 2 + half_an_ulp(again)).all()


def test_relative_errors_with_outliers() -> None:
    values = with_outliers()
    per_row = values.abs().amax(1, keepdim=True) / 127
    whole_row = relative_error(values, (values / per_row).round() * per_row)
    int8 = relative_error(values, come_back(values, "int8")[0])
    fp8 = relative_error(values, come_back(values, "fp8")[0])
    assert 0.01 < int8 < 0.02
    assert 0.02 < fp8 < 0.03
    assert whole_row > 0.05


@pytest.mark.parametrize("how", ["none", "int8", "fp8"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [1, 63, 64, 65, 4096])
def test_a_row_takes_the_bytes_that_row_bytes_says(
    how: Quantization, dtype: torch.dtype, hidden: int
) -> None:
    values, scales = quantize(torch.ones(3, hidden, dtype=dtype), how)
    taken = (values.nbytes, 0 if scales is None else scales.nbytes)
    assert taken == tuple(3 * size for size in row_bytes(hidden, dtype, how))


def test_forms_on_disk() -> None:
    values, scales = quantize(torch.ones(3, 130), "int8")
    assert scales is not None
    assert (values.dtype, scales.dtype) == (torch.int8, torch.bfloat16)
    assert (values.shape, scales.shape) == ((3, 130), (3, 3))
    values, scales = quantize(torch.ones(3, 130), "fp8")
    assert scales is not None
    assert (values.dtype, scales.dtype) == (torch.float8_e4m3fn, torch.float32)
    assert (values.shape, scales.shape) == ((3, 130), (3, 1))


@pytest.mark.parametrize("how", ["int8", "fp8"])
def test_the_tensor_given_is_left_as_it_is_and_may_have_gradients_and_any_layout(
    how: Quantization,
) -> None:
    values = torch.nn.Parameter(with_outliers(100, 3).T)
    before = values.detach().clone()
    stored, scales = quantize(values, how)
    assert scales is not None
    assert stored.is_contiguous()
    assert scales.is_contiguous()
    assert dequantize(stored, scales, values.dtype).is_contiguous()
    assert torch.equal(values, before)
    expected, _ = quantize(before.contiguous(), how)
    assert torch.equal(stored.view(torch.int8), expected.view(torch.int8))


@pytest.mark.parametrize("how", ["int8", "fp8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", [0, 129])
def test_a_value_that_is_not_finite_is_refused_with_its_row(
    how: Quantization, value: float, column: int
) -> None:
    values = torch.ones(4, 130)
    values[2, column] = value
    with pytest.raises(InputError, match=rf"row 2 .* not finite, which '{how}' cannot keep"):
        quantize(values, how)


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        (torch.ones(2, 4), "int4", "must be 'none', 'int8' or 'fp8', got 'int4'"),
        (torch.ones(2, 4), None, "got None"),
        (torch.ones(4), "int8", "must have the shape (rows, hidden), got (4,)"),
        (torch.ones(1, 2, 4), "none", "got (1, 2, 4)"),
        (torch.ones(2, 0), "fp8", "got (2, 0)"),
        (
            torch.ones(2, 4, dtype=torch.int8),
            "int8",
            "float32, float16 or bfloat16, got torch.int8",
        ),
        (torch.ones(2, 4, dtype=torch.float64), "none", "got torch.float64"),
        ([[1.0]], "int8", "must be a tensor, got list"),
    ],
)
def test_what_cannot_be_quantised(values, how, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        quantize(values, how)


_INT8 = torch.ones(2, 65, dtype=torch.int8)
_FP8 = torch.ones(2, 65).to(torch.float8_e4m3fn)


@pytest.mark.parametrize(
    ("values", "scales", "dtype", "message"),
    [
        (_INT8, None, torch.float32, "torch.bfloat16 of shape (2, 2), got None"),
        (_INT8, torch.ones(2, 2), torch.float32, "got torch.float32 of shape (2, 2)"),
        (_INT8, torch.ones(2, 1).bfloat16(), torch.float32, "torch.bfloat16 of shape (2, 1)"),
        (_FP8, torch.ones(2), torch.float32, "torch.float32 of shape (2, 1), got torch.float32 of"),
        (_FP8, torch.ones(1, 1), torch.float32, "got torch.float32 of shape (1, 1)"),
        (torch.ones(2, 65), torch.ones(2, 1), torch.float32, "must be None, got torch.float32"),
        (torch.ones(2, 65), None, torch.float16, "dtype torch.float32, but expected"),
        (_INT8, torch.ones(2, 2).bfloat16(), torch.int8, "bfloat16, got torch.int8"),
        (_INT8[0], None, torch.float32, "must have the shape (rows, hidden), got (65,)"),
        (None, None, torch.float32, "must be a tensor, got NoneType"),
    ],
)
def test_what_cannot_be_dequantised(values, scales, dtype: torch.dtype, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        dequantize(values, scales, dtype)


def test_rows_that_cannot_be() -> None:
    with pytest.raises(InputError, match="must be at least 1, got 0"):
        row_bytes(0, torch.float32, "int8")
    with pytest.raises(InputError, match=re.escape("got torch.int8")):
        row_bytes(64, torch.int8, "none")
    with pytest.raises(InputError, match="got 'half'"):
        row_bytes(64, torch.float32, "half")  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["none", "int8", "fp8"])
def test_no_gradients_are_kept_with_the_values(how: Quantization) -> None:
    values, _ = quantize(torch.nn.Parameter(torch.ones(2, 4)), how)
    assert not values.requires_grad


@pytest.mark.parametrize("how", ["int8", "fp8"])
def test_tiny_values_come_back_where_subnormal_numbers_are_zero(how: Quantization) -> None:
    values = torch.full((1, 64), 1e-37)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        again, steps = come_back(values, how)
    finally:
        torch.set_flush_denormal(False)
    assert ((again.double() - values.double()).abs() <= steps * 0.501).all()
