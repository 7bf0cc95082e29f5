"""Where compressed passages are kept: what every store can do, and the one in memory."""

from cocom.store.memory import MemoryStore
from cocom.store.protocol import ContextStore, Entry

__all__ = ["ContextStore", "Entry", "MemoryStore"]
