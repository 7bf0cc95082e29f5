"""What the published code computes, batch effects and all, for whoever must reproduce it.

`Cocom.compress` treats each passage alone, cuts nothing off and is what to use. The published
convenience functions pad and count by the longest document of a batch, cut long documents, and, for
COCOM, put the memory tokens where they see nothing. Here each of these layouts goes by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from cocom.config import PromptTemplate
from cocom.datatypes import ContextEmbeddings, Window
from cocom.encoder_compressor import EncoderCompressor
from cocom.errors import InputError
from cocom.generation import GenerationOptions
from cocom.prompt import Slot, UserText, build_prompt
from cocom.reader import Reader, ReadRequest
from cocom.splice import CompressBatch, fill_slots, gather_states
from cocom.text_tokens import EncodedPrompt, TextTokens

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = ["PublishedPretraining", "PublishedRun", "layouts_of", "pretraining", "reproduce"]


@dataclass(frozen=True)
class PublishedRun:
    """Inputs and outputs of one batch, D documents of Q questions.

    Attributes:
        enc_input_ids: What the compressor reads, shape (D, L).
        enc_attention_mask: Shape (D, L).
        dec_input_ids: What the decoder reads, memory tokens where embeddings go, shape (Q, T).
        dec_attention_mask: Shape (Q, T).
        context_embeddings: One tensor a document, shape (embeddings, hidden).
        first_logits: Logits that choose the first token, shape (Q, vocabulary).
        token_ids: Greedy tokens of each question.
        texts: The answers.
    """

    enc_input_ids: torch.Tensor
    enc_attention_mask: torch.Tensor
    dec_input_ids: torch.Tensor
    dec_attention_mask: torch.Tensor
    context_embeddings: tuple[torch.Tensor, ...]
    first_logits: torch.Tensor
    token_ids: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class _Encoded:
    """Rows for the compressor; `places` are the memory tokens' (row, column), in order."""

    ids: torch.Tensor
    mask: torch.Tensor
    counts: tuple[int, ...]
    memory: torch.Tensor


def layouts_of(model: Cocom) -> tuple[str, ...]:
    """Names of the published layouts that a model's format has; the first is the trained one."""
    return tuple(_LAYOUTS[_family(model)])


def reproduce(
    model: Cocom,
    questions: Sequence[str],
    documents: Sequence[Sequence[str]],
    *,
    layout: str | None = None,
    query: bool = False,
    max_length: int | None = None,
    max_new_tokens: int = 128,
) -> PublishedRun:
    """Compress and answer in one batch as the published code does.

    Args:
        model: Loaded from a published checkpoint.
        questions: What is asked.
        documents: As many for each question as for the others; empty ones are allowed here.
        layout: One of `layouts_of`; None takes the first.
        query: Let the compressor read the question too (OSCAR, PISCO of 2026).
        max_length: Tokens of a document before the published code cuts it; None takes the model's.
        max_new_tokens: Most tokens of an answer.

    Raises:
        InputError: An unknown layout, or lists that do not fit each other.
    """
    family = _family(model)
    names = _LAYOUTS[family]
    layout = layout or next(iter(names))
    if layout not in names:
        raise InputError(f"layout {layout!r} is unknown here: choose one of {', '.join(names)}.")
    sizes = {len(d) for d in documents}
    if len(questions) != len(documents) or len(sizes) != 1:
        raise InputError(
            f"got {len(questions)} questions and lists of {sorted(sizes)} documents: published batches "
            "have the same number of documents for every question."
        )
    flat = [
        (text, q if query else None)
        for q, own in zip(questions, documents, strict=True)
        for text in own
    ]
    encoded = names[layout](model, flat, max_length)
    with torch.no_grad():
        embeddings = _embed(model, encoded)
    per_question = sizes.pop()
    requests = [
        _request(model, layout, question, embeddings[i * per_question : (i + 1) * per_question])
        for i, question in enumerate(questions)
    ]
    ids, mask = _decoder_rows(model, requests)
    with torch.no_grad():
        first = _first_logits(model, requests, ids, mask)
    options = GenerationOptions(max_new_tokens=max_new_tokens)
    answers = Reader(model.backbone).read(requests, options, batch_size=len(requests))
    return PublishedRun(
        encoded.ids,
        encoded.mask,
        ids,
        mask,
        tuple(embeddings),
        first,
        tuple(a.token_ids for a in answers),
        tuple(a.text for a in answers),
    )


def _family(model: Cocom) -> str:
    shape = model.config.encoder
    if shape is None:
        return "pisco" if model.config.prompt.chat else "cocom"
    if not shape.memory_tokens:
        return "light"
    return "pisco-2026" if shape.counts == "row" else "oscar"


# --- what the compressor reads --------------------------------------------------------------------

_Document = tuple[str, str | None]


def _pad_id(text: TextTokens) -> int:
    pad = text.tokenizer.pad_token_id
    return int(pad if pad is not None else text.bos_id or 0)


def _stacked(
    rows: Sequence[Sequence[int]], length: int, pad: int, memory: Sequence[int], *, side: str
) -> _Encoded:
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
    return _Encoded(ids, mask, (count,) * len(rows), places)


def _memory_ids(model: Cocom, text: TextTokens, count: int) -> list[int]:
    names = model.config.memory_token_run(model.config.rates[0], count)
    return [text.control_ids[name] for name in names]


def _enclosed(model: Cocom, documents: Sequence[_Document], length: int) -> list[list[int]]:
    text = model.backbone.text
    lead = text.encode_template("<ENC>{bos}")
    return [[*lead, *text.encode_text(d), text.eos_id][: length + 3] for d, _ in documents]


def _cocom_append(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    """As trained: memory tokens by the longest document of the batch."""
    rows = _enclosed(model, documents, longest or model.config.window)
    width = max(map(len, rows))
    return _cocom_rows(model, rows, width, width - 3)


def _cocom_fixed(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    """The same number of memory tokens for every document, for stored collections."""
    length = longest or model.config.window
    return _cocom_rows(model, _enclosed(model, documents, length), length + 3, length)


def _cocom_rows(model: Cocom, rows: Sequence[Sequence[int]], width: int, counted: int) -> _Encoded:
    text = model.backbone.text
    memory = _memory_ids(model, text, -(-counted // model.config.rates[0]))
    return _stacked(rows, width, _pad_id(text), memory, side="left")


def _cocom_prepend(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    """What the hub's generate_from_text does: memory tokens in front, where they see no document."""
    text = model.backbone.text
    before, _, after = text.around()
    bos = text.bos_id
    assert bos is not None
    lead = [*before, *text.encode_template("<ENC>{bos}")]
    rows = [[*lead, *text.encode_text(d), bos, *after] for d, _ in documents]
    width = max(map(len, rows))
    memory = _memory_ids(model, text, -(-(width - 3) // model.config.rates[0]))
    behind = _stacked(rows, width, _pad_id(text), memory, side="left")
    count = len(memory)
    size = width + count
    places = torch.cat([torch.arange(i * size, i * size + count) for i in range(len(rows))])
    return _Encoded(
        behind.ids.roll(count, dims=1), behind.mask.roll(count, dims=1), behind.counts, places
    )


def _pisco_rows(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    length = longest or model.config.window
    rows = _enclosed(model, documents, length)
    text = model.backbone.text
    memory = _memory_ids(model, text, model.config.most_embeddings)
    return _stacked(rows, length + 3, _pad_id(text), memory, side="left")


def _light(model: Cocom, documents: Sequence[_Document], length: int, *, fill: bool) -> _Encoded:
    own = _encoder(model)
    before, _, after = own.text.around()
    room = length - len(before) - len(after)
    rows = [[*before, *own.text.encode_text(d, first=True)[:room], *after] for d, _ in documents]
    rate = model.config.rates[0]
    width = length if fill else -(-max(map(len, rows)) // rate) * rate
    stacked = _stacked(rows, width, own.pad_id, [], side="right")
    return replace(stacked, counts=(width // rate,) * len(rows))


def _light_hub(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    """By the longest document of the batch, cut where the encoder's tokenizer cuts."""
    return _light(
        model,
        documents,
        longest or int(_encoder(model).text.tokenizer.model_max_length),
        fill=False,
    )


def _light_fixed(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    """Every document filled up to the same length."""
    return _light(model, documents, longest or model.config.window + 2, fill=True)


def _oscar_rows(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
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
    memory = _memory_ids(model, text, model.config.most_embeddings)
    side = "right" if shape.padding == "right" else "left"
    return _stacked(rows, whole, own.pad_id, memory, side=side)


def _rows_2026(model: Cocom, documents: Sequence[_Document], longest: int | None) -> _Encoded:
    own = _encoder(model)
    text = own.text
    before, _, after = text.around()
    length = longest or model.config.window + len(before) + len(after)
    rate = model.config.rates[0]
    rows: list[list[int]] = []
    counts: list[int] = []
    for document, question in documents:
        lead = f"Query: {question}\n Document: " if question is not None else ""
        ids = text.encode_text(lead + document, first=True)
        row = [*before, *ids[: length - len(before) - len(after)], *after]
        counts.append(len(row) // rate + 1)
        rows.append([*row, *_memory_ids(model, text, counts[-1])])
    width = max(map(len, rows))
    stacked = _stacked(rows, width, _pad_id(text), [], side="left")
    places = [torch.arange((i + 1) * width - n, (i + 1) * width) for i, n in enumerate(counts)]
    return replace(stacked, counts=tuple(counts), memory=torch.cat(places))


_LAYOUTS: dict[str, dict[str, Callable[[Any, Sequence[_Document], int | None], _Encoded]]] = {
    "cocom": {"append": _cocom_append, "fixed": _cocom_fixed, "prepend": _cocom_prepend},
    "light": {"hub": _light_hub, "fixed": _light_fixed},
    "pisco": {"trained": _pisco_rows},
    "oscar": {"trained": _oscar_rows},
    "pisco-2026": {"prompt": _rows_2026, "collator": _rows_2026},
}


def _encoder(model: Cocom) -> EncoderCompressor:
    assert model.encoder is not None
    return model.encoder


# --- compressing ----------------------------------------------------------------------------------


def _embed(model: Cocom, encoded: _Encoded) -> list[torch.Tensor]:
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


# --- what the decoder reads -----------------------------------------------------------------------


def _request(
    model: Cocom, layout: str, question: str, embeddings: Sequence[torch.Tensor]
) -> ReadRequest:
    template = _template(model.config.prompt, layout)
    slots: list[UserText | Slot] = [Slot(i) for i in range(len(embeddings))]

    def render(turns: list[dict[str, str]]) -> str:
        if layout != "collator":
            return model.backbone.render_chat(turns)
        # The published collator closes an empty answer before it asks for one.
        return model.backbone.render_chat(
            [*turns, {"role": "assistant", "content": ""}], close=True
        )

    pieces = build_prompt(template, question, slots, render)
    rate = model.config.rates[0]
    contexts = tuple(
        ContextEmbeddings(e, rate, (Window(len(e) * rate, len(e)),), len(e) * rate, "")
        for e in embeddings
    )
    return ReadRequest(model.backbone.text.encode(pieces), contexts)


def _template(prompt: PromptTemplate, layout: str) -> PromptTemplate:
    """With the begin-of-sequence tokens that the layout has: the hub's functions write two."""
    if prompt.chat:
        return prompt
    bos = "{bos}{bos}" if layout in ("prepend", "hub") else "{bos}"
    return replace(prompt, user=bos + prompt.user.replace("{bos}", ""))


def _decoder_rows(
    model: Cocom, requests: Sequence[ReadRequest]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids with memory tokens in the slots, and mask, left-padded."""
    rows = [_with_memory(model, r.prompt, [len(c) for c in r.contexts]) for r in requests]
    pad = _pad_id(model.backbone.text)
    stacked = _stacked(rows, max(map(len, rows)), pad, [], side="left")
    return stacked.ids, stacked.mask


def _with_memory(model: Cocom, prompt: EncodedPrompt, counts: Sequence[int]) -> list[int]:
    ids: list[int] = []
    at = 0
    for place, context in prompt.slots:
        ids += prompt.ids[at:place]
        ids += _memory_ids(model, model.backbone.text, counts[context])
        at = place
    return [*ids, *prompt.ids[at:]]


def _first_logits(
    model: Cocom, requests: Sequence[ReadRequest], ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    backbone = model.backbone
    names = model.config.memory_token_names()
    known = torch.tensor([backbone.text.control_ids[name] for name in names])
    slots = torch.isin(ids, known).flatten().nonzero().squeeze(1).to(backbone.device)
    ids, mask = ids.to(backbone.device), mask.to(backbone.device)
    embeddings = torch.cat([c.embeddings for r in requests for c in r.contexts])
    embeds = fill_slots(backbone.embed(ids), slots, embeddings)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    last = torch.tensor([ids.shape[1] - 1], device=backbone.device)
    with backbone.role("read"):
        return backbone.logits(embeds, mask, positions, last)[:, 0]


# --- COCOM's two pre-training tasks ---------------------------------------------------------------

_TARGET_TOKENS = 128


@dataclass(frozen=True)
class PublishedPretraining:
    """One batch of a pre-training task, D documents.

    Attributes:
        enc_input_ids: What the compressor reads, shape (D, L).
        dec_input_ids: What the decoder reads, shape (D, T).
        dec_attention_mask: Shape (D, T).
        labels: Ids to predict, -100 where there is no loss, shape (D, T).
        context_embeddings: Shape (D, embeddings, hidden).
        logits: Shape (D, T, vocabulary).
        loss: Mean cross-entropy over the labelled tokens.
    """

    enc_input_ids: torch.Tensor
    dec_input_ids: torch.Tensor
    dec_attention_mask: torch.Tensor
    labels: torch.Tensor
    context_embeddings: torch.Tensor
    logits: torch.Tensor
    loss: float


def pretraining(
    model: Cocom, documents: Sequence[str], following: Sequence[str] | None = None
) -> PublishedPretraining:
    """A batch of the published pre-training of COCOM (section 3.2).

    Args:
        model: Loaded from a published COCOM checkpoint.
        documents: What is compressed.
        following: What each document is continued by; None writes the document itself (`<AE>`).

    Raises:
        InputError: Another format, or lists of different lengths.
    """
    if _family(model) not in ("cocom", "light"):
        raise InputError("only COCOM checkpoints have these pre-training tasks.")
    targets = documents if following is None else following
    if len(targets) != len(documents):
        raise InputError(f"got {len(documents)} documents but {len(targets)} texts that follow.")
    flat = [(d, None) for d in documents]
    encode = _cocom_fixed if model.encoder is None else _light_fixed
    encoded = encode(model, flat, None)
    text = model.backbone.text
    memory = _memory_ids(model, text, encoded.counts[0])
    bos, eos = text.bos_id, text.eos_id
    assert bos is not None
    if following is None:
        lead = [text.control_ids["<AE>"], bos, *memory]
    else:
        # Tokenized with automatic special tokens, on top of the one it writes.
        before, _, _ = text.around()
        lead = [*before, bos, *memory]
    width = 3 + len(memory) + _TARGET_TOKENS
    rows = [[*lead, *text.encode_text(t), eos][:width] for t in targets]
    stacked = _stacked(rows, width, _pad_id(text), [], side="left")
    hidden_from_loss = torch.tensor([_pad_id(text), bos, *lead])
    labels = stacked.ids.masked_fill(torch.isin(stacked.ids, hidden_from_loss), -100)
    slots = torch.isin(stacked.ids, torch.tensor(memory)).flatten().nonzero().squeeze(1)
    backbone = model.backbone
    with torch.no_grad():
        embeddings = torch.stack(_embed(model, encoded))
        embeds = fill_slots(
            backbone.embed(stacked.ids.to(backbone.device)),
            slots.to(backbone.device),
            embeddings.flatten(0, 1),
        )
        mask = stacked.mask.to(backbone.device)
        places = torch.arange(width, device=backbone.device)
        positions = places.expand_as(mask)
        with backbone.role("read"):
            logits = backbone.logits(embeds, mask, positions, places)
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten().to(logits.device)
        )
    return PublishedPretraining(
        encoded.ids, stacked.ids, stacked.mask, labels, embeddings, logits, float(loss)
    )
