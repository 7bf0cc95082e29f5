"""A copy of a tokenizer in which nothing is special."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

__all__ = ["text_only"]


def text_only(
    settings: dict[str, Any], markup: Iterable[str], place: Literal["first", "later", "inner"]
) -> Any:
    """The tokenizer without special tokens.

    For text at the start of a prompt, for text after a special token, or for the middle of a text,
    where nothing may be put in front.
    """
    from tokenizers import Tokenizer

    drop = set(markup)
    plain = json.loads(json.dumps(settings))
    plain["added_tokens"] = [t for t in plain["added_tokens"] if t["content"] not in drop]
    plain["post_processor"] = plain["truncation"] = plain["padding"] = None
    if place != "first":
        schemes = ("first",) if place == "later" else ("first", "always")
        _without_prefix(plain.get("pre_tokenizer"), schemes)
    if place == "inner":
        plain["normalizer"] = _without_prepend(plain.get("normalizer"))
    return Tokenizer.from_str(json.dumps(plain))


def _without_prefix(part: dict[str, Any] | None, schemes: Sequence[str]) -> None:
    """Metaspace with prepend_scheme 'first' marks the start of the whole string only."""
    if part is None:
        return
    for inner in part.get("pretokenizers", ()):
        _without_prefix(inner, schemes)
    if part.get("type") == "Metaspace" and part.get("prepend_scheme") in schemes:
        part["prepend_scheme"] = "never"
    if part.get("type") == "ByteLevel" and "always" in schemes:
        part["add_prefix_space"] = False


def _without_prepend(part: dict[str, Any] | None) -> dict[str, Any] | None:
    if part is None or part.get("type") == "Prepend":
        return None
    if part.get("type") == "Sequence":
        inner = [kept for p in part["normalizers"] if (kept := _without_prepend(p)) is not None]
        return {**part, "normalizers": inner}
    return part
