"""Hard compression: passages with fewer tokens, still text, for any reader.

LLMLingua, LongLLMLingua and LLMLingua-2 on current transformers; what a soft compressor is compared with, and
what to use with a reader that takes nothing but text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cocom.baselines.json_sections import compress_json
    from cocom.baselines.llmlingua import LLMLingua
    from cocom.baselines.llmlingua2 import LLMLingua2
    from cocom.baselines.longllmlingua import LongLLMLingua
    from cocom.baselines.methods import make_compressor
    from cocom.baselines.recovery import recover
    from cocom.baselines.result import HardCompression, HardCompressor, HardPassage
    from cocom.baselines.sections import compress_sections

_HOME = {
    "HardCompression": "cocom.baselines.result",
    "HardCompressor": "cocom.baselines.result",
    "HardPassage": "cocom.baselines.result",
    "LLMLingua": "cocom.baselines.llmlingua",
    "LLMLingua2": "cocom.baselines.llmlingua2",
    "LongLLMLingua": "cocom.baselines.longllmlingua",
    "compress_json": "cocom.baselines.json_sections",
    "compress_sections": "cocom.baselines.sections",
    "make_compressor": "cocom.baselines.methods",
    "recover": "cocom.baselines.recovery",
}

__all__ = [
    "HardCompression",
    "HardCompressor",
    "HardPassage",
    "LLMLingua",
    "LLMLingua2",
    "LongLLMLingua",
    "compress_json",
    "compress_sections",
    "make_compressor",
    "recover",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'cocom.baselines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
