"""The index of a store on disk: a SQLite database that tells where each passage lies.

A transaction of it is what makes a batch part of the store: before its commit, files beside it mean
nothing. SQLite's own lock lets one process write at a time, and any number read meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cocom.errors import InputError, StoreBusyError, StoreError
from cocom.forks import renew_after_fork
from cocom.store.before_fork import pause_before_fork
from cocom.store.manifest import place_new
from cocom.store.protocol import Kind, is_name
from cocom.store.record import Facts, Record, is_kind
from cocom.store.shard import Placed, Shard

__all__ = ["DamagedIndexError", "Index", "Inline", "Located", "Writing"]

_VERSION = 1
_APPLICATION = 0x434F434D  # "COCM"
_MOST_PARAMETERS = 500
_LONGEST = 1e6  # seconds to wait; SQLite counts milliseconds in 31 bits

_SCHEMA = f"""
CREATE TABLE namespaces (namespace INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE kinds (
    kind INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, rate INTEGER NOT NULL, hidden INTEGER NOT NULL,
    dtype TEXT NOT NULL, quantization TEXT NOT NULL,
    UNIQUE (fingerprint, rate, hidden, dtype, quantization)
);
CREATE TABLE shards (
    shard INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,
    passages INTEGER NOT NULL, size INTEGER NOT NULL,
    values_at INTEGER NOT NULL, scales_at INTEGER NOT NULL, words_at INTEGER NOT NULL,
    dropped INTEGER NOT NULL DEFAULT 0 -- its file is to be removed
);
CREATE TABLE entries (
    namespace INTEGER NOT NULL, id TEXT NOT NULL, kind INTEGER NOT NULL,
    shard INTEGER, -- none: in `recent`
    start INTEGER NOT NULL, words_at INTEGER NOT NULL,
    rows INTEGER NOT NULL, tokens INTEGER NOT NULL, windows TEXT NOT NULL,
    text_size INTEGER NOT NULL, query_size INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
CREATE TABLE recent ( -- what is too little for a shard of its own
    namespace INTEGER NOT NULL, id TEXT NOT NULL, size INTEGER NOT NULL,
    data BLOB NOT NULL, scales BLOB NOT NULL, words BLOB NOT NULL
);
CREATE UNIQUE INDEX recent_id ON recent (namespace, id);
CREATE INDEX recent_size ON recent (size);
CREATE TABLE counts (
    namespace INTEGER NOT NULL, kind INTEGER NOT NULL, passages INTEGER NOT NULL,
    PRIMARY KEY (namespace, kind)
) WITHOUT ROWID;
CREATE TRIGGER counts_up AFTER INSERT ON entries BEGIN
    INSERT INTO counts VALUES (new.namespace, new.kind, 1)
        ON CONFLICT DO UPDATE SET passages = passages + 1;
END;
CREATE TRIGGER counts_down AFTER DELETE ON entries BEGIN
    UPDATE counts SET passages = passages - 1
        WHERE namespace = old.namespace AND kind = old.kind;
END;
CREATE TABLE sources ( -- what was compressed into a namespace, by which model and at which rate
    source INTEGER PRIMARY KEY, namespace INTEGER NOT NULL, name TEXT NOT NULL,
    fingerprint TEXT NOT NULL, rate INTEGER NOT NULL,
    run INTEGER NOT NULL DEFAULT 0, finished INTEGER NOT NULL DEFAULT 0,
    UNIQUE (namespace, name, fingerprint, rate)
);
CREATE TABLE listed ( -- which passages a source had when it was last read
    source INTEGER NOT NULL, id TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE TABLE failures (source INTEGER NOT NULL, key TEXT NOT NULL, message TEXT NOT NULL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""

# What must give 0.
_CHECKS = {
    "passages are in no shard and not in the index itself": """
        SELECT COUNT(*) FROM entries AS e WHERE shard IS NULL AND NOT EXISTS
        (SELECT 1 FROM recent AS r WHERE r.namespace = e.namespace AND r.id = e.id)""",
    "passages in the index itself are not listed": """
        SELECT COUNT(*) FROM recent AS r WHERE NOT EXISTS (SELECT 1 FROM entries AS e
        WHERE e.namespace = r.namespace AND e.id = r.id AND e.shard IS NULL)""",
    "passages are in a shard that is not listed": """
        SELECT COUNT(*) FROM entries WHERE shard IS NOT NULL
        AND shard NOT IN (SELECT shard FROM shards WHERE NOT dropped)""",
    "passages or shards are of a kind that is not listed": """
        SELECT COUNT(*) FROM (SELECT kind FROM entries UNION SELECT kind FROM shards)
        WHERE kind NOT IN (SELECT kind FROM kinds)""",
    "passages in the index itself are not bytes": """
        SELECT COUNT(*) FROM recent WHERE typeof(data) != 'blob' OR typeof(scales) != 'blob'
        OR typeof(words) != 'blob' OR typeof(size) != 'integer'""",
    "counts of passages are wrong": """
        SELECT COUNT(*) FROM (SELECT SUM(n) AS n FROM (
        SELECT namespace, kind, COUNT(*) AS n FROM entries GROUP BY 1, 2
        UNION ALL SELECT namespace, kind, -passages FROM counts)
        GROUP BY namespace, kind) WHERE n IS NOT 0""",
}

_ENTRY = "kind, shard, start, words_at, id, rows, tokens, windows, text_size, query_size, checksum"


# What a row of `entries` consists of: SQLite keeps whatever a damaged byte makes of it.
_TYPES = {(int, shard, int, int, str, int, int, str, int, int, int) for shard in (int, type(None))}


class DamagedIndexError(StoreError):
    """An index that SQLite cannot make sense of, or this package of what it says."""


class Inline(NamedTuple):
    """What lies in the index itself of a passage that is in no shard yet."""

    values: bytes
    scales: bytes
    words: bytes


class Located(NamedTuple):
    """Where a passage lies.

    Attributes:
        kind: What its embeddings are.
        facts: What describes it.
        shard: The shard, or None for a passage in the index itself.
        start: Its first embedding's number in the shard.
        words_at: Where its words begin, from the shard's first.
        inline: Its bytes, where they are in the index itself.
    """

    kind: Kind
    facts: Facts
    shard: Shard | None
    start: int
    words_at: int
    inline: Inline | None = None


class Index:
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
        self._namespaces: dict[str, int] = {}
        self._kinds: dict[int, Kind] = {}
        self._shards: dict[int, Shard] = {}

    @staticmethod
    def create(path: Path) -> None:
        """Write an empty database, unless there is one."""
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            connection = sqlite3.connect(staging, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
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
            if application != _APPLICATION or version < 1:
                raise DamagedIndexError(
                    f"'{self.path}' is not the index of {self.name}: it was replaced or emptied; run "
                    "`cocom index verify --repair` to make it anew from the shards."
                )
            if version > _VERSION:
                raise StoreError(
                    f"the index of {self.name} has version {version}, but this cocom reads up to "
                    f"{_VERSION}: upgrade it."
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
    def writing(self) -> Iterator[Writing]:
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
                    yield Writing(self, self._writer)
                    self._writer.execute("COMMIT")
                except BaseException:
                    self._kinds.clear()  # a number may mean another kind soon
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

    def find(self, namespace: str, ids: Sequence[str]) -> dict[str, Located]:
        """Where passages of a namespace lie; those that are not there are left out."""
        with self.reading() as database:
            number = self._namespace(database, namespace)
            if number is None:
                return {}
            rows = [
                row
                for part in _parts(ids)
                for row in database.execute(
                    f"SELECT {_ENTRY} FROM entries WHERE namespace = ? AND id IN ({_marks(part)})",
                    (number, *part),
                )
            ]
            if not all(tuple(map(type, row)) in _TYPES for row in rows):
                raise sqlite3.DatabaseError("a passage's row is not one")
            inside: dict[str, Inline] = {}
            for part in _parts([row[4] for row in rows if row[1] is None]):
                query = (
                    "SELECT id, data, scales, words FROM recent "
                    f"WHERE namespace = ? AND id IN ({_marks(part)})"
                )
                for id, *data in database.execute(query, (number, *part)):
                    if not all(isinstance(blob, bytes) for blob in data):
                        raise sqlite3.DatabaseError(f"passage {id} is not bytes")
                    inside[id] = Inline(*data)
            return {
                row[4]: Located(
                    self._kind(database, row[0]),
                    Facts(*row[4:]),
                    None if row[1] is None else self._shard(database, row[1]),
                    row[2],
                    row[3],
                    inside.get(row[4]),
                )
                for row in rows
            }

    def contains(self, namespace: str, ids: Sequence[str]) -> set[str]:
        """Those of ids that are there."""
        with self.reading() as database:
            number = self._namespace(database, namespace)
            return {
                id
                for part in _parts(ids if number is not None else [])
                for (id,) in database.execute(
                    f"SELECT id FROM entries WHERE namespace = ? AND id IN ({_marks(part)})",
                    (number, *part),
                )
            }

    def ids_in(self, number: int) -> list[tuple[str, str]]:
        """Namespaces and ids of the passages in a shard; reads the whole index."""
        with self.reading() as database:
            return database.execute(
                "SELECT name, id FROM entries JOIN namespaces USING (namespace) WHERE shard = ?",
                (number,),
            ).fetchall()

    def ids(self, namespace: str, after: str, limit: int) -> list[str]:
        """The next ids after one, in their order."""
        with self.reading() as database:
            number = self._namespace(database, namespace)
            rows = database.execute(
                "SELECT id FROM entries WHERE namespace = ? AND id > ? ORDER BY id LIMIT ?",
                (number, after, limit),
            )
            found = [id for (id,) in rows]
            if not all(isinstance(id, str) for id in found):
                raise sqlite3.DatabaseError("an id is not a text")
            return found

    def namespaces(self) -> list[str]:
        """Names of the namespaces that hold passages."""
        with self.reading() as database:
            rows = database.execute(
                "SELECT DISTINCT name FROM namespaces JOIN counts USING (namespace) "
                "WHERE passages > 0 ORDER BY name"
            )
            return [name for (name,) in rows]

    def numbers(self) -> dict[str, int]:
        """Numbers of all namespaces by name, as the table has them, whatever its own index says."""
        with self.reading() as database:
            rows = database.execute("SELECT name, namespace FROM namespaces NOT INDEXED")
            self._namespaces.update(rows.fetchall())
            return dict(self._namespaces)

    def kinds(self, namespace: str | None) -> dict[Kind, int]:
        """How many passages of each kind a namespace has, or all of them have."""
        with self.reading() as database:
            number = None if namespace is None else self._namespace(database, namespace)
            if namespace is not None and number is None:
                return {}
            rows = database.execute(
                "SELECT kind, SUM(passages) FROM counts WHERE ? IS NULL OR namespace = ? "
                "GROUP BY kind HAVING SUM(passages) > 0 ORDER BY kind",
                (number, number),
            ).fetchall()
            return {self._kind(database, kind): passages for kind, passages in rows}

    def shards(self, *, dropped: bool = False) -> dict[int, Shard]:
        """The shards there are, by number."""
        with self.reading() as database:
            numbers = [
                number
                for (number,) in database.execute(
                    "SELECT shard FROM shards WHERE dropped = ? ORDER BY shard", (int(dropped),)
                )
            ]
            return {number: self._shard(database, number) for number in numbers}

    def used(self) -> dict[int, int]:
        """How many passages of each shard are still what their id means; reads the whole index."""
        with self.reading() as database:
            rows = database.execute(
                "SELECT shard, COUNT(*) FROM entries WHERE shard IS NOT NULL GROUP BY shard"
            )
            return dict(rows.fetchall())

    def recent(self) -> list[tuple[str, str]]:
        """Namespaces and ids of the passages in the index itself."""
        with self.reading() as database:
            return database.execute(
                "SELECT name, id FROM recent JOIN namespaces USING (namespace) ORDER BY recent.rowid"
            ).fetchall()

    def inconsistencies(self) -> list[str]:
        """What SQLite, and the tables compared with each other, say is wrong."""
        with self.reading() as database:
            found = [m for (m,) in database.execute("PRAGMA integrity_check(20)") if m != "ok"]
            if found:
                return found
            counted = {
                message: database.execute(query).fetchone()[0] for message, query in _CHECKS.items()
            }
            if any(counted.values()):
                return [f"{count} {message}" for message, count in counted.items() if count]
            for (number,) in database.execute("SELECT kind FROM kinds").fetchall():
                self._kind(database, number)
            for (number,) in database.execute("SELECT shard FROM shards").fetchall():
                self._shard(database, number)
            rows = database.execute(f"SELECT {_ENTRY} FROM entries")
            if not all(tuple(map(type, row)) in _TYPES for row in rows):
                raise sqlite3.DatabaseError("a passage's row is not one")
            return []

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

    def _namespace(self, database: sqlite3.Connection, name: str) -> int | None:
        if name not in self._namespaces:
            row = database.execute(
                "SELECT namespace FROM namespaces WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            self._namespaces[name] = row[0]
        return self._namespaces[name]

    def _kind(self, database: sqlite3.Connection, number: int) -> Kind:
        if number not in self._kinds:
            query = (
                "SELECT fingerprint, rate, hidden, dtype, quantization FROM kinds WHERE kind = ?"
            )
            row = database.execute(query, (number,)).fetchone()
            if row is None:
                raise sqlite3.DatabaseError(f"kind {number} is missing")
            if tuple(map(type, row)) != (str, int, int, str, str) or not is_kind(*row[2:]):
                raise sqlite3.DatabaseError(f"kind {number} is {row}")
            self._kinds[number] = Kind(*row)
        return self._kinds[number]

    def _shard(self, database: sqlite3.Connection, number: int) -> Shard:
        if number not in self._shards:
            row = database.execute(
                "SELECT name, kind, passages, size, values_at, scales_at, words_at FROM shards "
                "WHERE shard = ?",
                (number,),
            ).fetchone()
            if row is None:
                raise sqlite3.DatabaseError(f"shard {number} is missing")
            if tuple(map(type, row)) != (str, *[int] * 6) or row[2] < 1:
                raise sqlite3.DatabaseError(f"shard {number} is {row}")
            self._shards[number] = Shard(row[0], self._kind(database, row[1]), *row[2:])
        return self._shards[number]

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


class Writing:
    """What can be done in a transaction."""

    def __init__(self, index: Index, database: sqlite3.Connection) -> None:
        self.database = database
        self.written: list[str] = []  # files of shards that are new
        self._index = index

    def namespace(self, name: str) -> int:
        """Number of a namespace, new if need be."""
        return self._number("namespaces", {"name": name}, "namespace")

    def forget(self, namespace: str, ids: Iterable[str]) -> int:
        """Drop passages; how many were there."""
        number = self.namespace(namespace)
        rows = [(number, id) for part in _parts(list(ids)) for id in part]
        self.database.executemany("DELETE FROM recent WHERE namespace = ? AND id = ?", rows)
        cursor = self.database.executemany(
            "DELETE FROM entries WHERE namespace = ? AND id = ?", rows
        )
        return max(cursor.rowcount, 0)

    def add_recent(self, namespace: str, records: Sequence[Record]) -> None:
        """Keep passages in the index itself; their ids must be free."""
        number = self.namespace(namespace)
        self._insert((number, self.kind(r.kind), None, 0, 0, r.facts) for r in records)
        self.database.executemany(
            "INSERT INTO recent VALUES (?, ?, ?, ?, ?, ?)",
            ((number, r.facts.id, r.nbytes, r.values, r.scales, r.words) for r in records),
        )

    def recent_size(self) -> tuple[int, int]:
        """How many passages are in the index itself, and their bytes."""
        count, size = self.database.execute("SELECT COUNT(*), SUM(size) FROM recent").fetchone()
        return count, size or 0

    def take_recent(self) -> list[tuple[str, Record]]:
        """Namespaces and records of all passages in the index itself, dropping them there."""
        rows = self.database.execute(
            f"SELECT name, data, scales, words, {_ENTRY} FROM recent JOIN namespaces USING (namespace) "
            "JOIN entries USING (namespace, id) WHERE shard IS NULL ORDER BY recent.rowid"
        ).fetchall()
        dropped = self.database.execute("DELETE FROM recent").rowcount
        if dropped != len(rows) or not all(_is_record(row[1:]) for row in rows):
            raise sqlite3.DatabaseError("passages in the index itself cannot be read")
        return [
            (row[0], Record(self._index._kind(self.database, row[4]), Facts(*row[8:]), *row[1:4]))
            for row in rows
        ]

    def add_shard(self, shard: Shard, placed: Iterable[Placed]) -> None:
        """Make passages of a shard those of their ids, wherever these lay before."""
        kind = self.kind(shard.kind)
        cursor = self.database.execute(
            "INSERT INTO shards (name, kind, passages, size, values_at, scales_at, words_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                shard.name,
                kind,
                shard.passages,
                shard.size,
                shard.values_at,
                shard.scales_at,
                shard.words_at,
            ),
        )
        number = cursor.lastrowid
        by_namespace: dict[str, list[Placed]] = {}
        for place in placed:
            by_namespace.setdefault(place.namespace, []).append(place)
        for name, places in by_namespace.items():
            self.forget(name, (place.facts.id for place in places))
            namespace = self.namespace(name)
            self._insert((namespace, kind, number, p.start, p.words_at, p.facts) for p in places)

    def lists(self, name: str) -> bool:
        """Whether there is a shard of this file name, or was until now."""
        query = "SELECT 1 FROM shards WHERE name = ?"
        return self.database.execute(query, (name,)).fetchone() is not None

    def drop_shards(self, numbers: Iterable[int]) -> None:
        """Mark shards whose files are to be removed."""
        self.database.executemany(
            "UPDATE shards SET dropped = 1 WHERE shard = ?", ((number,) for number in numbers)
        )
        (left,) = self.database.execute(
            "SELECT COUNT(*) FROM entries WHERE shard IN (SELECT shard FROM shards WHERE dropped)"
        ).fetchone()
        if left:
            raise sqlite3.DatabaseError(f"{left} passages are in shards that do not list them")

    def remove_shards(self, numbers: Iterable[int]) -> None:
        """Forget shards whose files are gone."""
        self.database.executemany(
            "DELETE FROM shards WHERE shard = ?", ((number,) for number in numbers)
        )

    def kind(self, kind: Kind) -> int:
        """Number of a kind, new if need be."""
        return self._number("kinds", vars(kind), "kind")

    def source(self, namespace: str, name: str, fingerprint: str, rate: int) -> int:
        """Number of a source, new if need be."""
        values = {
            "namespace": self.namespace(namespace),
            "name": name,
            "fingerprint": fingerprint,
            "rate": rate,
        }
        return self._number("sources", values, "source")

    def _number(self, table: str, values: Mapping[str, Any], column: str) -> int:
        where = " AND ".join(f"{name} = ?" for name in values)
        row = self.database.execute(
            f"SELECT {column} FROM {table} WHERE {where}", tuple(values.values())
        ).fetchone()
        if row is not None:
            return int(row[0])
        cursor = self.database.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            tuple(values.values()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _insert(self, rows: Iterable[tuple[int, int, int | None, int, int, Facts]]) -> None:
        self.database.executemany(
            f"INSERT INTO entries (namespace, {_ENTRY}) VALUES ({', '.join('?' * 12)})",
            (
                (
                    namespace,
                    kind,
                    shard,
                    start,
                    words_at,
                    facts.id,
                    facts.rows,
                    facts.tokens,
                    facts.windows,
                    facts.text_size,
                    facts.query_size,
                    facts.checksum,
                )
                for namespace, kind, shard, start, words_at, facts in rows
            ),
        )


def _is_record(row: Sequence[object]) -> bool:
    """Whether three blobs and a row of `entries` are of the types that were written."""
    blobs = all(isinstance(blob, bytes) for blob in row[:3])
    return blobs and tuple(map(type, row[3:])) in _TYPES


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many ids at a time as a statement takes; what cannot be one is nowhere."""
    ids = [id for id in ids if is_name(id)]
    return (ids[i : i + _MOST_PARAMETERS] for i in range(0, len(ids), _MOST_PARAMETERS))


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
