"""A module that one thread uses at a time, and whose train or eval modes survive that use."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from cocom.fair_lock import FairLock
from cocom.forks import renew_after_fork
from cocom.products import fast_products
from cocom.worker_threads import let_go

__all__ = ["ExclusiveModule", "leaving"]


class ExclusiveModule(nn.Module):
    """Base of what compresses and reads; can be copied and pickled in spite of its lock."""

    def __init__(self) -> None:
        super().__init__()
        self._begin()

    def _begin(self) -> None:
        self.renew()
        _modules.add(self)
        renew_after_fork(self)

    def renew(self) -> None:
        """A lock that nobody holds."""
        self._lock = FairLock()

    @property
    def wanted(self) -> bool:
        """Whether another thread waits for the module."""
        return self._lock.wanted

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """What is to hold for computations of the module's device and type."""
        weight = next((p for p in self.parameters() if p.is_floating_point()), None)
        if weight is None:
            yield
            return
        try:
            with fast_products(weight.device, weight.dtype):
                yield
        finally:
            if weight.device.type == "cpu" and _using.depth == 1:
                let_go()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._lock  # a fork meanwhile begins with a new one
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep other threads out, and leave every module in the train or eval mode it was in."""
        with _rest_when_leaving(), self._locked(), self._computing():
            modes = {module: module.training for module in self.modules()}
            try:
                yield
            finally:
                for module, mode in modes.items():
                    if module.training != mode:
                        module.training = mode

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        state.pop("_passes", None)  # see `passes_of`
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._begin()


@contextmanager
def _rest_when_leaving() -> Iterator[None]:
    """Keep a daemon thread that is done while the program ends, so that it is inside no library then.

    Python ends such threads wherever they are; inside a library that aborts the whole process.
    """
    _using.depth = getattr(_using, "depth", 0) + 1
    try:
        yield
    finally:
        _using.depth -= 1
        if leaving.is_set() and _using.depth == 0 and threading.current_thread().daemon:
            threading.Event().wait()


_using = threading.local()
_modules: weakref.WeakSet[ExclusiveModule] = weakref.WeakSet()


leaving = threading.Event()
"""Set when the program ends: whoever generates is to stop with the next token."""


@atexit.register
def _stop_all() -> None:
    """A daemon thread that is inside torch when the interpreter goes away would abort the process."""
    leaving.set()
    for module in list(_modules):
        module._lock.acquire(timeout=30)  # and keep it
