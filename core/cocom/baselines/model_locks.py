"""One thread at a time uses a model, and leaves it in the train or eval mode it was in."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cocom.forks import renew_after_fork

if TYPE_CHECKING:
    from torch import nn

__all__ = ["scoring"]


class _Locks:
    """A lock for each model in use, whoever uses it."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Locks that nobody holds."""
        self._mutex = threading.Lock()
        self._locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = (
            weakref.WeakKeyDictionary()
        )

    def of(self, model: nn.Module) -> threading.RLock:
        with self._mutex:
            return self._locks.setdefault(model, threading.RLock())


_locks = _Locks()


@contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Use a model alone, in eval mode and without gradients.

    Args:
        model: What is used; as it was before when it is left, after an exception too.
    """
    import torch

    with _locks.of(model), torch.no_grad():
        training = [module for module in model.modules() if module.training]
        try:
            if training:
                model.eval()
            yield
        finally:
            for module in training:
                module.training = True
