"""`cocom index export`."""

from __future__ import annotations

__all__ = ["command"]


def command() -> None:
    """Write a store as files."""
