"""What a retriever searches, as passages: to compress it before anybody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from langchain_core.documents import Document
from langchain_core.stores import BaseStore
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel

from cocom import Passage
from cocom.errors import InputError

__all__ = ["passages_of"]

# What retrievers around others, and those around vector stores, call them.
_ONE = ("base_retriever", "retriever", "bound", "vectorstore")
_SEVERAL = "retrievers"
_BATCH = 256


def passages_of(holder: Any) -> Iterator[Passage]:
    """The passages that a `CocomDocumentCompressor` behind a retriever would be given, all of them.

    Their texts are the documents' as they stand, so that what `cocom index build` compresses is found when a
    question is asked. Documents without text are passed over, as the compressor leaves them as they are.
    What stands between retriever and compressor and writes texts anew, such as a splitter, is not known here.

    Example:
        def passages():  # cocom index build python:my_app:passages index/
            return passages_of(retriever)

    Args:
        holder: A retriever or vector store that holds its documents in this process, a retriever around
            others, a document store, or documents. Of a retriever that searches children, the parents.

    Returns:
        The passages, with the ids and metadata of their documents; a document that two retrievers
        hold comes twice.

    Raises:
        InputError: The documents cannot be listed, as those of a remote database, or are none.
    """
    return (
        Passage(document.page_content, document.id or None, document.metadata)
        for document in _documents(holder)
        if document.page_content.strip()
    )


def _documents(holder: Any) -> Iterator[Document]:
    held = _held(holder)
    if held is not None:
        return held
    for name in _ONE:
        inner = getattr(holder, name, None)
        if inner is not None:
            return _documents(inner)
    several = getattr(holder, _SEVERAL, None)
    if isinstance(several, list | tuple):
        return chain.from_iterable([_documents(inner) for inner in several])
    # A retriever is iterable too: pydantic models give their fields.
    if isinstance(holder, Iterable) and not isinstance(holder, str | bytes | Mapping | BaseModel):
        return _checked(holder)
    raise InputError(
        f"the documents of {type(holder).__name__} cannot be listed, because it does not hold them in this "
        "process: give the documents themselves, as an iterable."
    )


def _held(holder: Any) -> Iterator[Document] | None:
    """The documents that a holder itself has, or None.

    A retriever that gives parents has these in a docstore, and their children in a vector store.
    """
    if isinstance(holder, BaseStore):
        return _values(holder)
    if isinstance(holder, InMemoryVectorStore):
        return (
            Document(kept["text"], id=kept["id"], metadata=kept["metadata"])
            for kept in list(holder.store.values())
        )
    documents = getattr(holder, "docs", None)
    if isinstance(documents, list | tuple):
        return _checked(documents)
    docstore = getattr(holder, "docstore", None)
    if isinstance(docstore, BaseStore):
        return _values(docstore)
    by_id = getattr(docstore, "_dict", None)
    return _checked(list(by_id.values())) if isinstance(by_id, dict) else None


def _values(store: BaseStore[str, Any]) -> Iterator[Document]:
    keys = list(store.yield_keys())
    parts = (store.mget(keys[at : at + _BATCH]) for at in range(0, len(keys), _BATCH))
    return _checked(value for part in parts for value in part if value is not None)


def _checked(documents: Iterable[Any]) -> Iterator[Document]:
    for i, document in enumerate(documents):
        if not isinstance(document, Document):
            raise InputError(
                f"document {i} must be a Document, got {type(document).__name__}: give what a retriever "
                "would find."
            )
        yield document
