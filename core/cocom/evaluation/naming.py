"""Names of models and files for reports: the same on every machine."""

from __future__ import annotations

from pathlib import Path

__all__ = ["portable"]


def portable(name: str) -> str:
    """A name in which a path that is there is replaced by its last parts.

    Args:
        name: A name such as "bm25", a path, or a path behind a kind as in "dense:FOLDER".
    """
    kind, colon, place = name.rpartition(":")
    if not place or not Path(place).exists():
        return name
    path = Path(place).resolve()
    parts = path.parts[-2:] if path.is_dir() else path.parts[-1:]
    return f"{kind}{colon}{'/'.join(parts)}"
