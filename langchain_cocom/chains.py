"""A retrieval chain in which no reference is ever text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, SupportsFloat

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.documents import Document
from langchain_core.retrievers import RetrieverLike
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field

from cocom import Answer, CocomView, ContextEmbeddings
from cocom.errors import InputError
from cocom.generation import Fusion, GenerationOptions, generation_options
from cocom.reader import Request
from langchain_cocom.decoding import Decoding

__all__ = ["CocomRetrievalChain"]


class CocomRetrievalChain(Decoding, RunnableSerializable[Any, dict[str, Any]]):
    """Retrieves, compresses and answers in one step, with the model's own prompt.

    The strict way: passages go to the model as embeddings, never through a prompt's text, and there is no
    reference that anybody could forge. In and out as LangChain's retrieval chains: a question, or a
    dictionary with it under "input"; out comes that with "context" (the documents as the retriever gave
    them) and "answer". Where documents are read apart, "fusion" has the answer's log-probability and each
    document's share in it. Further fields are those of `Decoding`.

    Attributes:
        retriever: Finds the documents.
        compression_rate: Passage tokens per embedding; None takes the model's first rate.
        as_text: The best this many documents are read as text, the first ones being the best.
        fusion: "concat" reads all documents in one prompt; "rag-token", "rag-sequence" and
            "rag-sequence-fast" read each in a prompt of its own and weigh what these say. A call may say
            another one.
        score_key: Where the metadata have the retriever's scores, higher is better, by which documents that
            are read apart count; None finds all alike.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: RetrieverLike
    compression_rate: int | None = None
    as_text: int = Field(default=0, ge=0)
    fusion: Fusion = "concat"
    score_key: str | None = None

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Answer a question."""
        return self._call_with_config(self._answer, _asked(input), config, **kwargs)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """`invoke` for an event loop."""
        return await self._acall_with_config(self._aanswer, _asked(input), config, **kwargs)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Input and documents first, then the answer piece by piece."""
        yield from self._transform_stream_with_config(iter([input]), self._pieces, config, **kwargs)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """`stream` for an event loop."""

        async def given() -> AsyncIterator[Any]:
            yield input

        async for part in self._atransform_stream_with_config(
            given(), self._apieces, config, **kwargs
        ):
            yield part

    def _pieces(
        self,
        given: Iterator[Any],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        for asked in map(_asked, given):
            documents = self.retriever.invoke(asked["input"], config)
            yield {**asked, "context": documents}
            view, request, options, timeout = self._prepare(asked["input"], documents, kwargs)
            with view.model.batcher.stream(request, options, timeout=timeout) as pieces:
                for piece in pieces:
                    yield {"answer": piece}
                if fused := _fusion(pieces.answer, documents):
                    yield fused

    async def _apieces(
        self,
        given: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        async for one in given:
            asked = _asked(one)
            documents = await self.retriever.ainvoke(asked["input"], config)
            yield {**asked, "context": documents}
            view, request, options, timeout = await asyncio.to_thread(
                self._prepare, asked["input"], documents, kwargs
            )
            async with view.model.batcher.astream(request, options, timeout=timeout) as pieces:
                async for piece in pieces:
                    yield {"answer": piece}
                if fused := _fusion(pieces.answer, documents):
                    yield fused

    def _answer(
        self,
        asked: dict[str, Any],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> dict[str, Any]:
        documents = self.retriever.invoke(asked["input"], config)
        view, request, options, timeout = self._prepare(asked["input"], documents, kwargs)
        (answer,) = view.model.batcher.run([request], options, timeout=timeout)
        return {
            **asked,
            "context": documents,
            "answer": answer.text,
            **_fusion(answer, documents),
        }

    async def _aanswer(
        self,
        asked: dict[str, Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> dict[str, Any]:
        documents = await self.retriever.ainvoke(asked["input"], config)
        view, request, options, timeout = await asyncio.to_thread(
            self._prepare, asked["input"], documents, kwargs
        )
        answer = await view.model.batcher.arun(request, options, timeout=timeout)
        return {
            **asked,
            "context": documents,
            "answer": answer.text,
            **_fusion(answer, documents),
        }

    def _prepare(
        self, question: str, documents: Sequence[Document], given: dict[str, Any]
    ) -> tuple[CocomView, Request, GenerationOptions, float | None]:
        """The prompt of a question and how to decode its answer; documents without text are passed over."""
        fusion = given.get("fusion", self.fusion)
        given = {name: value for name, value in given.items() if name != "fusion"}
        view = self._view_for(given)
        settings = self._options(given.pop("stop", None), given)
        timeout = settings.pop("timeout", None)
        options = generation_options({**settings, "fusion": fusion})
        texts = [doc.page_content for doc in documents if doc.page_content.strip()]
        # Somebody may have put a compressor behind the retriever already.
        references = {i for i, text in enumerate(texts) if view.is_reference(text)}
        fresh = [i for i in range(len(texts)) if i not in references and i >= self.as_text]
        contexts = view.contexts(
            [texts[i] for i in fresh],
            rate=self.compression_rate,
            query=question if view.model.reads_query else None,
        )
        made: dict[int, str | ContextEmbeddings] = dict(zip(fresh, contexts, strict=True))
        made |= {i: view.resolve(texts[i])[0] for i in references}
        read = [made.get(i, text) for i, text in enumerate(texts)]
        scores = None if options.fusion == "concat" else self._scores(documents)
        return view, view.request_for(question, read, options, scores), options, timeout

    def _scores(self, documents: Sequence[Document]) -> list[float] | None:
        if self.score_key is None:
            return None
        scores: list[float] = []
        for i, doc in enumerate(documents):
            score = doc.metadata.get(self.score_key)
            if not doc.page_content.strip():
                continue
            if isinstance(score, bool) or not isinstance(score, SupportsFloat):
                raise InputError(
                    f"document {i} has {score!r:.40} for a score under {self.score_key!r} in its metadata: "
                    "use a retriever that gives numbers there, or leave score_key out."
                )
            scores.append(float(score))
        return scores


def _fusion(answer: Answer, documents: Sequence[Document]) -> dict[str, Any]:
    """What is said of an answer from documents that were read apart, each one's share in its place."""
    if answer.fusion is None:
        return {}
    shares = iter(answer.fusion.shares)
    return {
        "fusion": {
            "log_probability": answer.fusion.log_probability,
            "shares": [next(shares) if doc.page_content.strip() else 0.0 for doc in documents],
        }
    }


def _asked(given: Any) -> dict[str, Any]:
    asked = {"input": given} if isinstance(given, str) else given
    if not isinstance(asked, dict) or not isinstance(asked.get("input"), str):
        raise InputError(
            f"the chain got {given!r:.80}, but expected a question, or a dictionary with one under 'input'."
        )
    return asked
