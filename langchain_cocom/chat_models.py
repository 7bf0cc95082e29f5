"""A chat model that reads references as context embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from pydantic import ConfigDict

from cocom import Answer
from langchain_cocom.decoding import Decoding, usage_of
from langchain_cocom.messages import to_speeches

__all__ = ["ChatCocom"]


class ChatCocom(Decoding, BaseChatModel):
    """A local Cocom model as a LangChain chat model.

    References that a `CocomDocumentCompressor` wrote may stand in any message: their context embeddings
    are read in their place. Calls from many threads or tasks share batches. `usage_metadata` counts the rows
    the model really read. Its fields are those of `Decoding`, and `streaming`: whether `invoke` streams to
    callbacks.

        ChatCocom(engine=model, max_tokens=64).invoke("Who wrote Ulysses?")
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    streaming: bool = False

    @property
    def _llm_type(self) -> str:
        return "cocom"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self._identity()

    async def agenerate(self, *args: Any, **kwargs: Any) -> LLMResult:
        """As LangChain's, which asks for the model before it awaits anything: load it first."""
        await self._open()
        return await super().agenerate(*args, **kwargs)

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[AIMessageChunk]:
        """As LangChain's, the model loaded first."""
        await self._open()
        async for piece in super().astream(*args, **kwargs):
            yield piece

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        view = self._view_for(kwargs)
        (answer,) = view.reply([to_speeches(messages)], **self._options(stop, kwargs))
        return self._result(answer, kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        view = await asyncio.to_thread(self._view_for, kwargs)
        answer = await view.areply(to_speeches(messages), **self._options(stop, kwargs))
        return self._result(answer, kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        view = self._view_for(kwargs)
        with view.stream(to_speeches(messages), **self._options(stop, kwargs)) as stream:
            for piece in stream:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            yield self._last_chunk(stream.answer, kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        view = await asyncio.to_thread(self._view_for, kwargs)
        async with await view.astream(
            to_speeches(messages), **self._options(stop, kwargs)
        ) as stream:
            async for piece in stream:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
                if run_manager is not None:
                    await run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            yield self._last_chunk(stream.answer, kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Ids of a text's tokens; a reference counts as many as it has slots."""
        return self.view.token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        """Rows that messages take in the model's own prompt."""
        return self.view.count_prompt_rows(to_speeches(messages))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        self._tell(params, stop, kwargs)
        return params

    def _result(self, answer: Answer, options: dict[str, Any]) -> ChatResult:
        message = AIMessage(
            content=answer.text,
            usage_metadata=_usage_metadata(answer),
            response_metadata={"model_name": self._name_for(options), **usage_of(answer)},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last_chunk(self, answer: Answer, options: dict[str, Any]) -> ChatGenerationChunk:
        message = AIMessageChunk(
            content="",
            usage_metadata=_usage_metadata(answer),
            response_metadata={"model_name": self._name_for(options), **usage_of(answer)},
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)


def _usage_metadata(answer: Answer) -> UsageMetadata:
    usage = answer.usage
    return UsageMetadata(
        input_tokens=usage.prompt_rows,
        output_tokens=usage.generated_tokens,
        total_tokens=usage.prompt_rows + usage.generated_tokens,
    )
