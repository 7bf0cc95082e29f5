"""Index arithmetic of memory tokens and slots, in numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from cocom import CocomConfig, Window
from cocom.errors import SlotMismatchError
from cocom.splice import (
    ReadRow,
    WindowRow,
    branch_attention_mask,
    fill_slots,
    gather_states,
    pack_prompts,
    pack_windows,
    slot_positions,
)
from cocom.testing import tiny_cocom
from cocom.text_tokens import EncodedPrompt

PAD = 9


def test_slot_positions() -> None:
    assert slot_positions(Window(10, 3), 4, uniform=False) == ([0, 1, 2], 3)
    assert slot_positions(Window(10, 3), 4, uniform=True) == ([3, 7, 9], 10)
    assert slot_positions(Window(8, 2), 4, uniform=True) == ([3, 7], 8)
    assert slot_positions(Window(1, 1), 128, uniform=True) == ([0], 1)


@pytest.mark.parametrize("uniform", [False, True])
def test_windows_are_padded_on_the_right_and_memory_tokens_recorded(uniform: bool) -> None:
    # Prefix of 2, five or one passage tokens, suffix of 1, memory tokens (here 90).
    long = WindowRow([1, 2, *range(11, 16), 3, 90, 90], Window(5, 2), 2, 4)
    short = WindowRow([1, 2, 11, 3, 90], Window(1, 1), 2, 4)
    batch = pack_windows([long, short], PAD, uniform=uniform)
    assert batch.ids.tolist() == [
        [1, 2, 11, 12, 13, 14, 15, 3, 90, 90],
        [1, 2, 11, 3, 90, *[PAD] * 5],
    ]
    assert batch.attention_mask.tolist() == [[1] * 10, [1] * 5 + [0] * 5]
    # Uniform: embedding j stands where the last of its tokens stood (2 + 3, 2 + 4; 2 + 0).
    first = [5, 6] if uniform else [8, 9]
    second = [2] if uniform else [4]
    assert batch.position_ids.tolist() == [[*range(8), *first], [*range(4), *second, *[0] * 5]]
    assert batch.memory_index.tolist() == [8, 9, 14]
    hidden = torch.arange(20.0).view(2, 10, 1)
    assert gather_states(hidden, batch.memory_index).flatten().tolist() == [8, 9, 14]


ROWS = [
    # Two ids, a context of two windows (5 tokens -> 2, 2 tokens -> 1), one id, a context, one id.
    ReadRow(
        EncodedPrompt((1, 2, 3, 4), ((2, 1), (3, 0))),
        [([Window(3, 1)], 4), ([Window(5, 2), Window(2, 1)], 4)],
    ),
    ReadRow(EncodedPrompt((5,)), []),
]


def test_prompts_are_padded_on_the_left_and_slots_recorded() -> None:
    batch = pack_prompts(ROWS, PAD, uniform=False, left=True)
    assert batch.ids.tolist() == [[1, 2, PAD, PAD, PAD, 3, PAD, 4], [*[PAD] * 7, 5]]
    assert batch.attention_mask.tolist() == [[1] * 8, [0] * 7 + [1]]
    assert batch.slot_index.tolist() == [2, 3, 4, 6]
    assert batch.position_ids.tolist() == [[*range(8)], [0] * 8]


def test_uniform_slots_take_the_positions_of_their_tokens() -> None:
    batch = pack_prompts(ROWS, PAD, uniform=True, left=True)
    # 0 1 | window of five: 2+3, 2+4 | window of two: 7+1 | 9 | window of three: 10+2 | 13
    assert batch.position_ids[0].tolist() == [0, 1, 5, 6, 8, 9, 12, 13]


def test_padding_on_the_right_moves_the_slots() -> None:
    batch = pack_prompts([ROWS[1], ROWS[0]], PAD, uniform=False, left=False)
    assert batch.slot_index.tolist() == [8 + 2, 8 + 3, 8 + 4, 8 + 6]
    assert batch.attention_mask.tolist() == [[1] + [0] * 7, [1] * 8]


def test_branches_each_go_on_from_the_prompt() -> None:
    row = ReadRow(EncodedPrompt((1, 2)), [], [([7, 8], [-100, 8]), ([6], [6])])
    batch = pack_prompts([row], PAD, uniform=False, left=False)
    assert batch.ids.tolist() == [[1, 2, 7, 8, 6]]
    assert batch.labels.tolist() == [[-100, -100, -100, 8, 6]]
    assert batch.branch.tolist() == [[0, 0, 1, 1, 2]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert branch_attention_mask(batch)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_filling_slots_changes_nothing_else() -> None:
    embeds = torch.zeros(2, 3, 4)
    filled = fill_slots(embeds, torch.tensor([1, 5]), torch.tensor([[1.0] * 4, [2.0] * 4]))
    assert filled[:, :, 0].tolist() == [[0, 1, 0], [0, 0, 2]]
    assert embeds.abs().sum() == 0
    assert fill_slots(embeds, torch.tensor([], dtype=torch.long), torch.zeros(0, 4)) is embeds


def test_mismatches_name_both_numbers() -> None:
    embeds = torch.zeros(1, 3, 4)
    with pytest.raises(SlotMismatchError, match="2 slots but 3 context embeddings"):
        fill_slots(embeds, torch.tensor([0, 1]), torch.zeros(3, 4))
    with pytest.raises(SlotMismatchError, match="5 wide but the reader's input embeddings are 4"):
        fill_slots(embeds, torch.tensor([0]), torch.zeros(1, 5))


def test_positions_the_model_is_given() -> None:
    """Position ids that reach the language model, through compressing and generating."""
    model = tiny_cocom(CocomConfig(rates=(4,), window=6, memory_positions="uniform"))
    seen: list[list[list[int]]] = []
    decoder = model.backbone.model.base_model
    decoder.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["position_ids"].tolist()), with_kwargs=True
    )
    (context,) = model.compress(["abcdefghi"])  # windows of six and three tokens
    # <ENC> <s> abcdef </s>, then 2 + 3 and 2 + 5; <ENC> <s> ghi </s>, then 2 + 2, then padding.
    assert seen[0] == [[*range(9), 5, 7], [*range(6), 4, *[0] * 4]]
    seen.clear()
    model.backbone.model.generation_config.eos_token_id = None
    answer = model.answer("q", [context], max_new_tokens=3)
    text = len(model.request("q", [context]).prompt.ids) - 1
    prompt = [0, 1 + 3, 1 + 5, 7 + 2, *range(10, 10 + text)]
    end = prompt[-1]
    assert seen[0] == [prompt]
    assert [step[0][-1] for step in seen[1:]] == [end + 1, end + 2][: len(answer.token_ids) - 1]
