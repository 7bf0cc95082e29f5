"""What is known of a model's quality: the scores that `cocom eval` found."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from cocom.errors import InputError

__all__ = ["known_quality"]

_FILE = "evaluation.json"


def known_quality(model: str, path: Path | None = None) -> dict[str, float]:
    """Exact match of each context of the first set of questions, by the names of `Cell.context`.

    Args:
        model: The shipped model or a folder, which may have an evaluation.json.
        path: What `cocom eval --json` wrote; None looks into the model's folder.

    Returns:
        Nothing where nothing is known.

    Raises:
        InputError: `path` is missing or holds something else.
    """
    if path is None:
        path = Path(str(files("cocom"))) / "models" / model / _FILE
        if not path.is_file():
            path = Path(model) / _FILE
        if not path.is_file():
            return {}
    try:
        (columns, *_) = json.loads(path.read_text(encoding="utf-8"))["sets"].values()
        scores = {str(column["column"]): float(column["exact_match"]) for column in columns}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path}' holds no scores of cocom eval ({type(error).__name__}): give what "
            "`cocom eval --json` wrote."
        ) from error
    return {
        name: score for name, score in scores.items() if name == "text" or name.startswith("rate ")
    }
