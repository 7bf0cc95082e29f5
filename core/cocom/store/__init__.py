"""Where compressed passages are kept: what every store can do, the one in memory, the one on disk."""

from cocom.store.disk import DiskStore
from cocom.store.layered import LayeredStore
from cocom.store.memory import MemoryStore
from cocom.store.opening import open_store
from cocom.store.protocol import ContextStore, Entry, Kind, Problem, Verified

__all__ = [
    "ContextStore",
    "DiskStore",
    "Entry",
    "Kind",
    "LayeredStore",
    "MemoryStore",
    "Problem",
    "Verified",
    "open_store",
]
