"""Context compression for retrieval-augmented generation (COCOM, arXiv 2407.09252).

A language model compresses each passage, on its own and offline, into a few *context embeddings*;
at question time it reads those instead of the passage's text:

    from cocom import Cocom

    model = Cocom.from_pretrained("cocom-tiny")
    contexts = model.compress(["Ada Lovelace was born in London in 1815."], rate=4)
    print(model.answer("Where was Ada Lovelace born?", contexts).text)

Importing this package loads neither torch nor transformers; the first use of a class does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cocom.config import CocomConfig, EncoderConfig, LoraSettings, PromptTemplate
    from cocom.contexts_file import load_contexts, save_contexts
    from cocom.datatypes import (
        Answer,
        ContextEmbeddings,
        FusionScores,
        Passage,
        Turn,
        Usage,
        Window,
    )
    from cocom.engine import Cocom
    from cocom.errors import CocomError
    from cocom.generation import GenerationOptions
    from cocom.references import Reference
    from cocom.store import ContextStore, DiskStore, Entry, MemoryStore, open_store
    from cocom.streaming import AnswerStream
    from cocom.view import CocomView

__version__ = "0.1.0"

_HOME = {
    "Answer": "cocom.datatypes",
    "AnswerStream": "cocom.streaming",
    "Cocom": "cocom.engine",
    "CocomConfig": "cocom.config",
    "CocomError": "cocom.errors",
    "CocomView": "cocom.view",
    "ContextEmbeddings": "cocom.datatypes",
    "ContextStore": "cocom.store",
    "DiskStore": "cocom.store",
    "EncoderConfig": "cocom.config",
    "Entry": "cocom.store",
    "FusionScores": "cocom.datatypes",
    "GenerationOptions": "cocom.generation",
    "LoraSettings": "cocom.config",
    "MemoryStore": "cocom.store",
    "Passage": "cocom.datatypes",
    "PromptTemplate": "cocom.config",
    "Reference": "cocom.references",
    "Turn": "cocom.datatypes",
    "Usage": "cocom.datatypes",
    "Window": "cocom.datatypes",
    "load_contexts": "cocom.contexts_file",
    "open_store": "cocom.store",
    "save_contexts": "cocom.contexts_file",
}

__all__ = [
    "Answer",
    "AnswerStream",
    "Cocom",
    "CocomConfig",
    "CocomError",
    "CocomView",
    "ContextEmbeddings",
    "ContextStore",
    "DiskStore",
    "EncoderConfig",
    "Entry",
    "FusionScores",
    "GenerationOptions",
    "LoraSettings",
    "MemoryStore",
    "Passage",
    "PromptTemplate",
    "Reference",
    "Turn",
    "Usage",
    "Window",
    "__version__",
    "load_contexts",
    "open_store",
    "save_contexts",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'cocom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
