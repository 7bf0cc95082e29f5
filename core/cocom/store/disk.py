"""The store on disk: immutable safetensors shards, and a SQLite index that tells where passages lie.

    index/store.json          what the folder is
    index/index.sqlite        where each passage lies; small batches themselves, until they fill a shard
    index/shards/*.safetensors

A batch becomes part of the store by one transaction of the index, after its shards are on the disk.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from cocom.errors import StoreError
from cocom.store.files import LocalFiles, ShardFiles, is_damage
from cocom.store.index import Index
from cocom.store.manifest import NAME as MANIFEST
from cocom.store.manifest import Manifest, read_manifest, write_manifest
from cocom.store.protocol import (
    ContextStore,
    Entry,
    Kind,
    Verified,
    check_entries,
    check_ids,
    check_namespace,
)
from cocom.store.quantization import Quantization
from cocom.store.reading import read_raw
from cocom.store.record import Record, encode
from cocom.store.shard import MOST_PASSAGES, MOVED, write_shard
from cocom.store.writing import Writing

__all__ = ["DiskStore"]

INDEX = "index.sqlite"
SHARDS = "shards"
_MOST_RECENT = 8192  # passages in the index itself
_TRIES = 5


class DiskStore(ContextStore):
    """A store in a folder; one process writes at a time, any number read meanwhile.

    Attributes:
        path: The folder.
        name: The namespace: the part of the store that this object is.
        manifest: What the store was made with.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, read_only: bool = False, timeout: float = 60.0
    ) -> None:
        """Open a store that is there.

        Args:
            path: Its folder.
            read_only: Never change it; SQLite's own `-wal` and `-shm` files may come to lie beside the index.
            timeout: Seconds to wait while another process writes.

        Raises:
            StoreError: There is none, it is damaged, or of a newer version.
        """
        self._open(Path(path), read_only=read_only, timeout=timeout)
        if not self.index.path.is_file():
            raise StoreError(
                f"{self} has no {INDEX}: run `cocom index verify --repair` to make it anew from the shards."
            )
        self.index.check()

    def _open(self, path: Path, *, read_only: bool, timeout: float) -> None:
        self.path = path
        manifest = path / MANIFEST
        try:
            content = manifest.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                f"there is no store at '{self.path}', because it has no {MANIFEST}: make one with "
                "DiskStore.create or `cocom index build`."
            ) from error
        except OSError as error:
            raise StoreError(
                f"'{manifest}' cannot be read ({error.strerror}): make it a readable file, as it was."
            ) from error
        self.manifest = read_manifest(content, str(manifest))
        folder = path.absolute()  # files are opened when they are needed, from wherever that is
        self.shards = folder / SHARDS
        self.index = Index(folder / INDEX, timeout=timeout, read_only=read_only, name=str(self))
        self.files: ShardFiles = LocalFiles(self.shards)
        self.name = ""

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        texts: bool = True,
        quantization: Quantization = "none",
        shard_bytes: int = 128 << 20,
        timeout: float = 60.0,
    ) -> DiskStore:
        """Make an empty store.

        Args:
            path: A folder that is empty or not there yet.
            texts: Whether to keep texts; without them nothing can be read as text or made again.
            quantization: "none" keeps embeddings exactly, "int8" and "fp8" in half the room of bfloat16.
            shard_bytes: Size of a file, about.
            timeout: Seconds to wait while another process writes.

        Raises:
            StoreError: There is something already, or the folder cannot be written.
            InputError: A bad value.
        """
        manifest = Manifest(texts, quantization, shard_bytes)
        folder = Path(path)
        try:
            (folder / SHARDS).mkdir(parents=True, exist_ok=True)
            others = sorted(p.name for p in folder.iterdir() if not _of_creation(p.name))
            if others or any((folder / SHARDS).iterdir()):
                raise StoreError(
                    f"'{folder}' holds {', '.join([*others, SHARDS][:3])} already: open the store "
                    "that is there, or give an empty folder."
                )
            Index.create(folder / INDEX)
            if not write_manifest(folder, manifest):
                raise StoreError(
                    f"'{folder}' was made a store by another process meanwhile: open the store that is there."
                )
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"no store can be made at '{folder}' ({error}).") from error
        return cls(folder, timeout=timeout)

    @classmethod
    def open_or_create(
        cls, path: str | os.PathLike[str], *, timeout: float = 60.0, **settings: object
    ) -> DiskStore:
        """The store at a path, made with settings (of `create`) if there is none.

        Raises:
            StoreError: There is one that was made with other settings; else as opening and `create`.
        """
        wanted = Manifest(**settings)  # type: ignore[arg-type]
        manifest = Path(path) / MANIFEST
        if not manifest.exists():
            try:
                return cls.create(path, timeout=timeout, **settings)  # type: ignore[arg-type]
            except StoreError:
                if not manifest.exists():
                    raise
                # Another process has made it meanwhile.
        store = cls(path, timeout=timeout)
        for name in settings:
            found, value = getattr(store.manifest, name), getattr(wanted, name)
            if found != value:
                raise StoreError(
                    f"{store} was made with {name}={found!r}, but {name}={value!r} is asked for: leave that "
                    "out, or make another store."
                )
        return store

    def __str__(self) -> str:
        return f"the store '{self.path}'"

    @property
    def durable(self) -> bool:
        """Whether it outlives the process: yes."""
        return True

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self.index.read_only

    def refresh(self) -> None:
        """Nothing to do: the index on the disk is always the newest."""

    def namespace(self, name: str) -> DiskStore:
        """The part of the store under a name; "" is the part it opens with."""
        part = copy(self)
        part.name = check_namespace(name)
        return part

    def namespaces(self) -> list[str]:
        """Names of the parts that hold passages."""
        return self.index.namespaces()

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep entries, all or none, on the disk when this returns.

        Raises:
            InputError: An id that is not its entry's, or an entry that cannot be kept.
            StoreBusyError: Another process writes, and goes on doing so.
            StoreError: The store may only be read, or its disk is full.
        """
        check_entries(entries)
        texts, quantization = self.manifest.texts, self.manifest.quantization
        records = [
            encode(id, entry, texts=texts, quantization=quantization)
            for id, entry in entries.items()
        ]
        if not records:
            return
        with self.writing() as writing:
            writing.forget(self.name, entries)
            if sum(record.nbytes for record in records) * 4 >= self.manifest.shard_bytes:
                self.write(writing, [(self.name, record) for record in records], moved=False)
                return
            writing.add_recent(self.name, records)
            count, size = writing.recent_size()
            if count > _MOST_RECENT or size > self.manifest.shard_bytes:
                self.write(writing, writing.take_recent())

    def get(
        self, ids: Sequence[str], *, texts: bool = True, embeddings: bool = True
    ) -> list[Entry | None]:
        """The entries of ids, in order; None for an id that is not there.

        Raises:
            StoreError: One is damaged.
        """
        ids = check_ids(ids)
        wanted = list(dict.fromkeys(ids))
        for attempt in range(_TRIES):
            located = self.index.find(self.name, wanted)
            try:
                read = read_raw(self.files, located, texts=texts, embeddings=embeddings)
                found = {id: raw.entry() for id, raw in read.items()}
            except StoreError as error:
                raise self.explained(error) from error
            except FileNotFoundError as error:
                # Compacted meanwhile: the index knows where it is now.
                if attempt + 1 == _TRIES:
                    raise StoreError(
                        f"{self} lacks the file '{error.filename}': run `cocom index verify --repair` to "
                        "drop its passages, so that they can be compressed again."
                    ) from error
                self.refresh()
            else:
                break
        return [found.get(id) for id in ids]

    def contains(self, ids: Sequence[str]) -> list[bool]:
        """For each id, whether it is there."""
        ids = check_ids(ids)
        found = self.index.contains(self.name, ids)
        return [id in found for id in ids]

    def delete(self, ids: Sequence[str]) -> int:
        """Drop entries; their bytes stay on the disk until `compact`.

        Returns:
            How many were there.

        Raises:
            StoreError: As `put`.
        """
        ids = check_ids(ids)
        with self.writing() as writing:
            return writing.forget(self.name, ids)

    def ids(self) -> Iterator[str]:
        """All ids, in their order."""
        after = ""
        while part := self.index.ids(self.name, after, 1024):
            yield from part
            after = part[-1]

    def kinds(self) -> dict[Kind, int]:
        """How many passages of each model, rate and type there are."""
        return self.index.kinds(self.name)

    def compact(self, *, most_unused: float = 0.2) -> None:
        """Merge small shards, and rewrite those that hold much that was deleted or written anew.

        Others may read meanwhile, and write between its steps.

        Args:
            most_unused: Share of such passages that a shard may keep; with 0, nothing deleted stays there.

        Raises:
            StoreError: A passage is damaged; else as `put`.
        """
        from cocom.store.compaction import compact

        compact(self, most_unused)

    def verify(self, *, repair: bool = False) -> Verified:
        """Read every passage of every namespace and compare it with its checksum.

        Args:
            repair: Drop damaged passages, so that they can be compressed again, and take up passages of
                shards that the index does not list.
        """
        from cocom.store.verification import verify

        return verify(self, repair=repair)

    @classmethod
    def repair(cls, path: str | os.PathLike[str], *, timeout: float = 60.0) -> Verified:
        """`verify(repair=True)` for a store that may be too damaged to be opened; nobody else may use it.

        Raises:
            StoreError: It is not even known to be a store, or of a newer version.
        """
        store = cls.__new__(cls)
        store._open(Path(path), read_only=False, timeout=timeout)
        with store:
            return store.verify(repair=True)

    def close(self) -> None:
        """Close the files; they are opened again when they are needed."""
        self.index.close()
        self.files.close()

    def explained(self, error: StoreError) -> StoreError:
        """What to say of a passage or shard that cannot be read, for the modules of this package."""
        if not is_damage(error):
            return StoreError(f"{self}: {error}: make it readable, or allow more open files.")
        return StoreError(
            f"{self}: {error}; run `cocom index verify --repair` to drop what is damaged, so that it can be "
            "compressed again."
        )

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """A transaction of the index, for the modules of this package."""
        with self.index.writing() as writing:
            self.files.remove_unfinished()
            removed = [
                number
                for number, shard in self.index.shards(dropped=True).items()
                if self.files.remove(shard.name)
            ]
            writing.remove_shards(removed)
            try:
                yield writing
            except BaseException:
                for name in writing.written:  # what failed must not come back with a repair
                    self.files.remove(name)
                raise

    def write(
        self, writing: Writing, records: Sequence[tuple[str, Record]], *, moved: bool = True
    ) -> None:
        """Write namespaces and records into shards, and list them in the index.

        Args:
            writing: The transaction.
            records: Namespaces and records.
            moved: Whether the store had some of them before. Their shards are told by name, so that one of a
                killed process does not bring back what was deleted since.
        """
        by_kind: dict[Kind, list[tuple[str, Record]]] = {}
        for record in records:
            by_kind.setdefault(record[1].kind, []).append(record)
        for same in by_kind.values():
            for part in _shards_of(same, self.manifest.shard_bytes):
                name = f"{MOVED}{uuid.uuid4().hex}" if moved else None
                shard, placed = write_shard(self.shards, part, name)
                writing.written.append(shard.name)
                writing.add_shard(shard, placed)


def _of_creation(name: str) -> bool:
    """Whether a file is one of a process that is making a store, or was killed while it did."""
    unfinished = name.startswith((f".{MANIFEST}.", f".{INDEX}.")) and ".tmp" in name
    return unfinished or name in (SHARDS, INDEX)


def _shards_of(
    records: Sequence[tuple[str, Record]], shard_bytes: int
) -> Iterator[list[tuple[str, Record]]]:
    """Cut records into parts of about the size of a shard."""
    part: list[tuple[str, Record]] = []
    size = 0
    for record in records:
        full = size + record[1].nbytes > shard_bytes or len(part) == MOST_PASSAGES
        if part and full:
            yield part
            part, size = [], 0
        part.append(record)
        size += record[1].nbytes
    if part:
        yield part
