"""Compressed passages in memory, the ones used longest ago dropped first."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from cocom.datatypes import ContextEmbeddings
from cocom.errors import InputError
from cocom.forks import renew_after_fork
from cocom.store.protocol import Entry

__all__ = ["MemoryStore"]

_GIGABYTE = 1 << 30
_ENTRY_BYTES = 256  # what an entry takes beside its texts, about


class MemoryStore:
    """A store that lives as long as the process.

    Embeddings and texts have a limit each: texts are small, and from them embeddings can be made again.
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
        self._limits = (embedding_bytes, text_bytes)
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._contexts: OrderedDict[str, ContextEmbeddings] = OrderedDict()
        self._bytes = [0, 0]
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """A lock that nobody holds."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep entries under their ids, embeddings on the CPU."""
        with self._lock:
            for id, entry in entries.items():
                self._drop(id)
                self._entries[id] = dataclasses.replace(entry, contexts=None)
                self._bytes[1] += _text_bytes(entry)
                if entry.contexts is not None:
                    contexts = dataclasses.replace(
                        entry.contexts, embeddings=entry.contexts.embeddings.detach().cpu()
                    )
                    self._contexts[id] = contexts
                    self._bytes[0] += contexts.embeddings.nbytes
            while self._bytes[0] > self._limits[0]:
                self._drop_contexts(next(iter(self._contexts)))
            while self._bytes[1] > self._limits[1]:
                self._drop(next(iter(self._entries)))

    def get(self, ids: Sequence[str]) -> list[Entry | None]:
        """The entries of ids, in order; None for an id that is not there."""
        found: list[Entry | None] = []
        with self._lock:
            for id in ids:
                entry = self._entries.get(id)
                if entry is not None:
                    self._entries.move_to_end(id)
                    if id in self._contexts:
                        self._contexts.move_to_end(id)
                    entry = dataclasses.replace(entry, contexts=self._contexts.get(id))
                found.append(entry)
        return found

    def _drop(self, id: str) -> None:
        entry = self._entries.pop(id, None)
        if entry is not None:
            self._bytes[1] -= _text_bytes(entry)
        self._drop_contexts(id)

    def _drop_contexts(self, id: str) -> None:
        contexts = self._contexts.pop(id, None)
        if contexts is not None:
            self._bytes[0] -= contexts.embeddings.nbytes


def _text_bytes(entry: Entry) -> int:
    texts = (entry.text or "", entry.query or "")
    return _ENTRY_BYTES + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
