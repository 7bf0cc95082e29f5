"""The store on disk, measured: growth from 10^3 passages on, and reading beside plain mmap.

    python benchmarks/store.py --out benchmarks/results/store.json

Growth: synthetic embeddings of 4 x 64 bfloat16 with a text of some 60 bytes, put in batches of 512. For
each size, in a process of its own: passages a second, latency of `get` for one passage (median and 99th
percentile), with the files in the page cache and without, the memory that the process took, and the bytes
of index a passage.

Reading: 8 x 4096 bfloat16 (rate 16 of a 7B model), 1, 5 and 50 passages chosen at random, `get` and a copy
out of a NumPy memory map of the same bytes by turns, both with and without the page cache.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cocom import ContextEmbeddings, DiskStore, Entry, Window
from cocom.identity import passage_id

FINGERPRINT = "benchmark" * 7
BATCH = 512


def passage(number: int, rows: int, hidden: int) -> tuple[str, Entry]:
    """A passage that only its number decides."""
    text = f"Passage {number} of a synthetic corpus, with some words to read."
    bits = np.random.default_rng(number).integers(0, 1 << 14, (rows, hidden), dtype=np.int16)
    embeddings = torch.from_numpy(bits).view(torch.bfloat16)
    contexts = ContextEmbeddings(embeddings, 16, (Window(rows * 16, rows),), rows * 16, FINGERPRINT)
    return passage_id(FINGERPRINT, 16, text), Entry(text, 16, None, contexts)


def batches(count: int, rows: int, hidden: int) -> Iterator[dict[str, Entry]]:
    """All passages."""
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        yield dict(passage(number, rows, hidden) for number in numbers)


def forget_files(folder: Path) -> None:
    """Have the files of a folder read from the disk the next time."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def milliseconds(times: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {
        "median_ms": round(statistics.median(times) * 1e3, 4),
        "p99_ms": round(statistics.quantiles(times, n=100)[98] * 1e3, 4),
    }


def timed(function: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


def peak() -> int:
    """Most bytes of memory that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def grow(count: int, folder: Path) -> dict[str, Any]:
    """Figures of a store of some passages."""
    store = DiskStore.create(folder / "store")
    next(batches(BATCH, 4, 64))  # what is loaded once
    before = resident()
    seconds = 0.0
    for entries in batches(count, 4, 64):
        seconds += timed(partial(store.put, entries))
    compacting = timed(store.compact)
    built = peak()
    rng = random.Random(0)
    ids = list(store.ids())
    for _ in range(200):
        store.get([rng.choice(ids)])
    warm = [timed(lambda: store.get([rng.choice(ids)])) for _ in range(5000)]
    five = [timed(lambda: store.get(rng.sample(ids, 5))) for _ in range(2000)]
    missing = [timed(lambda: store.contains(rng.sample(ids, 512))) for _ in range(50)]
    cold = []
    for _ in range(100):
        store.close()
        forget_files(folder)
        store = DiskStore(folder / "store")
        store.get(["a" * 26])  # opens the index: what is cold then are the passage and its page
        cold.append(timed(partial(store.get, [rng.choice(ids)])))
    shards = list((folder / "store" / "shards").iterdir())
    store.close()
    return {
        "passages": count,
        "put_a_second": round(count / seconds),
        "compact_seconds": round(compacting, 2),
        "get_warm": milliseconds(warm),
        "get_cold": milliseconds(cold),
        "get_5_warm": milliseconds(five),
        "contains_512": milliseconds(missing),
        "memory_while_building_mb": round((built - before) / 1e6, 1),
        "index_bytes_a_passage": round((folder / "store" / "index.sqlite").stat().st_size / count),
        "shards": len(shards),
    }


def read(folder: Path, count: int) -> dict[str, Any]:
    """`get` beside plain mmap."""
    store = DiskStore.create(folder / "store")
    ids: list[str] = []
    size = 8 * 4096 * 2
    seconds = 0.0
    with (folder / "plain").open("wb") as plain:
        for entries in batches(count, 8, 4096):
            seconds += timed(partial(store.put, entries))
            ids += entries
            for entry in entries.values():
                assert entry.contexts is not None
                plain.write(entry.contexts.embeddings.view(torch.uint8).numpy().tobytes())
    figures: dict[str, Any] = {
        "passages": count,
        "bytes_a_passage": size,
        "put_mb_a_second": round(count * size / seconds / 1e6),
    }
    rng = random.Random(1)

    def mapped(array: np.ndarray[Any, Any], picked: list[int]) -> object:
        rows = [np.array(array[number * size : (number + 1) * size]) for number in picked]
        return [torch.from_numpy(row).view(torch.bfloat16).view(8, 4096) for row in rows]

    array: Any = np.memmap(folder / "plain", dtype=np.uint8, mode="r")
    array.sum()  # into the page cache
    for _ in store.items():
        pass
    for many in (1, 5, 50):
        ours, with_texts, theirs = [], [], []
        for turn in range(600):
            picked = rng.sample(range(count), many)
            wanted = [ids[number] for number in picked]
            found = (
                timed(partial(store.get, wanted, texts=False)),
                timed(partial(mapped, array, picked)),
                timed(partial(store.get, wanted)),
            )
            if turn >= 100:
                for times, seconds in zip((ours, theirs, with_texts), found, strict=True):
                    times.append(seconds)
        figures[f"warm_{many}"] = compared(ours, theirs, with_texts)
    for many in (1, 5, 50):  # after all the others: it empties the page cache
        ours, theirs = [], []
        for _ in range(60):
            picked = rng.sample(range(count), many)
            wanted = [ids[number] for number in picked]
            del array
            forget_files(folder)
            array = np.memmap(folder / "plain", dtype=np.uint8, mode="r")
            theirs.append(timed(partial(mapped, array, picked)))
            ours.append(timed(partial(store.get, wanted, texts=False)))
        figures[f"cold_{many}"] = compared(ours, theirs)
    store.close()
    return figures


def compared(
    ours: list[float], theirs: list[float], with_texts: list[float] | None = None
) -> dict[str, Any]:
    """Both latencies, and the ratio of their medians."""
    found: dict[str, Any] = {"get": milliseconds(ours), "mmap": milliseconds(theirs)}
    if with_texts is not None:
        found["get_with_texts"] = milliseconds(with_texts)
    found["ratio"] = round(statistics.median(ours) / statistics.median(theirs), 2)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/store.json"))
    parser.add_argument("--sizes", type=float, nargs="*", default=[1e3, 1e4, 1e5, 1e6])
    parser.add_argument(
        "--read", type=int, default=20_480, help="passages that are read beside mmap"
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to write stores; needs 3 GB")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.one:
            sys.stdout.write(json.dumps(grow(options.one, Path(name))))
            return
        growth = []
        for size in options.sizes:
            command = [sys.executable, __file__, "--one", str(int(size))]
            if options.folder:
                command += ["--folder", str(options.folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            growth.append(json.loads(done.stdout))
            sys.stdout.write(done.stdout + "\n")
            sys.stdout.flush()
        reading = read(Path(name), options.read) if options.read else {}
    sys.stdout.write(json.dumps(reading, indent=2) + "\n")
    options.out.write_text(
        json.dumps(
            {
                "machine": {
                    "cpus": len(os.sched_getaffinity(0)),
                    "processor": platform.machine(),
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                },
                "growth": growth,
                "reading": reading,
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
