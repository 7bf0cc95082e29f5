"""The index of a store on disk: a SQLite database that tells where each passage lies.

A transaction of it is what makes a batch part of the store: before its commit, files beside it mean
nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cocom.store.database import Database
from cocom.store.protocol import Kind
from cocom.store.record import Facts, is_kind
from cocom.store.shard import Shard
from cocom.store.tables import CHECKS, ENTRY, TYPES, Inline, Located, marks, parts
from cocom.store.writing import Writing

__all__ = ["Index"]


class Index(Database):
    """Where each passage lies, and what there is."""

    def forget_numbers(self) -> None:
        """Forget what numbers in the tables stand for."""
        self._namespaces: dict[str, int] = {}
        self._kinds: dict[int, Kind] = {}
        self._shards: dict[int, Shard] = {}

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """A transaction: everything in it becomes true together, or nothing; errors as `transaction`."""
        with self.transaction() as connection:
            yield Writing(self, connection)

    def find(self, namespace: str, ids: Sequence[str]) -> dict[str, Located]:
        """Where passages of a namespace lie; those that are not there are left out."""
        with self.reading() as database:
            number = self._namespace(database, namespace)
            if number is None:
                return {}
            rows = [
                row
                for part in parts(ids)
                for row in database.execute(
                    f"SELECT {ENTRY} FROM entries WHERE namespace = ? AND id IN ({marks(part)})",
                    (number, *part),
                )
            ]
            if not all(tuple(map(type, row)) in TYPES for row in rows):
                raise sqlite3.DatabaseError("a passage's row is not one")
            inside: dict[str, Inline] = {}
            for part in parts([row[4] for row in rows if row[1] is None]):
                query = (
                    "SELECT id, data, scales, words FROM recent "
                    f"WHERE namespace = ? AND id IN ({marks(part)})"
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
                for part in parts(ids if number is not None else [])
                for (id,) in database.execute(
                    f"SELECT id FROM entries WHERE namespace = ? AND id IN ({marks(part)})",
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
                message: database.execute(query).fetchone()[0] for message, query in CHECKS.items()
            }
            if any(counted.values()):
                return [f"{count} {message}" for message, count in counted.items() if count]
            for (number,) in database.execute("SELECT kind FROM kinds").fetchall():
                self._kind(database, number)
            for (number,) in database.execute("SELECT shard FROM shards").fetchall():
                self._shard(database, number)
            rows = database.execute(f"SELECT {ENTRY} FROM entries")
            if not all(tuple(map(type, row)) in TYPES for row in rows):
                raise sqlite3.DatabaseError("a passage's row is not one")
            return []

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
