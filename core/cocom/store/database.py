"""The database of a store's index: its connections, its locks and its errors.

SQLite's own lock lets one process write at a time, and any number read meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cocom.errors import InputError, StoreBusyError, StoreError
from cocom.forks import renew_after_fork
from cocom.store.before_fork import pause_before_fork
from cocom.store.manifest import place_new
from cocom.store.tables import APPLICATION, SCHEMA, VERSION

__all__ = ["DamagedIndexError", "Database"]

_LONGEST = 1e6  # seconds to wait; SQLite counts milliseconds in 31 bits


class DamagedIndexError(StoreError):
    """An index that SQLite cannot make sense of, or this package of what it says."""


class Database:
    """Opens the database when it is needed, once to read and once to write; threads may share it."""

    _reader: sqlite3.Connection | None = None
    _writer: sqlite3.Connection | None = None

    def __init__(self, path: Path, *, timeout: float, read_only: bool, name: str) -> None:
        """Keep where the database is.

        Args:
            path: Its file.
            timeout: Seconds to wait for another writer.
            read_only: Whether it must not be changed.
            name: The store's name, for messages.

        Raises:
            InputError: `timeout` is negative.
        """
        if not timeout >= 0:
            raise InputError(f"timeout must be 0 seconds or more, got {timeout}.")
        self.path = path
        self.name = name
        self.read_only = read_only
        self._timeout = min(timeout, _LONGEST)
        self._left: list[sqlite3.Connection] = []
        self._frozen: tuple[int, ...] | None = None
        self.renew()
        renew_after_fork(self)
        pause_before_fork(self)

    def renew(self) -> None:
        """A connection must not be used, nor closed, in another process than its own."""
        self._left += [c for c in (self._reader, self._writer) if c is not None]
        self._reader = self._writer = None
        self._reading = threading.RLock()
        self._writing = threading.Lock()
        self._users = [0, 0]  # the threads that read and write now
        self.forget_numbers()

    def forget_numbers(self) -> None:
        """Forget what numbers in the tables stand for."""

    @staticmethod
    def create(path: Path) -> None:
        """Write an empty database, unless there is one."""
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            connection = sqlite3.connect(staging, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            finally:
                connection.close()
            place_new(staging, path)
        finally:
            staging.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        with self._writing, self._reading:
            self._close()

    def pause(self) -> bool:
        """Close the connections until `resume`; False if one is in use, and goes on being."""
        if threading.get_ident() in self._users:
            return False
        if not self._writing.acquire(timeout=self._timeout):
            return False
        self._reading.acquire()
        self._close()
        return True

    def resume(self) -> None:
        """Let other threads in again."""
        self._reading.release()
        self._writing.release()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def check(self) -> None:
        """Make sure that the database can be read and is of a known version.

        Raises:
            StoreError: It cannot, or is not.
        """
        with self.reading() as database:
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION or version < 1:
                raise DamagedIndexError(
                    f"'{self.path}' is not the index of {self.name}: it was replaced or emptied; run "
                    "`cocom index verify --repair` to make it anew from the shards."
                )
            if version > VERSION:
                raise StoreError(
                    f"the index of {self.name} has version {version}, but this cocom reads up to "
                    f"{VERSION}: upgrade it."
                )
            database.execute("SELECT shard FROM entries LIMIT 1").fetchone()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the database throughout."""
        with self._reading, self._explained():
            if self._reader is not None and self._frozen not in (None, self._state()):
                self._reader.close()  # somebody else writes here after all
                self._reader = None
            if self._reader is None:
                self._reader = self._open_to_read()
            self._users[0] = threading.get_ident()
            try:
                self._reader.execute("BEGIN")
                yield self._reader
            finally:
                self._users[0] = 0
                if self._reader.in_transaction:
                    self._reader.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: everything in it becomes true together, or nothing.

        Raises:
            StoreBusyError: Another process writes, and goes on doing so.
            StoreError: The store may only be read, or its disk is full.
        """
        if self.read_only:
            raise StoreError(
                f"{self.name} is open for reading only: open it without read_only to change it."
            )
        if not self._writing.acquire(timeout=self._timeout):
            raise self._busy()
        try:
            with self._explained():
                if self._writer is None:
                    self._writer = self._connect(f"{self.path.absolute().as_uri()}?mode=rw")
                    self._writer.execute("PRAGMA synchronous = FULL")
                    self._writer.execute("PRAGMA cache_size = -65536")
                    self._writer.execute("PRAGMA secure_delete = 1")  # not every SQLite does
                self._users[1] = threading.get_ident()
                try:
                    # Inside, as Ctrl-C while it waits is raised when it has the lock.
                    self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    self.forget_numbers()  # they may mean others soon
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
        finally:
            self._users[1] = 0
            self._writing.release()

    def tidy(self) -> None:
        """Put everything into the database's one file, and give back the room that it does not need."""
        with self._writing, self._explained():
            if self._writer is not None:
                (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
                (free,) = self._writer.execute("PRAGMA freelist_count").fetchone()
                if free * 4 > pages:
                    self._writer.execute("VACUUM")
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _open_to_read(self) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        self._frozen = None
        if not self.read_only:
            return self._connect(f"{uri}?mode=rw", "PRAGMA query_only = 1")
        try:
            return self._connect(f"{uri}?mode=ro", "SELECT 1 FROM kinds")
        except sqlite3.OperationalError:
            log = self.path.with_name(f"{self.path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise
            # A folder that this process cannot write to, and nobody does now.
            self._frozen = self._state()
            return self._connect(f"{uri}?immutable=1", "SELECT 1 FROM kinds")

    def _state(self) -> tuple[int, ...]:
        """What is another one as soon as somebody has written."""
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            found = self.path.stat()
        except OSError:  # opening it will tell
            return ()
        return found.st_mtime_ns, found.st_size, log.exists() and log.stat().st_size

    def _connect(self, uri: str, *statements: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            for statement in statements:
                connection.execute(statement).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # of a message that quotes what is damaged
            raise self._damaged(error) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise self._busy() from error
            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise StoreError(
                    f"{self.name} cannot be written ({error}): make room on its disk, then try again; what "
                    "was there before is unharmed."
                ) from error
            if code in (
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_READONLY,
                sqlite3.SQLITE_PERM,
                sqlite3.SQLITE_AUTH,
            ):
                raise StoreError(
                    f"the index of {self.name} cannot be opened ({error}): make the folder writable, or "
                    "open the store with read_only=True."
                ) from error
            if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
                raise InputError(
                    f"{self.name} cannot hold that ({error}): texts must be str, numbers must be int."
                ) from error
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DamagedIndexError:
        return DamagedIndexError(
            f"the index of {self.name} is damaged ({error}): run `cocom index verify --repair` to make "
            "it anew from the shards."
        )

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"another process or thread writes to {self.name}, and did not finish within {self._timeout:g} "
            "seconds: wait for it, or open the store with a longer timeout."
        )
