"""JSON whose texts are compressed, key by key; what comes out is JSON with the same keys and types."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cocom.baselines.budget import is_number
from cocom.baselines.parts import Part, compress_parts
from cocom.baselines.result import HardCompressor
from cocom.errors import ConfigError, InputError

__all__ = ["JsonCompression", "JsonKey", "compress_json"]


@dataclass(frozen=True)
class JsonKey:
    """What becomes of the texts below a key.

    Attributes:
        compress: Whether they may lose words.
        rate: Their tokens for each that is kept, at least 1; None leaves them what the budget leaves.
    """

    compress: bool = True
    rate: float | None = None


@dataclass(frozen=True)
class JsonCompression:
    """JSON with compressed texts.

    Attributes:
        data: The same objects, arrays, keys, numbers and truth values, with other texts.
        text: The data written as JSON.
        origin_tokens: Tokens of the JSON before.
        compressed_tokens: Tokens of `text`.
    """

    data: Any
    text: str
    origin_tokens: int
    compressed_tokens: int

    @property
    def rate(self) -> float:
        """Tokens for each that stayed."""
        return self.origin_tokens / max(1, self.compressed_tokens)


def compress_json(
    compressor: HardCompressor,
    data: Any,
    keys: Mapping[str, JsonKey] | None = None,
    *,
    question: str | None = None,
    rate: float | None = None,
    target_tokens: int | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> JsonCompression:
    """Compress the texts in JSON data.

    Numbers, truth values, null, keys and the order of everything stay. A text that loses all its words
    becomes an empty one. The budget counts the JSON as it is written, brackets and keys included.

    Args:
        compressor: Any hard compressor.
        data: What `json.loads` gives, or JSON text of an object or an array.
        keys: What becomes of the texts below some keys, wherever they are; of several keys above a text the
            nearest counts. Texts below no such key share what the budget leaves.
        question: What the data is read for.
        rate: Tokens of the JSON for each that is kept, at least 1; not needed if `keys` says what becomes of
            every text.
        target_tokens: Most tokens of the JSON.
        count_tokens: Tells how many tokens a text has; None counts as the compressor does.

    Raises:
        ConfigError: Both kinds of budget are given, or none although a text needs one; or a key's rate
            cannot be.
        InputError: This is no JSON, or what is to stay exceeds the budget.
    """
    keys = dict(keys or {})
    for name, key in keys.items():
        if not isinstance(key, JsonKey):
            raise ConfigError(
                f"key {name!r} must have a JsonKey, got {key!r}: give JsonKey(rate=2)."
            )
        if key.rate is not None and not (is_number(key.rate) and key.rate >= 1):
            raise ConfigError(
                f"the rate of key {name!r} must be 1 or more, tokens for each that is kept, got {key.rate!r}."
            )
    data = _read(data)
    count = count_tokens or compressor.count_tokens
    places = list(_texts(data, keys, JsonKey(), ()))
    parts = [Part(text, key.compress, key.rate) for _, text, key in places]

    def filled(texts: Sequence[str]) -> Any:
        made = [copy.deepcopy(data)]  # in a list, so that a text alone has a place too
        for (path, _, _), text in zip(places, texts, strict=True):
            holder: Any = made
            for step in (0, *path)[:-1]:
                holder = holder[step]
            holder[(0, *path)[-1]] = text
        return made[0]

    def whole(texts: Sequence[str]) -> str:
        return json.dumps(filled(texts), ensure_ascii=False)

    texts = compress_parts(
        compressor,
        parts,
        whole,
        count,
        question=question,
        rate=rate,
        target_tokens=target_tokens,
    )
    text = whole(texts)
    before = whole([part.text for part in parts])
    return JsonCompression(filled(texts), text, count(before), count(text))


def _read(data: Any) -> Any:
    """The data itself; of JSON text, what it says."""
    try:
        if isinstance(data, str) and data.lstrip()[:1] in ("{", "["):
            data = json.loads(data, object_pairs_hook=_object)
        written = json.dumps(data, allow_nan=False)
        data = json.loads(written, object_pairs_hook=_object)
        copy.deepcopy(data)  # which fails first where arrays are nested too deep
        return data
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the data is no JSON ({error}): give what json.loads gives, or JSON text."
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _texts(
    data: Any, keys: Mapping[str, JsonKey], key: JsonKey, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str, JsonKey]]:
    """Every text with its place and what becomes of it."""
    if isinstance(data, str):
        yield path, data, key
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from _texts(value, keys, keys.get(name, key), (*path, name))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _texts(value, keys, key, (*path, number))
