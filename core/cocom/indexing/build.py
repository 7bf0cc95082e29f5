"""From a source to a store: every passage compressed once, what is there already skipped.

The work is cut into chunks; an engine compresses them, here or on many machines, and whatever it has
finished is in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.identity import passage_id
from cocom.indexing.chunks import Chunk, Done, Engine
from cocom.indexing.items import Item, Source
from cocom.indexing.local import LocalEngine
from cocom.store import DiskStore
from cocom.store.adoption import adopt, unlisted
from cocom.store.listing import Failure, Listing

__all__ = ["BuildReport", "Progress", "build_index"]

_FAILURES = 20  # told one by one; the store knows them all


@dataclass(frozen=True)
class Progress:
    """How far a build is.

    Attributes:
        passages: Read from the source.
        new: Compressed.
        kept: In the store already.
        failed: That could not be read or compressed.
        position: Units of the source's size read.
        size: Its size, or None if it is not known.
        seconds: Since the build began.
    """

    passages: int
    new: int
    kept: int
    failed: int
    position: int
    size: int | None
    seconds: float


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        passages: Read from the source.
        new: Compressed; equal passages once.
        kept: In the store already, equal ones in the source included.
        failed: That could not be read or compressed.
        dropped: Deleted, because the source does not have them any more.
        recovered: Taken up from what an interrupted build had finished but not yet written down.
        not_dropped: Why nothing was deleted though it was asked for, or None.
        failures: The first of the failed ones; `cocom.store.listing.failures` gives all.
        seconds: How long it took.
    """

    passages: int
    new: int
    kept: int
    failed: int
    dropped: int
    recovered: int
    not_dropped: str | None
    failures: tuple[Failure, ...]
    seconds: float


def build_index(
    model: Cocom,
    store: DiskStore,
    source: Source,
    *,
    rate: int | None = None,
    engine: Engine | None = None,
    drop: Literal["never", "safe", "always"] = "never",
    batch_size: int = 512,
    on_progress: Callable[[Progress], None] | None = None,
) -> BuildReport:
    """Compress the passages of a source that a store does not have yet.

    It can be interrupted at any time, and goes on where it was when it is started again.

    Args:
        model: Its fingerprint and tokens count; it also compresses, unless `engine` does.
        store: Where to, and in which of its namespaces.
        source: What `open_source` gives.
        rate: Passage tokens per embedding; None takes the model's first rate.
        engine: What compresses; None compresses with `model`, here.
        drop: Whether to delete passages that the source had when it was last read and has no more: "never",
            "safe" (unless a part of the source could not be read, which may be where they are) or "always".
        batch_size: Passages of a chunk, which are lost together if the process is killed.
        on_progress: Called after every chunk.

    Raises:
        InputError: The model compresses for a question, or a bad value.
        ConfigError: The model does not serve `rate`.
        StoreError: The store cannot be written.
    """
    if model.reads_query:
        raise InputError(
            "the model compresses passages for a question, so that nothing can be compressed before it is "
            "asked: take a model without query."
        )
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}.")
    rate = model.config.check_rate(rate)
    build = _Build(model.fingerprint, store, source, rate, batch_size)
    for done in (engine or LocalEngine(model)).run(build.chunks(), store, rate):
        build.finished(done)
        if on_progress is not None:
            on_progress(build.progress())
    report = build.report(drop)
    if on_progress is not None:
        on_progress(build.progress())
    if report.new or report.dropped or report.recovered:
        store.compact()
    return report


class _Build:
    """Counts, and what the source had, of one build."""

    def __init__(
        self, fingerprint: str, store: DiskStore, source: Source, rate: int, batch_size: int
    ) -> None:
        self._started = time.perf_counter()
        self._fingerprint = fingerprint
        self._store = store
        self._source = source
        self._rate = rate
        self._batch_size = batch_size
        self._recovered = adopt(store, unlisted(store), [])
        self._listing = Listing(store, source.name, fingerprint, rate)
        self._passages = self._new = self._kept = self._failed = self._unread = 0
        self._position = 0
        self._in_work: set[str] = set()

    def chunks(self) -> Iterator[Chunk]:
        """What is to be compressed, as the source is read."""
        chunk = Chunk({}, {})
        for items in _batches(self._source.read(), self._batch_size):
            texts, keys = self._missing(items)
            chunk = Chunk({**chunk.texts, **texts}, {**chunk.keys, **keys})
            if len(chunk.texts) >= self._batch_size:
                yield chunk
                chunk = Chunk({}, {})
        if chunk.texts:
            yield chunk

    def _missing(self, items: Sequence[Item]) -> tuple[dict[str, str], dict[str, str]]:
        """Texts and keys, by id, of what the store does not have and nobody is compressing."""
        unread = [Failure(item.key, item.error) for item in items if item.error is not None]
        texts: dict[str, str] = {}
        keys: dict[str, str] = {}
        for item in items:
            if item.passage is not None:
                id = passage_id(self._fingerprint, self._rate, item.passage.text)
                texts.setdefault(id, item.passage.text)
                keys.setdefault(id, item.key)
        there = {
            id for id, found in zip(texts, self._store.contains(list(texts)), strict=True) if found
        }
        self._listing.mark(there, unread)
        new = [id for id in texts if id not in there and id not in self._in_work]
        self._in_work.update(new)
        self._passages += len(items)
        self._unread += len(unread)
        self._kept += len(items) - len(unread) - len(new)
        self._failed += len(unread)
        self._position = items[-1].position
        return {id: texts[id] for id in new}, {id: keys[id] for id in new}

    def finished(self, done: Done) -> None:
        """Count a chunk."""
        self._listing.mark(done.ids, done.failures)
        self._in_work.difference_update(done.ids)
        self._new += len(done.ids)
        self._failed += len(done.failures)

    def progress(self) -> Progress:
        """Where the build is."""
        return Progress(
            self._passages,
            self._new,
            self._kept,
            self._failed,
            self._position,
            self._source.size,
            time.perf_counter() - self._started,
        )

    def report(self, drop: str) -> BuildReport:
        """What was done, after the last chunk."""
        not_dropped = None
        if drop == "safe" and self._unread:
            not_dropped = (
                f"{self._unread} items of the source could not be read, so passages that are there may "
                "seem to have vanished: mend them, or drop anyway"
            )
        dropping = drop == "always" or (drop == "safe" and not self._unread)
        dropped = self._listing.finish(drop=dropping)
        return BuildReport(
            self._passages,
            self._new,
            self._kept,
            self._failed,
            dropped,
            self._recovered,
            not_dropped,
            tuple(self._listing.failures(_FAILURES)),
            time.perf_counter() - self._started,
        )


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
