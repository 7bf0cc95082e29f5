"""Documents in a better order, with both scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr, field_serializer, field_validator

from cocom import Passage
from cocom.errors import InputError
from cocom.hard_writer import written_name
from cocom.retrieval.hits import Hit

__all__ = ["PassageReranker"]


class PassageReranker(
    BaseDocumentCompressor, RunnableSerializable[Sequence[Document], list[Document]]
):
    """Puts documents into the order in which a cross-encoder finds that they answer the question.

    Works as the compressor of a `ContextualCompressionRetriever` and, given the question, as a step:
    `reranker.bind(query=...)`. Ids and metadata stay, the retriever's scores too; the new ones are beside
    them. Put it before a compressor.

    Attributes:
        reranker: A `cocom.retrieval.Reranker` or something else that reranks, or a model, such as
            "cross:MODEL" or "dense:MODEL", loaded when it is first needed.
        k: Give this many of the best; None gives all.
        score_key: Where the metadata tell the new score, higher is better.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: Any = Field(repr=False)
    k: int | None = Field(default=None, ge=1)
    score_key: str = "rerank_score"

    _opened: tuple[Any, Any] | None = PrivateAttr(default=None)

    @field_validator("reranker")
    @classmethod
    def _check(cls, reranker: Any) -> Any:
        if isinstance(reranker, str) and reranker.startswith("<"):
            raise InputError(
                f"it was made with the reranker {reranker}, which JSON does not hold: make it anew."
            )
        if not isinstance(reranker, str | Path) and not callable(getattr(reranker, "rerank", None)):
            raise InputError(
                f"reranker must be a model's name or have rerank(question, hits, k), got "
                f"{type(reranker).__name__}."
            )
        return reranker

    def compress_documents(
        self, documents: Sequence[Document], query: str | None = None, callbacks: Callbacks = None
    ) -> list[Document]:
        """Give documents in a better order.

        Raises:
            InputError: No question, or documents that have `score_key` in their metadata, or that are
                references already.
        """
        if query is None or not query.strip():
            raise InputError(
                "the reranker got no question: put it behind a retriever that hands it on, or give it with "
                "query=."
            )
        for i, document in enumerate(documents):
            self._check_document(i, document)
        if not documents:
            return []
        hits = [
            Hit(Passage(doc.page_content, str(i)), 0.0, i + 1) for i, doc in enumerate(documents)
        ]
        found = self._open().rerank(query, hits, self.k)
        return [self._scored(documents[int(str(hit.passage.id))], hit) for hit in found]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str | None = None, callbacks: Callbacks = None
    ) -> list[Document]:
        """`compress_documents` in a thread, so that the event loop goes on."""
        return await run_in_executor(None, self.compress_documents, documents, query, callbacks)

    def invoke(
        self, input: Sequence[Document], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Give the documents that a retriever hands on in a better order for `query=`."""
        return self._call_with_config(self.compress_documents, input, config, **kwargs)

    async def ainvoke(
        self, input: Sequence[Document], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """`invoke` for an event loop."""
        return await self._acall_with_config(self.acompress_documents, input, config, **kwargs)

    def _check_document(self, index: int, document: Document) -> None:
        if not isinstance(document, Document):
            raise InputError(
                f"document {index} must be a Document, got {type(document).__name__}: give what a retriever "
                "found."
            )
        if self.score_key in document.metadata:
            raise InputError(
                f"the metadata of document {index} have a {self.score_key!r} already: choose another "
                "score_key."
            )
        notes = [note for note in document.metadata.values() if isinstance(note, dict)]
        if any(note.get("reference") == document.page_content for note in notes):
            raise InputError(
                f"document {index} is a reference to context embeddings, which a reranker cannot read: "
                "rerank before compressing."
            )

    def _scored(self, document: Document, hit: Hit) -> Document:
        metadata = {**document.metadata, self.score_key: float(hit.score)}
        return document.model_copy(update={"metadata": metadata})

    def _open(self) -> Any:
        from cocom.retrieval.opening import open_reranker

        if not isinstance(self.reranker, str | Path):
            return self.reranker
        opened = self._opened
        if opened is None or opened[0] != self.reranker:
            self._opened = opened = (self.reranker, open_reranker(str(self.reranker)))
        return opened[1]

    @field_serializer("reranker")
    def _name(self, value: Any) -> str | None:
        return written_name(value)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        memo[id(self.reranker)] = self.reranker
        return super().__deepcopy__(memo)
