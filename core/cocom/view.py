"""One namespace's view of a model: passages become references, prompts with references become answers.

Frameworks pass text. A view puts passages into a store and gives references for them, and wherever a
reference comes back in a prompt, it puts the context embeddings there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from copy import copy
from os import PathLike
from typing import Any, Literal

from cocom.datatypes import Answer, ContextEmbeddings, Passage, Role, Turn
from cocom.engine import Cocom, PassageLike
from cocom.errors import (
    CocomError,
    InputError,
    InvalidReferenceError,
    MissingContextError,
    PromptTooLongError,
)
from cocom.generation import GenerationOptions, generation_options
from cocom.keeping import keep, made_ready
from cocom.reader import ReadRequest, Request
from cocom.references import (
    Reference,
    Signer,
    beginnings,
    escape,
    find,
)
from cocom.shared import default_key, default_store
from cocom.store import ContextStore, Entry, LayeredStore, MemoryStore, open_store
from cocom.streaming import AnswerStream, AsyncAnswerStream

__all__ = ["CocomView", "Speech"]

_log = logging.getLogger(__name__)

Speech = tuple[Role, str]
"""A role and what it says, references included."""


class CocomView:
    """A model as one namespace sees it; safe to use from many threads and event loops.

    What writes references and what reads them must share a view, or have views of equal namespace, key
    and store. Views with no key or store of their own share those of the process.

    Attributes:
        model: Compresses and reads.
        namespace: Whose passages these are.
        store: Keeps what was compressed.
    """

    def __init__(
        self,
        model: Cocom,
        *,
        namespace: str = "default",
        key: bytes | str | None = None,
        store: ContextStore | str | PathLike[str] | None = None,
        invalid: Literal["text", "error"] = "text",
        max_references: int = 1000,
        max_rows: int | None = None,
    ) -> None:
        """Open a view.

        Args:
            model: Compresses and reads.
            namespace: Whose passages these are, such as a tenant's name. References of one namespace mean
                nothing in another.
            key: Secret that signs references; give one, and keep it, if references are to outlive the
                process.
            store: Keeps what is compressed: a store, or the folder or URL of one that is there. One that can
                only be read is read, and what it lacks is kept in memory. None takes the process's own, in
                memory.
            invalid: What becomes of a reference that this namespace did not make: it stays "text", with a
                warning in the log, or is an "error".
            max_references: References that one prompt may hold.
            max_rows: Rows that one prompt may have; None leaves it to the model.

        Raises:
            InputError: A namespace without a name, a short key, or another bad value.
            StoreError: There is no store at `store`, or it is damaged.
            FingerprintError: The store on disk holds passages, but none by this model.
        """
        if invalid not in ("text", "error"):
            raise InputError(f"invalid must be 'text' or 'error', got {invalid!r}.")
        for name, value in (("max_references", max_references), ("max_rows", max_rows)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        if not isinstance(model, Cocom):
            raise InputError(f"model must be a Cocom model, got {type(model).__name__}.")
        self.model = model
        self.namespace = namespace
        self.store = _opened(store, model.fingerprint)
        self._signer = Signer(namespace, default_key() if key is None else key)
        self._invalid = invalid
        self._max_references = max_references
        self._max_rows = max_rows

    def with_model(self, model: Cocom) -> CocomView:
        """The same namespace, key, store and limits with another model."""
        view = copy(self)
        view.model = model
        return view

    def __deepcopy__(self, memo: object) -> CocomView:
        """The view itself: it stands for a model and a store of this process."""
        return self

    def compress(
        self,
        passages: Sequence[str | Passage],
        *,
        rate: int | None = None,
        query: str | None = None,
        batch_tokens: int = 8192,
    ) -> list[Reference]:
        """Give references to passages, which are compressed unless the store has them.

        Args:
            passages: Texts.
            rate: Passage tokens per embedding; None takes the model's first rate.
            query: What they are compressed for; only for models that compress for a question.
            batch_tokens: Rows in one forward pass, padding included.

        Returns:
            One reference a passage, in order; equal passages have equal ones.

        Raises:
            CocomError: As `Cocom.compress`.
        """
        kept = keep(self.model, self.store, passages, rate, query, batch_tokens)
        return [self._signer.mint(len(contexts), id) for id, contexts in kept]

    def contexts(
        self,
        passages: Sequence[str | Passage],
        *,
        rate: int | None = None,
        query: str | None = None,
        batch_tokens: int = 8192,
    ) -> list[ContextEmbeddings]:
        """As `compress`, but gives the context embeddings themselves."""
        kept = keep(self.model, self.store, passages, rate, query, batch_tokens)
        return [contexts for _, contexts in kept]

    def resolve(self, text: str) -> tuple[str | ContextEmbeddings, ...]:
        """Cut a text at its references: texts and the context embeddings between them, in order.

        Context embeddings that the store dropped are made again from its text; where that cannot be done,
        the passage's text stands there.

        Raises:
            InvalidReferenceError: A reference of another namespace, if those are errors.
            MissingContextError: A passage that the store does not have.
        """
        parts: list[str | ContextEmbeddings] = []
        at = 0
        for start, end, id, entry in self._found(text, texts=False):
            if start > at:
                parts.append(text[at:start])
            parts.append(made_ready(self.model, self.store, id, entry))
            at = end
        if at < len(text):
            parts.append(text[at:])
        return tuple(parts)

    def expand(self, text: str) -> str:
        """The text with every reference replaced by its passage, escaped; for models that read text.

        Raises:
            InvalidReferenceError: A reference of another namespace, if those are errors.
            MissingContextError: A passage whose text the store does not have.
        """
        parts: list[str] = []
        at = 0
        for start, end, id, entry in self._found(text, embeddings=False):
            parts += [text[at:start], escape(self._text(id, entry))]
            at = end
        return "".join([*parts, text[at:]])

    def originals(self, text: str) -> list[str]:
        """The passages that the references in a text stand for, as they were; errors as `expand`."""
        return [self._text(id, entry) for _, _, id, entry in self._found(text, embeddings=False)]

    def token_ids(self, text: str) -> list[int]:
        """Ids of a text's tokens, and for every slot of a reference in it a memory token's id."""
        return self._ids(text, lambda reference: reference.slots)

    def position_ids(self, text: str) -> list[int]:
        """As `token_ids`, but as many as the text takes of the model's window.

        These are more where memory positions are uniform: there, a reference takes the positions of all its
        passage's tokens, however few slots it has.
        """
        if self.model.config.memory_positions != "uniform":
            return self.token_ids(text)

        def positions(reference: Reference) -> int:
            (entry,) = self.store.get([reference.id])
            if entry is None or entry.contexts is None:
                return reference.slots * (1 if entry is None else entry.rate)
            return sum(window.tokens for window in entry.contexts.windows)

        return self._ids(text, positions)

    def _ids(self, text: str, size: Callable[[Reference], int]) -> list[int]:
        tokens = self.model.backbone.text
        slot = tokens.control_ids[self.model.config.memory_token_names()[0]]
        ids: list[int] = []
        at = 0
        for found in find(text):
            if self._signer.verify(found.reference):
                ids += tokens.encode_text(text[at : found.start]) if found.start > at else []
                ids += [slot] * size(found.reference)
                at = found.end
        return ids + (tokens.encode_text(text[at:]) if at < len(text) else [])

    def count_prompt_rows(self, conversation: str | Sequence[Speech]) -> int:
        """Rows of a conversation's whole prompt, within the view's limits or not; 0 if nobody speaks."""
        speeches = _speeches(conversation)
        if not any(text.strip() for _, text in speeches):
            return 0
        return self._request(speeches).rows

    def is_reference(self, text: str) -> bool:
        """Whether a text is one reference of this namespace, and nothing else."""
        return any(
            (found.start, found.end) == (0, len(text)) and self._signer.verify(found.reference)
            for found in find(text)
        )

    def count_rows(self, text: str) -> int:
        """Rows that a text takes in a prompt: its tokens, and the slots of its references."""
        return len(self.token_ids(text))

    def request(self, conversation: str | Sequence[Speech]) -> ReadRequest:
        """Lay out a conversation with references, or a text that is one user turn; see `reply`."""
        speeches = _speeches(conversation)
        self._check_count(sum(1 for _, text in speeches for _ in find(text)))
        return self._within_rows(self._request(speeches))

    def question_request(self, question: str, passages: Sequence[PassageLike]) -> ReadRequest:
        """Lay out one question as `Cocom.answer` does, within the view's limits."""
        self._check_count(sum(isinstance(p, ContextEmbeddings) for p in passages))
        return self._within_rows(self.model.request(question, passages))

    def request_for(
        self,
        question: str,
        passages: Sequence[PassageLike],
        options: GenerationOptions,
        scores: Sequence[float] | None = None,
    ) -> Request:
        """As `Cocom.request_for`, within the view's limits; of several prompts, each has `max_rows`."""
        self._check_count(sum(isinstance(p, ContextEmbeddings) for p in passages))
        request = self.model.request_for(question, passages, options, scores)
        for prompt in [request] if isinstance(request, ReadRequest) else request.prompts:
            self._within_rows(prompt)
        return request

    def _check_count(self, count: int) -> None:
        if count > self._max_references:
            raise PromptTooLongError(
                f"the prompt holds {count} references but max_references is {self._max_references}: pass "
                "fewer passages, or raise the limit."
            )

    def _within_rows(self, request: ReadRequest) -> ReadRequest:
        if self._max_rows is not None and request.rows > self._max_rows:
            raise PromptTooLongError(
                f"the prompt takes {request.rows} rows but max_rows is {self._max_rows}: pass fewer "
                "passages, a higher rate, or raise the limit."
            )
        return request

    def _request(self, speeches: Sequence[Speech]) -> ReadRequest:
        return self.model.chat_request([Turn(role, self.resolve(text)) for role, text in speeches])

    def reply(
        self,
        conversations: Sequence[str | Sequence[Speech]],
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> list[Answer]:
        """Continue conversations; calls from several threads share batches.

        Args:
            conversations: Roles and texts of each, or a text for a single user turn; references may stand
                in any.
            timeout: Seconds to wait for the answers; None waits as long as it takes.
            **options: Fields of `GenerationOptions`.

        Raises:
            AnswerTimeoutError: No answer in time.
            CocomError: As `resolve` and `Cocom.chat`.
        """
        settings = generation_options(options)
        requests = [self.request(conversation) for conversation in conversations]
        return self.model.batcher.run(requests, settings, timeout=timeout)

    async def areply(
        self, conversation: str | Sequence[Speech], *, timeout: float | None = None, **options: Any
    ) -> Answer:
        """Continue one conversation; neither the event loop nor a thread waits for the answer."""
        settings = generation_options(options)
        request = await asyncio.to_thread(self.request, conversation)
        return await self.model.batcher.arun(request, settings, timeout=timeout)

    def stream(
        self, conversation: str | Sequence[Speech], *, timeout: float | None = None, **options: Any
    ) -> AnswerStream:
        """Continue a conversation piece by piece; errors as `reply`."""
        settings = generation_options(options)
        return self.model.batcher.stream(self.request(conversation), settings, timeout=timeout)

    async def astream(
        self, conversation: str | Sequence[Speech], *, timeout: float | None = None, **options: Any
    ) -> AsyncAnswerStream:
        """`stream` for an event loop."""
        settings = generation_options(options)
        request = await asyncio.to_thread(self.request, conversation)
        return self.model.batcher.astream(request, settings, timeout=timeout)

    def _found(self, text: str, **wanted: bool) -> list[tuple[int, int, str, Entry]]:
        """The valid references of a text: where each stands, its id, and what the store has of it."""
        valid = []
        found_at = set()
        for found in find(text):
            found_at.add(found.start)
            if self._signer.verify(found.reference):
                valid.append(found)
            else:
                self._refuse(
                    f"the reference {found.reference} was not made by namespace {self.namespace!r} with this "
                    "key, or was changed"
                )
        broken = [start for start in beginnings(text) if start not in found_at]
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            self._refuse(
                f"there is a broken reference in the prompt, {text[broken[0] : broken[0] + 60]!r}{more}: "
                "something behind the compressor cut or changed it"
            )
        entries = self.store.get([found.reference.id for found in valid], **wanted)
        result = []
        for found, entry in zip(valid, entries, strict=True):
            if entry is None:
                raise MissingContextError(
                    f"the store has no passage {found.reference.id} for the reference "
                    f"{found.reference}: compress the passage again, give the store more room, or "
                    "share a store that outlives this process."
                )
            result.append((found.start, found.end, found.reference.id, entry))
        return result

    def _text(self, id: str, entry: Entry) -> str:
        if entry.text is None:
            raise MissingContextError(
                f"the store has the embeddings of passage {id} but not its text: keep texts in the store "
                "to expand references."
            )
        return entry.text

    def _refuse(self, message: str) -> None:
        if self._invalid == "error":
            raise InvalidReferenceError(f"{message}: compress the passage again.")
        _log.warning("%s; it is read as text.", message)


def _opened(store: ContextStore | str | PathLike[str] | None, fingerprint: str) -> ContextStore:
    """The store of a view, which must be one for its model."""
    if store is None:
        return default_store()
    if not isinstance(store, ContextStore):
        opened = open_store(store)
        try:
            return _opened(opened, fingerprint)
        except CocomError:
            opened.close()
            raise
    if store.durable:
        store.expect(fingerprint)
    return LayeredStore(store, MemoryStore()) if store.read_only else store


def _speeches(conversation: str | Sequence[Speech]) -> Sequence[Speech]:
    return [("user", conversation)] if isinstance(conversation, str) else conversation
