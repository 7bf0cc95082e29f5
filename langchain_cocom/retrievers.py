"""A retriever whose documents come compressed."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from pydantic import ConfigDict, Field

from langchain_cocom.documents import CocomDocumentCompressor

__all__ = ["CocomRetriever"]


class CocomRetriever(BaseRetriever):
    """Any retriever with a `CocomDocumentCompressor` behind it, which is handed the question too.

    Attributes:
        retriever: Finds the documents.
        compressor: Compresses them.
        k: Keep this many of the best; None keeps all.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: RetrieverLike
    compressor: CocomDocumentCompressor
    k: int | None = Field(default=None, ge=1)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        config: Any = {"callbacks": run_manager.get_child()}
        found = self.retriever.invoke(query, config, **kwargs)
        return self.compressor.compress_documents(found[: k or self.k], query)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        config: Any = {"callbacks": run_manager.get_child()}
        found = await self.retriever.ainvoke(query, config, **kwargs)
        return await self.compressor.acompress_documents(found[: k or self.k], query)
