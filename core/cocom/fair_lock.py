"""A lock that is given to threads in the order in which they asked for it."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["FairLock"]


class FairLock:
    """A reentrant lock for long work: whoever lets it go and asks again is behind those who wait.

    Python's own locks go to whoever is there first, which mostly is who had it last.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether a thread waits."""
        return bool(self._waiting)

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the lock, as soon as it is this thread's turn.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether the thread has it.
        """
        me = threading.get_ident()
        with self._mutex:
            if self._owner in (None, me):
                self._owner = me
                self._depth += 1
                return True
            turn = (me, threading.Event())
            self._waiting.append(turn)
        try:
            given = turn[1].wait(timeout)
        except BaseException:  # an interrupt, perhaps just when it was this thread's turn
            if not self._left(turn):
                self.release()
            raise
        return given or not self._left(turn)

    def release(self) -> None:
        """Let the lock go, to the thread that has waited longest."""
        with self._mutex:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, event = self._waiting.popleft()
                self._depth = 1
                event.set()

    def _left(self, turn: tuple[int, threading.Event]) -> bool:
        """Leave the queue; False if it was this thread's turn meanwhile."""
        with self._mutex:
            if turn[1].is_set():
                return False
            self._waiting.remove(turn)
            return True
