"""What a process has once: a key and a store for each model, and a model for each name."""

from __future__ import annotations

import threading
import weakref

from cocom.engine import Cocom
from cocom.references import new_key
from cocom.store import MemoryStore

__all__ = ["loaded", "shared_parts"]

_lock = threading.Lock()
_loading = threading.Lock()
_parts: weakref.WeakKeyDictionary[Cocom, tuple[bytes, MemoryStore]] = weakref.WeakKeyDictionary()
_models: dict[str, Cocom] = {}


def shared_parts(model: Cocom) -> tuple[bytes, MemoryStore]:
    """The key and the store of a model's views that have none of their own."""
    with _lock:
        if model not in _parts:
            _parts[model] = (new_key(), MemoryStore())
        return _parts[model]


def loaded(name: str) -> Cocom:
    """The model of a name, loaded once and kept, with its key and store, as long as the process lives.

    Give adapters the model itself where it is to be freed earlier.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    with _loading:
        model = _models.get(name)
        if model is None:
            model = _models[name] = Cocom.from_pretrained(name)
        return model
