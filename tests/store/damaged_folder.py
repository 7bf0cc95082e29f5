"""Damages of a store's folder and of its store.json: what is done, and what must come of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.store.damage import Good
from tests.store.damages import ALL_SHARDS, LOST, Damage

__all__ = ["FOLDER"]


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
