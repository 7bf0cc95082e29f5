"""`run_benchmark`: floors, cells by turns, floors again, checks, one report."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from cocom.benchmark import straightforward
from cocom.benchmark.checks import checks_of
from cocom.benchmark.exact import endless
from cocom.benchmark.floors import better, measure_floors
from cocom.benchmark.models import describe, open_model
from cocom.benchmark.options import MANY, TOKENS, BenchmarkOptions, near, points
from cocom.benchmark.result import Check, Report
from cocom.benchmark.session import Session
from cocom.benchmark.store_overhead import store_cells
from cocom.benchmark.workload import Workload
from cocom.engine import Cocom
from cocom.errors import InputError

__all__ = ["machine_of", "run_benchmark"]


def run_benchmark(
    options: BenchmarkOptions | None = None,
    *,
    model: Cocom | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Measure a model on the machine it is on.

    An interrupt while cells are measured ends the run with what there is; `settings["interrupted"]` tells.

    Args:
        options: What to measure; None takes the defaults.
        model: One that is loaded already, which `options.model` then only names.
        progress: Told what is done.

    Raises:
        CheckpointError: The model cannot be loaded.
        ConfigError: The model does not serve one of the rates.
        InputError: The model's compressor reads the question.
        ModelError: Answers do not have the length that was asked for.
    """
    options = options or BenchmarkOptions()
    tell = progress or (lambda _: None)
    tell(f"loading {options.model}")
    cocom = model or open_model(options.model, device=options.device, dtype=options.dtype)
    if cocom.reads_query:
        raise InputError(
            f"the compressor of '{options.model}' reads the question too, so nothing can be compressed "
            "before it is asked, as it is measured here: give a model that compresses passages alone."
        )
    device, dtype = cocom.backbone.device, cocom.backbone.dtype
    rates = [cocom.config.check_rate(rate) for rate in options.rates or cocom.config.rates]
    workload = Workload(cocom, options.compressed)
    machine = machine_of(device)
    tell("measuring the machine")
    measure = (device, dtype)
    limits = {"seconds": options.floor_seconds, "rounds": options.rounds}
    floors = measure_floors(*measure, **limits)  # type: ignore[arg-type]
    # Outside of `endless`: with its first call a model finds out how it can be run.
    cocom.answer(workload.questions[0], cocom.compress(workload.passages[:1]), max_new_tokens=1)
    session = Session(workload, points(options, rates), options, floors, tell)
    interrupted = False
    with endless(cocom):
        try:
            session.run()
        except KeyboardInterrupt:
            interrupted = True
    if not interrupted:
        tell("measuring the machine again")
        floors = better(floors, measure_floors(*measure, **limits))  # type: ignore[arg-type]
    cells = session.cells(floors)
    checks: tuple[Check, ...] = ()
    if options.store and not interrupted:
        tell("measuring the store")
        found, claims = store_cells(
            cocom,
            passages=near(options.passages, MANY),
            rate=near(rates, 16),
            new_tokens=near(options.new_tokens, TOKENS),
            rounds=options.rounds,
        )
        cells, checks = (*cells, *found), tuple(claims)
    return Report(
        machine=machine,
        model=describe(cocom, options.model),
        settings={
            **{n: _plain(value) for n, value in dataclasses.asdict(options).items()},
            "rates": rates,
            "interrupted": interrupted,
            "passage_tokens": workload.describe(),
            "straightforward_batch": straightforward.BATCH,
        },
        floors=floors,
        cells=cells,
        checks=(*checks_of(cells), *checks),
    )


def _plain(value: object) -> object:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def machine_of(device: torch.device) -> dict[str, Any]:
    """Processor, threads and versions, by name."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "device_type": device.type,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cuda": torch.version.cuda if cuda else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
