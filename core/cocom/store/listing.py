"""Which passages each source of a store had when it was last read, so that what vanished can be dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["Failure", "Listing", "SourceRecord", "failures", "namespaces", "sources"]

_BATCH = 1024


@dataclass(frozen=True)
class Failure:
    """A passage that could not be compressed, or read.

    Attributes:
        key: Its name in the source.
        message: Why, in a sentence.
    """

    key: str
    message: str


@dataclass(frozen=True)
class SourceRecord:
    """What a store knows of a source.

    Attributes:
        name: The source.
        fingerprint: The model that compressed it.
        rate: At which rate.
        passages: How many different passages it had when it was last read.
        failures: How many could not be compressed, or read.
        finished: Whether it was read to its end.
    """

    name: str
    fingerprint: str
    rate: int
    passages: int
    failures: int
    finished: bool


class Listing:
    """One reading of a source: what it has is marked, and what is not marked at the end has vanished."""

    def __init__(self, store: DiskStore, name: str, fingerprint: str, rate: int) -> None:
        """Begin to read a source.

        Args:
            store: The store, and namespace of it, that passages are compressed into.
            name: The source.
            fingerprint: The model.
            rate: Compression rate.
        """
        self._store = store
        with store.writing() as writing:
            database = writing.database
            self._source = writing.source(store.name, name, fingerprint, rate)
            database.execute(
                "UPDATE sources SET run = run + 1, finished = 0 WHERE source = ?", (self._source,)
            )
            database.execute("DELETE FROM failures WHERE source = ?", (self._source,))
            query = "SELECT run FROM sources WHERE source = ?"
            (self._run,) = database.execute(query, (self._source,)).fetchone()

    def mark(self, ids: Iterable[str], failures: Iterable[Failure] = ()) -> None:
        """Write down passages that the source has, and those that failed."""
        with self._store.writing() as writing:
            writing.database.executemany(
                "INSERT INTO listed VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET run = MAX(run, excluded.run)",
                ((self._source, id, self._run) for id in ids),
            )
            writing.database.executemany(
                "INSERT INTO failures VALUES (?, ?, ?)",
                ((self._source, failure.key, failure.message) for failure in failures),
            )

    def finish(self, *, drop: bool) -> int:
        """The source was read to its end.

        Args:
            drop: Whether passages that it does not have any more, and no other source of the namespace has,
                are deleted.

        Returns:
            How many were deleted.
        """
        dropped = 0
        while drop and (part := self._vanished()):
            with self._store.writing() as writing:
                database = writing.database
                database.executemany(
                    "DELETE FROM listed WHERE source = ? AND id = ?",
                    ((self._source, id) for id in part),
                )
                marks = ", ".join("?" * len(part))
                elsewhere = {
                    id
                    for (id,) in database.execute(
                        "SELECT id FROM listed JOIN sources USING (source) WHERE namespace = "
                        f"(SELECT namespace FROM sources WHERE source = ?) AND id IN ({marks})",
                        (self._source, *part),
                    )
                }
                dropped += writing.forget(
                    self._store.name, [id for id in part if id not in elsewhere]
                )
        with self._store.writing() as writing:
            writing.database.execute(
                "UPDATE sources SET finished = 1 WHERE source = ?", (self._source,)
            )
        return dropped

    def failures(self, limit: int) -> list[Failure]:
        """The first of the passages that failed."""
        with self._store.index.reading() as database:
            rows = database.execute(
                "SELECT key, message FROM failures WHERE source = ? ORDER BY rowid LIMIT ?",
                (self._source, limit),
            )
            return [Failure(*row) for row in rows]

    def _vanished(self) -> list[str]:
        with self._store.index.reading() as database:
            rows = database.execute(
                # Not what a later reading, still on its way, has marked.
                "SELECT id FROM listed WHERE source = ? AND run < ? LIMIT ?",
                (self._source, self._run, _BATCH // 2),
            )
            return [id for (id,) in rows]


def namespaces(store: DiskStore) -> list[str]:
    """Names of the namespaces that a source was read for, those without a passage included."""
    with store.index.reading() as database:
        rows = database.execute(
            "SELECT DISTINCT n.name FROM sources JOIN namespaces AS n USING (namespace) ORDER BY n.name"
        )
        return [name for (name,) in rows]


def sources(store: DiskStore) -> list[SourceRecord]:
    """The sources of a store's namespace."""
    with store.index.reading() as database:
        rows = database.execute(
            "SELECT name, fingerprint, rate, "
            "(SELECT COUNT(*) FROM listed WHERE listed.source = s.source AND listed.run >= s.run), "
            "(SELECT COUNT(*) FROM failures WHERE failures.source = s.source), finished "
            "FROM sources AS s WHERE namespace = (SELECT namespace FROM namespaces WHERE name = ?) "
            "ORDER BY source",
            (store.name,),
        )
        return [SourceRecord(*row) for row in [(*row[:-1], bool(row[-1])) for row in rows]]


def failures(store: DiskStore) -> list[tuple[str, Failure]]:
    """Sources and failed passages of a store's namespace, as they were when each was last read."""
    with store.index.reading() as database:
        rows = database.execute(
            "SELECT s.name, key, message FROM failures JOIN sources AS s USING (source) WHERE namespace = "
            "(SELECT namespace FROM namespaces WHERE name = ?) ORDER BY failures.rowid",
            (store.name,),
        )
        return [(row[0], Failure(row[1], row[2])) for row in rows]
