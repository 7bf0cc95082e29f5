"""Question and passages -> pieces of a prompt. Pure; user text never passes through a template engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cocom.config import PromptTemplate

__all__ = ["ChatRenderer", "Piece", "Slot", "Template", "UserText", "build_prompt", "fill_template"]

ChatRenderer = Callable[[list[dict[str, str]]], str]
"""Turns -> prompt text, with the generation prompt (a tokenizer's chat template)."""

_PLACEHOLDER = re.compile(r"\{(passages|passage|number|index|question)\}")
# Two private-use characters: they cannot be changed by a chat template's trimming or casing.
_MARK = "\ue000{}\ue001"
_MARKED = re.compile("\ue000(passages|passage|number|index|question)\ue001")


@dataclass(frozen=True)
class Template:
    """Trusted text, in which special tokens are recognised."""

    text: str


@dataclass(frozen=True)
class UserText:
    """Text of a passage or a question: nothing in it is special."""

    text: str


@dataclass(frozen=True)
class Slot:
    """The place of one passage's context embeddings."""

    context: int


Piece = Template | UserText | Slot


def build_prompt(
    template: PromptTemplate,
    question: str,
    passages: Sequence[UserText | Slot],
    render_chat: ChatRenderer | None = None,
) -> list[Piece]:
    """Lay out passages (as text or as slots, in any order) and a question.

    Args:
        template: The text around them.
        question: What is asked.
        passages: Each passage's text, or the slot for its embeddings.
        render_chat: Applies the tokenizer's chat template; needed if `template.chat`.
    """
    layout = template.user
    if template.chat:
        assert render_chat is not None
        marked = _PLACEHOLDER.sub(lambda m: _MARK.format(m.group(1)), template.user)
        turns = [{"role": "user", "content": marked}]
        if template.system:
            turns.insert(0, {"role": "system", "content": template.system})
        layout = _MARKED.sub(r"{\1}", render_chat(turns))
    return fill_template(
        layout,
        {
            "passages": lay_out_passages(template.passage, passages),
            "question": [UserText(question)],
        },
    )


def lay_out_passages(layout: str, passages: Sequence[UserText | Slot]) -> list[Piece]:
    """Repeat `layout` for each passage."""
    pieces: list[Piece] = []
    for index, passage in enumerate(passages):
        values: dict[str, Sequence[Piece]] = {
            "passage": [passage],
            "number": [Template(str(index + 1))],
            "index": [Template(str(index))],
        }
        pieces += fill_template(layout, values)
    return pieces


def fill_template(layout: str, values: dict[str, Sequence[Piece]]) -> list[Piece]:
    """Put pieces in the place of `{name}` placeholders; other braces stay as they are."""
    pieces: list[Piece] = []
    at = 0
    for match in _PLACEHOLDER.finditer(layout):
        if match.group(1) not in values:
            continue
        if match.start() > at:
            pieces.append(Template(layout[at : match.start()]))
        pieces += values[match.group(1)]
        at = match.end()
    if at < len(layout):
        pieces.append(Template(layout[at:]))
    return pieces
