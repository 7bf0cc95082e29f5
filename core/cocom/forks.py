"""Locks and threads after a fork: of a process's threads, only the one that forked goes along."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["renew_after_fork"]


class Renewable(Protocol):
    """Something that holds a lock, or waits for a thread."""

    def renew(self) -> None:
        """Start anew in a forked process, where nobody else holds or answers anything."""
        ...


_renewable: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(thing: Renewable) -> None:
    """Have a thing renewed in every process that is forked while it lives."""
    _renewable.add(thing)


def _renew_all() -> None:
    for thing in list(_renewable):
        thing.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_all)
