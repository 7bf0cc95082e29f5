"""Starts Ray if it is not there, quietly, and stops it again; nothing of the process stays changed."""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import textwrap
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from cocom.errors import InputError, MissingExtraError

__all__ = ["cpus_of_each", "quiet", "ray_data", "session", "what_ray_says"]

_OBJECTS = 128 << 20  # bytes of shared memory: only numbers and names of files go through it
_MOST_SAID = 300  # characters
_PATIENCE = 10.0  # seconds
_PRINTS = "_worker_logs_enabled"
_OWN_LINE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,.]+ [A-Z] \d+ \d+\] ")  # of Ray's part in C++


def ray_data() -> tuple[Any, Any]:
    """The modules `ray` and `ray.data`.

    Raises:
        MissingExtraError: Ray is not installed, or not what Ray Data needs.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module("ray"), importlib.import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "building with Ray") from error


@contextmanager
def session(ray: Any) -> Iterator[bool]:
    """Ray as it is running in this process, or at RAY_ADDRESS; else on this machine, until the end.

    Yields:
        Whether it is on this machine alone.

    Raises:
        InputError: Ray cannot be started, or is not where it should be.
    """
    if ray.is_initialized():
        yield False
        return
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if not address:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECTS,
        }
    with ExitStack() as stack:
        stack.enter_context(_events_unprinted())
        stack.callback(ray.shutdown)
        with (
            warnings.catch_warnings(action="ignore"),
            _environment(),
            _errors_sifted(),
            _signals_kept(),
        ):
            try:
                _knock(address or "")
                ray.init(**options)
            except Exception as error:
                said = what_ray_says(error)
                if address:
                    raise InputError(
                        f"Ray cannot be reached at RAY_ADDRESS '{address}' ({said}): start it there, or "
                        "unset RAY_ADDRESS to compress on this machine."
                    ) from error
                raise InputError(
                    f"Ray cannot be started ({said}): mend that, or compress with the local engine."
                ) from error
        yield not address


@contextmanager
def quiet(data: Any) -> Iterator[None]:
    """Keep Ray's messages in its log files, and its progress bars away."""
    with warnings.catch_warnings(action="ignore"):
        context = data.DataContext.get_current()
    wanted = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        # Every number is a block of its own, so that it goes to a worker at once.
        "target_max_block_size": 1,
        # Whoever waits for a source, or for a large model to load, makes no progress for a while.
        "execution_no_progress_timeout_s": -1,
    }
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    handlers = {
        handler: handler.level
        for name in list(logging.root.manager.loggerDict)
        if name.partition(".")[0] == "ray"
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
        and handler not in logging.root.handlers  # which others write to
    }
    try:
        for name in before:
            setattr(context, name, wanted[name])
        for handler in handlers:
            handler.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        for handler, level in handlers.items():
            handler.setLevel(level)


def cpus_of_each(nodes: Sequence[Mapping[str, float]], workers: int, gpus: float) -> float | None:
    """How many CPUs each worker may take, so that there is room for all of them.

    Args:
        nodes: What each machine has, as `CPU` and `GPU`.
        workers: How many workers there are.
        gpus: That each takes.

    Returns:
        As many as possible, which may be a part of one; None if there is no room for so many workers.
    """

    def room(cpus: float, node: Mapping[str, float]) -> int:
        by_cpus = int(node.get("CPU", 0.0) / cpus + 1e-6)
        return min(by_cpus, int(node.get("GPU", 0.0) / gpus + 1e-6)) if gpus else by_cpus

    shares = {
        int(node["CPU"] / share * 1e4) / 1e4  # Ray counts in such parts
        for node in nodes
        for share in range(1, workers + 1)
        if node.get("CPU")
    }
    fitting = (
        cpus for cpus in shares if cpus > 0 and sum(room(cpus, node) for node in nodes) >= workers
    )
    most = max(fitting, default=None)
    return float(int(most)) if most is not None and most > 1 else most


def what_ray_says(error: BaseException) -> str:
    """The end of a long report, which is where Ray says what it is all about."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = ": ".join([type(error).__name__, *lines[-1:]])
    return textwrap.shorten(said, _MOST_SAID, placeholder=" …").rstrip(". ")


def _knock(address: str) -> None:
    """Ray would try for minutes to reach what is not there."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


@contextmanager
def _environment() -> Iterator[None]:
    """What Ray reads when it starts, unless the user said otherwise."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    added = [name for name in wanted if name not in os.environ]
    os.environ.update((name, wanted[name]) for name in added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _events_unprinted() -> Iterator[None]:
    """Ray prints to standard output that a worker was killed; no setting keeps it from that."""
    module: Any = sys.modules.get("ray._private.worker")
    before = getattr(module, _PRINTS, None)
    try:
        if before is not None:
            setattr(module, _PRINTS, False)
        yield
    finally:
        if before is not None:
            setattr(module, _PRINTS, before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray would write about its insides, and abort, when this process is told to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _errors_sifted() -> Iterator[None]:
    """Write to standard error later what was written meanwhile, without the lines of Ray's part in C++."""
    with ExitStack() as stack:
        with suppress(OSError):  # there is none
            _flush()
            original = os.dup(2)
            stack.callback(os.close, original)
            held = stack.enter_context(tempfile.TemporaryFile())
            os.dup2(held.fileno(), 2)
            stack.callback(_pour, held, original)
        yield


def _pour(held: Any, original: int) -> None:
    _flush()
    os.dup2(original, 2)
    held.seek(0)
    for line in held:
        if not _OWN_LINE.match(line):
            os.write(original, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
