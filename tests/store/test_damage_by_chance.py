"""Damages that nobody has thought of: a page of the index, or any bytes of any file."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from cocom.errors import StoreError
from cocom.store import DiskStore
from tests.store.damage import INDEX, Good, build, look, only_store_errors

RANDOM_DAMAGES = int(os.environ.get("COCOM_DAMAGES", "60"))

Goods = dict[str, Good]


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> Goods:
    """Good stores by name."""
    folder = tmp_path_factory.mktemp("good")
    return {
        "none": build(folder / "none"),
        "int8": build(folder / "int8", "int8"),
        "log": build(folder / "log", log=True),
    }


@pytest.mark.parametrize("name", ["none", "log"])
def test_any_page_of_the_index_may_be_overwritten(name: str, goods: Goods, tmp_path: Path) -> None:
    good = goods[name]
    for page in range((good.path / INDEX).stat().st_size // 4096):
        path = good.copy(tmp_path / str(page))
        with (path / INDEX).open("r+b") as file:
            file.seek(page * 4096)
            file.write(random.Random(page).randbytes(4096))
        check_random(path, good)


@pytest.mark.parametrize("seed", range(RANDOM_DAMAGES))
def test_random_damages(seed: int, goods: Goods, tmp_path: Path) -> None:
    choose = random.Random(seed)
    good = goods[choose.choice(sorted(goods))]
    path = good.copy(tmp_path / "store")
    files = sorted(path.glob("shards/*")) + sorted(path.glob(f"{INDEX}*")) * 2
    file = choose.choice(files)
    data = bytearray(file.read_bytes())
    for _ in range(choose.choice([1, 1, 4])):
        begin = choose.randrange(min(len(data), choose.choice([1200, len(data)])))
        size = min(choose.choice([1, 1, 8, 100, 4096]), len(data) - begin)
        data[begin : begin + size] = choose.choice([choose.randbytes(size), bytes(size)])
    if choose.random() < 0.1:
        del data[choose.randrange(len(data)) :]
    file.write_bytes(data)
    check_random(path, good, file.name)


def check_random(path: Path, good: Good, file: str = INDEX) -> None:
    """A clean verification means a right store; a repair leaves all that other files hold."""
    with only_store_errors(path), DiskStore(path) as store:
        seen = look(store, good)
        found = store.verify()
        if not (found.problems or found.unlisted):
            assert seen.right == set(good.entries)
    try:
        DiskStore.repair(path)
    except StoreError as error:
        if not re.search(r"has version \d+, but this cocom reads up to 1", str(error)):
            raise
        return  # by chance
    with DiskStore(path) as store:
        found = store.verify()
        assert not found.problems
        assert not found.unlisted
        seen = look(store, good)
        assert not seen.errors
        lost = set(good.entries) - seen.right
        if file.startswith(INDEX):
            kept = {key for group in good.files for key in good.groups[group]}
        else:
            kept = {
                key
                for group, keys in good.groups.items()
                for key in keys
                if good.files.get(group) != file
            }
        assert not lost & kept
        for namespace, id in lost - seen.older:
            store.namespace(namespace).put({id: good.entries[namespace, id]})
        assert not store.verify().problems
