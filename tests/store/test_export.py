"""Exports: every passage comes out of the files as it is in the store, and a failed one leaves nothing."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cocom import ContextEmbeddings, DiskStore, Entry, load_contexts
from cocom.datatypes import Window
from cocom.errors import InputError, MissingExtraError, StoreError
from cocom.identity import passage_id
from cocom.store import ContextStore, MemoryStore, export_files
from cocom.store.export import Exported, export_store

HIDDEN = 24
ONE, TWO = "a" * 64, "ab" * 32

Key = tuple[str, str]  # namespace and id


def passage(
    number: int,
    *,
    model: str = ONE,
    rate: int = 4,
    dtype: torch.dtype = torch.bfloat16,
    query: str | None = None,
) -> tuple[str, Entry]:
    text = f"Passage {number} tells of ß, 語 and \U0001f40b."
    rows = 2 + number % 3
    embeddings = torch.randn(rows, HIDDEN, generator=torch.Generator().manual_seed(number))
    windows = (Window(rate * (rows - 1), rows - 1), Window(rate - 1, 1))
    made = ContextEmbeddings(embeddings.to(dtype), rate, windows, rate * rows - 1, model)
    return passage_id(model, rate, text, query), Entry(text, rate, query, made)


def fill(store: DiskStore) -> DiskStore:
    """Two namespaces, rates, models and dtypes, in shards and in the index itself."""
    store.put(dict(passage(n) for n in range(40)))
    store.put(dict(passage(n, rate=16, dtype=torch.float32) for n in range(5)))
    store.compact()
    store.put(dict(passage(n, model=TWO, dtype=torch.float16) for n in range(4)))
    store.put(dict([passage(50, query="What of ß?")]))
    store.namespace("b/ü").put(dict(passage(n) for n in range(3, 9)))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[DiskStore]:
    with DiskStore.create(tmp_path_factory.mktemp("stores") / "store") as made:
        yield fill(made)


def everything(store: DiskStore) -> dict[Key, Entry]:
    return {
        (name, id): entry
        for name in store.namespaces()
        for id, entry in store.namespace(name).items()
    }


def from_safetensors(folder: Path) -> dict[Key, Entry]:
    found: dict[Key, Entry] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for made in load_contexts(path):
            assert made.passage is not None
            assert made.passage.id is not None
            about: Any = made.passage.metadata
            assert set(about) == {"namespace", "query"}
            entry = Entry(made.passage.text or None, made.rate, about["query"], made)
            assert (about["namespace"], made.passage.id) not in found
            found[about["namespace"], made.passage.id] = entry
    return found


def from_parquet(folder: Path) -> dict[Key, Entry]:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    found: dict[Key, Entry] = {}
    for path in sorted(folder.glob("*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            dtype = getattr(torch, row["dtype"])
            embeddings = torch.frombuffer(bytearray(row["embeddings"]), dtype=dtype)
            made = ContextEmbeddings(
                embeddings.view(row["rows"], row["hidden"]),
                row["rate"],
                tuple(Window(window["tokens"], window["embeddings"]) for window in row["windows"]),
                row["text_tokens"],
                row["fingerprint"],
            )
            assert (row["namespace"], row["id"]) not in found
            found[row["namespace"], row["id"]] = Entry(row["text"], row["rate"], row["query"], made)
    return found


READERS: dict[str, Callable[[Path], dict[Key, Entry]]] = {
    "safetensors": from_safetensors,
    "parquet": from_parquet,
}


def facts(entry: Entry) -> tuple[object, ...]:
    made = entry.contexts
    assert made is not None
    return (
        (entry.text, entry.rate, entry.query),
        (made.rate, made.windows, made.text_tokens, made.fingerprint),
        (made.embeddings.dtype, tuple(made.embeddings.shape)),
        made.embeddings.contiguous().view(torch.uint8).numpy().tobytes(),
    )


def check_same(found: dict[Key, Entry], expected: dict[Key, Entry]) -> None:
    assert set(found) == set(expected)
    for key, entry in expected.items():
        assert facts(found[key]) == facts(entry)


@pytest.fixture(params=["safetensors", "parquet"])
def format(request) -> str:
    return str(request.param)


def test_every_passage_comes_out_bit_for_bit(store, tmp_path, format) -> None:
    done = export_store(store, tmp_path / "out", format=format, part_passages=20)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"part-0000{n}.{format}" for n in range(3)]
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert done == Exported(56, 3, size)
    check_same(READERS[format](tmp_path / "out"), everything(store))


@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_quantised_embeddings_come_out_as_the_store_gives_them(
    tmp_path, format, quantization
) -> None:
    with DiskStore.create(tmp_path / "store", quantization=quantization) as store:
        fill(store)
        export_store(store, tmp_path / "out", format=format)
        check_same(READERS[format](tmp_path / "out"), everything(store))


def test_passages_without_text_keep_their_ids(tmp_path, format) -> None:
    with DiskStore.create(tmp_path / "store", texts=False) as store:
        fill(store)
        export_store(store, tmp_path / "out", format=format)
        found = READERS[format](tmp_path / "out")
        check_same(found, everything(store))
        assert {entry.text for entry in found.values()} == {None}


def test_what_was_exported_can_be_put_into_a_store_again(store, tmp_path) -> None:
    """As the documentation shows."""
    export_store(store, tmp_path / "out", namespace="")
    (path,) = (tmp_path / "out").iterdir()
    again: ContextStore = MemoryStore()
    for c in load_contexts(path):
        assert c.passage is not None
        about: Any = c.passage.metadata
        again.put({c.passage.id or "": Entry(c.passage.text or None, c.rate, about["query"], c)})
    assert set(again.ids()) == set(store.ids())
    assert [again[id].query for id in store.ids()] == [store[id].query for id in store.ids()]


def test_numpy_reads_the_embeddings_of_parquet_as_documented(store, tmp_path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    export_store(store, tmp_path / "out", format="parquet")
    readers: dict[str, Callable[[bytes], Any]] = {
        "float32": lambda data: np.frombuffer(data, "<f4"),
        "float16": lambda data: np.frombuffer(data, "<f2"),
        "bfloat16": lambda data: (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4"),
    }
    rows = parquet.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()
    assert {row["dtype"] for row in rows} == set(readers)
    for row in rows:
        entry = store.namespace(row["namespace"])[row["id"]]
        values = readers[row["dtype"]](row["embeddings"]).reshape(row["rows"], row["hidden"])
        assert entry.contexts is not None
        assert np.array_equal(values, entry.contexts.embeddings.float().numpy())


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"namespace": "b/ü"}, 6),
        ({"namespace": ""}, 50),
        ({"rate": 16}, 5),
        ({"rate": 4}, 51),
        ({"fingerprint": "aba"}, 4),
        ({"fingerprint": "a"}, 56),
        ({"fingerprint": ONE, "rate": 4, "namespace": ""}, 41),
    ],
)
def test_only_what_was_asked_for_is_exported(store, tmp_path, wanted, count) -> None:
    done = export_store(store, tmp_path / "out", **wanted)
    assert done.passages == count
    for (namespace, _), entry in from_safetensors(tmp_path / "out").items():
        assert wanted.get("namespace", namespace) == namespace
        assert wanted.get("rate", entry.rate) == entry.rate
        assert entry.contexts is not None
        assert entry.contexts.fingerprint.startswith(wanted.get("fingerprint", ""))


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({"namespace": "c"}, "namespace 'c'"),
        ({"rate": 128}, "rate 128"),
        ({"namespace": "b/ü", "rate": 16}, "namespace 'b/ü' and rate 16"),
        ({"fingerprint": "A"}, "fingerprint 'A'"),
        ({"fingerprint": "%"}, "fingerprint '%'"),
    ],
)
def test_nothing_to_export_names_what_there_is(store, tmp_path, wanted, asked) -> None:
    with pytest.raises(InputError) as caught:
        export_store(store, tmp_path / "out", **wanted)
    message = str(caught.value)
    assert f"has no passages with {asked}: it has 41 in namespace '' at rate 4" in message
    assert "6 in namespace 'b/ü' at rate 4 by model aaaaaaaaaaaa; ask for" in message
    assert not (tmp_path / "out").exists()


def test_a_message_does_not_list_a_thousand_namespaces(tmp_path) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        for number in range(13):
            store.namespace(str(number)).put(dict([passage(number)]))
        with pytest.raises(InputError, match="and 3 kinds more; ask for some of these"):
            export_store(store, tmp_path / "out", rate=7)


def test_an_empty_store_has_nothing_to_export(tmp_path) -> None:
    with (
        DiskStore.create(tmp_path / "store") as store,
        pytest.raises(InputError, match="is empty, so there is nothing to export"),
    ):
        export_store(store, tmp_path / "out")


def test_a_folder_that_holds_something_is_refused(store, tmp_path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty, it holds note\.txt"):
        export_store(store, tmp_path)
    with pytest.raises(InputError, match="is a file"):
        export_store(store, tmp_path / "note.txt")
    with pytest.raises(StoreError, match="cannot be made a folder"):
        export_store(store, tmp_path / "note.txt" / "out")
    with pytest.raises(InputError, match="is inside the store"):
        export_store(store, store.path / "shards" / "out")
    assert (tmp_path / "note.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert export_store(store, tmp_path / "empty").files == 1


def test_bad_values_are_refused(store, tmp_path) -> None:
    with pytest.raises(InputError, match="format must be one of safetensors, parquet, got 'csv'"):
        export_store(store, tmp_path / "out", format="csv")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="part_passages must be at least 1, got 0"):
        export_store(store, tmp_path / "out", part_passages=0)
    assert not (tmp_path / "out").exists()


def test_parquet_without_pyarrow_says_what_to_install(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cocom\[index\]'"):
        export_store(store, tmp_path / "out", format="parquet")
    assert not (tmp_path / "out").exists()


def test_half_a_character_goes_into_safetensors_only(tmp_path) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        id, entry = passage(1)
        assert entry.contexts is not None
        text = "half \ud83d of a character"
        id = passage_id(ONE, 4, text)
        store.put({id: Entry(text, 4, None, entry.contexts)})
        export_store(store, tmp_path / "out")
        assert from_safetensors(tmp_path / "out")["", id].text == text
        with pytest.raises(InputError, match=f"the text of passage {id} has half of a surrogate"):
            export_store(store, tmp_path / "table", format="parquet")
        assert not (tmp_path / "table").exists()


def test_an_export_that_fails_leaves_nothing(tmp_path, format) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        store.put(dict(passage(n) for n in range(200)))
        store.compact()
    (shard,) = (tmp_path / "store" / "shards").iterdir()
    content = bytearray(shard.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    begin, end = json.loads(content[8:header])["embeddings"]["data_offsets"]
    content[header + (begin + end) // 2] ^= 1
    shard.write_bytes(content)
    with DiskStore(tmp_path / "store") as store:
        written: list[int] = []

        def on_progress(done: int, total: int) -> None:
            assert total == 200
            written.append(len(list((tmp_path / "out").glob("part-*"))))

        with pytest.raises(StoreError, match="damaged"):
            export_store(
                store, tmp_path / "out", format=format, part_passages=1, on_progress=on_progress
            )
        assert not (tmp_path / "out").exists()
        (tmp_path / "mine").mkdir()
        with pytest.raises(StoreError, match="damaged"):
            export_store(store, tmp_path / "mine", format=format)
        assert list((tmp_path / "mine").iterdir()) == []


def test_an_interrupted_export_removes_its_parts(store, tmp_path, format) -> None:
    seen: list[list[str]] = []

    def on_progress(done: int, total: int) -> None:
        if done == total:
            seen.append(sorted(path.name for path in (tmp_path / "out").glob("part-*")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(
            store, tmp_path / "out", format=format, part_passages=7, on_progress=on_progress
        )
    assert len(seen[0]) == 7
    assert not (tmp_path / "out").exists()


def test_a_part_appears_whole_or_not_at_all(store, tmp_path, format, monkeypatch) -> None:
    """A process that is killed before a part gets its name leaves no part."""
    real = Path.replace
    seen: list[list[str]] = []

    def replace(self: Path, target: Path) -> Path:
        seen.append([path.name for path in target.parent.glob("[!.]*")])
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    export_store(store, tmp_path / "out", format=format, part_passages=30)
    assert seen == [[], [f"part-00000.{format}"]]


def test_a_folder_that_cannot_be_written_is_told_of(store, tmp_path, format, monkeypatch) -> None:
    def replace(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StoreError, match=r"part-00000.*cannot be written .*No space left"):
        export_store(store, tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


def test_passages_that_are_deleted_meanwhile_are_left_out(tmp_path, format) -> None:
    with DiskStore.create(tmp_path / "store") as store:
        store.put(dict(passage(n) for n in range(100)))
        ids = list(store.ids())
        dropped: list[int] = []

        def on_progress(done: int, total: int) -> None:
            if not dropped:
                dropped.append(store.delete(ids[::2]))
                store.compact(most_unused=0.0)

        done = export_store(store, tmp_path / "out", format=format, on_progress=on_progress)
        found = READERS[format](tmp_path / "out")
        assert done.passages == len(found) == 64 + 18
        assert {("", id) for id in store.ids()} <= set(found)


@pytest.fixture
def collected() -> Iterator[Callable[[int, int], None]]:
    """Collects garbage as an export goes on, for safetensors leaves some; not that from before it."""

    def collect(done: int, total: int) -> None:
        gc.collect()

    gc.freeze()
    yield collect
    gc.unfreeze()


def test_memory_does_not_grow_with_the_store(tmp_path, monkeypatch, collected) -> None:
    """Of Parquet a row group is in memory; of safetensors a part, whose passages are given here."""
    monkeypatch.setattr(export_files, "_ROW_GROUP", 1 << 14)
    options: list[dict[str, Any]] = [{"format": "parquet"}, {"part_passages": 100}]
    peaks: list[list[int]] = []
    for size in (200, 400, 1600):
        with DiskStore.create(tmp_path / str(size)) as store:
            store.put(dict(passage(n) for n in range(size)))
            store.compact()
            peaks.append([])
            for number, option in enumerate(options):
                tracemalloc.start()
                export_store(
                    store,
                    tmp_path / f"{size}-{number}",
                    on_progress=collected,
                    **option,
                )
                peaks[-1].append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
    for one, two in zip(peaks[1], peaks[2], strict=True):
        assert two < 1.3 * one, peaks


def test_a_part_is_cut_by_its_bytes_if_its_passages_are_not_given(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cocom.store.export._PART", 2000)
    with DiskStore.create(tmp_path / "store") as store:
        store.put(dict(passage(n) for n in range(50)))
        done = export_store(store, tmp_path / "out")
        sizes = [
            [c.embeddings.nbytes + len(c.passage.text) for c in load_contexts(path) if c.passage]
            for path in sorted((tmp_path / "out").iterdir())
        ]
        assert sum(map(len, sizes)) == done.passages == 50
        assert done.files == len(sizes) > 3
        for part in sizes[:-1]:
            assert sum(part[:-1]) < 2000 <= sum(part)


def test_row_groups_are_small_and_statistics_hold_no_embeddings(
    store, tmp_path, monkeypatch
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(export_files, "_ROW_GROUP", 1000)
    export_store(store, tmp_path / "out", format="parquet")
    metadata = parquet.ParquetFile(tmp_path / "out" / "part-00000.parquet").metadata
    assert metadata.num_row_groups > 3
    columns = {
        metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i)
        for i in range(metadata.num_columns)
    }
    assert columns["embeddings"].statistics is None
    assert columns["id"].statistics.min < columns["id"].statistics.max


def test_a_store_for_reading_only_can_be_exported(store, tmp_path) -> None:
    with DiskStore(store.path, read_only=True) as frozen:
        assert export_store(frozen.namespace("b/ü"), tmp_path / "out").passages == 56
