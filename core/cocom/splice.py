"""Where memory tokens, states and slots stand: pure tensor functions, and the only index arithmetic.

Shapes: W windows, L compressor row length, M context embeddings of a batch in order, B prompts,
T prompt row length, H hidden size. Places are recorded when a row is built, never searched for later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from cocom.datatypes import Window
from cocom.errors import SlotMismatchError
from cocom.text_tokens import EncodedPrompt

__all__ = [
    "CompressBatch",
    "ReadBatch",
    "ReadRow",
    "WindowRow",
    "branch_attention_mask",
    "fill_slots",
    "gather_states",
    "lay_out_row",
    "pack_prompts",
    "pack_windows",
    "slot_positions",
]

IGNORE = -100


@dataclass(frozen=True)
class WindowRow:
    """One window as the compressor reads it: prefix, passage tokens, suffix, memory tokens.

    Attributes:
        ids: The whole row, memory tokens last.
        window: Passage tokens and embeddings in it.
        start: Index of the first passage token in `ids`.
        rate: Compression rate.
        padding: Masked tokens between text and memory tokens.
        shift: Position id of the first token.
    """

    ids: Sequence[int]
    window: Window
    start: int
    rate: int
    padding: int = 0
    shift: int = 0


@dataclass(frozen=True)
class CompressBatch:
    """Windows ready for a forward pass.

    Attributes:
        ids: Token ids, shape (W, L), padded on the right (causal attention never looks there).
        attention_mask: 1 for tokens, 0 for padding, shape (W, L).
        position_ids: Shape (W, L).
        memory_index: Flat indices into (W * L) of the memory tokens, in order, shape (M,).
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    memory_index: torch.Tensor

    def to(self, device: torch.device) -> CompressBatch:
        """The same batch on another device."""
        return CompressBatch(
            self.ids.to(device),
            self.attention_mask.to(device),
            self.position_ids.to(device),
            self.memory_index.to(device),
        )


@dataclass(frozen=True)
class ReadRow:
    """One prompt as the reader reads it, for training with branches that share its start.

    Attributes:
        prompt: Ids and slots of the (shared) prompt.
        contexts: For each context of the prompt, its windows and rate.
        branches: (ids that follow the prompt, their labels); each sees the prompt and itself only.
    """

    prompt: EncodedPrompt
    contexts: Sequence[tuple[Sequence[Window], int]]
    branches: Sequence[tuple[Sequence[int], Sequence[int]]] = field(default_factory=tuple)

    @property
    def length(self) -> int:
        """Positions of the row in a batch."""
        windows = (w for context, _ in self.contexts for w in context)
        return (
            len(self.prompt.ids)
            + sum(window.embeddings for window in windows)
            + sum(len(ids) for ids, _ in self.branches)
        )


@dataclass(frozen=True)
class ReadBatch:
    """Prompts ready for a forward pass.

    Attributes:
        ids: Token ids, shape (B, T); slots hold `pad_id`.
        attention_mask: 1 for rows that count, 0 for padding, shape (B, T).
        position_ids: Shape (B, T).
        slot_index: Flat indices into (B * T) of the slots, in order, shape (M,).
        labels: Ids to predict, -100 where there is no loss, shape (B, T).
        branch: 0 for shared prompt, 1.. for each branch, -1 for padding, shape (B, T).
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    slot_index: torch.Tensor
    labels: torch.Tensor
    branch: torch.Tensor

    def to(self, device: torch.device) -> ReadBatch:
        """The same batch on another device."""
        return ReadBatch(
            self.ids.to(device),
            self.attention_mask.to(device),
            self.position_ids.to(device),
            self.slot_index.to(device),
            self.labels.to(device),
            self.branch.to(device),
        )


def slot_positions(window: Window, rate: int, *, uniform: bool) -> tuple[list[int], int]:
    """Position ids of a window's embeddings relative to its start, and how far they reach.

    Uniform positions put embedding j where the last of its tokens stood, (j + 1) * rate - 1 (EPL,
    arXiv 2409.14364); otherwise they are consecutive.
    """
    if not uniform:
        return list(range(window.embeddings)), window.embeddings
    return (
        [min((j + 1) * rate, window.tokens) - 1 for j in range(window.embeddings)],
        window.tokens,
    )


def pack_windows(
    rows: Sequence[WindowRow], pad_id: int, *, uniform: bool, least: int = 0
) -> CompressBatch:
    """Stack windows into one right-padded batch and record where their memory tokens stand.

    Args:
        rows: The windows.
        pad_id: Id that fills padding.
        uniform: Whether memory tokens take positions spread over the passage.
        least: Smallest width of the batch.
    """
    width = max(least, *(len(row.ids) for row in rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    places: list[int] = []
    for i, row in enumerate(rows):
        size = len(row.ids)
        text = size - row.window.embeddings
        ids[i, :size] = torch.tensor(list(row.ids))
        mask[i, :size] = 1
        mask[i, text - row.padding : text] = 0
        positions[i, :size] = torch.arange(row.shift, row.shift + size)
        if uniform:
            offsets, _ = slot_positions(row.window, row.rate, uniform=True)
            positions[i, text:size] = torch.tensor([row.start + o for o in offsets])
        places += range(i * width + text, i * width + size)
    return CompressBatch(ids, mask, positions, torch.tensor(places, dtype=torch.long))


def gather_states(hidden: torch.Tensor, memory_index: torch.Tensor) -> torch.Tensor:
    """States (W, L, H) at the memory tokens, shape (M, H): the context embeddings."""
    return hidden.flatten(0, 1).index_select(0, memory_index)


def pack_prompts(rows: Sequence[ReadRow], pad_id: int, *, uniform: bool, left: bool) -> ReadBatch:
    """Stack prompts, leaving room for their context embeddings.

    Args:
        rows: Prompts with their contexts and, for training, their branches.
        pad_id: Id that fills padding and slots; it is embedded but never attended to or kept.
        uniform: Whether embeddings take the positions of the tokens they stand for.
        left: Pad on the left (generation) or on the right (training).
    """
    laid = [lay_out_row(row, pad_id, uniform=uniform) for row in rows]
    width = max(len(row[0]) for row in laid)
    shape = (len(rows), width)
    ids = torch.full(shape, pad_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    position_ids = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    branch = torch.full(shape, -1, dtype=torch.long)
    places: list[int] = []
    for i, (row_ids, row_positions, row_labels, row_branch, row_slots) in enumerate(laid):
        start = width - len(row_ids) if left else 0
        span = slice(start, start + len(row_ids))
        ids[i, span] = torch.tensor(row_ids, dtype=torch.long)
        mask[i, span] = 1
        position_ids[i, span] = torch.tensor(row_positions, dtype=torch.long)
        labels[i, span] = torch.tensor(row_labels, dtype=torch.long)
        branch[i, span] = torch.tensor(row_branch, dtype=torch.long)
        places += [i * width + start + place for place in row_slots]
    return ReadBatch(
        ids, mask, position_ids, torch.tensor(places, dtype=torch.long), labels, branch
    )


def lay_out_row(
    row: ReadRow, pad_id: int, *, uniform: bool
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Ids, positions, labels and branch of each place of a row, and the places of its slots."""
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    position = 0
    at = 0

    def text(until: int) -> None:
        nonlocal position
        part = row.prompt.ids[at:until]
        ids.extend(part)
        positions.extend(range(position, position + len(part)))
        position += len(part)

    for place, context in row.prompt.slots:
        text(place)
        at = place
        windows, rate = row.contexts[context]
        for window in windows:
            offsets, reach = slot_positions(window, rate, uniform=uniform)
            slots.extend(range(len(ids), len(ids) + window.embeddings))
            ids.extend([pad_id] * window.embeddings)
            positions.extend(position + offset for offset in offsets)
            position += reach
    text(len(row.prompt.ids))
    labels = [IGNORE] * len(ids)
    branch = [0] * len(ids)
    for number, (branch_ids, branch_labels) in enumerate(row.branches, start=1):
        ids.extend(branch_ids)
        labels.extend(branch_labels)
        branch.extend([number] * len(branch_ids))
        positions.extend(range(position, position + len(branch_ids)))
    return ids, positions, labels, branch, slots


def fill_slots(
    inputs_embeds: torch.Tensor, slot_index: torch.Tensor, embeddings: torch.Tensor
) -> torch.Tensor:
    """Put context embeddings (M, H) into their slots of (B, T, H); everything else stays.

    Raises:
        SlotMismatchError: The numbers of slots and of embeddings differ, or the hidden sizes.
    """
    if slot_index.shape[0] != embeddings.shape[0]:
        raise SlotMismatchError(
            f"the prompt has {slot_index.shape[0]} slots but {embeddings.shape[0]} context embeddings "
            "were given: pass exactly the contexts the prompt was built with."
        )
    if not slot_index.numel():
        return inputs_embeds
    if embeddings.shape[-1] != inputs_embeds.shape[-1]:
        raise SlotMismatchError(
            f"context embeddings are {embeddings.shape[-1]} wide but the reader's input embeddings "
            f"are {inputs_embeds.shape[-1]} wide: compress with the model that reads."
        )
    flat = inputs_embeds.flatten(0, 1)
    filled = flat.index_copy(0, slot_index, embeddings.to(flat.dtype))
    return filled.view_as(inputs_embeds)


def branch_attention_mask(batch: ReadBatch) -> torch.Tensor:
    """Causal mask in which a branch sees the shared prompt and itself, shape (B, 1, T, T), bool.

    Equal to running every branch as a prompt of its own, without reading the shared part again.
    """
    branch = batch.branch
    width = branch.shape[1]
    causal = torch.ones((width, width), dtype=torch.bool, device=branch.device).tril()
    query, key = branch[:, :, None], branch[:, None, :]
    seen = (key == 0) | (key == query)
    # A padding row must see something, or its softmax is undefined: it sees itself.
    own = torch.eye(width, dtype=torch.bool, device=branch.device)
    return ((causal & seen & (key >= 0)) | own)[:, None]
