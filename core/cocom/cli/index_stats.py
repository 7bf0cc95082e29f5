"""`cocom index stats`: what a store holds and what it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocom.cli import shared

if TYPE_CHECKING:
    from cocom.store import DiskStore
    from cocom.store.statistics import Statistics

__all__ = ["command"]


def command(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    failures: Annotated[
        bool, typer.Option("--failures", help="Also list passages that failed when last built.")
    ] = False,
    as_json: shared.Json = False,
) -> None:
    """Tell what a store holds: passages by model and rate, sources, and bytes."""
    from cocom.store import DiskStore
    from cocom.store.listing import failures as failed
    from cocom.store.statistics import statistics

    with DiskStore(store) as opened:
        found = statistics(opened)
        listed: Failures | None = None
        if failures:
            listed = {
                name: [(source, f.key, f.message) for source, f in failed(opened.namespace(name))]
                for name in found.passages
            }
        if as_json:
            shared.write_json(_as_dict(opened, found, listed))
        else:
            shared.write(_as_text(opened, found, listed))


Failures = dict[str, list[tuple[str, str, str]]]


def _as_dict(store: DiskStore, found: Statistics, failures: Failures | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "store": str(store.path),
        **dataclasses.asdict(store.manifest),
        "namespaces": {
            name: {
                "passages": sum(kinds.values()),
                "kinds": [
                    {**dataclasses.asdict(kind), "passages": count} for kind, count in kinds.items()
                ],
                "sources": [dataclasses.asdict(source) for source in found.sources[name]],
            }
            for name, kinds in found.passages.items()
        },
        "shards": found.shards,
        "shard_bytes_on_disk": found.shard_bytes,
        "unused": round(found.unused, 4),
        "recent": found.recent,
        "index_bytes": found.index_bytes,
    }
    if failures is not None:
        result["failures"] = [
            {"namespace": name, "source": source, "key": key, "message": message}
            for name, rows in failures.items()
            for source, key, message in rows
        ]
    return result


def _as_text(store: DiskStore, found: Statistics, failures: Failures | None) -> str:
    texts = "with texts" if store.manifest.texts else "without texts"
    lines = [f"The store '{store.path}', {texts}, quantization {store.manifest.quantization}"]
    for name, kinds in found.passages.items():
        lines.append(f"  namespace {name!r}: {sum(kinds.values()):,} passages")
        lines += [
            f"    {count:,} by model {kind.fingerprint[:12]} at rate {kind.rate}: "
            f"{kind.hidden} x {kind.dtype}"
            for kind, count in kinds.items()
        ]
        lines += [
            f"    from {source.name}: {source.passages:,} at rate {source.rate}, {source.failures:,} failed"
            + ("" if source.finished else ", not read to its end")
            for source in found.sources[name]
        ]
    lines += [
        f"  {found.shards:,} shards: {found.shard_bytes:,} bytes, {found.unused:.0%} unused",
        f"  index: {found.index_bytes:,} bytes, {found.recent:,} passages in the index itself",
    ]
    for name, rows in (failures or {}).items():
        lines += [
            f"  failed in {name!r}, {source}, {key}: {message}" for source, key, message in rows
        ]
    return "\n".join(lines)
