"""A text-in, text-out model that reads references as context embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM, LangSmithParams
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from pydantic import ConfigDict

from cocom import Answer
from langchain_cocom.decoding import Decoding, usage_of

__all__ = ["CocomLLM"]


class CocomLLM(Decoding, BaseLLM):
    """A local Cocom model as a LangChain LLM; a prompt is one user turn.

    `batch` reads its prompts together. Its fields are those of `Decoding`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

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

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[str]:
        """As LangChain's, the model loaded first."""
        await self._open()
        async for piece in super().astream(*args, **kwargs):
            yield piece

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        view = self._view_for(kwargs)
        answers = view.reply(
            [[("user", prompt)] for prompt in prompts], **self._options(stop, kwargs)
        )
        return self._result(answers, kwargs)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        view = await asyncio.to_thread(self._view_for, kwargs)
        options = self._options(stop, kwargs)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(view.areply([("user", prompt)], **options))
                    for prompt in prompts
                ]
        except* Exception as errors:
            raise errors.exceptions[0] from None
        return self._result([task.result() for task in tasks], kwargs)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        view = self._view_for(kwargs)
        with view.stream([("user", prompt)], **self._options(stop, kwargs)) as stream:
            for piece in stream:
                chunk = GenerationChunk(text=piece)
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=usage_of(stream.answer))

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        view = await asyncio.to_thread(self._view_for, kwargs)
        async with await view.astream([("user", prompt)], **self._options(stop, kwargs)) as stream:
            async for piece in stream:
                chunk = GenerationChunk(text=piece)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            yield GenerationChunk(text="", generation_info=usage_of(stream.answer))

    def get_token_ids(self, text: str) -> list[int]:
        """Ids of a text's tokens; a reference counts as many as it has slots."""
        return self.view.token_ids(text)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        self._tell(params, stop, kwargs)
        return params

    def _result(self, answers: list[Answer], options: dict[str, Any]) -> LLMResult:
        read = sum(answer.usage.prompt_rows for answer in answers)
        written = sum(answer.usage.generated_tokens for answer in answers)
        return LLMResult(
            generations=[
                [Generation(text=answer.text, generation_info=usage_of(answer))]
                for answer in answers
            ],
            llm_output={
                "model_name": self._name_for(options),
                "token_usage": {
                    "prompt_tokens": read,
                    "completion_tokens": written,
                    "total_tokens": read + written,
                },
            },
        )
