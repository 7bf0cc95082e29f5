"""What the published compressors read: rows of a whole batch, padded, counted and cut together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from cocom.encoder_compressor import EncoderCompressor
from cocom.splice import CompressBatch, gather_states
from cocom.text_tokens import TextTokens

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = [
    "LAYOUTS",
    "EncodedDocuments",
    "embed",
    "family_of",
    "harmless",
    "memory_ids",
    "pad_id",
    "stacked",
]


@dataclass(frozen=True)
class EncodedDocuments:
    """Rows for the compressor; `memory` holds the memory tokens' places in all of them, flat."""

    ids: torch.Tensor
    mask: torch.Tensor
    counts: tuple[int, ...]
    memory: torch.Tensor


def family_of(model: Cocom) -> str:
    """Which published code a model's layouts come from, told by its settings."""
    shape = model.config.encoder
    if shape is None:
        return "pisco" if model.config.prompt.chat else "cocom"
    if not shape.memory_tokens:
        return "light"
    return "pisco-2026" if shape.counts == "row" else "oscar"


_Document = tuple[str, str | None]


def pad_id(text: TextTokens) -> int:
    """What the published code pads with: the tokenizer's pad token, or its bos."""
    pad = text.tokenizer.pad_token_id
    return int(pad if pad is not None else text.bos_id or 0)


def stacked(
    rows: Sequence[Sequence[int]], length: int, pad: int, memory: Sequence[int], *, side: str
) -> EncodedDocuments:
    """Pad rows to `length` on a side and put the memory tokens behind all of them."""
    count = len(memory)
    ids = torch.full((len(rows), length + count), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        start = length - len(row) if side == "left" else 0
        ids[i, start : start + len(row)] = torch.tensor(list(row), dtype=torch.long)
        mask[i, start : start + len(row)] = 1
    ids[:, length:] = torch.tensor(list(memory), dtype=torch.long)
    mask[:, length:] = 1
    width = length + count
    places = torch.cat(
        [torch.arange(i * width + length, (i + 1) * width) for i in range(len(rows))]
    )
    return EncodedDocuments(ids, mask, (count,) * len(rows), places)


def memory_ids(model: Cocom, text: TextTokens, count: int) -> list[int]:
    """Ids of `count` memory tokens."""
    names = model.config.memory_token_run(model.config.rates[0], count)
    return [text.control_ids[name] for name in names]


def _enclosed(model: Cocom, documents: Sequence[_Document], length: int) -> list[list[int]]:
    text = model.backbone.text
    lead = text.encode_template("<ENC>{bos}")
    return [[*lead, *text.encode_text(d), text.eos_id][: length + 3] for d, _ in documents]


def _cocom_append(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    """As trained: memory tokens by the longest document of the batch."""
    rows = _enclosed(model, documents, longest or model.config.window)
    width = max(map(len, rows))
    return _cocom_rows(model, rows, width, width - 3)


def _cocom_fixed(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    """The same number of memory tokens for every document, for stored collections."""
    length = longest or model.config.window
    return _cocom_rows(model, _enclosed(model, documents, length), length + 3, length)


def _cocom_rows(
    model: Cocom, rows: Sequence[Sequence[int]], width: int, counted: int
) -> EncodedDocuments:
    text = model.backbone.text
    memory = memory_ids(model, text, -(-counted // model.config.rates[0]))
    return stacked(rows, width, pad_id(text), memory, side="left")


def _cocom_prepend(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    """What the hub's generate_from_text does: memory tokens in front, where they see no document."""
    text = model.backbone.text
    before, _, after = text.around()
    bos = text.bos_id
    assert bos is not None
    lead = [*before, *text.encode_template("<ENC>{bos}")]
    rows = [[*lead, *text.encode_text(d), bos, *after] for d, _ in documents]
    width = max(map(len, rows))
    memory = memory_ids(model, text, -(-(width - 3) // model.config.rates[0]))
    behind = stacked(rows, width, pad_id(text), memory, side="left")
    count = len(memory)
    size = width + count
    places = torch.cat([torch.arange(i * size, i * size + count) for i in range(len(rows))])
    return EncodedDocuments(
        behind.ids.roll(count, dims=1), behind.mask.roll(count, dims=1), behind.counts, places
    )


def _pisco_rows(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    length = longest or model.config.window
    rows = _enclosed(model, documents, length)
    text = model.backbone.text
    memory = memory_ids(model, text, model.config.most_embeddings)
    return stacked(rows, length + 3, pad_id(text), memory, side="left")


def _light(
    model: Cocom, documents: Sequence[_Document], length: int, *, fill: bool
) -> EncodedDocuments:
    own = _encoder(model)
    before, _, after = own.text.around()
    room = length - len(before) - len(after)
    rows = [[*before, *own.text.encode_text(d, first=True)[:room], *after] for d, _ in documents]
    rate = model.config.rates[0]
    width = length if fill else -(-max(map(len, rows)) // rate) * rate
    made = stacked(rows, width, own.pad_id, [], side="right")
    return replace(made, counts=(width // rate,) * len(rows))


def _light_hub(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    """By the longest document of the batch, cut where the encoder's tokenizer cuts."""
    return _light(
        model,
        documents,
        longest or int(_encoder(model).text.tokenizer.model_max_length),
        fill=False,
    )


def _light_fixed(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    """Every document filled up to the same length."""
    return _light(model, documents, longest or model.config.window + 2, fill=True)


def _oscar_rows(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    own = _encoder(model)
    shape = model.config.encoder
    assert shape is not None
    text = own.text
    before, _, after = text.around()
    special = len(before) + len(after)
    whole = model.config.window + special if longest is None else longest + 2
    rows: list[list[int]] = []
    for document, question in documents:
        if question is None:
            own_ids = text.encode_text(document, first=True)
        elif shape.query == "pair":
            first, between, last = text.around(pair=True)
            asked = text.encode_text(question, first=True)
            room = shape.query_window - len(asked)
            cut = text.encode_text(document, first=True)[: max(0, room)]
            whole = shape.query_window + len(first) + len(between) + len(last)
            rows.append([*first, *asked, *between, *cut, *last])
            continue
        else:
            lead = shape.query.replace("{query}", question)
            own_ids = text.encode_text(lead + document, first=True)
            whole = shape.query_window + special
        rows.append([*before, *own_ids[: whole - special], *after])
    memory = own.memory_ids(model.config.most_embeddings, model.config.rates[0])
    side = "right" if shape.padding == "right" else "left"
    return stacked(rows, whole, own.pad_id, memory, side=side)


def harmless(text: str) -> str:
    """As the code of 2026 writes a memory token's name in a text."""
    return text.replace("<MEM>", "< MEM >")


def _rows_2026(
    model: Cocom, documents: Sequence[_Document], longest: int | None
) -> EncodedDocuments:
    own = _encoder(model)
    text = own.text
    before, _, after = text.around()
    length = longest or model.config.window + len(before) + len(after)
    rate = model.config.rates[0]
    rows: list[list[int]] = []
    counts: list[int] = []
    for document, question in documents:
        lead = f"Query: {question}\n Document: " if question is not None else ""
        ids = text.encode_text(harmless(lead + document), first=True)
        row = [*before, *ids[: length - len(before) - len(after)], *after]
        counts.append(len(row) // rate + 1)
        rows.append([*row, *own.memory_ids(counts[-1], rate)])
    width = max(map(len, rows))
    made = stacked(rows, width, pad_id(text), [], side="left")
    places = [torch.arange((i + 1) * width - n, (i + 1) * width) for i, n in enumerate(counts)]
    return replace(made, counts=tuple(counts), memory=torch.cat(places))


LAYOUTS: dict[
    str, dict[str, Callable[[Any, Sequence[_Document], int | None], EncodedDocuments]]
] = {
    "cocom": {"append": _cocom_append, "fixed": _cocom_fixed, "prepend": _cocom_prepend},
    "light": {"hub": _light_hub, "fixed": _light_fixed},
    "pisco": {"trained": _pisco_rows},
    "oscar": {"trained": _oscar_rows},
    "pisco-2026": {"prompt": _rows_2026, "collator": _rows_2026},
}


def _encoder(model: Cocom) -> EncoderCompressor:
    assert model.encoder is not None
    return model.encoder


def embed(model: Cocom, encoded: EncodedDocuments) -> list[torch.Tensor]:
    """Context embeddings of each document, from one forward pass over the batch as it is."""
    positions = torch.arange(encoded.ids.shape[1]).expand_as(encoded.ids)
    batch = CompressBatch(encoded.ids, encoded.mask, positions, encoded.memory)
    own = model.encoder
    if own is None:
        backbone = model.backbone
        batch = batch.to(backbone.device)
        with backbone.role("compress"):
            hidden = backbone.hidden(batch.ids, batch.attention_mask, batch.position_ids)
        states = gather_states(hidden, batch.memory_index)
        return list(states.split(list(encoded.counts)))
    with own.used():
        own.eval()
        batch = batch.to(own.encoder.device)
        if encoded.memory.numel():
            states = own.head(gather_states(own.states(batch), batch.memory_index))
            return list(states.split(list(encoded.counts)))
        hidden = own.encoder(
            input_ids=batch.ids, attention_mask=batch.attention_mask
        ).last_hidden_state
        return [
            own.group(row, n, model.config.rates[0])
            for row, n in zip(hidden, encoded.counts, strict=True)
        ]
