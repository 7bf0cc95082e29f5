"""Growth, measured and drawn: an answer's time against passages, and against the size of a store.

    python benchmarks/growth.py --out benchmarks/results/growth.json --plots benchmarks/results

Passages: one question with 1 to 200 of them, as text and as context embeddings at each rate; an answer that
would take longer than `--most-seconds` is left out, and the report says so. Twenty passages are compressed; a
question with more of them reads these again.

Store: stores of 10^2 to 10^5 passages, from which twenty, drawn anew each time, are read for an answer.

Beside each time stands what a formula expects: operations of the prefill over a rate, and bytes that are read
over another. Both rates are found from all the times together, so that two constants explain every context
and every number of passages. No answer ends before `--new-tokens`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from cocom.benchmark.fitting import Fit
from cocom.benchmark.floors import measure_floors
from cocom.benchmark.growth import EXPECTED, grow_passages, grow_store
from cocom.benchmark.models import describe, open_model
from cocom.benchmark.plot_growth import describe_fit, draw_growth
from cocom.benchmark.result import Cell, Report, read_report, write_report
from cocom.benchmark.run import machine_of as machine_facts


def measured(options: argparse.Namespace) -> Report:
    """Measure."""
    model = open_model(options.model, device=options.device, dtype=options.dtype)
    backbone = model.backbone
    floors = measure_floors(backbone.device, backbone.dtype)
    cells, answer = grow_passages(
        model,
        passages=options.passages,
        rates=options.rates,
        new_tokens=options.new_tokens,
        rounds=options.rounds,
        most_seconds=options.most_seconds,
        progress=say,
    )
    fits = {"answer": answer}
    if options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            found, fits["get"] = grow_store(
                model,
                Path(name),
                answer,
                sizes=options.sizes,
                passages=options.read,
                rate=options.store_rate,
                new_tokens=options.new_tokens,
                rounds=options.rounds,
                progress=say,
            )
        cells += found
    settings = {
        "new_tokens": options.new_tokens,
        "rounds": options.rounds,
        "most_seconds": options.most_seconds,
        "fits": {name: asdict(fit) for name, fit in fits.items()},
    }
    return Report(
        machine=machine_facts(backbone.device),
        model=describe(model, options.model),
        settings=settings,
        floors=floors,
        cells=tuple(cells),
    )


def say(line: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{line}\n")


def main() -> None:
    """Measure, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/growth.json"))
    parser.add_argument(
        "--plots", type=Path, help="folder for growth_passages.svg and growth_store.svg"
    )
    parser.add_argument("--model", default="llama-60m", help="as `cocom bench --model`")
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    parser.add_argument("--passages", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50, 100, 200])
    parser.add_argument("--rates", type=int, nargs="+", help="all of the model if left out")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most-seconds", type=float, default=20.0, help="of one answer")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument(
        "--read", type=int, default=20, help="passages read from a store for an answer"
    )
    parser.add_argument("--store-rate", type=int, default=16)
    parser.add_argument(
        "--folder", type=Path, help="where to write stores; the usual sizes need 3 GB"
    )
    parser.add_argument(
        "--redraw", action="store_true", help="draw what --out holds, measure nothing"
    )
    options = parser.parse_args()
    report = read_report(options.out) if options.redraw else measured(options)
    if not options.redraw:
        write_report(report, options.out)
    for cell in report.cells:
        print(row(cell))
    fits = {name: Fit(**values) for name, values in report.settings["fits"].items()}
    for name, fit in fits.items():
        print(f"{name}. {describe_fit(fit)}")
    print(
        f"Measured of the machine: {report.floors.matrix.median / 1e9:.3g} GFLOP/s in a matrix product, "
        f"{report.floors.read.median / 1e9:.3g} GB/s in a sum."
    )
    if options.plots:
        for path in draw_growth(report, fits, options.plots):
            print(path)


def row(cell: Cell) -> str:
    """A line of figures."""
    what = cell.notes.get("part", cell.what)
    stored = cell.notes.get("passages in the store")
    place = f"{cell.context:9} {cell.passages:4} passages" + (f" of {stored:7}" if stored else "")
    expected = f"expected {cell.notes[EXPECTED]:.4g} s"
    if cell.seconds is None:
        return f"{what:15} {place}  left out, {expected}: {cell.skipped}"
    s = cell.seconds
    return f"{what:15} {place}  {s.median:.4g} s ({s.low:.4g} to {s.high:.4g}), {expected}"


if __name__ == "__main__":
    main()
