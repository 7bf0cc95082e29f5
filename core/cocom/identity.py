"""Ids of compressed passages: what was compressed, by which model, at which rate. Pure."""

from __future__ import annotations

import base64
import hashlib

__all__ = ["ID_CHARACTERS", "base32", "passage_id"]

ID_CHARACTERS = 26  # 130 bits


def passage_id(fingerprint: str, rate: int, text: str, query: str | None = None) -> str:
    """Id of a passage as one model compresses it at one rate (and for one question, if it does that).

    130 bits of a SHA-256, so that equal passages have equal ids and others do not.
    """
    parts = (
        (fingerprint, str(rate), text) if query is None else (fingerprint, str(rate), text, query)
    )
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return base32(digest.digest(), ID_CHARACTERS)


def base32(data: bytes, characters: int) -> str:
    """The first characters of data in lower-case base32."""
    size = -(-characters // 8) * 5  # bytes in whole groups of 8 characters: the encoding is slow
    return base64.b32encode(data[:size]).decode().lower()[:characters]
