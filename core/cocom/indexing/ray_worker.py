"""What runs on the machines of a Ray cluster: a model that compresses the chunks of a build."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.datatypes import ContextEmbeddings
from cocom.engine import Cocom
from cocom.errors import CocomError, FingerprintError, InputError, StoreError
from cocom.indexing.chunks import Chunk
from cocom.indexing.incoming import Run
from cocom.indexing.local import compress_all
from cocom.store import Entry
from cocom.store.quantization import Quantization
from cocom.store.record import Record, encode
from cocom.store.shard import read_entries, read_header, write_shard

__all__ = ["ATTEMPTS", "LOST", "Result", "Task", "Worker", "numbers"]

ATTEMPTS = 3  # that a chunk may kill its worker
LOST = "lost"  # the error of a chunk that did

_log = logging.getLogger(__name__)
_WAIT = 0.05  # seconds between looks for a new chunk


@dataclass(frozen=True)
class Task:
    """What all workers of a run are to do.

    Attributes:
        folder: The run's folder.
        model: Name or folder of the model.
        options: How to load it, as `Cocom.from_pretrained` takes them.
        fingerprint: What it must have.
        rate: Compression rate.
        batch_tokens: Rows in one forward pass, padding included.
        namespace: The part of the store that the passages belong to.
        texts: Whether the store keeps texts.
        quantization: How it keeps embeddings.
        workers: How many there are.
        threads: That each computes with; None leaves that to torch.
    """

    folder: str
    model: str
    options: Mapping[str, Any]
    fingerprint: str
    rate: int
    batch_tokens: int
    namespace: str
    texts: bool
    quantization: Quantization
    workers: int
    threads: int | None = None


@dataclass(frozen=True)
class Result:
    """What became of a chunk.

    Attributes:
        number: The chunk's.
        shard: File of the shard with its passages; None if there are none.
        ids: Passages in it.
        failures: Why others could not be compressed, by id.
        seconds: How long it took.
        attempts: How many workers began with it, the last one included.
        error: Kind and message of what ends the run; None if nothing does.
    """

    number: int
    shard: str | None = None
    ids: list[str] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 1
    error: tuple[str, str] | None = None

    def as_json(self) -> str:
        """As text of plain ASCII, which goes through Ray unharmed whatever a message holds."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """What `as_json` gave."""
        return cls(**json.loads(text))


def numbers(batch: Any, folder: str) -> Iterator[dict[str, list[int]]]:
    """The number of each chunk, as soon as the build has written it, until there are no more.

    Args:
        batch: Anything; Ray calls this once.
        folder: The run's folder.
    """
    run = Run(Path(folder))
    number = 0
    while True:
        written, last = run.ready()
        while number < written:
            yield {"number": [number]}
            number += 1
        if last:
            return
        time.sleep(_WAIT)


class Worker:
    """Loads a model once, and compresses one chunk after the other into a shard each.

    It never raises, because Ray would wrap that: what goes wrong is part of a result.
    """

    def __init__(self, task: Task) -> None:
        """Load the model."""
        self._task = task
        self._run = Run(Path(task.folder))
        self._model: Cocom | None = None
        self._error: tuple[str, str] | None = None
        try:
            self._model = self._load()
        except Exception as error:
            self._error = _told(error)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """Compress the chunk whose number is in a batch of one row."""
        (number,) = batch["number"]
        try:
            result = self._result(int(number))
        except Exception as error:
            result = Result(int(number), error=_told(error))
        return {"result": [result.as_json()]}

    def _load(self) -> Cocom:
        task = self._task
        if not self._run.folder.is_dir():
            raise StoreError(
                f"a worker does not find '{self._run.folder}': have the store's folder on a file system that "
                "all machines share, under the same path."
            )
        if task.threads is not None:
            import torch

            torch.set_num_threads(task.threads)
        loads = self._run.load()
        if loads > ATTEMPTS * task.workers:
            raise InputError(
                f"workers were killed {loads - 1} times while they loaded the model '{task.model}', mostly "
                "because memory ran out: take fewer workers, or free memory."
            )
        model = Cocom.from_pretrained(task.model, **task.options)
        if model.fingerprint != task.fingerprint:
            raise FingerprintError(
                f"a worker loaded a model '{task.model}' with fingerprint {model.fingerprint[:12]}, but the "
                f"build's has {task.fingerprint[:12]}: have the same model on every machine."
            )
        self._run.loaded()
        return model

    def _result(self, number: int) -> Result:
        started = time.perf_counter()
        if self._model is None:
            return Result(number, error=self._error)
        chunk = self._run.read(number)
        if chunk is None:
            return Result(number)
        attempts = self._run.attempt(number)
        shard = self._run.shard(number)
        if (ids := _ids_in(shard)) is not None and set(ids) == set(chunk.texts):
            return Result(number, str(shard), ids, attempts=attempts)
        if attempts > ATTEMPTS:
            return Result(number, attempts=attempts, error=(LOST, ""))
        made, failures = self._compress(self._model, chunk)
        records = []
        for id, contexts in made.items():
            try:
                records.append(self._record(id, chunk.texts[id], contexts))
            except InputError as error:  # such as an infinite number
                failures[id] = str(error)
        if records:
            write_shard(
                shard.parent,
                [(self._task.namespace, record) for record in records],
                shard.stem,
            )
        return Result(
            number,
            str(shard) if records else None,
            [record.facts.id for record in records],
            failures,
            time.perf_counter() - started,
            attempts,
        )

    def _compress(
        self, model: Cocom, chunk: Chunk
    ) -> tuple[dict[str, ContextEmbeddings], dict[str, str]]:
        return compress_all(model, chunk.texts, self._task.rate, self._task.batch_tokens)

    def _record(self, id: str, text: str, contexts: ContextEmbeddings) -> Record:
        task = self._task
        entry = Entry(text, task.rate, None, contexts)
        return encode(id, entry, texts=task.texts, quantization=task.quantization)


def _ids_in(shard: Path) -> list[str] | None:
    """The passages of a finished shard; None if it is not there, or damaged."""
    try:
        return [place.facts.id for place in read_entries(shard, read_header(shard))]
    except StoreError:
        return None


def _told(error: Exception) -> tuple[str, str]:
    if not isinstance(error, CocomError):
        _log.exception("a worker failed")  # Ray keeps what its workers write
    return type(error).__name__, str(error)
