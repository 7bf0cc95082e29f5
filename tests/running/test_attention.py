"""Attention without padding against plain causal attention, worked out one prompt at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from cocom.attention import NAME, Packed, Stepped, attending
from cocom.key_values import HeadKeyValues, SlotKeyValues
from cocom.testing import tiny_backbone

CPU = torch.device("cpu")
HEADS, SIZE = 4, 8
LENGTHS = [
    [1],
    [7],
    [5, 5, 5],
    [3, 9, 1, 9, 9, 2],
]
WINDOWS = [None, 1, 2, 4, 6, 100]


def drawn(key_heads: int, rows: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values of some rows, shape (heads, rows, size) each."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(heads, rows, SIZE) for heads in (HEADS, key_heads, key_heads)]
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def expected(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    """Attention of the last rows of a sequence, one row after the other, shape (rows, heads, size)."""
    share = query.shape[0] // key.shape[0]
    scale = 1 / math.sqrt(SIZE) if scale is None else scale
    rows, width = query.shape[1], key.shape[1]
    found = torch.empty(rows, query.shape[0], SIZE)
    for row in range(rows):
        last = width - rows + row
        first = 0 if window is None else max(0, last - window + 1)
        for head in range(query.shape[0]):
            seen = slice(first, last + 1)
            products = key[head // share, seen] @ query[head, row] * scale
            found[row, head] = products.softmax(0) @ value[head // share, seen]
    return found


def split(parts: Sequence[torch.Tensor], lengths: Sequence[int]) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(part.split(list(lengths), 1) for part in parts), strict=True))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_prompts_end_to_end_attend_as_each_alone(
    key_heads: int, lengths: list[int], window: int | None
) -> None:
    parts = drawn(key_heads, sum(lengths))
    for scale in (None, 0.3):
        layout = Packed(lengths, device=CPU)
        query, key, value = (part[None] for part in parts)
        found = layout.attend(0, query, key, value, scale, window)
        want = torch.cat([expected(q, k, v, scale, window) for q, k, v in split(parts, lengths)])
        torch.testing.assert_close(found, want[None])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("before", [1, 5])
def test_prompts_behind_a_head_attend_to_it_too(
    key_heads: int, lengths: list[int], window: int | None, before: int
) -> None:
    _, *shared = drawn(key_heads, before, seed=1)
    head = HeadKeyValues()
    head.write(0, *(part.transpose(0, 1) for part in shared))
    parts = drawn(key_heads, sum(lengths))
    layout = Packed(lengths, device=CPU, head=head)
    query, key, value = (part[None] for part in parts)
    found = layout.attend(0, query, key, value, None, window)
    want = [
        expected(own, torch.cat([shared[0], k], 1), torch.cat([shared[1], v], 1), None, window)
        for own, k, v in split(parts, lengths)
    ]
    torch.testing.assert_close(found, torch.cat(want)[None])


def test_prompts_keep_their_keys_and_values_in_their_slots() -> None:
    lengths = [3, 1, 2]
    kept = SlotKeyValues()
    kept.reserve(3, 4)
    slots = torch.tensor([0, 0, 0, 1, 2, 2])
    kept.aim(slots, torch.tensor([0, 1, 2, 0, 0, 1]), used=3, width=3)
    parts = drawn(2, 6)
    query, key, value = (part[None] for part in parts)
    Packed(lengths, device=CPU, keep=kept).attend(1, query, key, value, None, None)
    keys, values = kept.read(1)
    for slot, (_, k, v) in enumerate(split(parts, lengths)):
        assert torch.equal(keys[slot, :, : lengths[slot]], k)
        assert torch.equal(values[slot, :, : lengths[slot]], v)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_a_step_attends_as_the_last_row_of_each_prompt(
    key_heads: int, lengths: list[int], window: int | None
) -> None:
    kept = SlotKeyValues()
    kept.reserve(len(lengths) + 2, max(lengths) + 9)
    prompts = [drawn(key_heads, length + 1, seed=n) for n, length in enumerate(lengths)]
    for slot, (length, (_, keys, values)) in enumerate(zip(lengths, prompts, strict=True)):
        # What another answer left there must not be seen.
        noise = torch.full((max(lengths) + 9, key_heads, SIZE), 7.0)
        every = torch.arange(len(noise))
        kept.aim(torch.full_like(every, slot), every, used=0, width=0)
        kept.write(0, noise, noise)
        rows = torch.arange(length)
        kept.aim(torch.full_like(rows, slot), rows, used=0, width=0)
        kept.write(0, keys[:, :length].transpose(0, 1), values[:, :length].transpose(0, 1))
    at, width = torch.tensor(lengths), max(lengths) + 1
    choices = [(width, False), (width + 3, False)] + [(width, True)] * (len(set(lengths)) == 1)
    query, key, value = (torch.stack([prompt[n][:, -1:] for prompt in prompts]) for n in range(3))
    want = torch.stack([expected(q[:, -1:], k, v, None, window) for q, k, v in prompts])
    for read, even in choices:
        kept.aim(torch.arange(len(lengths)), at, used=len(lengths), width=read)
        layout = Stepped(kept, at, read, even=even)
        for _ in range(2):  # the mask is made once
            found = layout.attend(0, query, key, value, None, window)
            torch.testing.assert_close(found, want)


def test_the_model_has_its_own_attention_back() -> None:
    model: Any = tiny_backbone()
    config = model.config
    ids = torch.tensor([[1, 5, 6]])
    own = config._attn_implementation
    assert own != NAME
    with torch.no_grad():
        want = model(ids).logits
    with attending([config]):
        assert config._attn_implementation == NAME
        with attending([config]):
            assert config._attn_implementation == NAME
        assert config._attn_implementation == NAME
    assert config._attn_implementation == own
    with pytest.raises(KeyError), attending([config]):
        raise KeyError
    assert config._attn_implementation == own
    with torch.no_grad():
        assert torch.equal(model(ids).logits, want)


def test_who_uses_the_model_without_a_layout_gets_what_it_always_gave() -> None:
    model: Any = tiny_backbone()
    ids = torch.tensor([[1, 5, 6, 9], [1, 7, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad():
        want = model(ids).logits, model(ids, attention_mask=mask).logits[mask.bool()]
        with attending([model.config]):
            found = model(ids).logits, model(ids, attention_mask=mask).logits[mask.bool()]
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("option", ["softcap", "s_aux", "position_bias"])
def test_what_a_layout_cannot_do_is_refused(option: str) -> None:
    from transformers import AttentionInterface

    model: Any = tiny_backbone()
    layer = model.model.layers[0].self_attn
    query, key, value = (part[None] for part in drawn(2, 3))
    layout = Packed([3], device=CPU)
    with attending([model.config]):
        attention: Any = AttentionInterface()[NAME]
        found, weights = attention(layer, query, key, value, None, cocom=layout, **{option: None})
        assert found.shape == (1, 3, HEADS, SIZE)
        assert weights is None
        with pytest.raises(NotImplementedError, match=option):
            attention(layer, query, key, value, None, cocom=layout, **{option: 1.0})
