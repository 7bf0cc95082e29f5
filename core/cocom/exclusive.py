"""A module that one thread uses at a time, and whose train or eval modes survive that use."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["ExclusiveModule"]


class ExclusiveModule(nn.Module):
    """Base of what compresses and reads; can be copied and pickled in spite of its lock."""

    def __init__(self) -> None:
        super().__init__()
        self._renew_lock()

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()
        _modules.add(self)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep other threads out, and leave every module in the train or eval mode it was in."""
        with self._lock:
            modes = {module: module.training for module in self.modules()}
            try:
                yield
            finally:
                for module, mode in modes.items():
                    module.training = mode

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._renew_lock()


_modules: weakref.WeakSet[ExclusiveModule] = weakref.WeakSet()


def _renew_locks() -> None:
    """A thread that held a lock did not come along into a forked process."""
    for module in list(_modules):
        module._renew_lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_locks)
