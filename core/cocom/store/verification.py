"""Verification: every passage read and compared with its checksum, every file with the index."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import StoreError
from cocom.store.adoption import adopt, unlisted
from cocom.store.database import DamagedIndexError
from cocom.store.files import is_damage
from cocom.store.index import Index
from cocom.store.protocol import Problem, Verified
from cocom.store.reading import Raw, read_raw
from cocom.store.rebuilding import DAMAGED, rebuild
from cocom.store.shard import SUFFIX, Placed, Shard, read_entries, read_header
from cocom.store.tables import Located

if TYPE_CHECKING:
    from cocom.store.disk import DiskStore

__all__ = ["verify"]

_BATCH = 256

Key = tuple[str, str]  # namespace and id


def verify(store: DiskStore, *, repair: bool) -> Verified:
    """Look at everything in a store, and mend it if that is wanted; see `DiskStore.verify`."""
    if repair:
        _check_writable(store)
    problems = [Problem(store.index.path.name, what) for what in _index_problems(store.index)]
    if problems and not repair:
        return Verified(0, tuple(problems))
    if problems:
        rebuild(store, lambda: _take_up(store, problems), problems)
    passages = 0
    used = store.index.used()
    for number, shard in store.index.shards().items():
        passages += _verify_shard(store, number, shard, used.get(number, 0), problems, repair)
    for part in _parts(store.index.recent()):
        good, bad = _intact(store, part, problems, store.index.path.name, repair)
        passages += len(good)
        if repair:
            _forget(store, bad)
    left: list[Problem] = []
    if repair:
        passages += _take_up(store, problems)
    else:
        left = _left(store, problems)
    return Verified(passages, tuple(problems), tuple(left), repair)


def _check_writable(store: DiskStore) -> None:
    """Make sure that a store can be mended.

    Raises:
        StoreError: It cannot.
    """
    if store.read_only:
        raise StoreError(
            f"{store} is open for reading only: open it without read_only to repair it."
        )
    try:
        store.shards.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder '{store.shards}' cannot be made ({error.strerror}): make {store} writable, and move "
            "away what has its name."
        ) from error


def _index_problems(index: Index) -> list[str]:
    """What is wrong with the index; one that is whole but cannot be used now is an error."""
    if not index.path.exists():
        return [f"the index of {index.name} is missing; repair makes it anew from the shards"]
    try:
        index.check()
        return index.inconsistencies()
    except DamagedIndexError as error:
        return [str(error)]


def _left(store: DiskStore, problems: list[Problem]) -> list[Problem]:
    """Shards that the index does not list; what is no whole shard is a problem."""
    left: list[Problem] = []
    for path in unlisted(store):
        try:
            read_entries(path, read_header(path))
        except StoreError as error:
            if path.exists():  # else its writer has not succeeded
                problems.append(Problem(path.name, f"{error}; repair sets it aside"))
        else:
            what = "a finished shard of passages that the index does not list"
            left.append(Problem(path.name, what))
    return left


def _take_up(store: DiskStore, problems: list[Problem]) -> int:
    """List shards that the index does not, and set aside those that cannot be; how many passages."""
    taken = adopt(store, unlisted(store), problems, moved=True)
    with store.writing():  # or it may be one that is being written
        for path in unlisted(store):
            _set_aside(path)
    return taken


def _verify_shard(
    store: DiskStore, number: int, shard: Shard, used: int, problems: list[Problem], repair: bool
) -> int:
    """How many passages of a shard are as they were written."""
    path = store.shards / shard.name
    listing: list[Placed] | None = None
    wrong: str | None = None
    try:
        header = read_header(path)
        listing = read_entries(path, header)
        if header.shard != shard:
            wrong = "another shard than the index says, so one of the two was replaced"
    except StoreError as error:
        if number not in store.index.shards():
            return 0  # compacted meanwhile
        _check_damage(error, repair)
        problems.append(Problem(shard.name, str(error)))
    if listing is not None and (wrong := wrong or _difference(store, number, shard, used, listing)):
        problems.append(Problem(shard.name, f"{wrong}; repair takes what is whole of both"))
    whole = listing is not None and wrong is None
    keys = store.index.ids_in(number) if listing is None or wrong else _keys(listing)
    passages = 0
    lost = False
    for part in _parts(keys):
        here = [key for key, _ in _here(store, part, shard)]
        good, bad = _intact(store, here, problems, shard.name, repair)
        passages += len(good)
        lost |= bool(bad)
        if repair:
            _forget(store, bad)
            if not whole:
                with store.writing() as writing:
                    still = _still(store, {key: raw.place for key, raw in good.items()})
                    store.write(writing, [(key[0], good[key].record()) for key in still])
    if repair and not whole:
        if listing is not None and lost:
            # Taken up anew, whatever it was; its name must not say that it holds nothing of its own.
            path.replace(path.with_name(f"{uuid.uuid4().hex}{SUFFIX}"))
        elif path.exists():
            _set_aside(path)
        with store.writing() as writing:
            writing.remove_shards([number])
    return passages


def _keys(listing: Sequence[Placed]) -> list[Key]:
    return [(place.namespace, place.facts.id) for place in listing]


def _difference(
    store: DiskStore, number: int, shard: Shard, used: int, listing: Sequence[Placed]
) -> str | None:
    """What the index says otherwise than a shard's own list, in words."""
    own = dict(zip(_keys(listing), listing, strict=True))
    listed = others = 0
    for part in _parts(list(own)):
        for key, place in _here(store, part, shard):
            listed += 1
            right = (shard.kind, own[key].facts, own[key].start, own[key].words_at)
            others += right != (place.kind, place.facts, place.start, place.words_at)
    if others:
        return f"the index says otherwise of {others} of its passages than its own list"
    if listed != used:  # or it was written to meanwhile
        there = store.index.ids_in(number)
        if unknown := sum(key not in own for key in there):
            return (
                f"it does not list {unknown} of the {len(there)} passages that the index has in it"
            )
    return None


def _here(store: DiskStore, keys: Sequence[Key], shard: Shard) -> Iterator[tuple[Key, Located]]:
    """Those of some passages that lie in a shard."""
    for key, place in _find(store, keys).items():
        if place.shard == shard:
            yield key, place


def _find(store: DiskStore, keys: Sequence[Key]) -> dict[Key, Located]:
    ids: dict[str, list[str]] = {}
    for namespace, id in keys:
        ids.setdefault(namespace, []).append(id)
    return {
        (namespace, id): place
        for namespace, part in ids.items()
        for id, place in store.index.find(namespace, part).items()
    }


def _intact(
    store: DiskStore, keys: Sequence[Key], problems: list[Problem], where: str, repair: bool
) -> tuple[dict[Key, Raw], dict[Key, Located]]:
    """Passages as they were read, and those that are damaged."""
    located = _find(store, keys)
    good: dict[Key, Raw] = {}
    bad: dict[Key, Located] = {}
    try:
        read = read_raw(store.files, located)
    except (StoreError, FileNotFoundError):
        read = {}
    for key, place in located.items():
        try:
            raw = read[key] if read else read_raw(store.files, {key: place})[key]
            raw.entry()
            good[key] = raw
        except FileNotFoundError:
            if _find(store, [key]).get(key) != place:
                continue  # compacted meanwhile, which looks at what it moves
            problems.append(
                Problem(where, f"passage {key[1]} is lost, because the file is missing")
            )
            bad[key] = place
        except StoreError as error:
            _check_damage(error, repair)
            said = str(error)
            if key[1] not in said:
                said = f"passage {key[1]} is lost, because {said}"
            problems.append(
                Problem(where, f"{said}; repair drops it, unless its shard has it whole")
            )
            bad[key] = place
    return good, bad


def _check_damage(error: StoreError, repair: bool) -> None:
    """Make sure that nothing is dropped because this process cannot read it now.

    Raises:
        StoreError: A file cannot be opened, though it is there.
    """
    if repair and not is_damage(error):
        raise StoreError(
            f"{error}, though it may be whole: make it readable, or allow more open files, then repair again."
        ) from error


def _forget(store: DiskStore, places: Mapping[Key, Located]) -> None:
    if places:
        with store.writing() as writing:
            for namespace, id in _still(store, places):
                writing.forget(namespace, [id])


def _still(store: DiskStore, places: Mapping[Key, Located]) -> list[Key]:
    """Those passages that lie where they lay; the others were written anew or deleted meanwhile."""
    now = _find(store, list(places))
    return [key for key, place in places.items() if now.get(key) == place]


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(path.name + DAMAGED))


def _parts(keys: Sequence[Key], size: int = _BATCH) -> Iterator[Sequence[Key]]:
    return (keys[i : i + size] for i in range(0, len(keys), size))
