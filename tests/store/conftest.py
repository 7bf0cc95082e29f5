"""What the tests of stores share: entries as models make them, bits to compare, other processes."""

from __future__ import annotations

import os
import pickle
import random
import select
import signal
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from cocom.datatypes import ContextEmbeddings, Window
from cocom.identity import passage_id
from cocom.store import ContextStore, Entry

MODEL, OTHER_MODEL = "a" * 64, "b" * 64

# Every script, what is no character, halves of characters, and what formats of text take for theirs.
TEXTS = (
    "Alan Turing was born in 1912.",
    "",
    " ",
    "Größe, naïve, Ärger",
    "鉄道博物館",
    "Мост через реку",
    "שלום עולם",
    "पुल",
    "👩‍🚀🌍",
    "\0 and \x01",
    "a\r\nb\u2028c\ufeffd",
    "\ud800",
    "before \udfff after",
    "\ud83d\ude00",
    "'); DROP TABLE entries; --",
    '{"text": "[1, 2]"}',
    "long " * 3000,
)


class Make:
    """Makes entries, whose embeddings are any bits, NaN with payloads among them."""

    model = MODEL
    other_model = OTHER_MODEL
    texts = TEXTS

    def entry(
        self,
        text: str = "text",
        *,
        rate: int = 4,
        query: str | None = None,
        fingerprint: str = MODEL,
        rows: int = 3,
        hidden: int = 16,
        dtype: torch.dtype = torch.float32,
        version: int = 0,
    ) -> tuple[str, Entry]:
        """An id and its entry; equal arguments make equal ones."""
        id = passage_id(fingerprint, rate, text, query)
        seed = zlib.crc32(f"{id} {rows} {hidden} {dtype} {version}".encode())
        data = np.random.default_rng(seed).bytes(rows * hidden * dtype.itemsize)
        embeddings = torch.frombuffer(bytearray(data), dtype=dtype).view(rows, hidden)
        windows = (
            (Window(rows * rate - 1, rows - 1), Window(rate, 1)) if rows > 1 else (Window(rate, 1),)
        )
        contexts = ContextEmbeddings(embeddings, rate, windows, rows * rate + 5, fingerprint)
        return id, Entry(text, rate, query, contexts)

    def entries(self, texts: Iterable[str], **options: Any) -> dict[str, Entry]:
        """Ids and entries."""
        return dict(self.entry(text, **options) for text in texts)

    def all_kinds(self) -> dict[str, Entry]:
        """Entries of two models, two rates, odd shapes and every type of values."""
        entries: dict[str, Entry] = {}
        shapes = iter([(1, 1), (1, 7), (2, 63), (3, 64), (5, 65), (17, 3), (64, 16), (1, 128)] * 99)
        for fingerprint in (MODEL, OTHER_MODEL):
            for rate in (4, 128):
                for dtype in (torch.float32, torch.float16, torch.bfloat16):
                    rows, hidden = next(shapes)
                    entries |= self.entries(
                        (f"{text}{dtype}" for text in TEXTS[:4]),
                        fingerprint=fingerprint,
                        rate=rate,
                        dtype=dtype,
                        rows=rows,
                        hidden=hidden,
                    )
        return entries

    def bits(self, entry: Entry | None) -> Any:
        """Everything of an entry, to be compared."""
        if entry is None:
            return None
        made = entry.contexts
        if made is None:
            return entry.text, entry.rate, entry.query, None
        assert made.passage is None
        assert made.embeddings.is_contiguous()
        assert not made.embeddings.requires_grad
        data = made.embeddings.view(torch.uint8).numpy().tobytes()
        about = (made.rate, made.windows, made.text_tokens, made.fingerprint)
        shape = (tuple(made.embeddings.shape), made.embeddings.dtype)
        return entry.text, entry.rate, entry.query, (about, shape, data)

    def content(self, store: ContextStore) -> dict[str, Any]:
        """Everything in a store."""
        found = {id: self.bits(entry) for id, entry in store.items()}
        assert len(found) == len(store)
        return found

    def content_of(self, entries: dict[str, Entry]) -> dict[str, Any]:
        """Everything of entries."""
        return {id: self.bits(entry) for id, entry in entries.items()}

    def some(self, ids: Iterable[str], seed: int, share: float = 0.5) -> list[str]:
        """Some of a few ids, in any order."""
        ids = sorted(ids)
        return random.Random(seed).sample(ids, int(len(ids) * share))


@pytest.fixture(scope="session")
def make() -> Make:
    """Makes entries."""
    return Make()


class Other:
    """A forked process that does one thing."""

    def __init__(self, work: Callable[[], Any]) -> None:
        read, write = os.pipe()
        self.id = os.fork()
        if not self.id:
            os.close(read)
            try:
                result: tuple[bool, Any] = True, work()
            except BaseException:
                result = False, traceback.format_exc()
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(result, pipe)
            os._exit(0)
        os.close(write)
        self._pipe = os.fdopen(read, "rb")
        self._done = False

    def result(self, timeout: float = 60.0) -> Any:
        """What it returned; its exception fails the test."""
        ready, _, _ = select.select([self._pipe], [], [], timeout)
        assert ready, f"the other process was not done within {timeout} seconds"
        right, value = pickle.load(self._pipe)
        self.end()
        assert right, value
        return value

    def end(self) -> None:
        """Make sure that it is gone."""
        if not self._done:
            self._done = True
            self._pipe.close()
            os.kill(self.id, signal.SIGKILL)
            os.waitpid(self.id, 0)


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], Any]], Other]]:
    """Does something in a forked process, at the same time."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    others: list[Other] = []

    def start(work: Callable[[], Any]) -> Other:
        others.append(Other(work))
        return others[-1]

    yield start
    for other in others:
        other.end()
