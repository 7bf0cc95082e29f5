"""Damages of a store's shards, and of its folder: what is done, and what must come of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.store.damage import Good, change, flip, inside, overwrite

__all__ = ["FOLDER", "SHARDS", "Damage"]

REPAIR = (
    "run `cocom index verify --repair` to drop what is damaged, so that it can be compressed again"
)
LOST = (
    "run `cocom index verify --repair` to drop its passages, so that they can be compressed again"
)


@dataclass(frozen=True)
class Damage:
    """A damage, and what must come of it; each message as a pattern, "" for none.

    Attributes:
        name: What is wrong.
        spoil: Does it to a copy of a good store.
        opening: What opening says; then nothing else is asked but repair.
        get: What reading says of one harmed passage at least, and of nothing else.
        verify: What one of the problems says.
        unlisted: How many shards there are that the index does not list.
        repair: What a repair says that is refused; then nothing is changed.
        harmed: Groups of passages that may be absent or refused, and be lost.
        absent: How many passages are silently not there, as their row is gone.
        lost: How many passages may not be there after a repair.
        back: Whether what was deleted or written anew may be back after a repair, as it was.
        stores: Which stores it is done to.
    """

    name: str
    spoil: Callable[[Good, Path], object]
    opening: str = ""
    get: str = ""
    verify: str = ""
    unlisted: int = 0
    repair: str = ""
    harmed: Collection[str] = ()
    absent: int = 0
    lost: Collection[int] = (0,)
    back: bool = False
    stores: Collection[str] = ("none",)

    def __str__(self) -> str:
        return self.name


def _first(spoil: Callable[[Path], object]) -> Callable[[Good, Path], object]:
    return lambda good, path: spoil(good.shard("first", path))


def _cut(length: int) -> Callable[[Path], object]:
    return lambda shard: shard.write_bytes(shard.read_bytes()[:length])


def _half(shard: Path) -> None:
    _cut(shard.stat().st_size // 2)(shard)


def _swap(one: str, two: str) -> Callable[[Good, Path], object]:
    def run(good: Good, path: Path) -> None:
        a, b = good.shard(one, path), good.shard(two, path)
        aside = a.with_name("aside")
        a.replace(aside)
        b.replace(a)
        aside.replace(b)

    return run


def _copy(one: str, name: str) -> Callable[[Good, Path], object]:
    return lambda good, path: shutil.copy(
        good.shard(one, path), path / "shards" / good.files.get(name, name)
    )


def _foreign(good: Good, path: Path) -> None:
    save_file({"weights": torch.zeros(2)}, path / "shards" / "model.safetensors")


def _cut_copy(good: Good, path: Path) -> None:
    copy = path / "shards" / "copy.safetensors"
    copy.write_bytes(good.shard("first", path).read_bytes()[:-100])


def _junk(good: Good, path: Path) -> None:
    (path / "shards" / "notes.txt").write_text("mine")
    (path / "shards" / "old").mkdir()
    (path / "shards" / "folder.safetensors").mkdir()
    (path / "shards" / "folder.safetensors" / "file").write_text("mine too")
    (path / "shards" / ".old.tmp").mkdir()
    (path / "notes.txt").write_text("and mine")


def _unfinished(good: Good, path: Path) -> None:
    for name in (".0123.safetensors.77.tmp", ".tmpA1b2C3"):  # ours, and one of safetensors itself
        staged = path / "shards" / name
        staged.write_bytes(good.shard("first", path).read_bytes()[:2000])


def _into_file(good: Good, path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


def _emptied(good: Good, path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def _shards_as_file(good: Good, path: Path) -> None:
    shutil.rmtree(path / "shards")
    (path / "shards").write_text("a file")


def _manifest(old: str, new: str) -> Callable[[Good, Path], object]:
    def run(good: Good, path: Path) -> None:
        text = (path / "store.json").read_text()
        assert old in text
        (path / "store.json").write_text(text.replace(old, new))

    return run


def _manifest_as(content: str) -> Callable[[Good, Path], object]:
    return lambda good, path: (path / "store.json").write_text(content)


def _manifest_as_folder(good: Good, path: Path) -> None:
    (path / "store.json").unlink()
    (path / "store.json").mkdir()


NEITHER = ("none", "int8")
ALL_SHARDS = ("first", "second", "third", "fourth", "fifth")
CUT = rf"'.*' ends before byte \d+: it is cut off; {REPAIR}"

SHARDS = (
    Damage(
        "a byte of embeddings",
        _first(lambda shard: flip(shard, inside(shard, "embeddings", 5.5 / 8))),
        get=rf"the embeddings of passage \w+ are damaged: their checksum is \w+ instead of \w+; {REPAIR}",
        verify=r"^the embeddings of passage \w+ are damaged.*; repair drops it",
        harmed=["first"],
        lost=[1],
        stores=NEITHER,
    ),
    Damage(
        "a byte of embeddings that were deleted",
        _first(lambda shard: flip(shard, inside(shard, "embeddings", 3.5 / 8))),
    ),
    Damage(
        "a byte of scales",
        _first(lambda shard: flip(shard, inside(shard, "scales", 5.5 / 8))),
        get=rf"the embeddings of passage \w+ are damaged: .*; {REPAIR}",
        verify=r"^the embeddings of passage \w+ are damaged.*; repair drops it",
        harmed=["first"],
        lost=[1],
        stores=["int8"],
    ),
    Damage(
        "a byte of text",
        _first(lambda shard: flip(shard, inside(shard, "words", 5.5 / 8))),
        get=rf"the text of passage \w+ is damaged: it is not the one of that id; {REPAIR}",
        verify=r"^the text of passage \w+ is damaged.*; repair drops it",
        harmed=["first"],
        lost=[1],
        stores=NEITHER,
    ),
    Damage(
        "a byte of the list of passages",
        _first(lambda shard: flip(shard, inside(shard, "entries", 0.5))),
        verify=r"' has a damaged list of passages",
        stores=NEITHER,
    ),
    Damage(
        "a byte of the header",
        _first(lambda shard: flip(shard, 11)),
        verify=r"' cannot be read \(.*\): it is cut off or damaged|' has a damaged header",
        stores=NEITHER,
    ),
    Damage(
        "a byte of the header's length",
        _first(lambda shard: flip(shard, 0)),
        verify=r"' cannot be read \(.*\): it is cut off or damaged",
    ),
    Damage(
        "a header longer than the file",
        _first(lambda shard: flip(shard, 6)),
        verify=r"' cannot be read \(a header of \d+ bytes in a file of \d+\): it is cut off or damaged",
    ),
    Damage(
        "a header of another model",
        _first(lambda shard: change(shard, b'"fingerprint":"aaa', b'"fingerprint":"baa')),
        verify="^another shard than the index says, so one of the two was replaced",
    ),
    Damage(
        "a header of another rate",
        _first(lambda shard: change(shard, b'"rate":"4"', b'"rate":"8"')),
        verify="^another shard than the index says, so one of the two was replaced",
    ),
    Damage(
        "a header of another size",
        _first(lambda shard: change(shard, b'"hidden":"96"', b'"hidden":"69"')),
        verify=r"' has a damaged header \(embeddings has \d+ bytes for \d+ rows\)",
    ),
    Damage(
        "a shard of a newer version",
        _first(lambda shard: change(shard, b'"version":"1"', b'"version":"7"')),
        verify="' has version 7, but this cocom reads up to 1: upgrade it",
    ),
    Damage(
        "a shard of another format",
        _first(lambda shard: change(shard, b'"cocom.shard"', b'"other.shard"')),
        verify="' has format 'other.shard' instead of 'cocom.shard'",
    ),
    Damage(
        "a shard cut to half",
        _first(_half),
        get=CUT,
        verify=r"' has \d+ bytes instead of \d+: it is cut off",
        harmed=["first"],
        lost=[4],  # the texts are at the end
        stores=NEITHER,
    ),
    Damage(
        "a shard cut to nothing",
        _first(_cut(0)),
        get=CUT,
        verify=r"' cannot be read \(.*\): it is cut off or damaged",
        harmed=["first"],
        lost=[4],
    ),
    Damage(
        "a shard cut to four bytes",
        _first(_cut(4)),
        get=CUT,
        verify=r"' cannot be read \(.*\): it is cut off or damaged",
        harmed=["first"],
        lost=[4],
    ),
    Damage(
        "a shard that lacks a byte",
        _first(_cut(-1)),
        verify=r"' has \d+ bytes instead of \d+: it is cut off",
        get=CUT,
        harmed=["first"],
        lost=[0, 1],
    ),
    Damage(
        "a shard with bytes too many",
        _first(lambda shard: shard.write_bytes(shard.read_bytes() + b"more")),
        verify=r"' has \d+ bytes instead of \d+",
    ),
    Damage(
        "a shard of noise in the middle",
        _first(lambda shard: overwrite(shard, inside(shard, "embeddings", 0.6), bytes(8192))),
        get=rf"the embeddings of passage \w+ are damaged: .*; {REPAIR}",
        verify=r"^the embeddings of passage \w+ are damaged.*; repair drops it",
        harmed=["first"],
        lost=range(1, 4),
    ),
    Damage(
        "a shard that is missing",
        _first(Path.unlink),
        get=rf"lacks the file '.*\.safetensors': {LOST}",
        verify="' does not exist",
        harmed=["first"],
        lost=[4],
        stores=NEITHER,
    ),
    Damage(
        "two shards swapped",
        _swap("first", "second"),
        get=rf"(passage \w+ (are|is) damaged: .*|it is cut off); {REPAIR}",
        verify="^another shard than the index says, so one of the two was replaced",
        harmed=["first", "second"],
        back=True,
        stores=NEITHER,
    ),
    Damage(
        "two shards of two models swapped",
        _swap("first", "third"),
        get=rf"(passage \w+ (are|is) damaged: .*|it is cut off); {REPAIR}",
        verify="^another shard than the index says, so one of the two was replaced",
        harmed=["first", "third"],
        back=True,
    ),
    Damage(
        "a shard of another model in a shard's place",
        _copy("third", "first"),
        get=rf"(passage \w+ (are|is) damaged: .*|it is cut off); {REPAIR}",
        verify="^another shard than the index says, so one of the two was replaced",
        harmed=["first"],
        lost=[4],
    ),
    Damage(
        "a foreign safetensors file",
        _foreign,
        verify=r"model\.safetensors' has a damaged header .*; repair sets it aside",
    ),
    Damage(
        "a damaged shard that is not listed",
        _cut_copy,
        verify=r"copy\.safetensors' has \d+ bytes instead of \d+: .*; repair sets it aside",
    ),
    Damage("a shard twice", _copy("second", "copy.safetensors"), unlisted=1, back=True),
    Damage("files and folders of somebody else", _junk),
    Damage("files of a killed writer", _unfinished),
)

BROKEN = "write it anew from a copy of the store, or build the store again"
NO_STORE = r"there is no store at '.*', because it has no store.json: make one with"

FOLDER = (
    Damage("a file in the folder's place", _into_file, opening=NO_STORE, repair=NO_STORE),
    Damage("an empty folder", _emptied, opening=NO_STORE, repair=NO_STORE),
    Damage("no folder", lambda good, path: shutil.rmtree(path), opening=NO_STORE, repair=NO_STORE),
    Damage(
        "no store.json",
        lambda good, path: (path / "store.json").unlink(),
        opening=NO_STORE,
        repair=NO_STORE,
    ),
    Damage(
        "a folder in the place of store.json",
        _manifest_as_folder,
        opening=r"store\.json' cannot be read \(Is a directory\): make it a readable file, as it was",
        repair=r"store\.json' cannot be read",
    ),
    *(
        Damage(
            f"a store.json that {name}",
            _manifest_as(content),
            opening=rf"store\.json' cannot be read \(.*\): the file is damaged; {BROKEN}",
            repair=r"store\.json' cannot be read",
        )
        for name, content in {
            "is empty": "",
            "is no JSON": "{'format': 1}",
            "is a list": "[1, 2]",
            "is a number": "7",
            "is no text": "\0\0\0",
        }.items()
    ),
    Damage(
        "a store.json of another format",
        _manifest('"cocom.store"', '"other"'),
        opening=r"has format 'other', but expected 'cocom\.store': it belongs to something else",
        repair="has format 'other'",
    ),
    Damage(
        "a store.json of a newer version",
        _manifest('"version": 1', '"version": 2'),
        opening="has version 2, but this cocom reads up to 1: upgrade it",
        repair="has version 2",
    ),
    Damage(
        "a store.json without a version",
        _manifest('"version": 1,', ""),
        opening=rf"cannot be read \(KeyError\('version'\)\): the file is damaged; {BROKEN}",
        repair="cannot be read",
    ),
    Damage(
        "a store.json of an unknown quantization",
        _manifest('"quantization": "none"', '"quantization": "int4"'),
        opening=rf"quantization must be one of none, int8, fp8, got 'int4'. The file is damaged; {BROKEN}",
        repair="got 'int4'",
    ),
    Damage(
        "a store.json of negative shard_bytes",
        _manifest('"shard_bytes": 65536', '"shard_bytes": -1'),
        opening=rf"shard_bytes must be at least 65536, got -1. The file is damaged; {BROKEN}",
        repair="got -1",
    ),
    Damage(
        "no folder of shards",
        lambda good, path: shutil.rmtree(path / "shards"),
        get=rf"lacks the file '.*\.safetensors': {LOST}",
        verify="' does not exist",
        harmed=ALL_SHARDS,
        lost=[30],
    ),
    Damage(
        "a file in the place of the folder of shards",
        _shards_as_file,
        get=r"cannot be opened \(Not a directory\): make it readable",
        verify=r"cannot be (read|opened) \(.*Not a directory",
        harmed=ALL_SHARDS,
        repair=r"the folder '.*shards' cannot be made \(File exists\): .* move away what has its name",
    ),
)
