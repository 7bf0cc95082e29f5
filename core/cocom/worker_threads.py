"""Threads that a computation on a CPU leaves waiting, and that slow down the computations of other threads.

GNU OpenMP, which torch computes with on Linux, keeps a team of threads for every thread that has computed
something. When there are more of them than processors, all stop spinning and sleep between the many small
steps of a model, which makes it up to twice as slow. So whoever is done with a model lets its team go.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["let_go"]

_HARD = 2  # omp_pause_hard: as if nothing had been computed yet


def let_go() -> None:
    """End the team of the calling thread; a new one is made in a quarter of a millisecond when needed."""
    if torch.get_num_threads() > 1 and (library := _gnu_openmp()) is not None:
        library.omp_pause_resource_all(_HARD)


@cache
def _gnu_openmp() -> Any:
    """The library that torch has loaded; None elsewhere than on Linux, and with another OpenMP."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = {line.split(maxsplit=5)[5] for line in maps.splitlines() if "libgomp" in line}
    # There may be another one, of a library that brings its own.
    for path in sorted(found, key=lambda path: "/torch/" not in path):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if hasattr(library, "omp_pause_resource_all"):
            return library
    return None
