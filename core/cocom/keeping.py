"""Passages in a store: compressed once, read from then on, and made again where embeddings were dropped."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cocom.datatypes import ContextEmbeddings, Passage
from cocom.engine import Cocom
from cocom.errors import CocomError, FingerprintError, InputError, MissingContextError
from cocom.identity import passage_id
from cocom.store import ContextStore, Entry

__all__ = ["keep", "made_ready"]

_log = logging.getLogger(__name__)


def keep(
    model: Cocom,
    store: ContextStore,
    passages: Sequence[str | Passage],
    rate: int | None,
    query: str | None,
    batch_tokens: int,
) -> list[tuple[str, ContextEmbeddings]]:
    """Ids and embeddings of passages; what the store lacks is compressed and put there.

    Args:
        model: Compresses.
        store: Keeps.
        passages: Texts.
        rate: Passage tokens per embedding; None takes the model's first rate.
        query: What they are compressed for, if the model does that.
        batch_tokens: Rows in one forward pass, padding included.

    Raises:
        ConfigError: A store on disk has passages by this model, but none at this rate.
        CocomError: As `Cocom.compress`.
    """
    rate = model.config.check_rate(rate)
    if isinstance(passages, str | Passage):
        raise InputError("passages must be a sequence of texts, got a single one: use a list.")
    texts = [p.text if isinstance(p, Passage) else p for p in passages]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"passage {i} must be a text, got {type(text).__name__}.")
    ids = [passage_id(model.fingerprint, rate, text, query) for text in texts]
    kept: dict[str, ContextEmbeddings] = {}
    missing: dict[str, str] = {}
    found = store.get(ids, texts=False)
    for id, text, entry in zip(ids, texts, found, strict=True):
        if entry is None or entry.contexts is None:
            missing[id] = text
        else:
            kept[id] = entry.contexts
    if missing and store.durable:
        store.expect(model.fingerprint, rate)  # else every passage would be compressed, unnoticed
    made = model.compress(
        list(missing.values()), rate=rate, query=query, batch_tokens=batch_tokens, keep_text=False
    )
    if missing:
        new = dict(zip(missing, made, strict=True))
        store.put({id: Entry(missing[id], rate, query, contexts) for id, contexts in new.items()})
        kept |= new
    return [(id, kept[id]) for id in ids]


def made_ready(model: Cocom, store: ContextStore, id: str, entry: Entry) -> str | ContextEmbeddings:
    """The embeddings of an entry, made again from its text if need be; the text, if that cannot be done.

    Raises:
        MissingContextError: The entry has neither.
        FingerprintError: Another model made it.
    """
    if entry.contexts is not None:
        return entry.contexts
    (kept,) = store.get([id], embeddings=False)
    if kept is None or kept.text is None:
        raise MissingContextError(
            f"the store has neither embeddings nor text of passage {id}: compress the passage again."
        )
    entry = kept
    text = kept.text
    fingerprint = model.fingerprint
    if passage_id(fingerprint, entry.rate, text, entry.query) != id:
        raise FingerprintError(
            f"passage {id} was compressed by another model than this one, {fingerprint[:12]}: compress it "
            "again, or load the model that did."
        )
    try:
        (made,) = model.compress([text], rate=entry.rate, query=entry.query, keep_text=False)
    except CocomError as error:
        _log.warning("passage %s is read as text, because it cannot be compressed: %s", id, error)
        return text
    store.put({id: Entry(text, entry.rate, entry.query, made)})
    return made
