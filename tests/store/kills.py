"""Processes that work on a store and are killed: at a random time, or at a step that is named."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cocom.store import index, shard

__all__ = ["Child", "Steps"]

_READING = ("SELECT", "BEGIN", "PRAGMA page_count", "PRAGMA freelist_count")
_SETTING = ("PRAGMA synchronous", "PRAGMA cache_size", "PRAGMA secure_delete")
_RECORD = struct.Struct("<24sI")

Say = Callable[[str, int], None]


class Child:
    """A forked process that does some work and says how far it is; whatever it raises ends it with 1."""

    def __init__(self, work: Callable[[Say], None]) -> None:
        self._pipe, write = os.pipe()
        self.records: list[tuple[str, int]] = []
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                work(lambda word, number: _say(write, word, number))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)

    def wait_for(self, records: int) -> None:
        """Wait until it has said so much, or has ended."""
        while len(self.records) < records and self._read():
            pass

    def kill(self, delay: float) -> None:
        """Kill it after some seconds."""
        time.sleep(delay)
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> bool:
        """Wait for its end; whether it was killed. It must not end otherwise before its work is done."""
        while self._read():
            pass
        os.close(self._pipe)
        _, status = os.waitpid(self.pid, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0, "the process failed: see its error above"
        assert not killed or os.WTERMSIG(status) == signal.SIGKILL
        return killed

    def _read(self) -> bool:
        data = os.read(self._pipe, _RECORD.size)
        if len(data) == _RECORD.size:
            word, number = _RECORD.unpack(data)
            self.records.append((word.rstrip(b"\0").decode(), number))
        return len(data) == _RECORD.size


def _say(pipe: int, word: str, number: int) -> None:
    os.write(pipe, _RECORD.pack(word.encode()[:24], number))


class Steps:
    """Counts what a process does to files and to the index, and kills it at one of these steps."""

    def __init__(self, at: int, say: Say) -> None:
        """Count from now on; the process must be one that is thrown away.

        Args:
            at: The step to be killed at.
            say: Told of the last step.
        """
        self._at = at
        self._say = say
        self._count = 0
        self._statement = ""
        # Before each: where one has ended is where the next begins.
        for owner, name in ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "unlink")):
            self._wrap(owner, name)
        self._wrap_saving()
        self._wrap_connecting()

    def step(self, what: str) -> None:
        """One step more."""
        if self._count == self._at:
            self._say(what, self._count)
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1

    def _wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            self.step(name)
            return real(*args, **options)

        setattr(owner, name, wrapped)

    def _wrap_saving(self) -> None:
        real = vars(shard)["save_file"]

        def save_file(tensors: Any, path: Path, metadata: Any) -> None:
            real(tensors, path, metadata)
            content = path.read_bytes()
            half = path.with_name(".tmpHALF01")  # as safetensors names it until it is written
            half.write_bytes(content[: len(content) // 2])
            self.step("saving")
            os.unlink(half)  # noqa: PTH108 - no step

        setattr(shard, "save_file", save_file)  # noqa: B010 - it is not exported there

    def _wrap_connecting(self) -> None:
        real = index.Index._connect

        def connect(this: index.Index, uri: str, *statements: str) -> sqlite3.Connection:
            connection = real(this, uri, *statements)
            if not statements:  # else it is one that reads
                connection.set_trace_callback(self._trace)
            return connection

        setattr(index.Index, "_connect", connect)  # noqa: B010

    def _trace(self, statement: str) -> None:
        """A step where another kind of statement that changes something begins."""
        words = " ".join(statement.split()[:3])
        if words.startswith("--"):  # of a trigger
            return
        if words != self._statement and not words.startswith(_READING + _SETTING):
            self.step(words)
        self._statement = words
