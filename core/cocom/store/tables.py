"""The tables of a store's index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cocom.store.protocol import Kind, is_name
from cocom.store.record import Facts
from cocom.store.shard import Shard

__all__ = [
    "APPLICATION",
    "CHECKS",
    "ENTRY",
    "SCHEMA",
    "TYPES",
    "VERSION",
    "Inline",
    "Located",
    "marks",
    "parts",
]

VERSION = 1
APPLICATION = 0x434F434D  # "COCM"

_MOST_PARAMETERS = 500

SCHEMA = f"""
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
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""

# What must give 0.
CHECKS = {
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

ENTRY = "kind, shard, start, words_at, id, rows, tokens, windows, text_size, query_size, checksum"

# What a row of `entries` consists of: SQLite keeps whatever a damaged byte makes of it.
TYPES = {(int, shard, int, int, str, int, int, str, int, int, int) for shard in (int, type(None))}


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


def parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many ids at a time as a statement takes; what cannot be one is nowhere."""
    ids = [id for id in ids if is_name(id)]
    return (ids[i : i + _MOST_PARAMETERS] for i in range(0, len(ids), _MOST_PARAMETERS))


def marks(values: Sequence[str]) -> str:
    """A question mark for each value."""
    return ", ".join("?" * len(values))
