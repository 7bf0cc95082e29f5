"""What a model wants to read in front of questions and passages, where its files do not say it.

E5 models need `query: ` and `passage: `, those tuned on instructions a sentence about the task, and
E5-mistral keeps a text's vector in its last token. Published checkpoints leave this to the reader of
their model card, or write it down under names that sentence-transformers does not look for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

__all__ = ["Family", "Pooling", "Prompts", "family_of", "instruction", "prompts_of"]

Pooling = Literal["mean", "cls", "lasttoken"]

_TASK = "Given a web search query, retrieve relevant passages that answer the query"
# `e5` as a word of its own in a name such as multilingual-e5-large-instruct.
_E5 = re.compile(r"(?:^|[-_.])e5(?:[-_.]|$)")


@dataclass(frozen=True)
class Prompts:
    """Texts that a model reads in front of what it encodes.

    Attributes:
        query: In front of a question.
        passage: In front of a passage.
    """

    query: str = ""
    passage: str = ""


@dataclass(frozen=True)
class Family:
    """What models of one kind have in common.

    Attributes:
        name: What to call them.
        prompts: What they read in front of texts.
        pooling: How the vectors of a text's tokens become one.
        max_tokens: The most tokens they were trained to read at once, if fewer than they can.
        ends: Whether an end-of-sequence token closes every text.
    """

    name: str
    prompts: Prompts
    pooling: Pooling
    max_tokens: int | None = None
    ends: bool = False


def instruction(task: str = _TASK) -> Prompts:
    """The prompts of models tuned on instructions, such as E5-mistral: only the question has one.

    Args:
        task: One sentence that tells what is to be found.
    """
    return Prompts(query=f"Instruct: {task}\nQuery: ")


_E5_PLAIN = Family("E5", Prompts("query: ", "passage: "), "mean")
_E5_INSTRUCT = Family("E5-instruct", instruction(), "mean")
_E5_MISTRAL = Family("E5-mistral", instruction(), "lasttoken", max_tokens=4096, ends=True)


def family_of(name: str, backbone: str | None = None) -> Family | None:
    """Recognises an E5 model.

    Args:
        name: The name of the model, or the folder that it is in.
        backbone: What kind of transformer it is, `model_type` in `config.json`. A Mistral that is
            used for retrieval is taken for one of E5-mistral's kind, whatever its name.

    Returns:
        What is known of the family; None for all other models.
    """
    parts = PurePath(name).parts or ("",)
    # A folder of the hub's cache is called models--intfloat--e5-base-v2/snapshots/0123abcd.
    cached = [part for part in parts if part.startswith("models--")]
    word = (cached or parts)[-1].rpartition("--")[2].casefold()
    if _E5.search(word):
        if "mistral" in word:
            return _E5_MISTRAL
        return _E5_INSTRUCT if "instruct" in word else _E5_PLAIN
    return _E5_MISTRAL if backbone == "mistral" else None


def prompts_of(own: Mapping[str, str | None], family: Family | None) -> Prompts:
    """Chooses the prompts of a model: its own if it brings any, else those of its family.

    sentence-transformers reads the entries `query` and `document`, the latter even where it is
    empty and the prompt stands under `passage`; E5-mistral's stands under `web_search_query`.

    Args:
        own: Prompts that came with the model, by name.
        family: What else is known of it.
    """
    query = own.get("query") or own.get("web_search_query") or ""
    passage = own.get("document") or own.get("passage") or own.get("corpus") or ""
    if query or passage or family is None:
        return Prompts(query, passage)
    return family.prompts
