"""`cocom reconstruct`: what survives the compression."""

from __future__ import annotations

from typing import Annotated

import typer

from cocom.cli import shared
from cocom.errors import InputError

__all__ = ["command"]


def command(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files or folders; or use --text.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text to compress and write back.")] = None,
    limit: Annotated[int, typer.Option(help="Passages to show, from the first.")] = 5,
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    rate: shared.Rate = None,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
    as_json: shared.Json = False,
) -> None:
    """Compress passages and write them back from their embeddings alone."""
    from cocom.asking import load_passages
    from cocom.datatypes import Passage

    if (text is None) == (not paths):
        raise InputError("give either files or --text, and not both.")
    engine = shared.load_model(model, device, dtype, base)
    passages = [Passage(text, "text")] if text is not None else load_passages(engine, paths or [])
    shown = []
    for context in engine.compress(passages[:limit], rate=rate):
        assert context.passage is not None
        shown.append(
            {
                "id": context.passage.id,
                "text": context.passage.text,
                "reconstruction": engine.reconstruct(context),
                "tokens": context.text_tokens,
                "embeddings": len(context),
                "rate": context.rate,
            }
        )
    if as_json:
        shared.write_json({"passages": shown, "passages_in_all": len(passages)})
        return
    for entry in shown:
        shared.write(
            f"{entry['id']}: {entry['tokens']} tokens -> {entry['embeddings']} embeddings\n"
            f"  text            {entry['text']}\n  reconstruction  {entry['reconstruction']}\n"
        )
    if len(passages) > limit:
        shared.write(f"{limit} of {len(passages)} passages shown; raise --limit for more.")
