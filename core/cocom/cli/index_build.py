"""`cocom index build` and `cocom index update`: from a source into a store."""

from __future__ import annotations

import dataclasses
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from cocom.cli import shared
from cocom.errors import InputError

if TYPE_CHECKING:
    from cocom.engine import Cocom
    from cocom.indexing.build import BuildReport, Drop, Progress
    from cocom.indexing.chunks import Engine

__all__ = ["Engines", "Quantization", "build", "update"]

_SECONDS = 30.0  # between lines of progress where there is no terminal


class Engines(StrEnum):
    """Where passages are compressed."""

    local = "local"
    ray = "ray"


class Quantization(StrEnum):
    """How a store keeps embeddings."""

    none = "none"
    int8 = "int8"
    fp8 = "fp8"


Source = Annotated[
    str,
    typer.Argument(
        help="Files or a folder (txt, md, html, pdf), .jsonl, .parquet, a URL of these, hf:NAME@SPLIT, or "
        "python:MODULE:ATTRIBUTE."
    ),
]
Store = Annotated[Path, typer.Argument(help="The store's folder; made if it is not there.")]
Namespace = Annotated[str, typer.Option(help="Part of the store to write to.")]
TextField = Annotated[str | None, typer.Option(help="Field of a row that holds the passage.")]
IdField = Annotated[str | None, typer.Option(help="Field of a row that holds its id.")]
NoText = Annotated[bool, typer.Option("--no-text", help="Keep no texts (when the store is made).")]
Quantized = Annotated[
    Quantization | None, typer.Option(help="How embeddings are kept (when the store is made).")
]
BatchSize = Annotated[int, typer.Option(help="Passages that are compressed and written together.")]
BatchTokens = Annotated[int, typer.Option(help="Rows in one forward pass.")]
EngineOption = Annotated[Engines, typer.Option(help="Compress here, or with Ray.")]
Workers = Annotated[int, typer.Option(help="Models side by side (with Ray).")]
GpusPerWorker = Annotated[float, typer.Option(help="GPUs of each (with Ray).")]


def build(
    source: Source,
    store: Store,
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    rate: shared.Rate = None,
    namespace: Namespace = "",
    text_field: TextField = None,
    id_field: IdField = None,
    no_text: NoText = False,
    quantization: Quantized = None,
    engine: EngineOption = Engines.local,
    workers: Workers = 1,
    gpus_per_worker: GpusPerWorker = 0.0,
    batch_size: BatchSize = 512,
    batch_tokens: BatchTokens = 8192,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
    as_json: shared.Json = False,
) -> None:
    """Compress what the store does not have yet; interrupted, it goes on where it was.

    The exit status is 1 if passages failed; all others are in the store then.
    """
    _run(locals(), drop="never")


def update(
    source: Source,
    store: Store,
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    rate: shared.Rate = None,
    namespace: Namespace = "",
    text_field: TextField = None,
    id_field: IdField = None,
    drop_anyway: Annotated[
        bool,
        typer.Option("--drop-anyway", help="Delete even if a part of the source cannot be read."),
    ] = False,
    engine: EngineOption = Engines.local,
    workers: Workers = 1,
    gpus_per_worker: GpusPerWorker = 0.0,
    batch_size: BatchSize = 512,
    batch_tokens: BatchTokens = 8192,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
    as_json: shared.Json = False,
) -> None:
    """Compress what is new or changed, and delete what the source had and has no more.

    Only passages that it had when it was last read into the namespace, by this model and at this rate, are
    deleted, and none that another source has.
    """
    _run(locals(), drop="always" if drop_anyway else "safe")


def _run(options: dict[str, Any], drop: Drop) -> None:
    from cocom.indexing.build import build_index
    from cocom.indexing.sources import open_source
    from cocom.split import split_text
    from cocom.store import DiskStore

    as_json = options["as_json"]
    _check(options)
    model = shared.load_model(
        options["model"], options["device"], options["dtype"], options["base"]
    )
    rate = model.config.check_rate(options["rate"])  # before there is a store
    source = open_source(
        options["source"],
        split=lambda text: split_text(text, model.config.window, count_tokens=model.count_tokens),
        text_field=options["text_field"],
        id_field=options["id_field"],
    )
    if drop == "never":
        settings: dict[str, Any] = {}
        if options["no_text"]:
            settings["texts"] = False
        if options["quantization"] is not None:
            settings["quantization"] = options["quantization"].value
        opened = DiskStore.open_or_create(options["store"], **settings)
    else:
        opened = DiskStore(options["store"])
    with opened:
        store = opened.namespace(options["namespace"])
        with _Teller() as teller:
            report = build_index(
                model,
                store,
                source,
                rate=rate,
                engine=_engine(model, options),
                drop=drop,
                batch_size=options["batch_size"],
                on_progress=teller,
            )
        figures = {
            "source": source.name,
            "store": str(store.path),
            "namespace": store.name,
            "rate": rate,
            "fingerprint": model.fingerprint,
            "in_store": store.count(),
            **dataclasses.asdict(report),
        }
    if as_json:
        shared.write_json(figures)
    else:
        shared.write(_as_text(report, figures))
    if report.failed:
        raise typer.Exit(1)


def _check(options: dict[str, Any]) -> None:
    for name in ("batch_size", "batch_tokens"):  # before anything is loaded or made
        if options[name] < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {options[name]}.")
    workers, gpus = options["workers"], options["gpus_per_worker"]
    if options["engine"] is Engines.local and (workers != 1 or gpus != 0):
        raise InputError(
            f"--workers {workers} and --gpus-per-worker {gpus:g} are of no use to --engine local, which has "
            "one model: add --engine ray, or leave them out."
        )


def _engine(model: Cocom, options: dict[str, Any]) -> Engine:
    if options["engine"] is Engines.local:
        from cocom.indexing.local import LocalEngine

        return LocalEngine(model, options["batch_tokens"])
    from cocom.indexing.ray_engine import RayEngine

    return RayEngine(
        options["model"],
        {
            "base": shared.bases(options["base"]),
            "device": options["device"],
            "dtype": options["dtype"],
        },
        fingerprint=model.fingerprint,
        workers=options["workers"],
        gpus_per_worker=options["gpus_per_worker"],
        batch_tokens=options["batch_tokens"],
    )


class _Teller:
    """Writes progress to standard error: over the line before on a terminal, else now and then."""

    def __init__(self) -> None:
        from cocom.indexing.meter import Meter

        self._meter = Meter()
        self._last = time.monotonic()
        self._open = False  # a line that is not ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._open:
            sys.stderr.write("\n")

    def __call__(self, progress: Progress) -> None:
        line = self._meter.line(progress)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K")
            self._open = True
        elif time.monotonic() - self._last >= _SECONDS:
            self._last = time.monotonic()
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _as_text(report: BuildReport, figures: dict[str, Any]) -> str:
    lines = [
        f"{report.passages:,} passages read: {report.new:,} compressed, {report.kept:,} there already, "
        f"{report.failed:,} failed, {report.dropped:,} deleted; {report.seconds:.1f} s, "
        f"{report.new / max(report.seconds, 1e-9):,.0f} compressed a second.",
        f"The store '{figures['store']}' holds {figures['in_store']:,} passages"
        + (f" in namespace {figures['namespace']!r}." if figures["namespace"] else "."),
    ]
    if report.recovered:
        lines.append(f"{report.recovered:,} passages of an interrupted run were taken up.")
    if report.not_dropped is not None:
        lines.append(f"Nothing was deleted: {report.not_dropped} with --drop-anyway.")
    if report.failures:
        lines += ["", "Failed"]
        lines += [f"  {failure.key}: {failure.message}" for failure in report.failures]
        more = report.failed - len(report.failures)
        if more > 0:
            lines.append(f"  and {more:,} more: see `cocom index stats --failures`.")
    return "\n".join(lines)
