"""Tells how far a build is, how fast it goes and how long it will take."""

from __future__ import annotations

from collections import deque

from cocom.indexing.build import Progress

__all__ = ["Meter"]

_WINDOW = 60.0  # seconds over which speed is measured


class Meter:
    """Speed over the last minute, but not from before there was work.

    What is skipped, because an earlier run did it, says nothing about the rest.
    """

    def __init__(self) -> None:
        self._seen = deque([Progress(0, 0, 0, 0, 0, None, 0.0)])

    def line(self, progress: Progress) -> str:
        """One line on a build's progress."""
        while len(self._seen) > 1 and (
            progress.seconds - self._seen[1].seconds > _WINDOW
            or _worked(self._seen[0]) == _idle(self._seen[1]) < _worked(progress)
        ):
            self._seen.popleft()
        self._seen.append(progress)
        first = self._seen[0]
        seconds = max(progress.seconds - first.seconds, 1e-9)
        parts = [
            f"{progress.passages:,} passages: {progress.new:,} new, {progress.kept:,} kept, "
            f"{progress.failed:,} failed",
            f"{(_settled(progress) - _settled(first)) / seconds:,.0f} a second",
        ]
        if progress.size:
            parts.append(f"{progress.position / progress.size:.0%}")
            moved = progress.position - first.position
            if moved > 0:
                left = (progress.size - progress.position) * seconds / moved
                parts.append(f"{_duration(left)} left")
        return ", ".join(parts)


def _worked(progress: Progress) -> int:
    """Passages that took work."""
    return progress.new + progress.failed


def _settled(progress: Progress) -> int:
    """Passages that are not in work any more."""
    return _worked(progress) + progress.kept


def _idle(progress: Progress) -> int:
    """Passages that took work if none is in work now, else -1."""
    return _worked(progress) if _settled(progress) == progress.passages else -1


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
