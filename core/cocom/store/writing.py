"""What can be done in a transaction of a store's index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cocom.store.protocol import Kind
from cocom.store.record import Facts, Record
from cocom.store.shard import Placed, Shard
from cocom.store.tables import ENTRY, TYPES, parts

if TYPE_CHECKING:
    from cocom.store.index import Index

__all__ = ["Writing"]


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
        rows = [(number, id) for part in parts(list(ids)) for id in part]
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
            f"SELECT name, data, scales, words, {ENTRY} FROM recent JOIN namespaces USING (namespace) "
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
            f"INSERT INTO entries (namespace, {ENTRY}) VALUES ({', '.join('?' * 12)})",
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
    return blobs and tuple(map(type, row[3:])) in TYPES
