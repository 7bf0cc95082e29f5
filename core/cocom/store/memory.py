"""Compressed passages in memory, the ones used longest ago dropped first."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from copy import copy

from cocom.datatypes import ContextEmbeddings
from cocom.errors import InputError
from cocom.forks import renew_after_fork
from cocom.store.protocol import (
    ContextStore,
    Entry,
    Kind,
    Verified,
    check_entries,
    check_ids,
    check_namespace,
)

__all__ = ["MemoryStore"]

_GIGABYTE = 1 << 30
_ENTRY_BYTES = 256  # what an entry takes beside its texts, about

_Key = tuple[str, str]  # namespace and id


class MemoryStore(ContextStore):
    """A store that lives as long as the process.

    Embeddings and texts have a limit each, for all namespaces together: texts are small, and from them
    embeddings can be made again.
    """

    def __init__(
        self, *, embedding_bytes: int = _GIGABYTE, text_bytes: int = _GIGABYTE // 4
    ) -> None:
        """Make an empty store.

        Args:
            embedding_bytes: Embeddings beyond this are dropped, their texts stay.
            text_bytes: Passages beyond this (in UTF-8, and a little for each) are dropped whole.

        Raises:
            InputError: A limit is negative.
        """
        for name, value in (("embedding_bytes", embedding_bytes), ("text_bytes", text_bytes)):
            if value < 0:
                raise InputError(f"{name} must be 0 or more, got {value}.")
        self._name = ""
        self._kept = _Kept(embedding_bytes, text_bytes)

    def __str__(self) -> str:
        return "the store in memory"

    def namespace(self, name: str) -> MemoryStore:
        """The part of the store under a name; all parts share the store's limits."""
        part = copy(self)
        part._name = check_namespace(name)
        return part

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep entries under their ids, embeddings on the CPU; errors as `ContextStore.put`."""
        check_entries(entries)
        with self._kept.lock:
            for id, entry in entries.items():
                self._kept.add((self._name, id), entry)
            self._kept.drop_excess()

    def get(
        self, ids: Sequence[str], *, texts: bool = True, embeddings: bool = True
    ) -> list[Entry | None]:
        """The entries of ids, in order; None for an id that is not there."""
        found: list[Entry | None] = []
        ids = check_ids(ids)
        with self._kept.lock:
            for id in ids:
                entry = self._kept.use((self._name, id))
                if entry is not None and not texts:
                    entry = dataclasses.replace(entry, text=None, query=None)
                if entry is not None and not embeddings:
                    entry = dataclasses.replace(entry, contexts=None)
                found.append(entry)
        return found

    def contains(self, ids: Sequence[str]) -> list[bool]:
        """For each id, whether it is there, if only as a text."""
        ids = check_ids(ids)
        with self._kept.lock:
            return [(self._name, id) in self._kept.entries for id in ids]

    def delete(self, ids: Sequence[str]) -> int:
        """Drop entries; how many were there."""
        ids = check_ids(ids)
        with self._kept.lock:
            return sum(self._kept.drop((self._name, id)) for id in ids)

    def ids(self) -> Iterator[str]:
        """All ids there are now."""
        with self._kept.lock:
            return iter([id for name, id in self._kept.entries if name == self._name])

    def kinds(self) -> dict[Kind, int]:
        """How many passages with embeddings there are of each model, rate and type."""
        with self._kept.lock:
            return Counter(
                _kind(contexts)
                for (name, _), contexts in self._kept.contexts.items()
                if name == self._name
            )

    def count(self) -> int:
        """How many passages there are, those with nothing but their text included."""
        with self._kept.lock:
            return sum(1 for name, _ in self._kept.entries if name == self._name)

    def compact(self) -> None:
        """Nothing to do: room is given back at once."""

    def verify(self, *, repair: bool = False) -> Verified:
        """Nothing in memory, in whatever namespace, can be damaged."""
        with self._kept.lock:
            return Verified(len(self._kept.entries))


class _Kept:
    """What all namespaces of a store hold."""

    def __init__(self, *limits: int) -> None:
        self.limits = limits
        self.entries: OrderedDict[_Key, Entry] = OrderedDict()
        self.contexts: OrderedDict[_Key, ContextEmbeddings] = OrderedDict()
        self.bytes = [0, 0]
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """A lock that nobody holds."""
        self.lock = threading.Lock()

    def add(self, key: _Key, entry: Entry) -> None:
        self.drop(key)
        self.entries[key] = dataclasses.replace(entry, contexts=None)
        self.bytes[1] += _text_bytes(entry)
        if entry.contexts is not None:
            embeddings = entry.contexts.embeddings.detach().cpu()
            self.contexts[key] = dataclasses.replace(
                entry.contexts, embeddings=embeddings, passage=None
            )
            self.bytes[0] += embeddings.nbytes

    def use(self, key: _Key) -> Entry | None:
        entry = self.entries.get(key)
        if entry is None:
            return None
        self.entries.move_to_end(key)
        if key in self.contexts:
            self.contexts.move_to_end(key)
        return dataclasses.replace(entry, contexts=self.contexts.get(key))

    def drop(self, key: _Key) -> bool:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.bytes[1] -= _text_bytes(entry)
        self.drop_contexts(key)
        return entry is not None

    def drop_contexts(self, key: _Key) -> None:
        contexts = self.contexts.pop(key, None)
        if contexts is not None:
            self.bytes[0] -= contexts.embeddings.nbytes

    def drop_excess(self) -> None:
        while self.bytes[0] > self.limits[0]:
            self.drop_contexts(next(iter(self.contexts)))
        while self.bytes[1] > self.limits[1]:
            self.drop(next(iter(self.entries)))


def _kind(contexts: ContextEmbeddings) -> Kind:
    dtype = str(contexts.embeddings.dtype).removeprefix("torch.")
    return Kind(contexts.fingerprint, contexts.rate, contexts.embeddings.shape[1], dtype)


def _text_bytes(entry: Entry) -> int:
    texts = (entry.text or "", entry.query or "")
    return _ENTRY_BYTES + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
