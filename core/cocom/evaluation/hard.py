"""The hard compressors of a comparison: which model each has, and why one cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cocom.baselines.model_files import folder_of
from cocom.baselines.result import HardCompressor
from cocom.evaluation.naming import portable

__all__ = ["HardSettings", "model_of", "open_hard", "why_not"]


@dataclass(frozen=True)
class HardSettings:
    """Models of the hard methods.

    Attributes:
        small_model: The language model that LLMLingua and LongLLMLingua take losses from: a folder, a name
            on the hub, or "cocom-tiny".
        classifier: LLMLingua-2's token classifier, given likewise; "llmlingua2-tiny" ships.
    """

    small_model: str = "cocom-tiny"
    classifier: str = "llmlingua2-tiny"

    def model_for(self, method: str) -> str:
        """The model that a method scores tokens with."""
        return self.classifier if method == "llmlingua2" else self.small_model


def why_not(settings: HardSettings, method: str) -> str:
    """Why a method cannot be used; empty if it can."""
    if method == "llmlingua2" and not settings.classifier:
        return "LLMLingua-2 needs a token classifier: pass --llmlingua2 FOLDER."
    return ""


def model_of(settings: HardSettings, method: str) -> str:
    """What a method's results rest on: its model's name, and a hash of its files if they are at hand."""
    name = settings.model_for(method)
    folder = Path(folder_of(name))
    return f"{portable(name)} {_hash_of(folder)}" if folder.is_dir() else name


def open_hard(
    settings: HardSettings, method: str, count: Callable[[str], int], *, device: str | None = None
) -> HardCompressor:
    """Open a hard compressor whose budgets are counted as the reader counts.

    Args:
        settings: The models.
        method: "llmlingua", "longllmlingua" or "llmlingua2".
        count: Tokens of a text as the reader counts them.
        device: Where to put its model.
    """
    from cocom.baselines.methods import make_compressor

    return make_compressor(method, settings.model_for(method), count_tokens=count, device=device)


@cache
def _hash_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
    return digest.hexdigest()[:16]
