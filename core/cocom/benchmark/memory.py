"""How much memory a call takes at its peak, beyond what the process held before, and how much is free."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from cocom.benchmark.timing import finish

__all__ = ["free_bytes", "give_back", "is_out_of_memory", "peak_of"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_MACHINE = Path("/proc/meminfo")
_TROUBLE = ("can't allocate memory", "not enough memory", "out of memory")


def peak_of(work: Callable[[], object], device: torch.device) -> int | None:
    """Call something, and tell how much memory it took.

    On CUDA what torch allocated, on Linux's CPUs the memory of the whole process; None elsewhere.
    """
    if device.type == "cuda":
        finish(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        finish(device)
        return max(0, torch.cuda.max_memory_allocated(device) - before)
    _trim()
    resident = _kilobytes(_STATUS, "VmRSS") if device.type == "cpu" and _reset() else None
    work()
    peak = _kilobytes(_STATUS, "VmHWM")
    return None if resident is None or peak is None else max(0, peak - resident) * 1024


def free_bytes(device: torch.device) -> int | None:
    """Memory that a cell may take; None where nobody tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + unused
    available = _kilobytes(_MACHINE, "MemAvailable") if device.type == "cpu" else None
    return None if available is None else available * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory; the CPU's has no type of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(t in str(error).lower() for t in _TROUBLE)


def give_back(device: torch.device) -> None:
    """Free what nobody uses any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    _trim()


def _trim() -> None:
    """Return what the allocator keeps to the system, or a peak would hide in it."""
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _reset() -> bool:
    """Let the peak begin anew; only Linux can."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _kilobytes(file: Path, name: str) -> int | None:
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return None
