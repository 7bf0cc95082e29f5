"""Questions and conversations -> what the reader reads: token ids, slots and the embeddings for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

from cocom.backbone import Backbone
from cocom.datatypes import ContextEmbeddings, Passage, Role, Turn
from cocom.errors import EmptyPassageError, FingerprintError, InputError
from cocom.fusion.marginal import log_prior
from cocom.prompt import Slot, UserText, build_prompt
from cocom.reader import FusedRequest, ReadRequest
from cocom.turns import LaidTurn, lay_out_turns

__all__ = [
    "PassageLike",
    "answer_ids",
    "check_fingerprint",
    "conversation_request",
    "fused_request",
    "question_request",
]

PassageLike = str | Passage | ContextEmbeddings
"""A passage to read: text is read as text, context embeddings through their slots."""


def question_request(
    backbone: Backbone, fingerprint: str, question: str, passages: Sequence[PassageLike]
) -> ReadRequest:
    """Lay out one question and its passages in the model's question template.

    Raises:
        FingerprintError: Context embeddings that another model made.
        EmptyPassageError: A passage without text.
        InputError: An empty question, or passages that are none.
    """
    return _laid_out(backbone, question, _checked(fingerprint, question, passages))


def fused_request(
    backbone: Backbone,
    fingerprint: str,
    question: str,
    passages: Sequence[PassageLike],
    scores: Sequence[float] | None = None,
) -> FusedRequest:
    """Lay out one question with each passage in a prompt of its own.

    Args:
        backbone: Reads.
        fingerprint: Of the model.
        question: What is asked.
        passages: Context embeddings and texts; without any, the question alone is one prompt.
        scores: The retriever's, one a passage; see `log_prior`. Passages whose score is -inf are not read.

    Raises:
        FingerprintError: Context embeddings that another model made.
        EmptyPassageError: A passage without text.
        InputError: An empty question, passages that are none, or scores that cannot be.
    """
    checked = _checked(fingerprint, question, passages)
    prior = log_prior(scores, len(checked))
    if not checked:
        return FusedRequest((_laid_out(backbone, question, []),), (0.0,), (), 0)
    places = tuple(i for i, weight in enumerate(prior) if weight > -math.inf)
    return FusedRequest(
        tuple(_laid_out(backbone, question, [checked[i]]) for i in places),
        tuple(prior[i] for i in places),
        places,
        len(checked),
    )


def _checked(
    fingerprint: str, question: str, passages: Sequence[PassageLike]
) -> list[str | ContextEmbeddings]:
    """Passages that can be read, as texts and context embeddings."""
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"question must be a text that asks something, got {question!r}.")
    if isinstance(passages, str | Passage | ContextEmbeddings):
        raise InputError(
            f"passages must be a sequence, got a single {type(passages).__name__}: put it in a list."
        )
    checked: list[str | ContextEmbeddings] = []
    for i, passage in enumerate(passages):
        if isinstance(passage, ContextEmbeddings):
            check_fingerprint(fingerprint, passage, i)
            checked.append(passage)
            continue
        text = passage.text if isinstance(passage, Passage) else passage
        if not isinstance(text, str):
            raise InputError(
                f"passage {i} must be text or context embeddings, got {type(text).__name__}."
            )
        if not text.strip():
            raise EmptyPassageError(
                f"passage {i} has no text to read, got {text[:20]!r}: leave it out."
            )
        checked.append(text)
    return checked


def _laid_out(
    backbone: Backbone, question: str, passages: Sequence[str | ContextEmbeddings]
) -> ReadRequest:
    contexts: list[ContextEmbeddings] = []
    parts: list[UserText | Slot] = []
    for passage in passages:
        if isinstance(passage, str):
            parts.append(UserText(passage))
        else:
            parts.append(Slot(len(contexts)))
            contexts.append(passage)
    pieces = build_prompt(backbone.config.prompt, question.strip(), parts, backbone.render_chat)
    return ReadRequest(backbone.text.encode(pieces), tuple(contexts))


def conversation_request(
    backbone: Backbone, fingerprint: str, turns: str | Sequence[Turn]
) -> ReadRequest:
    """Lay out a conversation whose turns may hold context embeddings; a text is one user turn.

    Raises:
        FingerprintError: Context embeddings that another model made.
        InputError: Nothing to read, or a turn that is none.
        ModelError: The chat template refuses the turns.
    """
    if isinstance(turns, Turn):
        raise InputError("turns must be a sequence, got a single Turn: put it in a list.")
    contexts: list[ContextEmbeddings] = []
    laid: list[LaidTurn] = []
    for i, turn in enumerate([Turn("user", turns)] if isinstance(turns, str) else turns):
        if not isinstance(turn, Turn):
            raise InputError(f"turn {i} must be a Turn, got {type(turn).__name__}.")
        if turn.role not in get_args(Role):
            raise InputError(
                f"turn {i} has the role {turn.role!r}: choose one of {', '.join(get_args(Role))}."
            )
        content = [turn.content] if isinstance(turn.content, str) else turn.content
        if not isinstance(content, Sequence):
            raise InputError(
                f"turn {i} holds {type(content).__name__}, but expected texts and context embeddings."
            )
        parts: list[UserText | Slot] = []
        for part in content:
            if isinstance(part, ContextEmbeddings):
                check_fingerprint(fingerprint, part, len(contexts))
                parts.append(Slot(len(contexts)))
                contexts.append(part)
            elif isinstance(part, str):
                before = parts.pop().text if parts and isinstance(parts[-1], UserText) else ""  # type: ignore[union-attr]
                parts.append(UserText(before + part))
            else:
                raise InputError(
                    f"turn {i} holds {type(part).__name__}, but expected texts and context embeddings."
                )
        laid.append(LaidTurn(turn.role, tuple(parts)))
    pieces = lay_out_turns(backbone.config.prompt, laid, backbone.render_chat)
    return ReadRequest(backbone.text.encode(pieces), tuple(contexts))


def answer_ids(backbone: Backbone, answer: str | Sequence[int], index: int) -> list[int]:
    """Tokens of a given answer: of a text as in training, with the end of sequence behind it.

    Raises:
        InputError: Neither a text nor token ids of the model.
    """
    if isinstance(answer, str):
        prefix = backbone.config.prompt.answer_prefix
        return [*backbone.text.encode_text(prefix + answer.strip()), backbone.text.eos_id]
    size = backbone.text.vocabulary_size
    good = (
        isinstance(answer, Sequence)
        and not isinstance(answer, bytes | bytearray)
        and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < size for i in answer)
    )
    if not good or not answer:
        raise InputError(
            f"answer {index} must be a text, or at least one token id from 0 to {size - 1}, got "
            f"{answer!r:.80}."
        )
    return list(answer)


def check_fingerprint(fingerprint: str, contexts: ContextEmbeddings, index: int) -> None:
    """Make sure that the model that reads is the one that compressed.

    Raises:
        FingerprintError: It is not.
    """
    if contexts.fingerprint != fingerprint:
        raise FingerprintError(
            f"passage {index} was compressed by model {contexts.fingerprint[:12]}, but this model is "
            f"{fingerprint[:12]}: compress the passage again, or load the model that did."
        )
