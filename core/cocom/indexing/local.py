"""Compresses the chunks of a build with a model of this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cocom.datatypes import ContextEmbeddings
from cocom.engine import Cocom
from cocom.errors import CocomError
from cocom.indexing.chunks import Chunk, Done
from cocom.store import DiskStore, Entry
from cocom.store.listing import Failure

__all__ = ["LocalEngine", "compress_all"]


@dataclass(frozen=True)
class LocalEngine:
    """Compresses with one model, a chunk after the other.

    Attributes:
        model: It.
        batch_tokens: Rows in one forward pass, padding included.
    """

    model: Cocom
    batch_tokens: int = 8192

    def run(self, chunks: Iterator[Chunk], store: DiskStore, rate: int) -> Iterator[Done]:
        """Compress chunks into a store; see `Engine.run`."""
        for chunk in chunks:
            made, failures = compress_all(self.model, chunk.texts, rate, self.batch_tokens)
            store.put(
                {id: Entry(chunk.texts[id], rate, None, contexts) for id, contexts in made.items()}
            )
            yield Done(
                list(made), [Failure(chunk.keys[id], message) for id, message in failures.items()]
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
        Exception: What the model raised, if it is none of our errors and every passage of several met it:
            then it is not the passages' fault.
    """
    ids = list(texts)
    made: dict[str, ContextEmbeddings] = {}
    failures: dict[str, str] = {}
    strange: list[Exception] = []

    def compress(part: list[str]) -> None:
        try:
            done = model.compress(
                [texts[id] for id in part], rate=rate, batch_tokens=batch_tokens, keep_text=False
            )
        except Exception as error:
            if len(part) == 1:
                failures[part[0]] = str(error) or type(error).__name__
                if not isinstance(error, CocomError):
                    strange.append(error)
                return
            middle = len(part) // 2  # a few halvings find the one that fails
            compress(part[:middle])
            compress(part[middle:])
        else:
            made.update(zip(part, done, strict=True))

    if ids:
        compress(ids)
    if len(ids) > 1 and len(strange) == len(ids):
        raise strange[0]
    return made, failures
