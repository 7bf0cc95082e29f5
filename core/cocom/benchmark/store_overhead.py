"""How much of an answer goes to getting its context embeddings from a store on disk to the first token."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cocom.benchmark.exact import check_lengths, endless
from cocom.benchmark.result import Cell, Check, Spread
from cocom.benchmark.timing import by_turns, once, spread
from cocom.benchmark.workload import Workload
from cocom.datatypes import Answer, ContextEmbeddings
from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.identity import passage_id
from cocom.reader import ReadRequest
from cocom.running.request import build_prompts
from cocom.store import DiskStore, Entry
from cocom.view import CocomView

__all__ = [
    "fill_store",
    "forget_files",
    "measure_store_overhead",
    "store_cells",
]

MOST = 0.05
FIRST = "store to first token"
_OTHERS = 1000  # passages that lie in the store beside those that are read
_OTHERS_BYTES = 64 << 20


def store_cells(
    model: Cocom, *, passages: int, rate: int, new_tokens: int, rounds: int
) -> tuple[list[Cell], list[Check]]:
    """`measure_store_overhead` with a store in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        return measure_store_overhead(
            model,
            Path(name),
            passages=passages,
            rate=rate,
            new_tokens=new_tokens,
            rounds=rounds,
        )


def measure_store_overhead(
    model: Cocom,
    folder: Path,
    passages: int = 20,
    rate: int = 16,
    new_tokens: int = 32,
    rounds: int = 7,
) -> tuple[list[Cell], list[Check]]:
    """Time an answer from a store on disk beside the same answer from memory, and what lies between.

    The difference of two answers is as noisy as the answers are, and may come out below zero. So what is
    done before the model computes is timed by itself too; the check rests on that.

    Args:
        model: Compresses and reads.
        folder: Empty; a store is made there.
        passages: Of the question.
        rate: Compression rate.
        new_tokens: Tokens of the answer, exactly.
        rounds: How often each thing is timed.

    Returns:
        Cells of "store", told apart by `notes["part"]`, and the checks.

    Raises:
        InputError: A number that is not positive.
        ModelError: Answers end before `new_tokens`, whatever is done about it.
    """
    for named, value in (("passages", passages), ("new_tokens", new_tokens), ("rounds", rounds)):
        if value < 1:
            raise InputError(f"{named} must be at least 1, got {value}.")
    workload = Workload(model, size=passages)
    with DiskStore.create(folder / "store") as store, endless(model):
        view = CocomView(model, store=store)
        work = _Work(model, view, workload, rate, new_tokens)
        others = fill_store(store, work.contexts[0], _others(work.contexts[0]))
        store.compact()
        times = by_turns(work.subjects(), rounds=rounds, device=model.backbone.device)
        cold, why = _cold(work, folder, rounds)
    return _found(work, times, cold, why, others)


class _Work:
    """One question with its passages, and what is to be timed of it."""

    def __init__(
        self, model: Cocom, view: CocomView, workload: Workload, rate: int, new_tokens: int
    ) -> None:
        self.model, self.view = model, view
        self.texts, self.question = workload.passages, workload.questions[0]
        self.rate, self.new_tokens = rate, new_tokens
        self.references = "".join(map(str, view.compress(self.texts, rate=rate)))
        self.contexts = view.contexts(self.texts, rate=rate)
        self.ids = [passage_id(model.fingerprint, rate, text) for text in self.texts]

    def get(self) -> object:
        """Read the embeddings."""
        return self.view.store.get(self.ids, texts=False)

    def from_store(self) -> list[ContextEmbeddings]:
        """Look texts up."""
        return self.view.contexts(self.texts, rate=self.rate)

    def from_references(self) -> list[ContextEmbeddings]:
        """Look references up."""
        parts = self.view.resolve(self.references)
        return [part for part in parts if isinstance(part, ContextEmbeddings)]

    def request(self) -> ReadRequest:
        """Build the prompt."""
        return self.model.request(self.question, self.contexts)

    def copy_in(self, request: ReadRequest) -> object:
        """Put embeddings into their slots, as the reader does."""
        backbone = self.model.backbone
        with torch.no_grad(), backbone.role("read"):
            return build_prompts(backbone, [request])

    def before_the_model(self) -> object:
        """All that happens from texts to the model's input."""
        return self.copy_in(self.model.request(self.question, self.from_store()))

    def answer(self, contexts: Sequence[ContextEmbeddings]) -> Answer:
        """Answer, in exactly so many tokens."""
        (found,) = self.model.answer_batch(
            [self.question], [contexts], max_new_tokens=self.new_tokens
        )
        check_lengths([len(found.token_ids)], self.new_tokens)
        return found

    def subjects(self) -> dict[str, Callable[[], object]]:
        """What is timed, by the name of its cell's part."""
        request = self.request()
        return {
            "answer from memory": lambda: self.answer(self.contexts),
            "answer from the store": lambda: self.answer(self.from_store()),
            "answer from references": lambda: self.answer(self.from_references()),
            "store.get": self.get,
            "look up texts": self.from_store,
            "look up references": self.from_references,
            "build the request": self.request,
            "copy in": lambda: self.copy_in(request),
            FIRST: self.before_the_model,
        }


def _cold(work: _Work, folder: Path, rounds: int) -> tuple[dict[str, Spread], str]:
    """Times with the store's files out of the page cache and the store closed, or why there are none."""
    device = work.model.backbone.device
    seconds: dict[str, list[float]] = {"look up texts": [], FIRST: []}
    subjects = {"look up texts": work.from_store, FIRST: work.before_the_model}
    for _ in range(rounds):
        for name, subject in subjects.items():
            work.view.store.close()
            why = forget_files(folder)
            if why:
                return {}, why
            seconds[name].append(once(subject, device))
    return {name: spread(values) for name, values in seconds.items()}, ""


def _found(
    work: _Work, times: Mapping[str, Spread], cold: Mapping[str, Spread], why: str, others: int
) -> tuple[list[Cell], list[Check]]:
    answer = times["answer from the store"]
    count = len(work.texts)
    notes: dict[str, Any] = {
        "passages in the store": others + len(set(work.ids)),
        "bytes a passage": sum(c.embeddings.nbytes for c in work.contexts) / count,
        "bytes of its text": sum(len(text.encode()) for text in work.texts) / count,
    }
    cell = _Cells(work, notes, answer.median)
    cells = [cell.made(part, "warm", found) for part, found in times.items()]
    difference = _differences(answer, times["answer from memory"])
    cells.append(cell.made("answer from the store less answer from memory", "warm", difference))
    for part in ("look up texts", FIRST):
        cells.append(cell.made(part, "cold", cold.get(part), why))
    share = times[FIRST].median / answer.median
    return cells, [Check(f"{FIRST} under 5 % of the answer", share, MOST, at_least=False)]


@dataclass(frozen=True)
class _Cells:
    """Makes cells that differ in their part only."""

    work: _Work
    notes: Mapping[str, Any]
    answer: float

    def made(self, part: str, cache: str, seconds: Spread | None, skipped: str = "") -> Cell:
        """The cell of a part."""
        notes = {"part": part, "page cache": cache, **self.notes}
        if seconds is not None:
            notes["share of the answer"] = seconds.median / self.answer
        return Cell(
            what="store",
            way="cocom",
            context=f"rate {self.work.rate}",
            passages=len(self.work.texts),
            batch=1,
            new_tokens=self.work.new_tokens,
            seconds=seconds,
            rows=self.work.request().rows,
            skipped=skipped,
            notes=notes,
        )


def _differences(one: Spread, other: Spread) -> Spread:
    """Differences round by round."""
    return spread([a - b for a, b in zip(one.rounds, other.rounds, strict=True)])


def _others(like: ContextEmbeddings) -> int:
    return max(1, min(_OTHERS, _OTHERS_BYTES // like.embeddings.nbytes))


def fill_store(store: DiskStore, like: ContextEmbeddings, count: int, *, first: int = 0) -> int:
    """Put synthetic passages of a model into a store, in batches.

    Args:
        store: Where to put them.
        like: Context embeddings of that model, whose shape and type they have.
        count: How many.
        first: Number of the first, so that a store can grow.

    Returns:
        How many were put.
    """
    each = max(1, min(4096, (16 << 20) // like.embeddings.nbytes))
    for start in range(first, first + count, each):
        numbers = range(start, min(start + each, first + count))
        generator = torch.Generator().manual_seed(start)
        shape = (len(numbers), *like.embeddings.shape)
        made = torch.randn(shape, generator=generator).to(like.embeddings.dtype)
        entries = {}
        for number, embeddings in zip(numbers, made, strict=True):
            text = f"Passage {number} of a synthetic corpus, which nobody reads."
            contexts = ContextEmbeddings(
                embeddings, like.rate, like.windows, like.text_tokens, like.fingerprint
            )
            id = passage_id(like.fingerprint, like.rate, text)
            entries[id] = Entry(text, like.rate, None, contexts)
        store.put(entries)
    return count


def forget_files(folder: Path) -> str:
    """Have the files of a folder read from the disk the next time.

    Returns:
        Why that cannot be done; empty if it was.
    """
    if not hasattr(os, "posix_fadvise"):
        return "this system does not let a program empty the page cache"
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                if _is_cached(handle):
                    return f"the files of '{folder.name}' stay in memory, whatever is done about it"
            finally:
                os.close(handle)
    return ""


def _is_cached(handle: int) -> bool:
    """Whether the first byte of a file is in memory, as far as the system tells."""
    try:
        os.preadv(handle, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return False
        raise
    return True
