"""LangChain's messages -> roles and texts."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, ChatMessage

from cocom.datatypes import Role
from cocom.errors import InputError
from cocom.view import Speech

__all__ = ["to_speeches"]

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
# Blocks of an assistant's turn that are not said: what it called, and what it thought.
_SILENT = ("tool_call", "tool_use", "tool_call_chunk", "invalid_tool_call", "reasoning", "thinking")


def to_speeches(messages: Sequence[BaseMessage]) -> list[Speech]:
    """Roles and texts of messages; names of speakers are left out.

    Raises:
        InputError: A message that is not text, or of an unknown role.
    """
    return [(_role(message, i), _text(message, i)) for i, message in enumerate(messages)]


def _role(message: BaseMessage, index: int) -> Role:
    name = message.role if isinstance(message, ChatMessage) else message.type
    name = name.removesuffix("MessageChunk").lower()
    if name not in _ROLES:
        raise InputError(
            f"message {index} has the role {name!r}: choose one of {', '.join(sorted(_ROLES))}."
        )
    return _ROLES[name]


def _text(message: BaseMessage, index: int) -> str:
    if isinstance(message.content, str):
        return message.content
    texts: list[str] = []
    for block in message.content:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") == "text":
            texts.append(str(block.get("text", "")))
        elif block.get("type") not in _SILENT:
            raise InputError(
                f"message {index} holds a block of type {block.get('type')!r}, but a Cocom model reads text: "
                "leave it out or describe it in words."
            )
    return "".join(texts)
