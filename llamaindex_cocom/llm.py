"""A language model that reads references as context embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM

from cocom import Answer, Cocom, CocomView
from cocom.errors import InputError
from cocom.generation import call_options
from cocom.streaming import AnswerStream, AsyncAnswerStream
from cocom.view import Speech
from llamaindex_cocom.bound import BoundToModel
from llamaindex_cocom.errors import heard
from llamaindex_cocom.messages import to_speeches

__all__ = ["CocomLLM"]

_OPTIONS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "beams",
    "length_penalty",
    "timeout",
)


class CocomLLM(BoundToModel, CustomLLM):
    """A local Cocom model as a LlamaIndex LLM.

    References that a `CocomNodePostprocessor` wrote may stand in any message or prompt. Calls from many
    threads or tasks share batches.

    Attributes:
        model: Name or folder of the model to load when it is first used, unless one is given.
        namespace: Whose references are read; None takes the view's, or "default".
        temperature: 0 decodes greedily; above, samples.
        max_tokens: Most tokens of an answer.
        top_p: Keep the smallest set of tokens with this probability mass (sampling only).
        top_k: Keep this many tokens; 0 keeps all (sampling only).
        seed: Makes sampling repeatable.
        beams: Beams of beam search; 1 is none.
        length_penalty: Compares answers of a search; see `GenerationOptions`.
        stop: An answer ends before the first of these strings.
        timeout: Seconds an answer may take.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    temperature: float = 0.0
    max_tokens: int = Field(default=256, ge=1)
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    beams: int = 1
    length_penalty: float | None = None
    stop: str | list[str] | None = None
    timeout: float | None = Field(default=None, gt=0)

    def __init__(self, engine: Cocom | CocomView | str | None = None, **settings: Any) -> None:
        """Make a model.

        Args:
            engine: A `Cocom` model, a `CocomView` of one, or a model's name; None loads `model` when it is
                first used.
            **settings: The attributes of this class, and those of every LlamaIndex LLM.

        Raises:
            InputError: `engine` is none of these, or there is a `fusion`, which is a `CocomSynthesizer`'s.
        """
        if "fusion" in settings:
            raise _one_prompt()
        super().__init__(engine, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Name for serialisation."""
        return "CocomLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """Window, room for the answer, name; a chat model, whose first turn may be the system's."""
        return LLMMetadata(
            context_window=self.view.model.backbone.max_positions or DEFAULT_CONTEXT_WINDOW,
            num_output=self.max_tokens,
            is_chat_model=True,
            model_name=self.model,
            system_role=MessageRole.SYSTEM,
        )

    def to_payload(self) -> dict[str, Any]:
        """What events tell of this model; it is not loaded for that."""
        names = ("model", "namespace", *_OPTIONS)
        return {"class_name": self.class_name(), **{name: getattr(self, name) for name in names}}

    async def apredict(self, *args: Any, **kwargs: Any) -> str:
        """As LlamaIndex's, which asks for the metadata before it awaits anything: load the model first."""
        await self._open()
        return await super().apredict(*args, **kwargs)

    async def astream(self, *args: Any, **kwargs: Any) -> Any:
        """As LlamaIndex's, the model loaded first."""
        await self._open()
        return await super().astream(*args, **kwargs)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Continue a conversation."""
        return _chat_response(self._reply(to_speeches(messages), kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` for an event loop, which is not blocked."""
        return _chat_response(await self._areply(to_speeches(messages), kwargs))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, which is one user turn."""
        return _completion(self._reply(self._asked(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """`complete` for an event loop, which is not blocked."""
        return _completion(await self._areply(self._asked(prompt, formatted), kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Continue a conversation piece by piece."""
        stream = self._stream(to_speeches(messages), kwargs)
        return (_as_chat(response) for response in _pieces(stream))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat` for an event loop, which is not blocked."""
        stream = await self._astream(to_speeches(messages), kwargs)
        return (_as_chat(response) async for response in _apieces(stream))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Answer a prompt piece by piece."""
        return _pieces(self._stream(self._asked(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """`stream_complete` for an event loop, which is not blocked."""
        return _apieces(await self._astream(self._asked(prompt, formatted), kwargs))

    def _asked(self, prompt: str, formatted: bool) -> list[Speech]:
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return [("user", prompt)]

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        if "fusion" in given:
            raise _one_prompt()
        own = {name: getattr(self, name) for name in _OPTIONS}
        rest = {name: value for name, value in given.items() if name != "stop"}
        stop = given.get("stop") or self.stop or ()
        return {
            **call_options(own),
            **call_options(rest),
            "stop": (stop,) if isinstance(stop, str) else tuple(stop),
        }

    def _reply(self, speeches: list[Speech], given: dict[str, Any]) -> Answer:
        with heard():
            (answer,) = self.view.reply([speeches], **self._options(given))
        return answer

    async def _areply(self, speeches: list[Speech], given: dict[str, Any]) -> Answer:
        await self._open()
        with heard():
            return await self.view.areply(speeches, **self._options(given))

    def _stream(self, speeches: list[Speech], given: dict[str, Any]) -> AnswerStream:
        with heard():
            return self.view.stream(speeches, **self._options(given))

    async def _astream(self, speeches: list[Speech], given: dict[str, Any]) -> AsyncAnswerStream:
        await self._open()
        with heard():
            return await self.view.astream(speeches, **self._options(given))

    async def _open(self) -> None:
        """Load the model, and work out its fingerprint, without blocking the event loop."""
        await asyncio.to_thread(lambda: self.view.model.fingerprint)


def _one_prompt() -> InputError:
    return InputError(
        "fusion reads each passage in a prompt of its own, but what is given here is one prompt: use "
        "CocomSynthesizer(llm, fusion=...)."
    )


def _pieces(stream: AnswerStream) -> CompletionResponseGen:
    text = ""
    with stream, heard():
        for piece in stream:
            text += piece
            yield CompletionResponse(text=text, delta=piece)
        yield _completion(stream.answer, delta="")


async def _apieces(stream: AsyncAnswerStream) -> CompletionResponseAsyncGen:
    text = ""
    async with stream:
        with heard():
            async for piece in stream:
                text += piece
                yield CompletionResponse(text=text, delta=piece)
            yield _completion(stream.answer, delta="")


def _completion(answer: Answer, delta: str | None = None) -> CompletionResponse:
    usage = {
        "prompt_tokens": answer.usage.prompt_rows,
        "completion_tokens": answer.usage.generated_tokens,
        "total_tokens": answer.usage.prompt_rows + answer.usage.generated_tokens,
    }
    return CompletionResponse(
        text=answer.text,
        delta=delta,
        raw={
            "finish_reason": answer.finish_reason,
            "context_rows": answer.usage.context_rows,
            "replaced_tokens": answer.usage.replaced_tokens,
            "usage": usage,  # where LlamaIndex's own counter looks
        },
        additional_kwargs=usage,
    )


def _chat_response(answer: Answer) -> ChatResponse:
    return _as_chat(_completion(answer))


def _as_chat(response: CompletionResponse) -> ChatResponse:
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, content=response.text),
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
    )
