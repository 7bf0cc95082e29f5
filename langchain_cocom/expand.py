"""References back to text, for models that cannot read embeddings."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict

from cocom.errors import InputError
from langchain_cocom.bound import BoundToModel

__all__ = ["ExpandContexts"]


class ExpandContexts(BoundToModel, RunnableSerializable[Any, Any]):
    """Puts the passages back in the place of their references.

    For a fallback, `cocom_llm.with_fallbacks([ExpandContexts(engine=model) | other_llm])`, and wherever
    text is shown or logged. Takes prompts, messages, documents, texts, and lists and dictionaries of these.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The same with texts for references.

        Raises:
            MissingContextError: A passage whose text the store does not have.
        """
        if not isinstance(input, str | Document | BaseMessage | PromptValue | list | tuple | dict):
            raise InputError(
                f"ExpandContexts got {type(input).__name__}, but expected a prompt, messages, documents or "
                "text."
            )
        return self._call_with_config(self._expand, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """`invoke` in a thread, so that the event loop goes on."""
        return await run_in_executor(config, self.invoke, input, config)

    def _expand(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.view.expand(value)
        if isinstance(value, Document):
            return value.model_copy(update={"page_content": self._expand(value.page_content)})
        if isinstance(value, BaseMessage):
            return value.model_copy(update={"content": self._expand_content(value.content)})
        if isinstance(value, StringPromptValue):
            return StringPromptValue(text=self._expand(value.text))
        if isinstance(value, PromptValue):
            return ChatPromptValue(messages=self._expand(value.to_messages()))
        if isinstance(value, list | tuple):
            return [self._expand(item) for item in value]
        if isinstance(value, dict):
            return {key: self._expand(item) for key, item in value.items()}
        return value

    def _expand_content(self, content: Any) -> Any:
        if isinstance(content, str):
            return self.view.expand(content)
        return [
            self.view.expand(block)
            if isinstance(block, str)
            else {**block, "text": self.view.expand(block["text"])}
            if isinstance(block, dict) and block.get("type") == "text"
            else block
            for block in content
        ]
