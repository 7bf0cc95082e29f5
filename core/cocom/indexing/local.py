"""Compresses the chunks of a build with a model of this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cocom.datatypes import ContextEmbeddings
from cocom.engine import Cocom
from cocom.errors import CocomError, InputError
from cocom.indexing.chunks import Chunk, Done
from cocom.store import DiskStore, Entry
from cocom.store.listing import Failure

__all__ = ["LocalEngine", "compress_all", "put_all"]


@dataclass(frozen=True)
class LocalEngine:
    """Compresses with one model, a chunk after the other.

    Attributes:
        model: It.
        batch_tokens: Rows in one forward pass, padding included.
    """

    model: Cocom
    batch_tokens: int = 8192

    def __post_init__(self) -> None:
        """Refuse what would make every passage fail."""
        if self.batch_tokens < 1:
            raise InputError(f"batch_tokens must be at least 1, got {self.batch_tokens}.")

    def run(self, chunks: Iterator[Chunk], store: DiskStore, rate: int) -> Iterator[Done]:
        """Compress chunks into a store; see `Engine.run`."""
        for chunk in chunks:
            made, failures = compress_all(self.model, chunk.texts, rate, self.batch_tokens)
            failures |= put_all(
                store,
                {id: Entry(chunk.texts[id], rate, None, contexts) for id, contexts in made.items()},
            )
            yield Done(
                [id for id in made if id not in failures],
                [Failure(chunk.keys[id], message) for id, message in failures.items()],
            )


def compress_all(
    model: Cocom, texts: Mapping[str, str], rate: int, batch_tokens: int
) -> tuple[dict[str, ContextEmbeddings], dict[str, str]]:
    """Compress passages; one that fails does not take the others with it.

    Args:
        model: Compresses.
        texts: Passages by their ids.
        rate: Compression rate.
        batch_tokens: Rows in one forward pass, padding included.

    Returns:
        Context embeddings of the passages that could be compressed, and why the others could not, by id.

    Raises:
        Exception: What the model raised, if it is none of our errors, several passages met it, and none could
            be compressed: then it is not the passages' fault.
    """
    made: dict[str, ContextEmbeddings] = {}
    failures: dict[str, str] = {}
    strange: list[Exception] = []
    parts = [list(texts)] if texts else []
    # A loop, as a function within this one would refer to itself, and so keep what was made for long.
    while parts:
        part = parts.pop()
        try:
            done = model.compress(
                [texts[id] for id in part], rate=rate, batch_tokens=batch_tokens, keep_text=False
            )
        except Exception as error:
            if len(part) > 1:  # a few halvings find the one that fails
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
                continue
            failures[part[0]] = str(error) or type(error).__name__
            if not isinstance(error, CocomError):
                strange.append(error)
        else:
            made.update(zip(part, done, strict=True))
    if len(strange) > 1 and not made:
        raise strange[0]
    strange.clear()  # they refer to this frame
    return made, failures


def put_all(store: DiskStore, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Keep entries; one that cannot be kept, such as an infinite number, does not take the others with it.

    Returns:
        Why some could not be kept, by id.

    Raises:
        StoreError: The store cannot be written.
    """
    try:
        store.put(entries)
    except InputError as error:
        ids = list(entries)
        if len(ids) == 1:
            return {ids[0]: str(error)}
        middle = len(ids) // 2
        return {
            id: message
            for part in (ids[:middle], ids[middle:])
            for id, message in put_all(store, {id: entries[id] for id in part}).items()
        }
    return {}
