"""Damages of a store's index: what is done, and what must come of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from tests.store.damage import INDEX, Good, cut_to_half, noise, overwrite
from tests.store.damages import REPAIR, Damage

__all__ = ["INDICES"]

ANEW = "run `cocom index verify --repair` to make it anew from the shards"
BROKEN = rf"the index of the store '.*' is damaged \(.*\): {ANEW}"
RECENT = ("recent", "recent anew", "recent other")
OF_FIRST = "shard = (SELECT shard FROM entries WHERE id = '{first}')"
THIS = "id = '{first}'"
THAT = "id = '{recent}'"


def _sql(*statements: str) -> Callable[[Good, Path], object]:
    """Change the index by SQL; {GROUP} is the id of one passage of a group."""

    def run(good: Good, path: Path) -> None:
        ids = {group: min(keys)[1] for group, keys in good.groups.items()}
        connection = sqlite3.connect(path / INDEX)
        try:
            for statement in statements:
                changed = connection.execute(statement.format_map(ids)).rowcount
                assert changed, f"nothing was changed by: {statement}"
            connection.commit()
        finally:
            connection.close()

    return run


def _index(spoil: Callable[[Path], object], name: str = INDEX) -> Callable[[Good, Path], object]:
    return lambda good, path: spoil(path / name)


def _other(file: Path) -> None:
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE mine (id)")
    connection.close()


def _pages(file: Path) -> None:
    """All but the first pages, as SQLite reads the tables' list from those."""
    overwrite(file, 3 * 4096, b"\xee" * (file.stat().st_size - 4 * 4096))


INDICES = (
    Damage(
        "no index",
        _index(Path.unlink),
        opening=r"has no index\.sqlite: run `cocom index verify --repair` to make it anew from the shards",
        verify="is missing; repair makes it anew from the shards",
        harmed=RECENT,
        lost=[7],
        back=True,
        stores=("none", "int8"),
    ),
    Damage(
        "an empty index",
        _index(lambda file: file.write_bytes(b"")),
        opening=rf"index\.sqlite' is not the index of .*: it was replaced or emptied; {ANEW}",
        harmed=RECENT,
        lost=[7],
        back=True,
    ),
    Damage(
        "an index cut to half",
        _index(cut_to_half),
        opening=BROKEN,
        harmed=RECENT,
        lost=range(8),
        back=True,
    ),
    Damage("an index of noise", _index(noise), opening=BROKEN, harmed=RECENT, lost=[7], back=True),
    Damage(
        "an index with most pages overwritten",
        _index(_pages),
        opening=BROKEN,
        harmed=RECENT,
        lost=[7],
        back=True,
    ),
    Damage(
        "another database in the index's place",
        _index(_other),
        opening=rf"index\.sqlite' is not the index of .*: it was replaced or emptied; {ANEW}",
        harmed=RECENT,
        lost=[7],
        back=True,
    ),
    Damage(
        "an index of a newer version",
        _index(lambda file: overwrite(file, 60, (2).to_bytes(4, "big"))),
        opening="the index of .* has version 2, but this cocom reads up to 1: upgrade it",
        repair="has version 2, but this cocom reads up to 1: upgrade it",
    ),
    Damage(
        "a passage of a shard not listed",  # as if it had been deleted
        _sql(f"DELETE FROM entries WHERE {THIS}"),
        harmed=["first"],
        absent=1,
        lost=[1],
    ),
    Damage(
        "a passage of the index itself not listed",
        _sql(f"DELETE FROM entries WHERE {THAT}"),
        verify="^1 passages in the index itself are not listed",
        harmed=["recent"],
        absent=1,
        lost=[1],
        back=True,
    ),
    Damage(
        "a row with another place",
        _sql(f"UPDATE entries SET start = start - 1 WHERE {THIS}"),
        get=rf"passage \w+ are damaged: .*; {REPAIR}",
        verify="^the index says otherwise of 1 of its passages than its own list",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row with a place behind the end",
        _sql(f"UPDATE entries SET start = start + 999999999999999999 WHERE {THIS}"),
        get=rf"passage \w+ is listed with embeddings \d+ to \d+, which cannot be; {REPAIR}",
        verify="^the index says otherwise of 1 of its passages than its own list",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row with more embeddings than there are",
        _sql(f"UPDATE entries SET rows = 1 << 50 WHERE {THIS} OR {THAT}"),
        get=rf"passage \w+ is listed with embeddings \d+ to \d+, which cannot be; {REPAIR}",
        verify=r"^passage \w+ is listed with embeddings \d+ to \d+, which cannot be; repair drops it",
        harmed=["first", "recent"],
        lost=[1],
        back=True,
    ),
    Damage(
        "a row with less than no embeddings",
        _sql(f"UPDATE entries SET rows = -1 WHERE {THIS}"),
        get=rf"passage \w+ is listed with embeddings \d+ to -?\d+, which cannot be; {REPAIR}",
        verify="^the index says otherwise of 1 of its passages than its own list",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row without its text",
        _sql(f"UPDATE entries SET text_size = -1 WHERE {THIS} OR {THAT}"),
        get=rf"passage \w+ (are|is) damaged: .*; {REPAIR}",
        verify="^the index says otherwise of 1 of its passages than its own list",
        harmed=["first", "recent"],
        lost=[1],
        back=True,
    ),
    Damage(
        "a row with another id",
        _sql(f"UPDATE entries SET id = '{'x' * 26}' WHERE {THIS}"),
        verify="^it does not list 1 of the 4 passages that the index has in it",
        harmed=["first"],
        absent=1,
        back=True,
    ),
    Damage(
        "a row with another checksum",
        _sql(f"UPDATE entries SET checksum = checksum / 2 WHERE {THIS}"),
        get=rf"the embeddings of passage \w+ are damaged: .*; {REPAIR}",
        verify="^the index says otherwise of 1 of its passages than its own list",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row in another shard",
        _sql(f"UPDATE entries SET {OF_FIRST} WHERE id = '{{second}}'"),
        get=rf"passage \w+ (are|is) damaged: .*; {REPAIR}",
        verify="^it does not list 1 of the 5 passages that the index has in it",
        harmed=["second"],
        lost=[1],
        back=True,
    ),
    Damage(
        "a row in a shard that is not there",
        _sql(f"UPDATE entries SET shard = 99 WHERE {THIS}"),
        get=rf"the index of the store '.*' is damaged \(shard 99 is missing\): {ANEW}",
        verify="^1 passages are in a shard that is not listed",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row of another kind",
        _sql(
            f"UPDATE entries SET kind = (SELECT kind FROM kinds WHERE rate = 16) WHERE {THIS}",
            "UPDATE counts SET passages = passages + CASE kind WHEN 1 THEN -1 ELSE 1 END "
            "WHERE namespace = (SELECT namespace FROM namespaces WHERE name = '')",
        ),
        get=rf"passage \w+ (are|is) damaged: .*; {REPAIR}",
        verify="^the index says otherwise of 1 of its passages than its own list",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row of bytes",
        _sql(f"UPDATE entries SET rows = x'0102' WHERE {THIS}"),
        get=rf"is damaged \(a passage's row is not one\): {ANEW}",
        verify=rf"is damaged \(a passage's row is not one\): {ANEW}",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a row that is no text",
        _sql(f"UPDATE entries SET windows = CAST(x'ff' AS TEXT) WHERE {THIS}"),
        get=rf"is damaged \(Could not decode to UTF-8 column 'windows' .*\): {ANEW}",
        verify=rf"is damaged \(Could not decode to UTF-8 column 'windows' .*\): {ANEW}",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "wrong counts",
        _sql("UPDATE counts SET passages = passages + 1 WHERE kind = 1"),
        verify="^2 counts of passages are wrong",
        back=True,
    ),
    Damage(
        "counts of passages that are not there",
        _sql("INSERT INTO counts VALUES (7, 1, 3)"),
        verify="^1 counts of passages are wrong",
        back=True,
    ),
    Damage(
        "no counts",
        _sql("DELETE FROM counts"),
        verify="^3 counts of passages are wrong",
        back=True,
    ),
    Damage(
        "embeddings in the index itself gone",
        _sql("DELETE FROM recent WHERE rowid <= 3"),
        get=rf"passage \w+ is listed, but not there; {REPAIR}",
        verify="^2 passages are in no shard and not in the index itself",
        harmed=RECENT,
        lost=[2],
        back=True,
    ),
    Damage(
        "embeddings in the index itself changed",
        _sql(f"UPDATE recent SET data = zeroblob(length(data)) WHERE {THAT}"),
        get=rf"the embeddings of passage \w+ are damaged: .*; {REPAIR}",
        verify=r"^the embeddings of passage \w+ are damaged: .*; repair drops it",
        harmed=["recent"],
        lost=[1],
    ),
    Damage(
        "embeddings in the index itself cut off",
        _sql(f"UPDATE recent SET data = substr(data, 1, 100) WHERE {THAT}"),
        get=rf"passage \w+ is listed with embeddings 0 to 3, which cannot be; {REPAIR}",
        verify=r"^passage \w+ is listed with embeddings 0 to 3, which cannot be; repair drops it",
        harmed=["recent"],
        lost=[1],
    ),
    Damage(
        "embeddings in the index itself too long",
        _sql(f"UPDATE recent SET data = zeroblob(2 * length(data)) WHERE {THAT}"),
        get=rf"passage \w+ has \d+ bytes instead of \d+; {REPAIR}",
        verify=r"^passage \w+ has \d+ bytes instead of \d+; repair drops it",
        harmed=["recent"],
        lost=[1],
    ),
    Damage(
        "embeddings in the index itself as text",
        _sql(f"UPDATE recent SET data = 'some' WHERE {THAT}"),
        get=rf"is damaged \(passage \w+ is not bytes\): {ANEW}",
        verify="^1 passages in the index itself are not bytes",
        harmed=["recent"],
        lost=[1],
        back=True,
    ),
    Damage(
        "texts in the index itself changed",
        _sql(f"UPDATE recent SET words = CAST(words || ' ' AS BLOB) WHERE {THAT}"),
        get=rf"the text of passage \w+ is damaged: .*; {REPAIR}",
        verify=r"^the text of passage \w+ is damaged: .*; repair drops it",
        harmed=["recent"],
        lost=[1],
    ),
    Damage(
        "a kind of another rate",
        _sql("UPDATE kinds SET rate = 8 WHERE rate = 4"),
        get=rf"the text of passage \w+ is damaged: .*; {REPAIR}",
        verify="^another shard than the index says, so one of the two was replaced",
        harmed=("first", "second", "fourth", "fifth", *RECENT),
        lost=[7],
        back=True,
    ),
    Damage(
        "a kind of another dtype",
        _sql("UPDATE kinds SET dtype = 'float16' WHERE rate = 4"),
        get=rf"the embeddings of passage \w+ are damaged: .*; {REPAIR}",
        verify="^another shard than the index says, so one of the two was replaced",
        harmed=("first", "second", "fourth", "fifth", *RECENT),
        lost=[7],
        back=True,
    ),
    Damage(
        "a kind of a dtype that is none",
        _sql("UPDATE kinds SET dtype = 'float4' WHERE rate = 4"),
        get=rf"is damaged \(kind 1 is .*'float4'.*\): {ANEW}",
        verify=rf"is damaged \(kind 1 is .*'float4'.*\): {ANEW}",
        harmed=("first", "second", "fourth", "fifth", *RECENT),
        lost=[7],
        back=True,
    ),
    Damage(
        "no kinds",
        _sql("DELETE FROM kinds"),
        get=rf"is damaged \(kind \d is missing\): {ANEW}",
        verify="^2 passages or shards are of a kind that is not listed",
        harmed=("first", "second", "third", "fourth", "fifth", *RECENT),
        lost=[7],
        back=True,
    ),
    Damage(
        "another place of a shard's embeddings",
        _sql(f"UPDATE shards SET values_at = values_at - 8 WHERE {OF_FIRST}"),
        get=rf"the embeddings of passage \w+ are damaged: .*; {REPAIR}",
        verify="^another shard than the index says, so one of the two was replaced",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a shard of bytes",
        _sql(f"UPDATE shards SET size = x'00' WHERE {OF_FIRST}"),
        get=rf"is damaged \(shard \d is .*\): {ANEW}",
        verify=rf"is damaged \(shard \d is .*\): {ANEW}",
        harmed=["first"],
        back=True,
    ),
    Damage(
        "a shard not listed",
        _sql(f"DELETE FROM shards WHERE {OF_FIRST}"),
        get=rf"is damaged \(shard \d is missing\): {ANEW}",
        verify="^4 passages are in a shard that is not listed",
        harmed=["first"],
        back=True,
    ),
)
