"""`cocom ask`: files and a question in, a sourced answer out."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocom.cli import shared

if TYPE_CHECKING:
    from cocom.asking import AskResult
    from cocom.retrieval.hits import Hit

__all__ = ["command"]


def command(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    paths: Annotated[
        list[str], typer.Argument(help="Files or folders: txt, md, html, pdf, jsonl.")
    ],
    model: shared.Model = "cocom-tiny",
    base: shared.Base = None,
    rate: shared.Rate = None,
    passages: Annotated[int, typer.Option(help="Passages to read.")] = 5,
    as_text: Annotated[int, typer.Option(help="Leave this many of the best ones as text.")] = 0,
    retriever: Annotated[
        str,
        typer.Option(
            help="bm25, or the name or folder of a sentence-transformers model, for another kind than a "
            "dense one as splade:NAME, late:NAME or bge-m3:NAME."
        ),
    ] = "bm25",
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Name or folder of a cross-encoder that puts what was found in order; also late:NAME or "
            "dense:NAME."
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(help="Passages to rerank.")] = 50,
    store: Annotated[
        str | None,
        typer.Option(help="Folder or URL of a store: what it has is not compressed again."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of the answer.")] = 64,
    device: shared.Device = None,
    dtype: shared.Dtype = None,
    as_json: shared.Json = False,
) -> None:
    """Answer a question from files: split, retrieve, compress, read; show answer, sources and cost."""
    from cocom.asking import ask, load_passages, make_retriever

    started = time.perf_counter()
    engine = shared.load_model(model, device, dtype, base)
    loaded = time.perf_counter()
    found = load_passages(engine, paths)
    searcher = make_retriever(retriever, found, rerank=rerank, candidates=candidates, keep=passages)
    indexed = time.perf_counter()
    result = ask(
        engine,
        question,
        searcher,
        rate=rate,
        passages=passages,
        as_text=as_text,
        store=store,
        on_text=None if as_json else lambda piece: shared.write(piece, end=""),
        max_new_tokens=max_tokens,
    )
    seconds = {"load": loaded - started, "index": indexed - loaded, **result.seconds}
    if as_json:
        shared.write_json(_as_dict(question, result, seconds))
    else:
        shared.write(_as_text(result, seconds))


def _as_dict(question: str, result: AskResult, seconds: dict[str, float]) -> dict[str, Any]:
    usage = result.answer.usage
    return {
        "question": question,
        "answer": result.answer.text,
        "finish_reason": result.answer.finish_reason,
        "sources": [
            {
                "rank": hit.rank,
                "id": hit.passage.id,
                "source": hit.passage.metadata["source"],
                "score": hit.score,
                **_first_stage(hit),
                "text": hit.passage.text,
                "read_as": "text" if hit.rank <= result.as_text else f"rate {result.rate}",
            }
            for hit in result.hits
        ],
        "usage": {
            "prompt_rows": usage.prompt_rows,
            "context_rows": usage.context_rows,
            "replaced_tokens": usage.replaced_tokens,
            "rows_as_text": usage.text_rows,
            "generated_tokens": usage.generated_tokens,
        },
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
    }


def _first_stage(hit: Hit) -> dict[str, Any]:
    """What the retriever said of a hit that was reranked."""
    from cocom.retrieval.hits import RerankedHit

    if not isinstance(hit, RerankedHit):
        return {}
    return {"first_rank": hit.first_rank, "first_score": hit.first_score}


def _as_text(result: AskResult, seconds: dict[str, float]) -> str:
    usage = result.answer.usage
    lines = ["", "", "Sources"]
    for hit in result.hits:
        text = textwrap.shorten(hit.passage.text, 72, placeholder=" ...")
        form = "text" if hit.rank <= result.as_text else f"rate {result.rate}"
        first = _first_stage(hit)
        before = f", was {first['first_rank']}. by the retriever" if first else ""
        lines += [
            f"  {hit.rank}. {hit.passage.id}  (score {hit.score:.2f}{before}, {form})",
            f"     {text}",
        ]
    fewer = usage.text_rows / max(1, usage.prompt_rows)
    times = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    lines += [
        "",
        f"The model read {usage.prompt_rows} rows instead of {usage.text_rows} text tokens ({fewer:.1f}x "
        f"fewer): {usage.context_rows} context embeddings stood for {usage.replaced_tokens} tokens.",
        f"Seconds: {times}.",
    ]
    return "\n".join(lines)
