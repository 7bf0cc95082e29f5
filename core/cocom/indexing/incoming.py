"""The folder through which a build and its workers give each other work, until it is in the store.

    index/incoming/RUN/00000007.json              passages to compress
    index/incoming/RUN/00000007.tries             a byte for each time that a worker began with them
    index/incoming/RUN/RUN-00000007.safetensors   what became of them, to be moved to index/shards
    index/incoming/RUN/end                        how many chunks there are, once that is known

RUN names host and process of the build, and is different for every run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cocom.errors import StoreError
from cocom.indexing.chunks import Chunk
from cocom.store import DiskStore
from cocom.store.shard import SUFFIX

__all__ = ["Run", "Work", "finished", "folder_of", "remove_stale"]

_INCOMING = "incoming"
_END = "end"
_DAY = 86400.0
_mine: set[str] = set()  # names of the runs of this process


class Run:
    """One run's folder, as the build and its workers see it.

    Attributes:
        folder: It; made with the first chunk.
    """

    def __init__(self, folder: Path) -> None:
        """Keep where the folder is."""
        self.folder = folder
        self._written = 0

    @classmethod
    def begin(cls, store: DiskStore) -> Run:
        """A new run of this process; `close` ends it."""
        name = f"{_host()}-{os.getpid()}-{uuid.uuid4().hex}"
        _mine.add(name)
        return cls(folder_of(store) / name)

    def add(self, chunk: Chunk) -> int:
        """Write a chunk for the workers; its number.

        Raises:
            StoreError: It cannot be written.
        """
        number = self._written
        # Not with JSON's own escapes, which make one character of two lone surrogates.
        data = json.dumps(
            {"texts": dict(chunk.texts), "keys": dict(chunk.keys)}, ensure_ascii=False
        ).encode("utf-8", "surrogatepass")
        self._write(self._chunk(number).name, data)
        self._written += 1
        return number

    def end(self) -> None:
        """Tell the workers that there will be no more chunks."""
        if self._written:
            self._write(_END, str(self._written).encode())

    def ready(self) -> tuple[int, bool]:
        """How many chunks were written so far, as a worker sees it, and whether these are all."""
        with suppress(FileNotFoundError):
            return int((self.folder / _END).read_text()), True
        if not self.folder.is_dir():
            return 0, True  # the build has gone
        numbers = [int(path.stem) for path in self.folder.glob("*.json")]
        return max(numbers, default=-1) + 1, False

    def read(self, number: int) -> Chunk | None:
        """A chunk; None if it is done already.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            data = self._chunk(number).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"'{self._chunk(number)}' cannot be read ({error.strerror}): every worker needs the store's "
                "folder, so put it where all machines can read and write it."
            ) from error
        return Chunk(**json.loads(data.decode("utf-8", "surrogatepass")))

    def attempt(self, number: int) -> int:
        """Write down that a worker begins with a chunk; the how many-th time it is."""
        with self._tries(number).open("ab") as file:
            file.write(b"+")
            file.flush()
            return os.fstat(file.fileno()).st_size

    def load(self) -> int:
        """Write down that a worker begins to load its model; how many did since one last succeeded."""
        with (self.folder / "loads").open("ab") as file:
            file.write(b"+")
            file.flush()
            return os.fstat(file.fileno()).st_size

    def loaded(self) -> None:
        """Write down that a worker has loaded its model."""
        (self.folder / "loads").write_bytes(b"")

    def shard(self, number: int) -> Path:
        """Where a chunk's shard is written to."""
        return self.folder / f"{self.folder.name}-{number:08d}{SUFFIX}"

    def remove(self, number: int) -> None:
        """Forget a chunk that is done."""
        self._chunk(number).unlink(missing_ok=True)
        self._tries(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything but finished shards, which the next build takes up."""
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if path.suffix != SUFFIX:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # it is not empty
            self.folder.rmdir()
        _mine.discard(self.folder.name)

    def _chunk(self, number: int) -> Path:
        return self.folder / f"{number:08d}.json"

    def _tries(self, number: int) -> Path:
        return self.folder / f"{number:08d}.tries"

    def _write(self, name: str, data: bytes) -> None:
        staging = self.folder / f".{name}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            staging.write_bytes(data)
            staging.replace(self.folder / name)
        except OSError as error:
            raise StoreError(
                f"'{self.folder / name}' cannot be written ({error.strerror}): make room there, or make the "
                "folder writable."
            ) from error


class Work:
    """What the workers have to do at a time.

    Attributes:
        run: The run.
        numbers: Of the chunks that are not done.
        error: What the source raised, if it did; what came before it is done nevertheless.
    """

    def __init__(self, run: Run, chunks: Iterator[Chunk], most: int) -> None:
        """Write nothing yet.

        Args:
            run: The run.
            chunks: What is to be compressed.
            most: How many chunks may wait or be in work.
        """
        self.run = run
        self.numbers: set[int] = set()
        self.error: Exception | None = None
        self._chunks: Iterator[Chunk] | None = chunks
        self._most = most

    def fill(self) -> None:
        """Write as many chunks as there may be at a time."""
        while self._chunks is not None and len(self.numbers) < self._most:
            try:
                chunk = next(self._chunks, None)
            except Exception as error:
                self.error = error
                chunk = None
            if chunk is None:
                self._chunks = None
                self.run.end()
            else:
                self.numbers.add(self.run.add(chunk))

    def finished(self, number: int) -> None:
        """Go on to others."""
        self.run.remove(number)
        self.numbers.discard(number)
        self.fill()


def folder_of(store: DiskStore) -> Path:
    """Where the folders of a store's runs are."""
    return store.path.absolute() / _INCOMING


def finished(store: DiskStore) -> list[Path]:
    """Finished shards of all runs, which anybody may take up."""
    return sorted(folder_of(store).glob(f"*/*{SUFFIX}"))


def remove_stale(store: DiskStore) -> None:
    """Remove the folders of runs that have ended without being able to."""
    for folder in folder_of(store).glob("*"):
        with suppress(OSError):  # somebody else removed it meanwhile
            if _is_stale(folder):
                shutil.rmtree(folder)


def _is_stale(folder: Path) -> bool:
    """Whether a run's process is dead, or nothing has happened in its folder for a day."""
    host, _, rest = folder.name.rpartition("-")[0].rpartition("-")
    if not host or not rest.isdecimal():
        return False  # none of ours
    # A folder's time is when a file in it was last made, renamed or removed.
    if time.time() - folder.stat().st_mtime > _DAY:
        return True
    return host == _host() and not _is_alive(int(rest), folder.name)


def _is_alive(process: int, name: str) -> bool:
    if process == os.getpid():
        return name in _mine
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _host() -> str:
    return socket.gethostname().replace(os.sep, "_") or "localhost"
