"""From a source to a store: every passage compressed once, what is there already skipped.

The work is cut into chunks; an engine compresses them, here or on many machines, and whatever it has
finished is in the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.identity import passage_id
from cocom.indexing.chunks import Chunk, Done, Engine
from cocom.indexing.incoming import finished, remove_stale
from cocom.indexing.local import LocalEngine
from cocom.indexing.sources.items import Item, Source
from cocom.store import DiskStore
from cocom.store.adoption import adopt, unlisted
from cocom.store.listing import Failure, Listing
from cocom.store.protocol import Problem

__all__ = ["BuildReport", "Drop", "Progress", "build_index"]

_log = logging.getLogger(__name__)

Drop = Literal["never", "safe", "always"]

_FAILURES = 20  # told one by one; the store knows them all


@dataclass(frozen=True)
class Progress:
    """How far a build is.

    Attributes:
        passages: Read from the source.
        new: Compressed.
        kept: In the store already.
        failed: That could not be read or compressed, equal ones included.
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
        failed: That could not be read or compressed, equal ones included.
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
    drop: Drop = "never",
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
            "safe" (unless a part of the source could not be read, which may be where they are, or it gave
            nothing at all) or "always".
        batch_size: Passages of a chunk, about, which are lost together if the process is killed.
        on_progress: Called after every chunk, and while what is there already is skipped.

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
    if drop not in get_args(Drop):
        raise InputError(f"drop must be one of {', '.join(get_args(Drop))}, got {drop!r}.")
    rate = model.config.check_rate(rate)
    build = _Build(model.fingerprint, store, source, rate, batch_size, on_progress)
    running = (engine or LocalEngine(model)).run(build.chunks(), store, rate)
    try:
        for done in running:
            build.finished(done)
            build.tell()
    finally:
        if isinstance(running, Generator):
            running.close()  # whatever it has started ends now
    report = build.report(drop)
    build.tell()
    if report.new or report.dropped or report.recovered:
        store.compact()
    return report


class _Build:
    """Counts, and what the source had, of one build."""

    def __init__(
        self,
        fingerprint: str,
        store: DiskStore,
        source: Source,
        rate: int,
        batch_size: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._started = time.perf_counter()
        self._fingerprint = fingerprint
        self._store = store
        self._source = source
        self._rate = rate
        self._batch_size = batch_size
        self._on_progress = on_progress
        problems: list[Problem] = []
        self._recovered = adopt(store, [*unlisted(store), *finished(store)], problems)
        remove_stale(store)
        for problem in problems:
            _log.warning(
                "%s of an interrupted run cannot be taken up: %s", problem.where, problem.what
            )
        self._listing = Listing(store, source.name, fingerprint, rate)
        self._passages = self._new = self._kept = self._failed = self._unread = 0
        self._position = 0
        self._in_work: dict[str, list[str]] = {}  # keys of equal passages, by id

    def chunks(self) -> Iterator[Chunk]:
        """What is to be compressed, as the source is read."""
        chunk = Chunk({}, {})
        for items in _batches(self._source.read(), self._batch_size):
            texts, keys = self._missing(items)
            chunk = Chunk({**chunk.texts, **texts}, {**chunk.keys, **keys})
            if len(chunk.texts) >= self._batch_size:
                yield chunk
                chunk = Chunk({}, {})
            elif not texts:
                self.tell()
        if chunk.texts:
            yield chunk

    def _missing(self, items: Sequence[Item]) -> tuple[dict[str, str], dict[str, str]]:
        """Texts and keys, by id, of what the store does not have and nobody is compressing."""
        unread = [Failure(item.key, item.error) for item in items if item.error is not None]
        texts: dict[str, str] = {}
        keys: dict[str, list[str]] = {}
        for item in items:
            if item.passage is not None:
                id = passage_id(self._fingerprint, self._rate, item.passage.text)
                texts.setdefault(id, item.passage.text)
                keys.setdefault(id, []).append(item.key)
        there = {
            id for id, found in zip(texts, self._store.contains(list(texts)), strict=True) if found
        }
        self._listing.mark(there, unread)
        new = [id for id in texts if id not in there and id not in self._in_work]
        for id in texts.keys() - there:
            self._in_work.setdefault(id, []).extend(keys[id])
        self._passages += len(items)
        self._unread += len(unread)
        self._kept += sum(len(keys[id]) for id in there)
        self._failed += len(unread)
        self._position = items[-1].position
        return {id: texts[id] for id in new}, {id: keys[id][0] for id in new}

    def finished(self, done: Done) -> None:
        """Count a chunk."""
        for id in done.ids:
            self._kept += len(self._in_work.pop(id, [id])) - 1
        failures = [failure for first in done.failures for failure in self._equal(first)]
        self._listing.mark(done.ids, failures)
        self._new += len(done.ids)
        self._failed += len(failures)

    def _equal(self, first: Failure) -> list[Failure]:
        """The failures of all passages that are equal to one that failed."""
        id = next((id for id, keys in self._in_work.items() if keys[0] == first.key), "")
        return [Failure(key, first.message) for key in self._in_work.pop(id, [first.key])]

    def tell(self) -> None:
        """Tell where the build is."""
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    self._passages,
                    self._new,
                    self._kept,
                    self._failed,
                    self._position,
                    self._source.size,
                    time.perf_counter() - self._started,
                )
            )

    def report(self, drop: Drop) -> BuildReport:
        """What was done, after the last chunk."""
        not_dropped = None
        if drop == "safe" and not self._passages:
            not_dropped = (
                "the source gave no passages at all, so that all it gave before would go: mend it, or "
                "drop anyway"
            )
        elif drop == "safe" and self._unread:
            not_dropped = (
                f"{self._unread} items of the source could not be read, so passages that are there may "
                "seem to have vanished: mend them, or drop anyway"
            )
        dropped = self._listing.finish(drop=drop != "never" and not_dropped is None)
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
