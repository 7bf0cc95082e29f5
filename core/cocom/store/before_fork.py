"""Before a fork: what must not be carried into the other process is put away, on both sides.

SQLite keeps track of its file locks inside a process. In a forked one it takes the parent's locks for its
own: it would write without any, and what it wrote would be lost as soon as the parent closes its files.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["pause_before_fork"]


class Pausable(Protocol):
    """Something that holds what must not be forked."""

    def pause(self) -> bool:
        """Put it away and keep other threads out; False if that cannot be, as it is in use."""
        ...

    def resume(self) -> None:
        """Let other threads in again, in the process that forked."""
        ...


class _Paused(threading.local):
    def __init__(self) -> None:
        self.things: list[Pausable] = []


_pausable: weakref.WeakSet[Pausable] = weakref.WeakSet()
_paused = _Paused()


def pause_before_fork(thing: Pausable) -> None:
    """Have a thing paused whenever this process is forked while it lives."""
    _pausable.add(thing)


def _pause_all() -> None:
    for thing in sorted(_pausable, key=id):  # two threads may fork: each locks in the same order
        if thing.pause():
            _paused.things.append(thing)


def _resume_all() -> None:
    while _paused.things:
        _paused.things.pop().resume()


def _forget_all() -> None:
    _paused.things.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_forget_all)
