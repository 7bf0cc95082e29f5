"""LlamaIndex's chat messages -> roles and texts."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from cocom.datatypes import Role
from cocom.errors import InputError
from cocom.view import Speech

__all__ = ["to_speeches"]

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
# Blocks of an assistant's turn that are not said: what it called, and what it thought.
_SILENT = ("tool_call", "thinking")


def to_speeches(messages: Sequence[ChatMessage]) -> list[Speech]:
    """Roles and texts of messages.

    Raises:
        InputError: A message that holds something else than text.
    """
    return [(_ROLES[message.role], _text(message, i)) for i, message in enumerate(messages)]


def _text(message: ChatMessage, index: int) -> str:
    texts: list[str] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif block.block_type not in _SILENT:
            raise InputError(
                f"message {index} holds a block of type {block.block_type!r}, but a Cocom model reads text: "
                "leave it out or describe it in words."
            )
    return "\n".join(texts)
