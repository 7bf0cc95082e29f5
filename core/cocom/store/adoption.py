"""Taking up shards that the index does not list: written elsewhere, or left by a writer that was killed."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import StoreError
from cocom.store.files import LocalFiles
from cocom.store.protocol import Problem
from cocom.store.reading import read_raw
from cocom.store.shard import MOVED, SUFFIX, Placed, Shard, read_entries, read_header, to_disk
from cocom.store.tables import Located

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["adopt", "unlisted"]


def unlisted(store: DiskStore) -> list[Path]:
    """Finished shards in the store's folder that the index does not list, newest first."""
    written: dict[Path, int] = {}
    for path in store.shards.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # compacted meanwhile
            if path.is_file():
                written[path] = path.stat().st_mtime_ns
    listed = {  # afterwards, as it may list what a writer has finished meanwhile
        shard.name
        for dropped in (False, True)
        for shard in store.index.shards(dropped=dropped).values()
    }
    files = [path for path in written if path.name not in listed]
    return sorted(files, key=lambda path: (written[path], path.name), reverse=True)


def adopt(
    store: DiskStore,
    files: Iterable[Path],
    problems: list[Problem] | None = None,
    *,
    moved: bool = False,
) -> int:
    """List the passages of shards in the index, those that it has already excepted: the first counts.

    A shard from another folder is moved into the store's, one with nothing new is removed. One that is not
    there any more was taken up by another process.

    Args:
        store: The store.
        files: Finished shards.
        problems: Where to tell of what is damaged, which then is left out; None makes it an error.
        moved: Whether to take up shards that only moved passages, as it is right where the index may have
            lost some. If not, and no file that it lists is missing, the index has them, and what it has not
            was deleted since: these shards are removed.

    Returns:
        How many passages were taken up.

    Raises:
        StoreError: A shard is damaged, or cannot be moved.
    """
    taken = 0
    files = list(files)
    keep_moved = moved or (bool(files) and _lacks_files(store))
    for path in files:
        try:
            header = read_header(path)
            placed = list(_intact(path, header.shard, read_entries(path, header), problems))
        except (StoreError, FileNotFoundError) as error:
            if not path.exists():
                continue
            if problems is None:
                raise
            problems.append(Problem(path.name, f"{error}; its passages are left out"))
            continue
        with store.writing() as writing:
            if not path.exists():
                continue
            listed = writing.lists(path.name)
            if path.parent == store.shards and listed:
                continue  # its writer was not killed, only not done yet
            if path.name.startswith(MOVED) and not keep_moved:
                path.unlink()
                continue
            new = [
                place
                for place in placed
                if not store.index.contains(place.namespace, [place.facts.id])
            ]
            if new:
                # Done twice, it may have a name that is listed, of a shard that was deleted from since.
                name = f"{uuid.uuid4().hex}{SUFFIX}" if listed else path.name
                _move(path, store.shards / name)
                writing.add_shard(dataclasses.replace(header.shard, name=name), new)
            else:
                path.unlink()
        taken += len(new)
    return taken


def _lacks_files(store: DiskStore) -> bool:
    shards = store.index.shards().values()
    return not all((store.shards / shard.name).exists() for shard in shards)


def _move(path: Path, target: Path) -> None:
    try:
        path.replace(target)
        to_disk(target.parent)
    except OSError as error:
        raise StoreError(
            f"'{path}' cannot be moved to '{target.parent}' ({error.strerror}): put both on one disk, and "
            "make both folders writable."
        ) from error


def _intact(
    path: Path, shard: Shard, placed: Sequence[Placed], problems: list[Problem] | None
) -> Iterator[Placed]:
    """Those passages of a shard that are as they were written."""
    files = LocalFiles(path.parent)
    for place in placed:
        located = Located(shard.kind, place.facts, shard, place.start, place.words_at)
        try:
            read_raw(files, {0: located})[0].entry()
        except StoreError as error:
            if problems is None:
                raise
            problems.append(Problem(path.name, f"{error}; it is left out"))
        else:
            yield place
    files.close()
