"""Published training batches with their labels and loss: COCOM's pre-training, the tuning of 2026."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cocom.checkpoints.published import decoder_rows, read_logits, request_for
from cocom.checkpoints.published_rows import LAYOUTS, embed, family_of, memory_ids, pad_id, stacked
from cocom.errors import InputError

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = ["PublishedPretraining", "PublishedTuning", "pretraining", "tuning"]

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
    if family_of(model) not in ("cocom", "light"):
        raise InputError("only COCOM checkpoints have these pre-training tasks.")
    targets = documents if following is None else following
    if len(targets) != len(documents):
        raise InputError(f"got {len(documents)} documents but {len(targets)} texts that follow.")
    flat: list[tuple[str, str | None]] = [(d, None) for d in documents]
    encoded = LAYOUTS[family_of(model)]["fixed"](model, flat, None)
    text = model.backbone.text
    memory = memory_ids(model, text, encoded.counts[0])
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
    made = stacked(rows, width, pad_id(text), [], side="left")
    hidden_from_loss = torch.tensor([pad_id(text), bos, *lead])
    labels = made.ids.masked_fill(torch.isin(made.ids, hidden_from_loss), -100)
    places = torch.arange(width)
    with torch.no_grad():
        embeddings = torch.stack(embed(model, encoded))
        logits = read_logits(
            model, list(embeddings), made.ids, made.mask, range(width), places.expand_as(made.ids)
        )
        loss = _loss(logits, labels)
    return PublishedPretraining(encoded.ids, made.ids, made.mask, labels, embeddings, logits, loss)


@dataclass(frozen=True)
class PublishedTuning:
    """One batch of the fine-tuning of 2026, Q questions.

    Attributes:
        dec_input_ids: What the decoder reads, the answer included, shape (Q, T).
        dec_attention_mask: Shape (Q, T).
        labels: Ids to predict, -100 where there is no loss, shape (Q, T).
        logits: Shape (Q, T, vocabulary).
        loss: Mean cross-entropy over the labelled tokens.
    """

    dec_input_ids: torch.Tensor
    dec_attention_mask: torch.Tensor
    labels: torch.Tensor
    logits: torch.Tensor
    loss: float


def tuning(
    model: Cocom, questions: Sequence[str], documents: Sequence[Sequence[str]], answer: str
) -> PublishedTuning:
    """A batch of the published fine-tuning of 2026; the loss begins one token before the answer.

    Args:
        model: Loaded from a 2026 checkpoint.
        questions: What is asked.
        documents: As many for each question as for the others.
        answer: Of every question.

    Raises:
        InputError: Another format.
    """
    if family_of(model) != "pisco-2026":
        raise InputError("only checkpoints of 2026 have this fine-tuning.")
    flat: list[tuple[str, str | None]] = [(d, None) for own in documents for d in own]
    with torch.no_grad():
        parts = embed(model, LAYOUTS["pisco-2026"]["prompt"](model, flat, None))
        size = len(documents[0])
        groups = [parts[i * size : (i + 1) * size] for i in range(len(questions))]
        asked = [
            (request_for(model, "prompt", q, own), request_for(model, "prompt", q, own, answer))
            for q, own in zip(questions, groups, strict=True)
        ]
        answered = [whole for _, whole in asked]
        ids, mask = decoder_rows(model, answered)
        labels = ids.clone()
        for row, (prompt, whole) in enumerate(asked):
            kept = len(whole.prompt.ids) - len(prompt.prompt.ids) + 1
            labels[row, : ids.shape[1] - kept] = -100
        logits = read_logits(model, parts, ids, mask, range(ids.shape[1]))
        loss = _loss(logits, labels)
    return PublishedTuning(ids, mask, labels, logits, loss)


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean cross-entropy of each place's logits with the next place's label."""
    found = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten().to(logits.device)
    )
    return float(found)
