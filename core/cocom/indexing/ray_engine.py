"""Compresses the chunks of a build with many models, on the machines of a Ray cluster."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import logging
import os
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

from cocom import errors
from cocom.errors import CocomError, InputError, MissingExtraError, StoreError
from cocom.indexing.chunks import Chunk, Done
from cocom.indexing.incoming import Run, Work
from cocom.indexing.ray_session import cpus_of_each, quiet, ray_data, session, what_ray_says
from cocom.indexing.ray_worker import ATTEMPTS, LOST, Result, Task, Worker, numbers
from cocom.store import DiskStore
from cocom.store.adoption import adopt
from cocom.store.listing import Failure

__all__ = ["RayEngine"]

_log = logging.getLogger(__name__)
_AHEAD = 4  # chunks for each worker, the one that it compresses included
_IN_FLIGHT = 2  # chunks that are at a worker; when it is lost, they go to another


class RayEngine:
    """Compresses on Ray Data: each worker loads the model, and compresses a chunk after the other.

    Chunks and what becomes of them go through files in the store's folder, so that Ray carries nothing but
    their numbers: workers on other machines need that folder, under the same path, on a file system that all
    share; the model and this package, too. Ray is started on this machine if it is not running in this
    process, nor RAY_ADDRESS tells where it is.

    A chunk whose worker is killed is compressed again by another one. If this process is killed, the next
    build takes up what its workers had finished. After an interrupt, workers in a Ray that others use end
    with the chunk that they are at.
    """

    def __init__(
        self,
        model: str | PathLike[str],
        options: Mapping[str, Any] | None = None,
        *,
        fingerprint: str,
        workers: int = 1,
        gpus_per_worker: float = 0.0,
        batch_tokens: int = 8192,
    ) -> None:
        """Nothing is started before there is something to compress.

        Args:
            model: What each worker loads: "cocom-tiny", a folder or a hub repository.
            options: How to load it, as `Cocom.from_pretrained` takes them.
            fingerprint: What the model has; another one is refused.
            workers: How many models there are side by side.
            gpus_per_worker: GPUs of each, which may be a part of one; 0 compresses on CPUs.
            batch_tokens: Rows in one forward pass, padding included.

        Raises:
            MissingExtraError: Ray is not installed.
            InputError: A bad value.
        """
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("ray", "ray", "building with Ray")
        if workers < 1:
            raise InputError(f"workers must be at least 1, got {workers}.")
        if not gpus_per_worker >= 0:
            raise InputError(f"gpus_per_worker must be 0 or more, got {gpus_per_worker:g}.")
        if gpus_per_worker > 1 and not float(gpus_per_worker).is_integer():
            raise InputError(
                f"gpus_per_worker must be whole, or below 1, got {gpus_per_worker:g}: a model has GPUs for "
                "itself, or shares one."
            )
        options = dict(options or {})
        device = str(options.get("device") or "")
        if device.startswith("cuda") and not gpus_per_worker:
            raise InputError(
                f"device is '{device}' but gpus_per_worker is 0, which leaves workers without GPUs: give "
                "each a number of GPUs, or leave out the device."
            )
        if gpus_per_worker and device not in ("", "cuda", "cuda:0"):
            raise InputError(
                f"device is '{device}' but gpus_per_worker is {gpus_per_worker:g}: leave out the device, as "
                "each worker has GPUs of its own."
            )
        self._model = _everywhere(model)
        if isinstance(base := options.get("base"), Mapping):
            options["base"] = {name: _everywhere(path) for name, path in base.items()}
        elif base is not None:
            options["base"] = _everywhere(base)
        self._options = options
        self._fingerprint = fingerprint
        self._workers = workers
        self._gpus = gpus_per_worker
        self._batch_tokens = batch_tokens

    def run(self, chunks: Iterator[Chunk], store: DiskStore, rate: int) -> Iterator[Done]:
        """Compress chunks into a store; see `Engine.run`.

        Raises:
            InputError: A chunk kills its workers, or Ray cannot be started.
            FingerprintError: A worker has another model.
            CocomError: Else what a worker met, or Ray.
        """
        run = Run.begin(store)
        try:
            work = Work(run, chunks, self._workers * _AHEAD)
            work.fill()
            if work.numbers:
                yield from self._compress(work, store, rate)
            if work.error is not None:
                raise work.error
        finally:
            run.close()

    def _compress(self, work: Work, store: DiskStore, rate: int) -> Iterator[Done]:
        task = Task(
            str(work.run.folder),
            self._model,
            self._options,
            self._fingerprint,
            rate,
            self._batch_tokens,
            store.name,
            store.manifest.texts,
            store.manifest.quantization,
            min(self._workers, len(work.numbers)),
        )
        with closing(self._results(task)) as results:
            for result in results:
                if result.number in work.numbers:  # else it was done twice
                    yield _taken_up(work.run, result, store)
                    work.finished(result.number)
        if work.numbers:
            raise CocomError(
                f"Ray ended before {len(work.numbers)} chunks were done: start the build again."
            )

    def _results(self, task: Task) -> Generator[Result, None, None]:
        """What becomes of the chunks, as Ray tells it."""
        ray, data = ray_data()
        with session(ray) as ours, quiet(data):
            cpus = self._cpus(ray, task.workers, ours)
            if "OMP_NUM_THREADS" not in os.environ:  # where torch has it from
                task = dataclasses.replace(task, threads=max(1, int(cpus)))
            with warnings.catch_warnings(action="ignore"):
                tables = iter(_dataset(ray, task, cpus, self._gpus))
            try:
                while (table := _next(tables)) is not None:
                    yield from map(Result.from_json, table["result"].to_pylist())
            finally:
                tables.close()
                del tables
                gc.collect()  # a worker lives as long as anything in Ray, and circles there, know it

    def _cpus(self, ray: Any, workers: int, ours: bool) -> float:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus = cpus_of_each(nodes, workers, self._gpus)
        if cpus is not None:
            return cpus
        if ours:
            raise InputError(
                f"{workers} workers with {self._gpus:g} GPUs each do not fit on this machine, which has "
                f"{sum(node.get('GPU', 0.0) for node in nodes):g}: take fewer workers, or give each a part."
            )
        return 1.0  # others may leave, or machines come


def _dataset(ray: Any, task: Task, cpus: float, gpus: float) -> Any:
    """The numbers of chunks as they are written, compressed by a pool of workers, as tables."""
    here = ray.get_runtime_context().get_node_id()  # where new files are seen at once
    return (
        ray.data.from_items([{"number": -1}], override_num_blocks=1)
        .map_batches(
            numbers,
            batch_size=1,
            fn_kwargs={"folder": task.folder},
            num_cpus=0,
            label_selector={"ray.io/node-id": here},
        )
        .map_batches(
            Worker,
            batch_size=1,
            fn_constructor_kwargs={"task": task},
            num_cpus=cpus,
            num_gpus=gpus or None,
            compute=ray.data.ActorPoolStrategy(
                size=task.workers, max_tasks_in_flight_per_actor=_IN_FLIGHT
            ),
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )


def _next(tables: Iterator[Any]) -> Any:
    """The next table; None after the last one."""
    try:
        return next(tables, None)
    except (Exception, KeyboardInterrupt) as error:
        _log.debug("Ray ended the build", exc_info=True)
        found = None if isinstance(error, KeyboardInterrupt) else what_ray_says(error)
    # Not where Ray's exception still is: it would keep its workers alive, with all that they hold.
    if found is None:
        raise KeyboardInterrupt
    raise CocomError(
        f"Ray ended the build ({found}): what was finished is in the store; see to what Ray says, then start "
        "the build again."
    )


def _taken_up(run: Run, result: Result, store: DiskStore) -> Done:
    """Make what a worker finished part of the store."""
    chunk = run.read(result.number)
    if chunk is None or not (result.ids or result.failures or result.error):
        raise StoreError(
            f"'{run.folder}' lost passages before they were compressed: leave the folder alone while a build "
            "runs, and start it again."
        )
    key = next(iter(chunk.keys.values()))
    if result.error is not None:
        raise _error(result.error, key, len(chunk.texts))
    if result.attempts > 1:
        _log.warning(
            "%d passages from '%s' on were compressed again, because their worker was lost",
            len(chunk.texts),
            key,
        )
    if result.ids:
        shard = run.shard(result.number)
        taken = adopt(store, [shard])
        if taken < len(result.ids) and not all(store.contains(result.ids)):
            raise StoreError(
                f"'{shard}', which a worker wrote, has not arrived here: have the store's folder on a file "
                "system that all machines share."
            )
    return Done(
        result.ids, [Failure(chunk.keys[id], message) for id, message in result.failures.items()]
    )


def _error(error: tuple[str, str], key: str, passages: int) -> CocomError:
    """What a worker met, as an exception of this process."""
    kind, message = error
    if kind == LOST:
        return InputError(
            f"{passages} passages from '{key}' on killed their worker {ATTEMPTS} times, mostly because "
            "memory ran out: compress fewer at a time, with a smaller batch_size or batch_tokens."
        )
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, CocomError):
        return found.__new__(found, message)
    return CocomError(
        f"a worker failed at {passages} passages from '{key}' on ({kind}: {message}): what was finished is "
        "in the store; mend that, then start the build again."
    )


def _everywhere(name: str | PathLike[str]) -> str:
    """A model's name, or its folder as workers elsewhere find it."""
    return str(Path(name).absolute()) if Path(name).exists() else str(name)
