"""What the published code computes, batch effects and all, for whoever must reproduce it.

`Cocom.compress` treats each passage alone, cuts nothing off and is what to use. The published
convenience functions pad and count by the longest document of a batch, cut long documents, and, for
COCOM, put the memory tokens where they see nothing. Here each of these layouts goes by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from cocom.checkpoints.published_rows import (
    LAYOUTS,
    embed,
    family_of,
    harmless,
    memory_ids,
    pad_id,
    stacked,
)
from cocom.config import PromptTemplate
from cocom.datatypes import ContextEmbeddings, Window
from cocom.errors import InputError
from cocom.generation import GenerationOptions
from cocom.prompt import Slot, UserText, build_prompt
from cocom.reader import Reader, ReadRequest
from cocom.splice import fill_slots
from cocom.text_tokens import EncodedPrompt

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = [
    "PublishedRun",
    "decoder_rows",
    "layouts_of",
    "read_logits",
    "reproduce",
    "request_for",
]


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


def layouts_of(model: Cocom) -> tuple[str, ...]:
    """Names of the published layouts that a model's format has; the first is the trained one."""
    return tuple(LAYOUTS[family_of(model)])


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
    family = family_of(model)
    names = LAYOUTS[family]
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
        embeddings = embed(model, encoded)
    per_question = sizes.pop()
    requests = [
        request_for(model, layout, question, embeddings[i * per_question : (i + 1) * per_question])
        for i, question in enumerate(questions)
    ]
    ids, mask = decoder_rows(model, requests)
    with torch.no_grad():
        first = read_logits(model, embeddings, ids, mask, [ids.shape[1] - 1])[:, 0]
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


def request_for(
    model: Cocom,
    layout: str,
    question: str,
    embeddings: Sequence[torch.Tensor],
    answer: str | None = None,
) -> ReadRequest:
    """The prompt of a question with its documents' embeddings, and with its answer if one is given."""
    template = _template(model.config.prompt, layout)
    if family_of(model) == "pisco-2026":
        question = harmless(question)
    slots: list[UserText | Slot] = [Slot(i) for i in range(len(embeddings))]

    def render(turns: list[dict[str, str]]) -> str:
        if layout != "collator" and answer is None:
            return model.backbone.render_chat(turns)
        # The published collator closes an empty answer before it asks for one.
        return model.backbone.render_chat(
            [*turns, {"role": "assistant", "content": answer or ""}], close=True
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


def decoder_rows(
    model: Cocom, requests: Sequence[ReadRequest]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids with memory tokens in the slots, and mask, left-padded, shape (Q, T) each."""
    rows = [_with_memory(model, r.prompt, [len(c) for c in r.contexts]) for r in requests]
    pad = pad_id(model.backbone.text)
    made = stacked(rows, max(map(len, rows)), pad, [], side="left")
    return made.ids, made.mask


def _with_memory(model: Cocom, prompt: EncodedPrompt, counts: Sequence[int]) -> list[int]:
    ids: list[int] = []
    at = 0
    for place, context in prompt.slots:
        ids += prompt.ids[at:place]
        ids += memory_ids(model, model.backbone.text, counts[context])
        at = place
    return [*ids, *prompt.ids[at:]]


def read_logits(
    model: Cocom,
    embeddings: Sequence[torch.Tensor],
    ids: torch.Tensor,
    mask: torch.Tensor,
    keep: Sequence[int],
    positions: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logits at the columns `keep` of the decoder's rows, shape (Q, kept, vocabulary).

    Args:
        model: Reads.
        embeddings: What goes into the memory tokens' places, in their order.
        ids: Shape (Q, T).
        mask: Shape (Q, T).
        keep: Columns.
        positions: Shape (Q, T); None counts real tokens.
    """
    backbone = model.backbone
    names = model.config.memory_token_names()
    known = torch.tensor([backbone.text.control_ids[name] for name in names])
    slots = torch.isin(ids, known).flatten().nonzero().squeeze(1).to(backbone.device)
    ids, mask = ids.to(backbone.device), mask.to(backbone.device)
    embeds = fill_slots(backbone.embed(ids), slots, torch.cat(list(embeddings)))
    if positions is None:
        positions = (mask.cumsum(1) - 1).clamp(min=0)
    with backbone.role("read"):
        return backbone.logits(
            embeds,
            mask,
            positions.to(backbone.device),
            torch.tensor(list(keep), device=backbone.device),
        )
