"""Tells how far a build is, how fast it goes and how long it will take."""

from __future__ import annotations

from collections import deque

from cocom.indexing.build import Progress

__all__ = ["Meter"]

_WINDOW = 60.0  # seconds over which speed is measured


class Meter:
    """Speed over the last minute: what was skipped at the beginning says nothing about the rest."""

    def __init__(self) -> None:
        self._seen: deque[Progress] = deque()

    def line(self, progress: Progress) -> str:
        """One line on a build's progress."""
        self._seen.append(progress)
        while len(self._seen) > 2 and progress.seconds - self._seen[1].seconds > _WINDOW:
            self._seen.popleft()
        first = self._seen[0]
        if len(self._seen) == 1:
            first = Progress(0, 0, 0, 0, 0, progress.size, 0.0)
        seconds = max(progress.seconds - first.seconds, 1e-9)
        parts = [
            f"{progress.passages:,} passages: {progress.new:,} new, {progress.kept:,} kept, "
            f"{progress.failed:,} failed",
            f"{(progress.passages - first.passages) / seconds:,.0f} a second",
        ]
        if progress.size:
            parts.append(f"{progress.position / progress.size:.0%}")
            moved = progress.position - first.position
            if moved > 0:
                left = (progress.size - progress.position) * seconds / moved
                parts.append(f"{_duration(left)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
