"""What compression is to bring, as numbers that a report bears out or not; and the ratios they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cocom.benchmark.options import BATCH, MANY, PASSAGES, STREAMED, TOKENS
from cocom.benchmark.result import Cell, Check, Way

__all__ = ["checks_of", "find", "over_straightforward", "over_text"]


def find(
    cells: Iterable[Cell],
    what: str,
    context: str,
    *,
    passages: int | None = None,
    batch: int = BATCH,
    new_tokens: int | None = None,
    way: Way = "cocom",
) -> Cell | None:
    """A cell that was measured, or None.

    Args:
        cells: All of a report.
        what: As in `Cell`.
        context: As in `Cell`.
        passages: None takes any.
        batch: As in `Cell`.
        new_tokens: None takes any.
        way: As in `Cell`.
    """
    for cell in cells:
        if (
            (cell.what, cell.way, cell.context, cell.batch) == (what, way, context, batch)
            and passages in (None, cell.passages)
            and new_tokens in (None, cell.new_tokens)
            and cell.seconds is not None
        ):
            return cell
    return None


def over_text(cells: Sequence[Cell], cell: Cell | None) -> float | None:
    """How many times faster than the same with passages as text, by the same way."""
    if cell is None or cell.rate is None or cell.what == "compress":
        return None
    text = find(
        cells,
        cell.what,
        "text",
        passages=cell.passages,
        batch=cell.batch,
        new_tokens=cell.new_tokens,
        way=cell.way,
    )
    return _ratio(text, cell)


def over_straightforward(cells: Sequence[Cell], cell: Cell | None) -> float | None:
    """How many times faster than the straightforward way, which takes one question after the other."""
    if cell is None or cell.way == "straightforward" or cell.what == "stream":
        return None
    other = find(
        cells,
        cell.what,
        cell.context,
        passages=cell.passages,
        new_tokens=cell.new_tokens,
        way="straightforward",
    )
    return _ratio(other, cell, cell.batch)


def checks_of(cells: Sequence[Cell]) -> tuple[Check, ...]:
    """All claims whose cells were measured."""
    contexts = list(dict.fromkeys(cell.context for cell in cells))
    rates = [context for context in contexts if context.startswith("rate ")]
    found: list[Check] = []

    def claim(name: str, value: float | None, wanted: float) -> None:
        if value is not None:
            found.append(Check(name, value, wanted))

    for rate in rates:
        cell = find(cells, "compress", rate)
        claim(
            f"compressing at {rate}, times the straightforward way",
            over_straightforward(cells, cell),
            2.0,
        )
    for tokens in (6, TOKENS):
        cell = find(cells, "answer", "rate 16", passages=MANY, new_tokens=tokens)
        name = f"answering from {MANY} passages at rate 16, {tokens} tokens, times text"
        claim(name, over_text(cells, cell), 3.0)
    plain = find(cells, "answer", "text", passages=MANY, new_tokens=TOKENS, way="straightforward")
    claim(
        f"answering from {MANY} passages at rate 16, {TOKENS} tokens, times text the straightforward way",
        _ratio(plain, cell),
        3.0,
    )
    for context in contexts:
        passages = 0 if context == "none" else PASSAGES
        one = find(cells, "answer", context, passages=passages, new_tokens=TOKENS)
        many = find(cells, "answer", context, passages=passages, batch=16, new_tokens=TOKENS)
        claim(f"16 questions together, times one at a time ({context})", _ratio(one, many, 16), 3.0)
    for batch in range(1, STREAMED + 1):
        claim(
            f"streaming {batch} at once, throughput beside not streaming",
            _streaming(cells, contexts, batch),
            0.97,
        )
    for context in contexts:
        passages = 0 if context == "none" else PASSAGES
        cell = find(cells, "answer", context, passages=passages, new_tokens=TOKENS)
        claim(
            f"one answer, times the straightforward way ({context})",
            over_straightforward(cells, cell),
            1.0,
        )
    return tuple(found)


def _streaming(cells: Sequence[Cell], contexts: Sequence[str], batch: int) -> float | None:
    """Seconds of all contexts not streamed, over their seconds streamed."""
    pairs = []
    for context in contexts:
        streamed = find(cells, "stream", context, batch=batch)
        if streamed is not None:
            whole = find(
                cells,
                "answer",
                context,
                passages=streamed.passages,
                batch=batch,
                new_tokens=streamed.new_tokens,
            )
            if whole is not None:
                pairs.append((_median(whole), _median(streamed)))
    return sum(w for w, _ in pairs) / sum(s for _, s in pairs) if pairs else None


def _ratio(slow: Cell | None, fast: Cell | None, times: int = 1) -> float | None:
    if slow is None or fast is None:
        return None
    return times * _median(slow) / _median(fast)


def _median(cell: Cell) -> float:
    assert cell.seconds is not None
    return cell.seconds.median
