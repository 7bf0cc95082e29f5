"""Reads bytes from shards: what the machine has in memory at once, the rest side by side."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cocom.errors import StoreError
from cocom.forks import renew_after_fork

Buffer = Any  # writable bytes: a bytearray, or a NumPy array of uint8

__all__ = ["LocalFiles", "ShardFiles", "Span", "is_damage"]

_OPEN = 512  # files kept open
_AT_ONCE = 128  # spans, which may be of as many files
_THREADS = 16
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)


class Span(NamedTuple):
    """Bytes to read.

    Attributes:
        name: The shard's file name.
        offset: The first byte.
        into: Where to put them; its length says how many.
    """

    name: str
    offset: int
    into: Buffer


class ShardFiles(Protocol):
    """The files of a store's shards."""

    def fill(self, spans: Sequence[Span]) -> None:
        """Read all spans.

        Raises:
            FileNotFoundError: A shard is not there (any more).
            StoreError: A shard is shorter than it should be, or cannot be read.
        """
        ...

    def remove(self, name: str) -> bool:
        """Remove a shard's file; whether it is gone."""
        ...

    def remove_unfinished(self) -> None:
        """Remove what a killed writer left unfinished, once; nobody else may be writing."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


def is_damage(error: StoreError) -> bool:
    """Whether bytes are wrong or lost, not just out of this process's reach."""
    cause = error.__cause__
    return not isinstance(cause, OSError) or cause.errno in (errno.ENOENT, errno.EIO)


class LocalFiles:
    """Shards in a folder, read with `pread`: mapping them into memory costs cold reads ten times over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool: ThreadPoolExecutor | None = None
        self._removed = False
        self._most = _OPEN
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Threads do not survive a fork, and files are opened anew."""
        self._lock = threading.Lock()
        self._files: OrderedDict[str, _Handle] = OrderedDict()
        self._pool = None

    def fill(self, spans: Sequence[Span]) -> None:
        """Read all spans; errors as `ShardFiles.fill`."""
        for begin in range(0, len(spans), _AT_ONCE):
            self._fill(spans[begin : begin + _AT_ONCE])

    def _fill(self, spans: Sequence[Span]) -> None:
        later = [
            (handle, span)
            for handle, span in ((self._open(span.name), span) for span in spans)
            if not handle.read_cached(span)
        ]
        if len(later) == 1:
            later[0][0].read(later[0][1])
        elif later:
            with self._lock:  # or another thread may close the pool in between
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cocom-store")
                reading = [self._pool.submit(handle.read, span) for handle, span in later]
            for done in reading:
                done.result()

    def remove(self, name: str) -> bool:
        """Remove a shard's file; see `ShardFiles.remove`."""
        with self._lock:
            self._files.pop(name, None)
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError:  # Windows, while another process reads it: the next writer tries again
            return False
        return True

    def remove_unfinished(self) -> None:
        """Remove unfinished files; see `ShardFiles.remove_unfinished`."""
        if not self._removed:
            for path in (*self._folder.glob(".*.tmp"), *self._folder.glob(".tmp*")):
                with suppress(OSError):  # a folder, or not ours: it does no harm
                    path.unlink()
            self._removed = True

    def close(self) -> None:
        """Close all files; they are opened again when they are needed."""
        with self._lock:
            self._files.clear()
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _open(self, name: str) -> _Handle:
        with self._lock:
            handle = self._files.get(name)
            if handle is None:
                if len(self._files) >= self._most:
                    self._files.popitem(last=False)
                try:
                    handle = _Handle(self._folder / name)
                except StoreError as error:
                    if not self._files or getattr(error.__cause__, "errno", 0) != errno.EMFILE:
                        raise
                    self._files.clear()  # others need files too: keep fewer from now on
                    self._most = max(self._most // 2, 1)
                    handle = _Handle(self._folder / name)
                self._files[name] = handle
            else:
                self._files.move_to_end(name)
            return handle


class _Handle:
    """An open file, closed when nobody reads it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"'{path}' cannot be opened ({error.strerror})") from error
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def read_cached(self, span: Span) -> bool:
        """Read a span if that takes no waiting for the disk."""
        if not _NO_WAIT:
            return False
        try:
            return os.preadv(self._file, [span.into], span.offset, _NO_WAIT) == len(span.into)
        except OSError:  # not in memory, or a file system that cannot tell
            return False

    def read(self, span: Span) -> None:
        """Read a span."""
        done = 0
        while done < len(span.into):
            try:
                count = self._read(memoryview(span.into)[done:], span.offset + done)
            except OSError as error:
                raise StoreError(
                    f"'{self._path}' cannot be read at byte {span.offset} ({error.strerror})"
                ) from error
            if count == 0:
                raise StoreError(
                    f"'{self._path}' ends before byte {span.offset + len(span.into)}: it is cut off"
                )
            done += count

    def _read(self, into: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [into], offset)
        with self._lock:  # Windows reads from where it is
            os.lseek(self._file, offset, os.SEEK_SET)
            data = os.read(self._file, len(into))
        into[: len(data)] = data
        return len(data)
