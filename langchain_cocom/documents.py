"""Documents in, documents out: compress what a retriever found, or a corpus beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, Field, model_validator

from cocom.errors import InputError, MissingContextError
from cocom.hard_writer import original_of, recovered
from cocom.references import escape
from cocom.writer import PassageWriter, WrittenPassage
from langchain_cocom.bound import BoundToModel
from langchain_cocom.methods import WithMethod

__all__ = ["CocomDocumentCompressor", "CocomDocumentTransformer"]


class CocomDocumentCompressor(
    WithMethod, BaseDocumentCompressor, RunnableSerializable[Sequence[Document], list[Document]]
):
    """Puts a reference in the place of each document's text; a Cocom model reads it as embeddings.

    Works as the compressor of a `ContextualCompressionRetriever` and as a step, `retriever | compressor`. The
    documents are new ones, in the same order, with their ids and metadata. `restore_documents` gives
    their texts back. Put it last: a splitter behind it would cut references apart.

    With a hard `method` it leaves out tokens of the texts instead, which any language model can read.
    The documents come in the order that the method gives them, and those of which nothing stays are
    left out: the metadata of the others tell how many, and so does the log.

    Attributes:
        as_text: The best this many documents stay text, the first ones being the best ("cocom").
        min_tokens: Documents with fewer tokens stay text ("cocom").
        metadata_key: Where the metadata tell what became of the text.
        keep_text: Whether the original text stays in the "store" only, or also in the "metadata".
        on_error: What becomes of a document that cannot be compressed: "raise", or "passthrough" leaves it as
            text ("cocom").
        batch_tokens: Rows in one forward pass, padding included ("cocom").
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    as_text: int = Field(default=0, ge=0)
    min_tokens: int = Field(default=0, ge=0)
    metadata_key: str = "cocom"
    keep_text: Literal["store", "metadata"] = "store"
    on_error: Literal["raise", "passthrough"] = "raise"
    batch_tokens: int = Field(default=8192, ge=1)

    @property
    def _writer(self) -> PassageWriter:
        return PassageWriter(
            self.view,
            self._soft_rate,
            self.as_text,
            self.min_tokens,
            self.on_error,
            self.batch_tokens,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self._is_hard:
            _ = self._hard_writer
        elif not isinstance(self.engine, str):  # a name is loaded when it is needed
            _ = self._writer
        return self

    def compress_documents(
        self, documents: Sequence[Document], query: str | None = None, callbacks: Callbacks = None
    ) -> list[Document]:
        """Compress documents; `query` matters to models and methods that compress for a question only.

        Raises:
            CocomError: A document cannot be compressed, if that is to be raised.
            InputError: Something that is no document, metadata that have `metadata_key` already, or no
                `query` for a method that needs one.
        """
        for i, document in enumerate(documents):
            if not isinstance(document, Document):
                raise InputError(
                    f"document {i} must be a Document, got {type(document).__name__}: give what a retriever "
                    "found."
                )
        if self._is_hard:
            return self._shortened(documents, query)
        done = [self._is_compressed(doc) for doc in documents]
        texts = [
            doc.page_content for doc, is_done in zip(documents, done, strict=True) if not is_done
        ]
        written = iter(self._writer.write(texts, query=query))
        return [
            doc if is_done else self._rewritten(doc, next(written))
            for doc, is_done in zip(documents, done, strict=True)
        ]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str | None = None, callbacks: Callbacks = None
    ) -> list[Document]:
        """`compress_documents` in a thread, so that the event loop goes on."""
        return await run_in_executor(None, self.compress_documents, documents, query, callbacks)

    def invoke(
        self, input: Sequence[Document], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Compress the documents that a retriever hands on; `query=` may tell what for."""
        return self._call_with_config(self.compress_documents, input, config, **kwargs)

    async def ainvoke(
        self, input: Sequence[Document], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """`invoke` for an event loop."""
        return await self._acall_with_config(self.acompress_documents, input, config, **kwargs)

    def restore_documents(self, documents: Sequence[Document]) -> list[Document]:
        """The documents with their original texts, and without what the compressor noted.

        Where a text that was not compressed, or a value of the metadata, could have been taken for a
        reference, it keeps the space that the compressor put in.

        Raises:
            MissingContextError: A text that neither metadata nor store has.
        """
        return [self._restored(doc) for doc in documents]

    def recover(self, answer: str, documents: Sequence[Document]) -> str:
        """An answer in which what was quoted from shortened documents reads as it does in their texts.

        For answers of a model that read what a hard method left. As a step of a chain:
        `RunnableLambda(lambda out: compressor.recover(out["answer"], out["context"]))`.

        Args:
            answer: What the model said.
            documents: What it read, as this compressor gave them.

        Raises:
            MissingContextError: A text that neither metadata nor store has.
        """
        notes = [doc.metadata.get(self.metadata_key) for doc in documents]
        passages = [
            (doc.page_content, self._original(note), note)
            for doc, note in zip(documents, notes, strict=True)
            if isinstance(note, dict) and "spans" in note
        ]
        return recovered(answer, passages)

    def _shortened(self, documents: Sequence[Document], query: str | None) -> list[Document]:
        """Documents of which a hard method left out tokens."""
        for i, document in enumerate(documents):
            self._check_free(document)
            notes = [note for note in document.metadata.values() if isinstance(note, dict)]
            if any(note.get("reference") == document.page_content for note in notes):
                raise InputError(
                    f"document {i} is a reference to context embeddings, which has no tokens to leave out: "
                    f"put method {self.method!r} before what compressed it."
                )
        written = self._hard_writer.write([doc.page_content for doc in documents], query=query)
        return [self._noted(documents[one.index], one.text, one.note) for one in written]

    def _is_compressed(self, document: Document) -> bool:
        """Whether this was done before; what a document says of itself is not enough."""
        note = document.metadata.get(self.metadata_key)
        return (
            isinstance(note, dict)
            and note.get("reference") == document.page_content
            and self.view.is_reference(document.page_content)
        )

    def _check_free(self, document: Document) -> None:
        note = document.metadata.get(self.metadata_key)
        if isinstance(note, dict) and "reference" in note:
            raise InputError(
                "a document holds a reference that another namespace or key made, or that was changed: "
                "restore it with the compressor that made it, or retrieve it again."
            )
        if self.metadata_key in document.metadata:
            raise InputError(
                f"the metadata of a document have a {self.metadata_key!r} already: choose another "
                "metadata_key for what the compressor notes."
            )

    def _rewritten(self, document: Document, written: WrittenPassage) -> Document:
        self._check_free(document)
        note: dict[str, Any] = {"compressed": written.reference is not None}
        if written.reference is not None:
            note |= {
                "reference": written.text,
                "id": written.reference.id,
                "slots": written.reference.slots,
                "rate": self.view.model.config.check_rate(self._soft_rate),
            }
        else:
            note["reason"] = written.reason
        return self._noted(document, written.text, note)

    def _noted(self, document: Document, text: str, note: dict[str, Any]) -> Document:
        if self.keep_text == "metadata":
            note = {**note, "text": escape(document.page_content)}
        metadata = {**_escaped(document.metadata), self.metadata_key: note}
        return document.model_copy(update={"page_content": text, "metadata": metadata})

    def _restored(self, document: Document) -> Document:
        metadata = dict(document.metadata)
        note = metadata.pop(self.metadata_key, None)
        if not isinstance(note, dict):
            return document
        text = document.page_content
        if note.get("compressed"):
            text = self._original(note, text)
        return document.model_copy(update={"page_content": text, "metadata": metadata})

    def _original(self, note: dict[str, Any], text: str = "") -> str:
        """The whole text of a document, by its note and the reference in its place."""
        try:
            if "method" in note:
                return original_of(note, self.namespace)
            return "".join(self.view.originals(text))
        except MissingContextError:
            if "text" not in note:
                raise
            return str(note["text"])


class CocomDocumentTransformer(BoundToModel, BaseDocumentTransformer):
    """Compresses a corpus beforehand: the texts stay, embeddings go into the store, an id into the metadata.

    Run it over what you put into a vector store; at question time the `CocomDocumentCompressor` finds the
    embeddings ready. Only the id is written, so keys can change later.

    Attributes:
        compression_rate: Passage tokens per embedding; None takes the model's first rate.
        batch_tokens: Rows in one forward pass, padding included.
        metadata_key: Where the id goes.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    compression_rate: int | None = None
    batch_tokens: int = Field(default=8192, ge=1)
    metadata_key: str = "cocom_id"

    def transform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        """Compress documents into the store; those without text stay as they are."""
        full = [doc for doc in documents if doc.page_content.strip()]
        references = iter(
            self.view.compress(
                [doc.page_content for doc in full],
                rate=self.compression_rate,
                batch_tokens=self.batch_tokens,
            )
        )
        return [
            doc.model_copy(
                update={"metadata": {**doc.metadata, self.metadata_key: next(references).id}}
            )
            if doc.page_content.strip()
            else doc
            for doc in documents
        ]


def _escaped(value: Any) -> Any:
    """Metadata in which no text can be taken for a reference."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | set | frozenset):
        return type(value)(_escaped(item) for item in value)
    if isinstance(value, tuple):
        return tuple(_escaped(item) for item in value)
    return value
