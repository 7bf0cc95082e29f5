"""What every store of context embeddings can do, and what it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

from cocom.datatypes import ContextEmbeddings
from cocom.errors import ConfigError, FingerprintError, InputError
from cocom.identity import passage_id
from cocom.store.quantization import Quantization

__all__ = [
    "ContextStore",
    "Entry",
    "Kind",
    "Problem",
    "Verified",
    "check_entries",
    "check_ids",
    "check_namespace",
    "is_name",
]


@dataclass(frozen=True)
class Entry:
    """One compressed passage.

    Attributes:
        text: The passage, or None where texts are not kept.
        rate: Compression rate.
        query: What it was compressed for, if the model does that.
        contexts: Its embeddings, or None where they were dropped and can be made again.
    """

    text: str | None
    rate: int
    query: str | None = None
    contexts: ContextEmbeddings | None = None


@dataclass(frozen=True, order=True)
class Kind:
    """What embeddings must have in common to lie side by side.

    Attributes:
        fingerprint: The model that made them.
        rate: Compression rate.
        hidden: Values of one embedding.
        dtype: Type of the values the model made, such as "bfloat16".
        quantization: How they are kept: "none" (exactly), "int8" or "fp8".
    """

    fingerprint: str
    rate: int
    hidden: int
    dtype: str
    quantization: Quantization = "none"


@dataclass(frozen=True)
class Problem:
    """Something that `ContextStore.verify` found.

    Attributes:
        where: The file, or the passage's id.
        what: What is wrong and what becomes of it, in a sentence.
    """

    where: str
    what: str


@dataclass(frozen=True)
class Verified:
    """What `ContextStore.verify` found.

    Attributes:
        passages: How many were read and are as they were written.
        problems: What is wrong, in order of the files.
        unlisted: Finished files of a writer that was killed before its batch was part of the store: they do
            no harm, and a repair takes their passages up.
        repaired: Whether it was mended.
    """

    passages: int
    problems: tuple[Problem, ...] = ()
    unlisted: tuple[Problem, ...] = ()
    repaired: bool = False


class ContextStore(ABC):
    """Keeps compressed passages under ids that hash model, rate and text; threads may share it.

    Methods take and give many passages at once; for a single one there are the operators
    `store[id]`, `store[id] = entry`, `id in store` and `del store[id]`, with `len` and iteration over ids.
    Passages of several models and rates may lie in one store: their ids differ.
    """

    @property
    def durable(self) -> bool:
        """Whether it outlives the process."""
        return False

    @property
    def read_only(self) -> bool:
        """Whether it cannot be changed."""
        return False

    @abstractmethod
    def put(self, entries: Mapping[str, Entry]) -> None:
        """Keep entries under their ids, all or none; an id that is there already is written anew.

        Raises:
            InputError: An id that is not its entry's, or an entry that cannot be kept.
        """

    @abstractmethod
    def get(
        self, ids: Sequence[str], *, texts: bool = True, embeddings: bool = True
    ) -> list[Entry | None]:
        """The entries of ids, in order; None for an id that is not there.

        Args:
            ids: Which.
            texts: Whether to read texts and queries; without them, both are None.
            embeddings: Whether to read embeddings; without them, `contexts` is None.
        """

    @abstractmethod
    def contains(self, ids: Sequence[str]) -> list[bool]:
        """For each id, whether it is there."""

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> int:
        """Drop entries.

        Returns:
            How many were there.
        """

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """All ids, each once; what changes meanwhile may be among them or not."""

    @abstractmethod
    def kinds(self) -> dict[Kind, int]:
        """How many passages of each model, rate and type there are."""

    @abstractmethod
    def compact(self) -> None:
        """Give back the room of what was deleted or written anew."""

    @abstractmethod
    def verify(self, *, repair: bool = False) -> Verified:
        """Read everything and compare it with what was written.

        Args:
            repair: Drop what is damaged, so that it can be compressed again.
        """

    @abstractmethod
    def namespace(self, name: str) -> Self:
        """The part of the store under a name; what other parts hold is not there. "" is the first part."""

    def close(self) -> None:  # noqa: B027 - a store may have nothing to close
        """Free what the store holds open; it opens itself again when it is used."""

    def count(self) -> int:
        """How many passages there are."""
        return sum(self.kinds().values())

    def items(self, batch_size: int = 256) -> Iterator[tuple[str, Entry]]:
        """Ids and entries, read in batches."""
        ids = self.ids()
        while batch := list(islice(ids, batch_size)):
            for id, entry in zip(batch, self.get(batch), strict=True):
                if entry is not None:
                    yield id, entry

    def add(self, contexts: Iterable[ContextEmbeddings], query: str | None = None) -> list[str]:
        """Keep what `Cocom.compress` gave.

        Args:
            contexts: Context embeddings with their passages.
            query: What they were compressed for, if the model does that.

        Returns:
            Their ids.

        Raises:
            InputError: Context embeddings without their passage.
        """
        ids: list[str] = []
        entries: dict[str, Entry] = {}
        for i, made in enumerate(contexts):
            if made.passage is None or not made.passage.text:
                raise InputError(
                    f"context embeddings {i} come without the text of their passage, which their id hashes: "
                    "compress with keep_text=True, or use put with an id that is known."
                )
            text = made.passage.text
            ids.append(passage_id(made.fingerprint, made.rate, text, query))
            entries[ids[-1]] = Entry(text, made.rate, query, made)
        self.put(entries)
        return ids

    def expect(self, fingerprint: str, rate: int | None = None) -> None:
        """Make sure that the store is one for a model, and a rate; an empty store is for all.

        Raises:
            FingerprintError: It holds passages, but none by this model.
            ConfigError: It holds passages by this model, but none at this rate.
        """
        kinds = self.kinds()
        rates = sorted({kind.rate for kind in kinds if kind.fingerprint == fingerprint})
        if kinds and not rates:
            made = sorted({f"{kind.fingerprint[:12]} at rate {kind.rate}" for kind in kinds})
            raise FingerprintError(
                f"{self} holds passages compressed by model {', '.join(made)}, but this model is "
                f"{fingerprint[:12]}: load the model that made them, or compress the passages again with "
                "this one."
            )
        if rates and rate is not None and rate not in rates:
            raise ConfigError(
                f"{self} holds passages at rate {', '.join(map(str, rates))}, but rate {rate} is asked for: "
                "take a rate it has, or compress the passages again at this one."
            )

    def __getitem__(self, id: str) -> Entry:
        (entry,) = self.get([id])
        if entry is None:
            raise KeyError(id)
        return entry

    def __setitem__(self, id: str, entry: Entry) -> None:
        self.put({id: entry})

    def __delitem__(self, id: str) -> None:
        if not self.delete([id]):
            raise KeyError(id)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.contains([id])[0]

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        """A store without passages is a store."""
        return True

    def __iter__(self) -> Iterator[str]:
        return self.ids()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def is_name(text: object) -> bool:
    """Whether something can be an id, or the name of a namespace: a text of whole characters."""
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return True


def check_ids(ids: Iterable[str]) -> list[str]:
    """Ids as a list.

    Raises:
        InputError: They are a single text.
    """
    if isinstance(ids, str):
        raise InputError("ids must be a sequence of ids, got a single text: use a list of it.")
    return list(ids)


def check_entries(entries: Mapping[str, Entry]) -> None:
    """Make sure that ids are those of their entries, as far as these tell.

    Raises:
        InputError: They are not, or an entry contradicts itself.
    """
    for id, entry in entries.items():
        contexts = entry.contexts
        if not id or not is_name(id):
            raise InputError(f"an id must be a text of whole characters, got {id!r}.")
        for name, value in (("text", entry.text), ("query", entry.query)):
            if not isinstance(value, str | None):
                raise InputError(
                    f"the {name} of passage {id} must be a text or None, got {type(value).__name__}."
                )
        if entry.text is None and entry.query is not None:
            raise InputError(
                f"passage {id} has a query but no text: give the text too, or neither."
            )
        if contexts is None:
            continue
        if contexts.embeddings.ndim != 2:
            raise InputError(
                f"the context embeddings of passage {id} have shape {tuple(contexts.embeddings.shape)}, but "
                "expected (embeddings, hidden): give the vectors of a passage as rows."
            )
        if contexts.rate != entry.rate:
            raise InputError(
                f"passage {id} has rate {entry.rate}, but its context embeddings have rate {contexts.rate}: "
                "give the rate they were made at."
            )
        if entry.text is None:
            continue
        right = passage_id(contexts.fingerprint, entry.rate, entry.text, entry.query)
        if id != right:
            raise InputError(
                f"a passage was put under id {id!r}, but its model, rate and text make {right!r}: "
                "use that, as passage_id gives it."
            )


def check_namespace(name: str) -> str:
    """The name of a namespace, as it is.

    Raises:
        InputError: It is not a text, or has half a character in it.
    """
    if not is_name(name):
        raise InputError(
            f"the name of a namespace must be a text of whole characters, got {name!r}."
        )
    return name
