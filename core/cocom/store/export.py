"""A store's passages as plain files, in parts: `part-00000.safetensors` and so on, or `part-00000.parquet`.

What is in them, and how else than with cocom to read it, is told in `cocom.store.export_files`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from cocom.errors import InputError, StoreError
from cocom.store.export_files import Format, Row, writer_of
from cocom.store.protocol import Kind

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["Exported", "Format", "export_store"]

_BATCH = 64  # passages read at a time
_PART = 128 << 20  # bytes of embeddings and texts in a file
_NAMED = 10  # kinds that a message names


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        passages: How many.
        files: In how many files.
        bytes: Size of these together.
    """

    passages: int
    files: int
    bytes: int


def export_store(
    store: DiskStore,
    out: str | os.PathLike[str],
    *,
    format: Format = "safetensors",
    namespace: str | None = None,
    rate: int | None = None,
    fingerprint: str = "",
    part_passages: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write passages of a store as files that need no store to be read.

    What a store keeps quantised is written as the store gives it, dequantised. Memory holds a part at most
    (of Parquet, a row group), however large the store is. Each part appears whole or not at all, and an
    export that fails removes those that it has written.

    Args:
        store: The store; all of it, whichever namespace of it this is.
        out: A folder that is empty or not there yet.
        format: "safetensors" or "parquet".
        namespace: Only the passages of this one; None takes those of all.
        rate: Only passages at this compression rate.
        fingerprint: Only passages by models whose fingerprint begins so.
        part_passages: Passages in a file; None takes as many as make 128 MiB.
        on_progress: Called after every batch with how many passages were read, and how many there are.

    Raises:
        InputError: There is nothing to write, `out` is not empty, or a bad value.
        MissingExtraError: Parquet was asked for, but pyarrow is not installed.
        StoreError: A passage is damaged, or `out` cannot be written.
    """
    write = writer_of(format)
    if part_passages is not None and part_passages < 1:
        raise InputError(f"part_passages must be at least 1, got {part_passages}.")
    chosen = _chosen(store, namespace, rate, fingerprint)
    total = sum(sum(kinds.values()) for kinds in chosen.values())
    folder = Path(out)
    made = _make_folder(folder, store)
    written: list[Path] = []
    count = _Count(total, on_progress)
    rows = count.counted(_rows(store, list(chosen), rate, fingerprint))
    try:
        for number, part in enumerate(_parts(rows, part_passages)):
            path = folder / f"part-{number:05}.{format}"
            try:
                write(path, part)
            except (OSError, SafetensorError) as error:
                raise StoreError(
                    f"'{path}' cannot be written ({error}): make room there, or make the folder writable."
                ) from error
            written.append(path)
        return Exported(count.done, len(written), sum(path.stat().st_size for path in written))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        if made:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        raise


class _Count:
    """Counts passages as they are read."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.done = 0
        self._total = total
        self._on_progress = on_progress

    def counted(self, batches: Iterator[list[Row]]) -> Iterator[Row]:
        for batch in batches:
            self.done += len(batch)
            if self._on_progress is not None:
                self._on_progress(self.done, self._total)
            yield from batch


def _chosen(
    store: DiskStore, namespace: str | None, rate: int | None, fingerprint: str
) -> dict[str, dict[Kind, int]]:
    """How many passages of each namespace and kind are to be written."""
    there = {name: store.namespace(name).kinds() for name in store.namespaces()}
    chosen = {
        name: {
            kind: count
            for kind, count in kinds.items()
            if rate in (None, kind.rate) and kind.fingerprint.startswith(fingerprint)
        }
        for name, kinds in there.items()
        if namespace in (None, name)
    }
    chosen = {name: kinds for name, kinds in chosen.items() if kinds}
    if chosen:
        return chosen
    if not there:
        raise InputError(f"{store} is empty, so there is nothing to export: build it first.")
    wanted = {"namespace": namespace, "rate": rate, "fingerprint": fingerprint or None}
    asked = " and ".join(f"{name} {value!r}" for name, value in wanted.items() if value is not None)
    found = [
        f"{count:,} in namespace {name!r} at rate {kind.rate} by model {kind.fingerprint[:12]}"
        for name, kinds in there.items()
        for kind, count in kinds.items()
    ]
    more = f" and {len(found) - _NAMED} kinds more" if len(found) > _NAMED else ""
    raise InputError(
        f"{store} has no passages with {asked}: it has {', '.join(found[:_NAMED])}{more}; ask for some of "
        "these."
    )


def _make_folder(folder: Path, store: DiskStore) -> bool:
    """Whether the folder is new."""
    if folder.resolve().is_relative_to(store.path.resolve()):
        raise InputError(f"'{folder}' is inside {store}: give a folder beside it.")
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(path.name for path in folder.iterdir())
    except FileExistsError as error:
        raise InputError(f"'{folder}' is a file: give a folder that is empty or new.") from error
    except OSError as error:
        raise StoreError(
            f"'{folder}' cannot be made a folder of files ({error}): give another one."
        ) from error
    if found:
        raise InputError(
            f"'{folder}' is not empty, it holds {', '.join(found[:3])}: give a folder that is empty or new."
        )
    return made


def _rows(
    store: DiskStore, namespaces: list[str], rate: int | None, fingerprint: str
) -> Iterator[list[Row]]:
    """The passages, in batches; what is deleted meanwhile is left out."""
    for name in namespaces:
        part = store.namespace(name)
        for ids in _ids(part, rate, fingerprint):
            entries = zip(ids, part.get(ids), strict=True)
            yield [
                Row(id, name, entry.text, entry.query, entry.contexts)
                for id, entry in entries
                if entry is not None and entry.contexts is not None
            ]


def _ids(store: DiskStore, rate: int | None, fingerprint: str) -> Iterator[list[str]]:
    """The ids of a namespace's passages of some kinds, in their order."""
    after = ""
    while True:
        with store.index.reading() as database:
            rows = database.execute(
                "SELECT id FROM entries WHERE id > ? "
                "AND namespace = (SELECT namespace FROM namespaces WHERE name = ?) "
                "AND kind IN (SELECT kind FROM kinds WHERE rate = COALESCE(?, rate) "
                "AND substr(fingerprint, 1, ?) = ?) ORDER BY id LIMIT ?",
                (after, store.name, rate, len(fingerprint), fingerprint, _BATCH),
            )
            ids = [id for (id,) in rows]
        if not ids:
            return
        yield ids
        after = ids[-1]


def _parts(rows: Iterator[Row], passages: int | None) -> Iterator[Iterator[Row]]:
    """The rows of each file; those of one must be taken before the next."""
    for first in rows:
        yield _part(first, rows, passages)


def _part(first: Row, rest: Iterator[Row], passages: int | None) -> Iterator[Row]:
    row: Row | None = first
    count = size = 0
    while row is not None:
        yield row
        count += 1
        size += row.nbytes
        if count == passages or (passages is None and size >= _PART):
            return
        row = next(rest, None)
