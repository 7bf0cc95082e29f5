"""Answers from nodes with the model's own prompt, and from each node in a prompt of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core import Settings
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers.base import BaseSynthesizer, QueryTextType
from llama_index.core.schema import NodeWithScore
from llama_index.core.types import RESPONSE_TEXT_TYPE

from cocom import Answer, ContextEmbeddings
from cocom.errors import InputError
from cocom.generation import Fusion, GenerationOptions, generation_options
from cocom.reader import Request
from llamaindex_cocom.errors import heard
from llamaindex_cocom.llm import CocomLLM
from llamaindex_cocom.nodes import CompressedNode, passage_text
from llamaindex_cocom.prompts import make_prompt_helper

__all__ = ["CocomSynthesizer"]

_Prepared = tuple[Request, GenerationOptions, float | None]


class CocomSynthesizer(BaseSynthesizer):
    """Compresses nodes and answers from them with the model's own prompt; no reference is ever text.

    It reads the texts of nodes without their metadata. Nodes that a `CocomNodePostprocessor` compressed
    are read as they are.

        index.as_query_engine(response_synthesizer=CocomSynthesizer(llm, fusion="rag-token"))

    Where nodes are read apart, the metadata of a response have under "fusion" the answer's log-probability
    and each source node's share in it; those of a stream have it when it has been read to its end.
    """

    def __init__(
        self,
        llm: CocomLLM | None = None,
        *,
        fusion: Fusion = "concat",
        use_scores: bool = False,
        compression_rate: int | None = None,
        as_text: int = 0,
        streaming: bool = False,
        empty_response: str | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Make a synthesizer.

        Args:
            llm: The model; None takes LlamaIndex's default, if that is a `CocomLLM`.
            fusion: "concat" reads all nodes in one prompt; "rag-token", "rag-sequence" and
                "rag-sequence-fast" read each in a prompt of its own and weigh what these say.
            use_scores: Whether nodes that are read apart count by their scores, higher is better; else all
                count alike.
            compression_rate: Passage tokens per embedding; None takes the model's first rate.
            as_text: The first this many nodes are read as text.
            streaming: Whether answers come piece by piece.
            empty_response: What is said where there are no nodes.
            callback_manager: Told about each answer.

        Raises:
            InputError: The model is none, or an option cannot be.
        """
        model = Settings._llm if llm is None else llm  # what nobody set would be OpenAI's
        if not isinstance(model, CocomLLM):
            raise InputError(f"llm must be a CocomLLM, got {type(model).__name__}: give one.")
        if as_text < 0:
            raise InputError(f"as_text must be 0 or more, got {as_text}.")
        GenerationOptions(fusion=fusion)
        super().__init__(
            llm=model,
            callback_manager=callback_manager,
            prompt_helper=make_prompt_helper(model),
            streaming=streaming,
            empty_response=empty_response,
        )
        self._model = model
        self._fusion = fusion
        self._use_scores = use_scores
        self._rate = compression_rate
        self._as_text = as_text

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        """The prompt is the model's own."""

    def synthesize(
        self,
        query: QueryTextType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """Answer a question from nodes; further arguments are options of this answer."""
        told = _Told(nodes)
        response = super().synthesize(
            query, nodes, additional_source_nodes, **response_kwargs, found=nodes, told=told
        )
        return self._telling(response, told, response_kwargs)

    async def asynthesize(
        self,
        query: QueryTextType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """`synthesize` for an event loop, which is not blocked."""
        told = _Told(nodes)
        response = await super().asynthesize(
            query, nodes, additional_source_nodes, **response_kwargs, found=nodes, told=told
        )
        return self._telling(response, told, response_kwargs)

    def get_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Answer a question from texts, which are compressed as the texts of nodes are."""
        told: _Told = response_kwargs.pop("told", None) or _Told(())
        prepared = self._prepare(query_str, text_chunks, response_kwargs)
        if self._streaming:
            return self._pieces(prepared, told)
        request, options, timeout = prepared
        with heard():
            (answer,) = self._model.view.model.batcher.run([request], options, timeout=timeout)
        told.hear(answer)
        return answer.text

    async def aget_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """`get_response` for an event loop, which is not blocked."""
        told: _Told = response_kwargs.pop("told", None) or _Told(())
        prepared = await asyncio.to_thread(self._prepare, query_str, text_chunks, response_kwargs)
        if self._streaming:
            return self._apieces(prepared, told)
        request, options, timeout = prepared
        with heard():
            answer = await self._model.view.model.batcher.arun(request, options, timeout=timeout)
        told.hear(answer)
        return answer.text

    def _pieces(self, prepared: _Prepared, told: _Told) -> Generator[str, None, None]:
        request, options, timeout = prepared
        batcher = self._model.view.model.batcher
        with heard(), batcher.stream(request, options, timeout=timeout) as stream:
            yield from stream
            told.hear(stream.answer)

    async def _apieces(self, prepared: _Prepared, told: _Told) -> AsyncGenerator[str, None]:
        request, options, timeout = prepared
        batcher = self._model.view.model.batcher
        with heard():
            async with batcher.astream(request, options, timeout=timeout) as stream:
                async for piece in stream:
                    yield piece
                told.hear(stream.answer)

    def _prepare(self, question: str, chunks: Sequence[str], given: dict[str, Any]) -> _Prepared:
        """The prompts of a question, and how to decode its answer."""
        nodes: list[NodeWithScore] | None = given.pop("found", None)
        fusion = given.pop("fusion", self._fusion)
        with heard():
            settings = self._model._options(given)
            timeout = settings.pop("timeout", None)
            options = generation_options({**settings, "fusion": fusion})
            read = self._read(question, chunks if nodes is None else nodes)
            scores = None
            if self._use_scores and options.fusion != "concat":
                scores = _scores(nodes or [])
            request = self._model.view.request_for(question, read, options, scores)
        return request, options, timeout

    def _read(
        self, question: str, given: Sequence[str | NodeWithScore]
    ) -> list[str | ContextEmbeddings]:
        """What is read of nodes or texts, blank ones left out."""
        view = self._model.view
        read: dict[int, str | ContextEmbeddings] = {}
        fresh: dict[int, str] = {}
        for i, one in enumerate(given):
            node = one.node if isinstance(one, NodeWithScore) else None
            compressed = node if isinstance(node, CompressedNode) else None
            if compressed is not None and compressed.reference is not None:
                read[i] = view.resolve(compressed.reference)[0]
                continue
            text = _text(one)
            if text.strip() and len(read) + len(fresh) < self._as_text:
                read[i] = text
            elif text.strip():
                fresh[i] = text
        contexts = view.contexts(
            list(fresh.values()),
            rate=self._rate,
            query=question if view.model.reads_query else None,
        )
        read |= dict(zip(fresh, contexts, strict=True))
        return [read[i] for i in sorted(read)]

    def _telling(
        self, response: RESPONSE_TYPE, told: _Told, given: dict[str, Any]
    ) -> RESPONSE_TYPE:
        if given.get("fusion", self._fusion) != "concat" and response.source_nodes:
            response.metadata = {**(response.metadata or {}), "fusion": told.fusion}
        return response


class _Told:
    """What an answer from nodes that are read apart says of them, once it is there.

    Attributes:
        fusion: Its log-probability, and each node's share in it.
    """

    def __init__(self, nodes: Sequence[NodeWithScore]) -> None:
        self._full = [bool(_text(n).strip()) for n in nodes]
        self.fusion: dict[str, Any] = {}

    def hear(self, answer: Answer) -> None:
        if answer.fusion is not None:
            shares = iter(answer.fusion.shares)
            self.fusion["log_probability"] = answer.fusion.log_probability
            self.fusion["shares"] = [next(shares) if full else 0.0 for full in self._full]


def _text(given: str | NodeWithScore) -> str:
    if isinstance(given, str):
        return given
    node = given.node
    # What a hard method left, where one was before.
    return node._read if isinstance(node, CompressedNode) else passage_text(node)


def _scores(nodes: Sequence[NodeWithScore]) -> list[float]:
    scores: list[float] = []
    for n in nodes:
        if not _text(n).strip():
            continue
        if n.score is None:
            raise InputError(
                f"node {n.node.node_id} has no score, but use_scores is on: use a retriever that gives "
                "scores, or turn it off."
            )
        scores.append(n.score)
    return scores
