"""Builds with Ray: the same store as without, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from cocom import Cocom, Passage
from cocom.errors import (
    CocomError,
    DataError,
    FingerprintError,
    InputError,
    MissingExtraError,
    StoreError,
)
from cocom.identity import passage_id
from cocom.indexing import ray_engine
from cocom.indexing.build import BuildReport, Progress, build_index
from cocom.indexing.chunks import Chunk, Engine
from cocom.indexing.incoming import Run, finished, folder_of, remove_stale
from cocom.indexing.local import LocalEngine
from cocom.indexing.ray_engine import RayEngine
from cocom.indexing.ray_session import cpus_of_each, ray_data, session
from cocom.indexing.ray_worker import Result, Task, Worker, numbers
from cocom.indexing.sources.items import Item
from cocom.store import DiskStore
from cocom.store.adoption import adopt
from cocom.store.listing import failures

ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Corpus:
    """A source of texts in memory, that may fail before one of them."""

    texts: Sequence[str]
    name: str = "corpus"
    fails_at: int | None = None

    @property
    def size(self) -> int:
        return len(self.texts)

    def read(self) -> Iterator[Item]:
        for number, text in enumerate(self.texts):
            if number == self.fails_at:
                raise DataError(f"the corpus ends at {number}: mend it.")
            yield Item(f"row:{number}", Passage(text, f"row:{number}"), None, number + 1)


def texts(count: int) -> list[str]:
    return [f"Lamp {number} is in room {number * 7}." for number in range(count)]


def entries(store: DiskStore) -> dict[str, tuple[Any, ...]]:
    """What a store holds, bit for bit."""
    return {
        id: (
            entry.text,
            entry.rate,
            entry.contexts.windows,
            entry.contexts.text_tokens,
            entry.contexts.fingerprint,
            entry.contexts.embeddings.dtype,
            entry.contexts.embeddings.view(torch.uint8).numpy().tobytes(),
        )
        for id, entry in store.items()
        if entry.contexts is not None
    }


def engine(model: Cocom, workers: int = 1, **options: Any) -> RayEngine:
    return RayEngine("cocom-tiny", {}, fingerprint=model.fingerprint, workers=workers, **options)


def task(model: Cocom, folder: Path) -> Task:
    rate = model.config.check_rate(None)
    return Task(str(folder), "cocom-tiny", {}, model.fingerprint, rate, 8192, "", True, "none", 1)


def answer(worker: Worker, number: int) -> Result:
    return Result.from_json(worker({"number": [number]})["result"][0])


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def read(file: Path) -> str:
    """What a file holds, once it is there."""
    wait_for(file.exists)
    return file.read_text()


def is_running(process: int) -> bool:
    """Whether a process is there, and not just waiting to be buried."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in ("", "Z")


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """One Ray for all tests of this process; engines use it as they find it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with session(ray_data()[0]):
            yield


@pytest.fixture
def build(cocom_tiny: Cocom, tmp_path: Path):
    """Builds into a store of its own for each name, and tells the store and the report."""

    def run(
        name: str,
        source: Corpus,
        with_engine: Engine | None = None,
        *,
        namespace: str = "",
        on_progress: Any = None,
        batch_size: int = 4,
        **settings: Any,
    ) -> tuple[DiskStore, BuildReport]:
        store = DiskStore.open_or_create(tmp_path / name, **settings).namespace(namespace)
        report = build_index(
            cocom_tiny,
            store,
            source,
            engine=with_engine or LocalEngine(cocom_tiny),
            batch_size=batch_size,
            on_progress=on_progress,
        )
        return store, report

    return run


@pytest.mark.usefixtures("ray_session")
def test_a_store_is_the_same_as_without_ray_though_one_of_two_workers_is_killed(
    build: Any,
    cocom_tiny: Cocom,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    mark = tmp_path / "process"

    class Waiting(Worker):
        def _compress(self, model: Cocom, chunk: Chunk) -> Any:
            if "row:9" in chunk.keys.values() and not mark.exists():
                mark.with_suffix(".new").write_text(str(os.getpid()))
                mark.with_suffix(".new").rename(mark)
                time.sleep(60)
            return super()._compress(model, chunk)

    monkeypatch.setattr(ray_engine, "Worker", Waiting)
    killing = threading.Thread(target=lambda: os.kill(int(read(mark)), signal.SIGKILL))
    killing.start()
    source = Corpus([*texts(21), "", "half a character \ud83d", "\n \n"])
    settings: dict[str, Any] = {"namespace": "lamps", "quantization": "int8"}
    store, report = build("ray", source, engine(cocom_tiny, 2), **settings)
    killing.join()
    local, expected = build("local", source, **settings)
    assert entries(store) == entries(local)
    assert store.namespaces() == ["lamps"]
    assert (report.passages, report.new, report.failed) == (24, 21, 3)
    assert sorted(failures(store), key=str) == sorted(failures(local), key=str)
    assert sorted(report.failures, key=str) == sorted(expected.failures, key=str)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("cocom")]
    assert said == [
        "4 passages from 'row:8' on were compressed again, because their worker was lost"
    ]
    assert capfd.readouterr() == ("", "")
    assert not any(folder_of(store).iterdir())


@pytest.mark.usefixtures("ray_session")
def test_a_chunk_that_kills_every_worker_ends_the_run_and_the_others_are_kept(
    build: Any, cocom_tiny: Cocom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = tmp_path / "kills"

    class Killed(Worker):
        def _compress(self, model: Cocom, chunk: Chunk) -> Any:
            if "row:9" in chunk.keys.values():
                with kills.open("a") as file:
                    file.write("+")
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._compress(model, chunk)

    monkeypatch.setattr(ray_engine, "Worker", Killed)
    source = Corpus(texts(16))
    with pytest.raises(InputError, match="4 passages from 'row:8' on killed their worker 3 times"):
        build("ray", source, engine(cocom_tiny))
    assert kills.read_text() == "+++"
    monkeypatch.undo()
    store, report = build("ray", source)
    local, _ = build("local", source)
    assert report.new == 4
    assert entries(store) == entries(local)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell started in the background ignores interrupts; this one does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ray_session", "interruptible")
def test_an_interrupt_ends_the_workers_and_what_they_finished_is_taken_up(
    build: Any, cocom_tiny: Cocom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "process"

    class Waiting(Worker):
        def _compress(self, model: Cocom, chunk: Chunk) -> Any:
            if (second := mark.with_suffix(".second")).exists():
                mark.with_suffix(".new").write_text(str(os.getpid()))
                mark.with_suffix(".new").rename(mark)
                time.sleep(3)
            second.touch()
            return super()._compress(model, chunk)

    def interrupt() -> None:
        read(mark)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ray_engine, "Worker", Waiting)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    source = Corpus(texts(12))
    with pytest.raises(KeyboardInterrupt):
        build("ray", source, engine(cocom_tiny))
    interrupting.join()
    wait_for(lambda: not is_running(int(mark.read_text())))
    store, report = build("ray", source)
    assert report.kept + report.new == 12
    assert report.kept >= 4
    local, _ = build("local", source)
    assert entries(store) == entries(local)
    assert not any(folder_of(store).iterdir())


DRIVER = """
import sys, time
from cocom import Cocom
from cocom.indexing.build import build_index
from cocom.indexing.ray_engine import RayEngine
from cocom.store import DiskStore
from {module} import Corpus, texts

def wait(progress):
    if progress.new >= 8:
        print("half", flush=True)
        time.sleep(60)

model = Cocom.from_pretrained("cocom-tiny")
engine = RayEngine("cocom-tiny", fingerprint=model.fingerprint, workers=1)
store = DiskStore.create(sys.argv[1])
build_index(model, store, Corpus(texts(40)), engine=engine, batch_size=4, on_progress=wait)
"""


def test_a_build_that_is_killed_is_gone_on_with_where_it_was(
    build: Any, cocom_tiny: Cocom, tmp_path: Path
) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(module=Path(__file__).stem))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "ray")],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        store = DiskStore(tmp_path / "ray")
        wait_for(lambda: len(finished(store)) == 3)  # the others that had been handed out
        process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert store.count() == 8
    assert any(folder_of(store).glob("*/*.json"))
    store, report = build("ray", Corpus(texts(40)))
    assert (report.recovered, report.kept, report.new) == (12, 20, 20)
    assert not any(folder_of(store).iterdir())
    local, _ = build("local", Corpus(texts(40)))
    assert entries(store) == entries(local)


def test_the_command_line_builds_with_ray_and_says_nothing_else(
    build: Any, cocom_tiny: Cocom, tmp_path: Path
) -> None:
    file = tmp_path / "lamps.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts(40)))
    command = ["index", "build", str(file), str(tmp_path / "ray"), "--engine", "ray"]
    done = subprocess.run(
        [sys.executable, "-m", "cocom.cli", *command, "--workers=2", "--batch-size=4", "--json"],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["new"] == 40
    local, _ = build("local", Corpus(texts(40)))
    assert entries(DiskStore(tmp_path / "ray")) == entries(local)


def test_a_source_that_fails_ends_the_run_after_what_it_gave(
    build: Any, cocom_tiny: Cocom, one_after_the_other: None
) -> None:
    with pytest.raises(DataError, match="the corpus ends at 10"):
        build("ray", Corpus(texts(16), fails_at=10), engine(cocom_tiny))
    store, report = build("ray", Corpus(texts(16)))
    assert (report.kept, report.new) == (8, 8)
    assert not any(folder_of(store).iterdir())


def test_few_chunks_wait_at_a_time(
    build: Any, cocom_tiny: Cocom, one_after_the_other: None, tmp_path: Path
) -> None:
    waiting: list[int] = []

    def look(progress: Progress) -> None:
        waiting.append(len(list((tmp_path / "ray").glob("incoming/*/*.json"))))

    _, report = build("ray", Corpus(texts(120)), engine(cocom_tiny, 2), on_progress=look)
    assert report.new == 120
    assert max(waiting) <= 8


def test_a_shard_that_another_build_took_up_counts_all_the_same(
    build: Any, cocom_tiny: Cocom, one_after_the_other: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def adopt_twice(store: DiskStore, files: Any) -> int:
        nonlocal taken
        taken += adopt(store, files)
        return adopt(store, files)

    monkeypatch.setattr(ray_engine, "adopt", adopt_twice)
    store, report = build("ray", Corpus(texts(8)), engine(cocom_tiny))
    assert (taken, report.new, store.count()) == (8, 8, 8)


def test_a_shard_that_does_not_arrive_is_reported(
    build: Any, cocom_tiny: Cocom, one_after_the_other: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "adopt", lambda store, files: 0)
    with pytest.raises(StoreError, match="has not arrived here: have the store's folder"):
        build("ray", Corpus(texts(4)), engine(cocom_tiny))


def test_a_worker_that_fails_at_everything_ends_the_run(
    build: Any, cocom_tiny: Cocom, one_after_the_other: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise RuntimeError("the cable is loose")

    monkeypatch.setattr(Cocom, "compress", fail)
    with pytest.raises(CocomError, match=r"4 passages from 'row:0' on \(RuntimeError: the cable"):
        build("ray", Corpus(texts(4)), engine(cocom_tiny))


def test_a_worker_with_another_model_ends_the_run(
    build: Any, cocom_tiny: Cocom, one_after_the_other: None
) -> None:
    other = RayEngine("cocom-tiny", fingerprint="0123456789abcdef")
    with pytest.raises(
        FingerprintError,
        match=rf"fingerprint {cocom_tiny.fingerprint[:12]}, but the build's has 0123456789ab",
    ):
        build("ray", Corpus(texts(4)), other)


def test_a_worker_without_the_store_s_folder_says_so(cocom_tiny: Cocom, tmp_path: Path) -> None:
    worker = Worker(task(cocom_tiny, tmp_path / "elsewhere"))
    error = answer(worker, 0).error
    assert error is not None
    assert error[0] == "StoreError"
    assert (
        "elsewhere': have the store's folder on a file system that all machines share" in error[1]
    )


def test_work_that_is_done_is_not_done_again(
    cocom_tiny: Cocom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore.create(tmp_path / "store")
    run = Run.begin(store)
    rate = cocom_tiny.config.check_rate(None)
    ids = {passage_id(cocom_tiny.fingerprint, rate, text): text for text in texts(3)}
    number = run.add(Chunk(ids, {id: id for id in ids}))
    worker = Worker(task(cocom_tiny, run.folder))
    first = answer(worker, number)
    written = load(run.shard(number).read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_compress", None)
        assert answer(worker, number).ids == first.ids == list(ids)
    with run.shard(number).open("r+b") as file:
        file.truncate(200)  # it does not count
    assert answer(worker, number).attempts == 3
    again = load(run.shard(number).read_bytes())
    assert all(torch.equal(again.pop(name), tensor) for name, tensor in written.items())
    assert not again
    run.remove(number)
    assert answer(worker, number).ids == []
    run.close()
    assert finished(store) == [run.shard(number)]


def test_a_chunk_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run.begin(DiskStore.create(tmp_path / "store"))
    chunk = Chunk(
        {"a": "half \ud83d", "b": "both halves \ud83d\ude00", "c": "whole 😀\0"}, {"a": "ä\udcff"}
    )
    assert run.ready() == (0, True)
    assert run.read(run.add(chunk)) == chunk
    assert run.ready() == (1, False)
    run.remove(0)
    run.end()
    assert (run.ready(), run.read(0)) == ((1, True), None)
    run.close()


def test_only_folders_of_dead_runs_are_removed(tmp_path: Path) -> None:
    store = DiskStore.create(tmp_path / "store")
    mine = Run.begin(store)
    mine.add(Chunk({"a": "b"}, {"a": "c"}))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended_process:
        pass
    host = mine.folder.name.rsplit("-", 2)[0]
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    kept = {f"{host}-{process.pid}-0a", "elsewhere-far-1-0a", "mine alone", mine.folder.name}
    gone = {f"{host}-{ended_process.pid}-0a", f"{host}-{os.getpid()}-0a", "elsewhere-far-2-0a"}
    for name in (kept | gone) - {mine.folder.name}:
        (folder_of(store) / name).mkdir()
        (folder_of(store) / name / "00000000.json").write_text("{}")
    yesterday = time.time() - 90000
    os.utime(folder_of(store) / "elsewhere-far-2-0a", (yesterday, yesterday))
    remove_stale(store)
    assert {path.name for path in folder_of(store).iterdir()} == kept
    with process:
        process.communicate(b"\n")
    mine.close()
    assert not mine.folder.exists()


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([{"CPU": 8}], 2, 0, 4),
        ([{"CPU": 8}], 3, 0, 2),
        ([{"CPU": 2}], 3, 0, 0.6666),
        ([{"CPU": 8}, {"CPU": 3}, {}], 3, 0, 3),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 64}], 2, 1, 4),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 64}], 2, 0.5, 4),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 64}], 2, 1, None),
    ],
)
def test_workers_share_the_processors_of_all_machines(
    nodes: list[dict[str, float]], workers: int, gpus: float, expected: float | None
) -> None:
    assert cpus_of_each(nodes, workers, gpus) == expected


@dataclass
class Starting:
    """A Ray that does something when it is started."""

    start: Callable[[dict[str, Any]], object]

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.start(options)

    def shutdown(self) -> None:
        pass


def test_starting_ray_is_quiet_and_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "info")
    seen: dict[str, Any] = {}

    def start(options: dict[str, Any]) -> None:
        os.write(2, b"[2026-01-02 03:04:05,678 E 12 34] core_worker.cc:56: noise\nnot Ray's\n")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        seen.update(os.environ, address=options["address"])

    before = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with session(Starting(start)) as ours:
        assert ours
        assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before
    assert capfd.readouterr().err == "not Ray's\n"
    told = seen["RAY_USAGE_STATS_ENABLED"], seen["RAY_BACKEND_LOG_LEVEL"], seen["address"]
    assert told == ("0", "info", "local")


def test_a_cluster_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:" + str(server.getsockname()[1])
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = (
        f"cannot be reached at RAY_ADDRESS '{address}' .ConnectionRefusedError.*: start it there"
    )
    with pytest.raises(InputError, match=message), session(Starting(lambda options: None)):
        pass


def test_ray_that_cannot_be_started_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: dict[str, Any]) -> None:
        raise RuntimeError("a long report:\n  that ends with\nno room.\n")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(InputError, match=r"started \(RuntimeError: no room\): mend that"),
        session(Starting(fail)),
    ):
        pass


def test_ray_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"building with Ray needs .* 'cocom\[ray\]'"):
        RayEngine("cocom-tiny", fingerprint="")


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({}, {"workers": 0}, "workers must be at least 1, got 0"),
        ({}, {"gpus_per_worker": -1}, "gpus_per_worker must be 0 or more, got -1"),
        ({}, {"gpus_per_worker": 1.5}, "gpus_per_worker must be whole, or below 1, got 1.5"),
        ({"device": "cuda"}, {}, "device is 'cuda' but gpus_per_worker is 0"),
        (
            {"device": "cuda:1"},
            {"gpus_per_worker": 1},
            "device is 'cuda:1' but gpus_per_worker is 1",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(
    options: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RayEngine("cocom-tiny", options, fingerprint="", **settings)


@pytest.fixture
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process in place of Ray's, for what does not depend on Ray."""

    def results(self: RayEngine, task: Task) -> Iterator[Result]:
        worker = Worker(task)
        for batch in numbers(None, task.folder):
            yield Result.from_json(worker(batch)["result"][0])

    monkeypatch.setattr(RayEngine, "_results", results)
