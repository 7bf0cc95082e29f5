"""What `cocom.retrieval` finds, as LangChain's documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, field_validator

from cocom import Passage
from cocom.errors import InputError
from cocom.retrieval.hits import Hit, RerankedHit
from langchain_cocom.corpus import passages_of

__all__ = ["PassageRetriever"]


class PassageRetriever(BaseRetriever):
    """Any retriever of `cocom.retrieval`, or of yours with its `retrieve(question, k)`, for LangChain.

    Its documents have the ids and metadata of their passages, and their scores beside these. A
    `SwappableRetriever` may get another index meanwhile.

        PassageRetriever.from_documents(documents, "bm25", k=5)

    Attributes:
        retriever: Finds passages.
        k: How many documents to find; a call may say another number. None leaves it to the retriever.
        score_key: Where the metadata tell how well a document matches, higher is better; None leaves it out.
        first_score_key: Where they tell what it scored before it was reranked, if it was.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: Any = Field(exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    score_key: str | None = "score"
    first_score_key: str | None = "retrieval_score"

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        retriever: str = "bm25",
        *,
        k: int | None = None,
        **settings: Any,
    ) -> Self:
        """Search in documents, which are held in memory; those without text are passed over.

        Args:
            documents: What to search.
            retriever: How: "bm25", or how and with which model, such as "dense:MODEL"; see
                `cocom.retrieval.opening.open_retriever`.
            k: How many documents to find; None leaves it to the retriever.
            **settings: The other attributes.

        Raises:
            InputError: Nothing to search, or documents that have `score_key` in their metadata.
            CocomError: As the retriever.
        """
        from cocom.retrieval.opening import open_retriever

        passages = list(passages_of(documents))
        key = settings.get("score_key", cls.model_fields["score_key"].default)
        for i, passage in enumerate(passages):
            _check_free(passage, key, f"document {i}", "score_key")
        return cls(retriever=open_retriever(retriever, passages), k=k, **settings)

    @field_validator("retriever")
    @classmethod
    def _check(cls, retriever: Any) -> Any:
        if not callable(getattr(retriever, "retrieve", None)):
            raise InputError(
                f"retriever must have retrieve(question, k), as those of cocom.retrieval, got "
                f"{type(retriever).__name__}: for documents, call from_documents()."
            )
        return retriever

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
    ) -> list[Document]:
        wanted = self.k if k is None else k
        found = self.retriever.retrieve(query, *(() if wanted is None else (wanted,)))
        return [self._document(hit) for hit in found]

    def _document(self, hit: Hit) -> Document:
        passage = hit.passage
        metadata = dict(passage.metadata)
        scores = {"score_key": hit.score}
        if isinstance(hit, RerankedHit):
            scores["first_score_key"] = hit.first_score
        for name, score in scores.items():
            key = getattr(self, name)
            if key is not None:
                _check_free(passage, key, f"passage {passage.id or hit.rank}", name)
                metadata[key] = float(score)
        return Document(page_content=passage.text, id=passage.id, metadata=metadata)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        memo[id(self.retriever)] = self.retriever
        return super().__deepcopy__(memo)


def _check_free(passage: Passage, key: str | None, what: str, name: str) -> None:
    if key is not None and key in passage.metadata:
        raise InputError(f"the metadata of {what} have a {key!r} already: choose another {name}.")
