"""Damages of a store's shards: what is done, and what must come of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.store.damage import Good, change, flip, inside, overwrite
from tests.store.damages import LOST, REPAIR, Damage

__all__ = ["SHARDS"]


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


NEITHER = ("none", "int8")
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
