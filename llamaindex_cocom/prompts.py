"""Prompts and counting for LlamaIndex's engines: the model's own question, rows instead of tokens."""

from __future__ import annotations

from typing import Any

from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.prompts import ChatPromptTemplate

from cocom.opening import view_of
from llamaindex_cocom.llm import CocomLLM

__all__ = ["configure_settings", "make_prompt_helper", "question_prompt"]


def question_prompt(engine: Any = "cocom-tiny") -> ChatPromptTemplate:
    """The model's own question prompt as a `text_qa_template`; engines then answer as `Cocom.answer`.

    Nodes that stay text stand there as the engine joins them, without the layout they had in training.

    Args:
        engine: A `Cocom` model, a `CocomView` of one, or a model's name.
    """
    template = view_of(engine).model.config.prompt
    system, user = "{context_str}", "{query_str}"
    if template.chat:
        system = _as_literal(template.system)
        user = _as_literal(template.user)
        user = user.replace("{{passages}}", "{context_str}").replace("{{question}}", "{query_str}")
    turns = [ChatMessage(role=MessageRole.SYSTEM, content=system)] if system else []
    return ChatPromptTemplate([*turns, ChatMessage(role=MessageRole.USER, content=user)])


def make_prompt_helper(llm: CocomLLM) -> PromptHelper:
    """A prompt helper that counts what references take of the model's window, and cuts none to overlap.

    LlamaIndex's own counts a reference as some 30 tokens whatever its slots, and repeats a tenth of each
    chunk.
    """
    return PromptHelper.from_llm_metadata(
        llm.metadata, chunk_overlap_ratio=0.0, tokenizer=llm.view.position_ids
    )


def configure_settings(llm: CocomLLM) -> None:
    """Make a model LlamaIndex's default, with its tokenizer and prompt helper."""
    Settings.llm = llm
    Settings.tokenizer = llm.view.token_ids
    Settings.prompt_helper = make_prompt_helper(llm)


def _as_literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
