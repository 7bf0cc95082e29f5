"""Threads that a computation leaves waiting are let go, and computing goes on as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cocom import worker_threads
from cocom.worker_threads import let_go

PROGRAM = """
import os
import torch
from cocom.testing import tiny_cocom
from cocom.worker_threads import let_go

torch.set_num_threads(4)

def threads():
    return len(os.listdir("/proc/self/task"))

def compute():
    return (torch.ones(600, 600) @ torch.ones(600, 600)).exp().sum()

alone = threads()
first = compute()
together = threads()
let_go()
after = threads()
assert compute() == first and threads() == together
model = tiny_cocom()
(context,) = model.compress(["Ada was born in Rome. " * 40])
model.answer("Who?", [context])
print(alone, together, after, threads())
"""


def test_the_team_ends_and_comes_back() -> None:
    if worker_threads._gnu_openmp() is None:
        pytest.skip("torch does not compute with GNU OpenMP here")
    environment = {**os.environ, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone, together, after, model = map(int, done.stdout.split())
    assert together == alone + 3
    assert after == alone
    assert model < together  # others may tokenize and watch progress bars


def test_without_that_library_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(worker_threads, "_gnu_openmp", lambda: None)
    let_go()


def test_systems_without_maps_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert worker_threads._gnu_openmp.__wrapped__() is None
