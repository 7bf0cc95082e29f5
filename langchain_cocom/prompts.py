"""The prompt a model was trained with, for LangChain's chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate

from cocom.opening import view_of

__all__ = ["format_documents", "question_prompt"]


def question_prompt(
    engine: Any = "cocom-tiny", *, context: str = "context", question: str = "input"
) -> ChatPromptTemplate:
    """The model's own question prompt; with it, a chain answers as `Cocom.answer` from compressed passages.

    Passages that stay text stand there as the chain joins them, without the layout they had in training.

    Args:
        engine: A `Cocom` model, a `CocomView` of one, or a model's name.
        context: Name of the variable for the documents (see `format_documents`).
        question: Name of the variable for the question.
    """
    template = view_of(engine).model.config.prompt
    if not template.chat:
        return ChatPromptTemplate.from_messages(
            [("system", "{" + context + "}"), ("human", "{" + question + "}")]
        )
    user = _as_literal(template.user)
    user = user.replace("{{passages}}", "{" + context + "}")
    user = user.replace("{{question}}", "{" + question + "}")
    system = [("system", _as_literal(template.system))] if template.system else []
    return ChatPromptTemplate.from_messages([*system, ("human", user)])


def format_documents(documents: Sequence[Document]) -> str:
    """Documents one after the other, as `retriever | compressor | format_documents` needs them."""
    return "\n\n".join(document.page_content for document in documents)


def _as_literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
