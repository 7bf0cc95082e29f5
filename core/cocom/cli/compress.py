"""`cocom compress`: files in, a file of context embeddings out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cocom.cli import shared

__all__ = ["command"]


def command(
    paths: Annotated[
        list[str], typer.Argument(help="Files or folders: txt, md, html, pdf, jsonl.")
    ],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    rate: shared.Rate = None,
    batch_tokens: Annotated[int, typer.Option(help="Rows in one forward pass.")] = 8192,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
    as_json: shared.Json = False,
) -> None:
    """Compress files into one file of context embeddings, to answer from later."""
    from cocom.asking import load_passages
    from cocom.contexts_file import save_contexts

    engine = shared.load_model(model, device, dtype, base)
    passages = load_passages(engine, paths)
    started = time.perf_counter()
    contexts = engine.compress(
        passages, rate=rate, batch_tokens=batch_tokens, progress=shared.show_progress(as_json)
    )
    seconds = time.perf_counter() - started
    save_contexts(contexts, out)
    tokens = sum(context.text_tokens for context in contexts)
    rows = sum(map(len, contexts))
    figures = {
        "out": str(out),
        "passages": len(contexts),
        "text_tokens": tokens,
        "embeddings": rows,
        "rate": contexts[0].rate,
        "bytes": out.stat().st_size,
        "fingerprint": engine.fingerprint,
        "seconds": round(seconds, 4),
    }
    if as_json:
        shared.write_json(figures)
        return
    shared.write(
        f"{len(contexts)} passages, {tokens} tokens -> {rows} context embeddings at rate {contexts[0].rate} "
        f"in {seconds:.2f} s; written to {out} ({figures['bytes']} bytes)."
    )
