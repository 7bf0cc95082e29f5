"""Prompts and windows end to end are those with padding, without it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cocom import Window
from cocom.packing import EndToEnd, lay_prompts, lay_windows
from cocom.splice import ReadRow, WindowRow, pack_prompts, pack_windows
from cocom.text_tokens import EncodedPrompt

PAD = 9
IDS = st.integers(0, 300)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, int]:
    """A window and its rate; sometimes with as many embeddings as a full one has."""
    rate = draw(st.sampled_from([1, 3, 4, 16]))
    tokens = draw(st.integers(1, 30))
    return Window(tokens, -(-(draw(st.sampled_from([tokens, 32]))) // rate)), rate


@st.composite
def window_rows(draw: st.DrawFn) -> WindowRow:
    window, rate = draw(windows())
    start, end = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    size = start + window.tokens + end + window.embeddings
    ids = draw(st.lists(IDS, min_size=size, max_size=size))
    return WindowRow(ids, window, start, rate, shift=draw(st.integers(0, 5)))


@st.composite
def read_rows(draw: st.DrawFn) -> ReadRow:
    contexts = []
    for found in draw(st.lists(st.lists(windows(), min_size=1, max_size=3), max_size=3)):
        contexts.append(([window for window, _ in found], found[0][1]))
    ids = tuple(draw(st.lists(IDS, min_size=0 if contexts else 1, max_size=20)))
    order = draw(st.permutations(range(len(contexts))))
    places = sorted(draw(st.integers(0, len(ids))) for _ in contexts)
    return ReadRow(EncodedPrompt(ids, tuple(zip(places, order, strict=True))), contexts)


def same(laid: EndToEnd, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> None:
    kept = mask.bool()
    assert torch.equal(laid.ids, ids[kept])
    assert torch.equal(laid.position_ids, positions[kept])
    assert laid.lengths == tuple(mask.sum(1).tolist())
    assert laid.last.tolist() == [sum(laid.lengths[: n + 1]) - 1 for n in range(len(mask))]


def without_padding(places: torch.Tensor, mask: torch.Tensor) -> list[int]:
    """Where places of a padded batch are when the padding is gone."""
    return (mask.flatten().cumsum(0) - 1)[places].tolist()


@given(st.lists(window_rows(), min_size=1, max_size=5), st.booleans())
def test_windows(rows: list[WindowRow], uniform: bool) -> None:
    laid = lay_windows(rows, uniform=uniform)
    batch = pack_windows(rows, PAD, uniform=uniform)
    same(laid, batch.ids, batch.position_ids, batch.attention_mask)
    assert laid.places.tolist() == without_padding(batch.memory_index, batch.attention_mask)


@given(st.lists(read_rows(), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_prompts(rows: list[ReadRow], uniform: bool, left: bool) -> None:
    laid, following = lay_prompts(rows, PAD, uniform=uniform)
    batch = pack_prompts(rows, PAD, uniform=uniform, left=left)
    same(laid, batch.ids, batch.position_ids, batch.attention_mask)
    assert laid.places.tolist() == without_padding(batch.slot_index, batch.attention_mask)
    for row, position in zip(rows, following, strict=True):
        # One more token of the prompt stands where the answer begins.
        longer = ReadRow(EncodedPrompt((*row.prompt.ids, 1), row.prompt.slots), row.contexts)
        if all(place < len(row.prompt.ids) for place, _ in row.prompt.slots):
            (last, _) = lay_prompts([longer], PAD, uniform=uniform)
            assert last.position_ids[-1] == position


@given(st.lists(read_rows(), min_size=1, max_size=4), st.booleans(), st.integers(1, 6))
def test_rows_at_the_start_are_left_out(rows: list[ReadRow], uniform: bool, skip: int) -> None:
    def shifted(row: ReadRow) -> ReadRow:
        slots = tuple((place + skip, context) for place, context in row.prompt.slots)
        ids = (*range(100, 100 + skip), *row.prompt.ids)
        return ReadRow(EncodedPrompt(ids, slots), row.contexts)

    longer = [shifted(row) for row in rows]
    whole, following = lay_prompts(longer, PAD, uniform=uniform)
    laid, same_following = lay_prompts(longer, PAD, uniform=uniform, skip=skip)
    assert same_following == following
    assert laid.lengths == tuple(length - skip for length in whole.lengths)
    starts = [sum(whole.lengths[:n]) for n in range(len(rows))]
    left = [
        i
        for start, length in zip(starts, whole.lengths, strict=True)
        for i in range(start + skip, start + length)
    ]
    assert torch.equal(laid.ids, whole.ids[left])
    assert torch.equal(laid.position_ids, whole.position_ids[left])
    assert [left[place] for place in laid.places.tolist()] == whole.places.tolist()


def test_what_cannot_be_left_out() -> None:
    slot = ReadRow(EncodedPrompt((1, 2, 3), ((1, 0),)), [([Window(4, 1)], 4)])
    assert lay_prompts([slot], PAD, uniform=False, skip=1)[0].places.tolist() == [0]
    with pytest.raises(AssertionError):
        lay_prompts([slot], PAD, uniform=False, skip=2)
    with pytest.raises(AssertionError):
        lay_prompts([ReadRow(EncodedPrompt((1, 2)), [])], PAD, uniform=False, skip=2)


def test_positions_worked_out_by_hand() -> None:
    row = ReadRow(
        EncodedPrompt((1, 2, 3, 4), ((2, 1), (3, 0))),
        [([Window(3, 1)], 4), ([Window(5, 2), Window(2, 1)], 4)],
    )
    laid, following = lay_prompts([row, row], PAD, uniform=True)
    assert laid.position_ids.tolist() == [0, 1, 5, 6, 8, 9, 12, 13] * 2
    assert laid.places.tolist() == [2, 3, 4, 6, 10, 11, 12, 14]
    assert following == [14, 14]
    _, following = lay_prompts([row], PAD, uniform=False)
    assert following == [8]
