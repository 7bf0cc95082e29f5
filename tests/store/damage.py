"""Good stores to be damaged, what they hold, and the tools that damage them."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cocom.datatypes import ContextEmbeddings, Window
from cocom.errors import StoreError
from cocom.identity import passage_id
from cocom.store import DiskStore, Entry
from cocom.store.quantization import Quantization, dequantize, quantize

__all__ = [
    "INDEX",
    "Good",
    "Key",
    "Seen",
    "build",
    "change",
    "cut_to_half",
    "flip",
    "inside",
    "look",
    "noise",
    "only_store_errors",
    "overwrite",
    "passage",
    "same",
    "span",
]

INDEX = "index.sqlite"
HIDDEN = 96
MODELS = ("a" * 64, "b" * 64)

Key = tuple[str, str]  # namespace and id


@dataclass
class Good:
    """A store that nothing is wrong with.

    Attributes:
        path: Its folder.
        entries: What must come out of it, by namespace and id.
        groups: Keys of the passages that were put together and lie together.
        files: Names of the shards that groups lie in; those in the index itself have none.
        deleted: What was deleted, and is in a shard still.
        older: What was written anew elsewhere, and is in a shard still.
    """

    path: Path
    entries: dict[Key, Entry] = field(default_factory=dict)
    groups: dict[str, set[Key]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    deleted: dict[Key, Entry] = field(default_factory=dict)
    older: dict[Key, Entry] = field(default_factory=dict)

    def shard(self, group: str, path: Path) -> Path:
        """The file of a group in a copy of the store."""
        return path / "shards" / self.files[group]

    def copy(self, path: Path) -> Path:
        """A copy of the store, to be damaged."""
        shutil.copytree(self.path, path)
        return path


def passage(
    number: int,
    *,
    model: int = 0,
    rate: int = 4,
    rows: int = 32,
    version: int = 0,
    query: str | None = None,
) -> tuple[str, Entry]:
    """Id and entry of a passage; its embeddings follow from number and version."""
    text = f"Passage {number:04d} tells of ß, 語 and \U0001f40b. " * 3
    generator = torch.Generator().manual_seed(number * 10 + version)
    embeddings = torch.randn(rows, HIDDEN, generator=generator).to(torch.bfloat16)
    windows = (Window(rate * (rows - 1), rows - 1), Window(rate - 1, 1))
    contexts = ContextEmbeddings(embeddings, rate, windows, rate * rows - 1, MODELS[model])
    return passage_id(MODELS[model], rate, text, query), Entry(text, rate, query, contexts)


def build(path: Path, quantization: Quantization = "none", *, log: bool = False) -> Good:
    """Make a store with several shards, namespaces, rates and models, and passages in the index itself.

    Args:
        path: A new folder.
        quantization: How it keeps embeddings.
        log: Whether the last batches are still in SQLite's log, as after a writer that was killed.
    """
    good = Good(path)
    work = path.with_name(f"{path.name}-work")
    with DiskStore.create(work, quantization=quantization, shard_bytes=1 << 16) as store:

        def put(group: str, namespace: str, passages: Iterable[tuple[str, Entry]]) -> None:
            entries = dict(passages)
            part = store.namespace(namespace)
            part.put(entries)
            keys = {(namespace, id) for id in entries}
            for name, others in good.groups.items():
                if name in good.files:
                    good.older |= {key: good.entries[key] for key in others & keys}
                others -= keys
            good.groups[group] = keys
            for id, entry in entries.items():
                good.entries[namespace, id] = kept(entry, quantization)
            shard = store.index.find(namespace, [id])[id].shard
            if shard is not None:
                good.files[group] = shard.name

        put("first", "", (passage(n) for n in range(8)))
        put("second", "", (passage(n) for n in range(10, 18)))  # the same sizes as the first
        put("third", "", (passage(n, model=1, rate=16) for n in range(20, 26)))
        put("fourth", "other", (passage(n) for n in (*range(5), 30)))
        time.sleep(0.01)  # so that its file is newer than those before, by any clock
        put("fifth", "", (passage(n, version=1) for n in (0, 1, *range(40, 45))))
        put("recent", "", (passage(n, rows=3) for n in range(50, 54)))
        put("recent anew", "", (passage(n, rows=3, version=1) for n in (2, 50)))
        put("recent other", "other", [passage(60, rows=3), passage(61, rows=3, query="What?")])
        gone = [("", passage(3)[0]), ("", passage(10)[0])]
        for key in gone:
            good.deleted[key] = good.entries.pop(key)
            for keys in good.groups.values():
                keys.discard(key)
        store.delete([id for _, id in gone])
        if log:
            store.close()
            put("log", "", (passage(n, rows=3) for n in range(70, 73)))
            put("log shard", "other", (passage(n) for n in range(80, 86)))
            shutil.copytree(work, path)
    if not log:
        shutil.copytree(work, path)
    shutil.rmtree(work)
    return good


def kept(entry: Entry, quantization: Quantization) -> Entry:
    """A passage as a store with a quantisation gives it."""
    made = entry.contexts
    assert made is not None
    values, scales = quantize(made.embeddings, quantization)
    embeddings = dequantize(values, scales, made.embeddings.dtype)
    contexts = ContextEmbeddings(
        embeddings, made.rate, made.windows, made.text_tokens, made.fingerprint
    )
    return Entry(entry.text, entry.rate, entry.query, contexts)


def same(one: Entry, two: Entry) -> bool:
    """Whether two entries are the same, bit for bit."""
    a, b = one.contexts, two.contexts
    assert a is not None
    assert b is not None
    if (one.text, one.rate, one.query) != (two.text, two.rate, two.query):
        return False
    if (a.rate, a.windows, a.text_tokens, a.fingerprint) != (
        b.rate,
        b.windows,
        b.text_tokens,
        b.fingerprint,
    ):
        return False
    x, y = a.embeddings, b.embeddings
    return (
        x.dtype == y.dtype
        and x.shape == y.shape
        and torch.equal(x.view(torch.uint8), y.view(torch.uint8))
    )


@dataclass
class Seen:
    """What became of a store's passages.

    Attributes:
        right: Those that came out bit for bit.
        older: Those that came out as they were before they were written anew.
        absent: Those that are not there.
        errors: What was said of the others.
    """

    right: set[Key] = field(default_factory=set)
    older: set[Key] = field(default_factory=set)
    absent: set[Key] = field(default_factory=set)
    errors: dict[Key, str] = field(default_factory=dict)


def look(store: DiskStore, good: Good) -> Seen:
    """Get each passage alone; one that is neither right, absent nor a `StoreError` fails the test."""
    seen = Seen()
    for key, entry in (good.entries | good.deleted).items():
        namespace, id = key
        try:
            (found,) = store.namespace(namespace).get([id])
        except StoreError as error:
            seen.errors[key] = str(error)
            continue
        if found is None:
            seen.absent.add(key)
        elif key in good.older and same(found, good.older[key]):
            seen.older.add(key)
        else:
            assert same(found, entry), f"passage {key} is silently another"
            seen.right.add(key)
    return seen


def flip(path: Path, at: int) -> None:
    """Change a byte of a file; counted from the end if negative."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x5A
    path.write_bytes(data)


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Write bytes into the middle of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def change(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in a file by as many others."""
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def span(path: Path, tensor: str) -> tuple[int, int]:
    """The first byte of a tensor in a safetensors file, and the one after its last."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    begin, end = json.loads(data[8 : 8 + length])[tensor]["data_offsets"]
    return 8 + length + begin, 8 + length + end


def inside(path: Path, tensor: str, share: float) -> int:
    """The byte of a safetensors file at some share of a tensor."""
    begin, end = span(path, tensor)
    return begin + int((end - begin) * share)


def cut_to_half(file: Path) -> None:
    """Drop the second half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def noise(file: Path) -> None:
    """Fill a file with what is none of ours."""
    file.write_bytes(bytes(i * i % 251 for i in range(file.stat().st_size)))


@contextmanager
def only_store_errors(path: Path) -> Iterator[None]:
    """Whatever is raised is a `StoreError` that names the store."""
    message = str(path)
    try:
        yield
    except StoreError as error:
        message = str(error)
    assert str(path) in message
