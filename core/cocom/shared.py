"""What a process has once: a key and a store for views that have none, and a model for each name."""

from __future__ import annotations

import threading

from cocom.engine import Cocom
from cocom.forks import renew_after_fork
from cocom.references import new_key
from cocom.store import MemoryStore

__all__ = ["default_key", "default_store", "loaded"]


class _Once:
    """Made when first asked for, by one thread."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        self.store: MemoryStore | None = None
        self.models: dict[str, Cocom] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self.making = threading.Lock()
        self.loading = threading.Lock()


_once = _Once()


def default_key() -> bytes:
    """The key of views that have none of their own, random and the same throughout the process."""
    with _once.making:
        if _once.key is None:
            _once.key = new_key()
        return _once.key


def default_store() -> MemoryStore:
    """The store of views that have none of their own. Ids tell the models in it apart."""
    with _once.making:
        if _once.store is None:
            _once.store = MemoryStore()
        return _once.store


def loaded(name: str) -> Cocom:
    """The model of a name, loaded once and kept as long as the process lives.

    Give adapters the model itself where it is to be freed earlier.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    with _once.loading:
        model = _once.models.get(name)
        if model is None:
            model = _once.models[name] = Cocom.from_pretrained(name)
        return model
