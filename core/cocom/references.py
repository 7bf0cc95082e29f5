"""The short texts that stand for passages inside prompts: `[[cocom:<slots>:<id>:<tag>]]`. Pure.

Frameworks pass text from retriever to model; a reference goes wherever text goes. Its id hashes model,
rate and passage, so the same passage has the same reference and frameworks find duplicates. Its tag
signs namespace, slots and id, so that a reference that was guessed, changed or made for somebody else
is recognised. Both are lower-case base32, read in either case.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from cocom.errors import InputError
from cocom.identity import ID_CHARACTERS, base32

__all__ = ["Found", "Reference", "Signer", "beginnings", "escape", "find", "new_key"]

_TAG_CHARACTERS = 13  # 65 bits
_LEAST_KEY = 16
_MOST_SLOTS = 9999

_CORE = rf":(\d{{1,4}}):([a-z2-7]{{{ID_CHARACTERS}}}):([a-z2-7]{{{_TAG_CHARACTERS}}})"
_REFERENCE = re.compile(rf"\[\[cocom{_CORE}\]\]", re.IGNORECASE | re.ASCII)

# What makes a text unable to hold a reference, or to become one beside another text: the name after a
# bracket or at the text's start, a core without its name, and an unfinished name at the text's end.
_NAMED = re.compile(r"(\A\s*|\[)(cocom)(?=:)", re.IGNORECASE)
_NAMELESS = re.compile(rf"(\A\s*|:)(?={_CORE[1:]})", re.IGNORECASE | re.ASCII)
_UNFINISHED = re.compile(r"\[(?=\[?(?:c(?:o(?:c(?:om?)?)?)?)?\s*\Z)", re.IGNORECASE)


@dataclass(frozen=True)
class Reference:
    """Stands for one compressed passage; `str()` gives the text.

    Attributes:
        slots: Context embeddings of the passage.
        id: What passage, by which model, at which rate.
        tag: Signature.
    """

    slots: int
    id: str
    tag: str

    def __str__(self) -> str:
        return f"[[cocom:{self.slots}:{self.id}:{self.tag}]]"


@dataclass(frozen=True)
class Found:
    """A reference in a text: characters from `start` to `end`, signature not looked at yet."""

    start: int
    end: int
    reference: Reference


class Signer:
    """Makes and checks the references of one namespace."""

    def __init__(self, namespace: str, key: bytes | str) -> None:
        """Take a namespace and its secret.

        Args:
            namespace: Whose passages these are, such as a tenant's name.
            key: Secret of at least 16 bytes; with the same one, references stay valid after a restart.

        Raises:
            InputError: The namespace is empty, or the key too short.
        """
        if not isinstance(namespace, str) or not namespace:
            raise InputError(f"namespace must be a name, got {namespace!r}.")
        if not isinstance(key, bytes | str):
            raise InputError(f"key must be bytes or a string, got {type(key).__name__}.")
        for name, value in (("namespace", namespace), ("key", key)):
            if isinstance(value, str) and not _is_unicode(value):
                raise InputError(f"{name} holds half a surrogate pair, which is no character.")
        secret = key.encode() if isinstance(key, str) else key
        if len(secret) < _LEAST_KEY:
            raise InputError(
                f"key has {len(secret)} bytes, but needs at least {_LEAST_KEY} to be safe: take "
                "secrets.token_hex(32), and keep it."
            )
        self.namespace = namespace
        self._key = secret

    def mint(self, slots: int, id: str) -> Reference:
        """A reference to the passage with this id.

        Raises:
            InputError: More slots than a reference can tell.
        """
        if not 1 <= slots <= _MOST_SLOTS:
            raise InputError(
                f"a passage of {slots} context embeddings was to get a reference, which tells 1 to "
                f"{_MOST_SLOTS}: split the passage, or compress at a higher rate."
            )
        return Reference(slots, id, self._tag(slots, id))

    def verify(self, reference: Reference) -> bool:
        """Whether this namespace made the reference, as it is."""
        tag = self._tag(reference.slots, reference.id)
        return hmac.compare_digest(tag.encode(), reference.tag.encode("utf-8", "replace"))

    def _tag(self, slots: int, id: str) -> str:
        signed = f"{len(self.namespace)}:{self.namespace}:{slots}:{id}".encode()
        return base32(hmac.digest(self._key, signed, "sha256"), _TAG_CHARACTERS)


def new_key() -> bytes:
    """A random secret for a `Signer`."""
    return secrets.token_bytes(32)


def find(text: str) -> Iterator[Found]:
    """The references in a text, in order, real ones and others."""
    for match in _REFERENCE.finditer(text):
        slots, id, tag = match.groups()
        # As it was minted: `08` for 8 is another text that would carry the same tag.
        if str(int(slots)) == slots:
            yield Found(match.start(), match.end(), Reference(int(slots), id.lower(), tag.lower()))


def beginnings(text: str) -> Iterator[int]:
    """Where references begin, whole or broken ones."""
    return (match.start() for match in re.finditer(r"\[\[cocom:", text, re.IGNORECASE))


def escape(text: str) -> str:
    """The text with a space put in wherever it could be, begin or end a reference; else as it is.

    Escape each text that is not a reference before it goes into a prompt: passages read as text,
    metadata, a user's question. Escaped texts put side by side do not make a reference either.
    """
    text = _NAMED.sub(r"\1\2 ", text)
    text = _NAMELESS.sub(r"\1 ", text)
    return _UNFINISHED.sub("[ ", text)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
