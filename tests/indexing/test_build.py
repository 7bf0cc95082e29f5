"""A whole corpus into a store: what is counted, skipped and dropped, and what a stopped run leaves."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cocom import Cocom, CocomConfig, Passage
from cocom.config import EncoderConfig
from cocom.datatypes import ContextEmbeddings, Window
from cocom.errors import ConfigError, DataError, EmptyPassageError, InputError, StoreError
from cocom.identity import passage_id
from cocom.indexing.build import BuildReport, Progress, build_index
from cocom.indexing.local import LocalEngine
from cocom.indexing.meter import Meter
from cocom.indexing.sources.items import Item
from cocom.store import DiskStore
from cocom.store.listing import Listing, failures, sources
from cocom.store.statistics import statistics
from cocom.testing import tiny_cocom

BROKEN = "not a passage"  # stands in a corpus for an item that cannot be read


@dataclass(frozen=True)
class Corpus:
    """A source of texts in memory, that may fail before one of them."""

    texts: Sequence[str]
    name: str = "corpus"
    fails_at: int | None = None

    @property
    def size(self) -> int:
        return len(self.texts)

    def read(self) -> Iterator[Item]:
        for number, text in enumerate(self.texts, start=1):
            if number == self.fails_at:
                raise DataError(f"the corpus ends at {number}: mend it.")
            if text == BROKEN:
                yield Item(f"row:{number}", None, f"row:{number}: it is broken.", number)
            else:
                yield Item(f"row:{number}", Passage(text, f"row:{number}"), None, number)


def texts(first: int, last: int) -> list[str]:
    return [f"Lamp {number} is in room {number * 7}." for number in range(first, last)]


def counts(report: BuildReport) -> tuple[int, int, int, int, int]:
    assert report.new + report.kept + report.failed == report.passages
    return report.passages, report.new, report.kept, report.failed, report.dropped


def held(store: DiskStore) -> set[str | None]:
    return {entry.text for _, entry in store.items()}


@pytest.fixture(scope="module")
def shared_model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4, 16)))


@dataclass
class Compressions:
    """What a model was asked to compress, and what it does before it does so."""

    calls: list[list[str]]
    before: Callable[[list[str]], None] = lambda batch: None

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


@pytest.fixture
def model(shared_model) -> Cocom:
    return shared_model


@pytest.fixture
def compressions(shared_model, monkeypatch) -> Compressions:
    """Watches the model, and may make it fail."""
    seen = Compressions([])
    real = shared_model.compress

    def compress(batch: Sequence[str], **options: Any) -> list[ContextEmbeddings]:
        seen.before(list(batch))
        made: list[ContextEmbeddings] = real(batch, **options)
        seen.calls.append(list(batch))
        return made

    monkeypatch.setattr(shared_model, "compress", compress)
    return seen


@pytest.fixture
def store(tmp_path) -> Iterator[DiskStore]:
    with DiskStore.create(tmp_path / "store") as made:
        yield made


def fails_with(error: BaseException, when: Callable[[list[str]], bool]) -> Callable[..., None]:
    def before(batch: list[str]) -> None:
        if when(batch):
            raise error

    return before


# --- what is counted ---------------------------------------------------------------------------------


def test_every_passage_is_compressed_as_the_model_does_it(model, store) -> None:
    report = build_index(model, store, Corpus(texts(0, 20)), batch_size=8)
    assert counts(report) == (20, 20, 0, 0, 0)
    for text in texts(0, 20):
        entry = store[passage_id(model.fingerprint, 4, text)]
        (made,) = model.compress([text])
        assert entry.contexts is not None
        assert (entry.text, entry.contexts.windows) == (text, made.windows)
        assert torch.allclose(entry.contexts.embeddings, made.embeddings, atol=1e-4)


def test_a_second_run_compresses_nothing(model, store, compressions) -> None:
    build_index(model, store, Corpus(texts(0, 20)), batch_size=8)
    compressions.calls.clear()
    assert counts(build_index(model, store, Corpus(texts(0, 20)), batch_size=8)) == (
        20,
        0,
        20,
        0,
        0,
    )
    assert counts(build_index(model, store, Corpus(texts(10, 25)))) == (15, 5, 10, 0, 0)
    assert sorted(compressions.texts) == sorted(texts(20, 25))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_equal_passages_are_compressed_once(model, store, compressions, batch_size) -> None:
    corpus = Corpus([*texts(0, 4), *texts(2, 6), "Lamp 0 is in room 0."])
    report = build_index(model, store, corpus, batch_size=batch_size)
    assert counts(report) == (9, 6, 3, 0, 0)
    assert sorted(compressions.texts) == sorted(texts(0, 6))
    assert store.count() == 6


def test_rates_namespaces_and_models_are_apart(model, store) -> None:
    other = tiny_cocom(CocomConfig(rates=(4, 16)), seed=1)
    build_index(model, store, Corpus(texts(0, 3)))
    assert build_index(model, store, Corpus(texts(0, 3)), rate=16).new == 3
    assert build_index(other, store, Corpus(texts(0, 3))).new == 3
    assert store.count() == 9
    assert build_index(model, store.namespace("b"), Corpus(texts(0, 3))).new == 3
    assert (store.count(), store.namespace("b").count()) == (9, 3)


def test_items_that_cannot_be_read_are_failures(model, store) -> None:
    report = build_index(model, store, Corpus([*texts(0, 2), BROKEN, *texts(2, 4)]))
    assert counts(report) == (5, 4, 0, 1, 0)
    (failure,) = report.failures
    assert (failure.key, failure.message) == ("row:3", "row:3: it is broken.")
    assert failures(store) == [("corpus", failure)]


def test_a_report_names_the_first_failures_and_the_store_all(model, store) -> None:
    report = build_index(model, store, Corpus([BROKEN] * 30 + texts(0, 1)))
    assert counts(report) == (31, 1, 0, 30, 0)
    assert [failure.key for failure in report.failures] == [f"row:{n}" for n in range(1, 21)]
    assert len(failures(store)) == 30


def test_the_store_knows_its_sources_as_they_were_last_read(model, store) -> None:
    build_index(model, store, Corpus(texts(0, 5)))
    build_index(model, store, Corpus([*texts(3, 5), BROKEN]))  # drops nothing, and knows it is gone
    build_index(model, store, Corpus(texts(0, 2), "other"), rate=16)
    first, second = sources(store)
    assert dataclasses.astuple(first) == ("corpus", model.fingerprint, 4, 2, 1, True)
    assert dataclasses.astuple(second) == ("other", model.fingerprint, 16, 2, 0, True)
    assert store.count() == 7


# --- a run that is stopped ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("no power"), KeyboardInterrupt()])
def test_a_stopped_run_goes_on_where_it_was(model, store, compressions, error) -> None:
    rest = {*texts(30, 50)}
    compressions.before = fails_with(error, lambda batch: not rest.isdisjoint(batch))
    with pytest.raises(type(error)):
        build_index(model, store, Corpus(texts(0, 50)), batch_size=10)
    assert held(store) == set(texts(0, 30))
    assert [source.finished for source in sources(store)] == [False]
    compressions.before = lambda batch: None
    compressions.calls.clear()
    assert counts(build_index(model, store, Corpus(texts(0, 50)), batch_size=10)) == (
        50,
        20,
        30,
        0,
        0,
    )
    assert compressions.texts == texts(30, 50)
    assert [source.finished for source in sources(store)] == [True]
    assert not store.verify().problems


def test_a_source_that_breaks_off_keeps_what_it_gave(model, store) -> None:
    with pytest.raises(DataError, match="ends at 25"):
        build_index(model, store, Corpus(texts(0, 50), fails_at=25), batch_size=10)
    assert held(store) == set(texts(0, 20))
    assert counts(build_index(model, store, Corpus(texts(0, 50)))) == (50, 30, 20, 0, 0)


def test_shards_of_a_killed_run_are_taken_up(model, store, tmp_path, compressions) -> None:
    with DiskStore.create(tmp_path / "killed") as killed:
        build_index(model, killed, Corpus(texts(0, 10)))
    (shard,) = (tmp_path / "killed" / "shards").iterdir()
    shutil.copy(shard, store.shards / "new.safetensors")  # "moved-" would be no batch of its own
    compressions.calls.clear()
    report = build_index(model, store, Corpus(texts(0, 12)))
    assert counts(report) == (12, 2, 10, 0, 0)
    assert report.recovered == 10
    assert compressions.texts == texts(10, 12)
    assert build_index(model, store, Corpus(texts(0, 12))).recovered == 0


def test_a_damaged_shard_of_a_killed_run_is_told_of(model, store, caplog) -> None:
    (store.shards / "left.safetensors").write_bytes(b"cut off")
    report = build_index(model, store, Corpus(texts(0, 3)))
    assert counts(report) == (3, 3, 0, 0, 0)
    assert "left.safetensors of an interrupted run cannot be taken up" in caplog.text


# --- passages that fail ------------------------------------------------------------------------------


def test_a_failing_passage_is_found_and_the_rest_compressed(model, store, compressions) -> None:
    bad = texts(13, 14)[0]
    compressions.before = fails_with(EmptyPassageError("there is nothing."), lambda b: bad in b)
    report = build_index(model, store, Corpus(texts(0, 64)), batch_size=64)
    assert counts(report) == (64, 63, 0, 1, 0)
    assert [(f.key, f.message) for f in report.failures] == [("row:14", "there is nothing.")]
    assert len(compressions.calls) == 6  # one call for each half that is well
    assert held(store) == set(texts(0, 64)) - {bad}


def test_a_passage_that_failed_is_tried_again_by_the_next_run(model, store, compressions) -> None:
    compressions.before = fails_with(EmptyPassageError("no."), lambda b: texts(1, 2)[0] in b)
    build_index(model, store, Corpus(texts(0, 4)))
    compressions.before = lambda batch: None
    assert counts(build_index(model, store, Corpus(texts(0, 4)))) == (4, 1, 3, 0, 0)
    assert failures(store) == []


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_equal_passages_fail_together(model, store, compressions, batch_size) -> None:
    bad = "Nobody can read this."
    compressions.before = fails_with(EmptyPassageError("no."), lambda batch: bad in batch)
    corpus = Corpus([bad, *texts(0, 2), bad, *texts(0, 1), bad])
    report = build_index(model, store, corpus, batch_size=batch_size)
    assert counts(report) == (6, 2, 1, 3, 0)
    assert [failure.key for failure in report.failures] == ["row:1", "row:4", "row:6"]


def test_some_passages_failing_for_a_strange_reason_are_failures(
    model, store, compressions
) -> None:
    bad = texts(2, 4)
    compressions.before = fails_with(RuntimeError("overflow"), lambda b: not {*bad}.isdisjoint(b))
    report = build_index(model, store, Corpus(texts(0, 8)))
    assert counts(report) == (8, 6, 0, 2, 0)
    assert {failure.message for failure in report.failures} == {"overflow"}


def test_a_strange_reason_without_words_is_told_by_its_name(model, store, compressions) -> None:
    compressions.before = fails_with(MemoryError(), lambda batch: texts(2, 3)[0] in batch)
    (failure,) = build_index(model, store, Corpus(texts(0, 8))).failures
    assert failure.message == "MemoryError"


@pytest.mark.parametrize("empty", [0, 1])
def test_all_failing_for_a_strange_reason_ends_the_run(model, store, compressions, empty) -> None:
    """Also if an error of ours is among them."""

    def before(batch: list[str]) -> None:
        if len(batch) == 1 and texts(0, 8).index(batch[0]) < empty:
            raise EmptyPassageError("there is nothing.")
        raise RuntimeError("CUDA is gone")

    compressions.before = before
    with pytest.raises(RuntimeError, match="CUDA is gone"):
        build_index(model, store, Corpus(texts(0, 8)))
    assert [source.finished for source in sources(store)] == [False]
    assert failures(store) == []


def test_passages_that_a_store_cannot_keep_are_failures(model, tmp_path, monkeypatch) -> None:
    bad = texts(3, 4)[0]
    real = model.compress

    def compress(batch: Sequence[str], **options: Any) -> list[ContextEmbeddings]:
        made = real(batch, **options)
        if bad in batch:
            made[list(batch).index(bad)].embeddings[0, 0] = torch.inf
        return list(made)

    monkeypatch.setattr(model, "compress", compress)
    with DiskStore.create(tmp_path / "store", quantization="int8") as store:
        report = build_index(model, store, Corpus(texts(0, 8)))
        assert counts(report) == (8, 7, 0, 1, 0)
        (failure,) = report.failures
        assert failure.key == "row:4"
        assert "not finite" in failure.message
        assert held(store) == set(texts(0, 8)) - {bad}


# --- what is dropped ---------------------------------------------------------------------------------


def test_an_update_drops_what_vanished_and_only_that(model, store) -> None:
    other = tiny_cocom(CocomConfig(rates=(4, 16)), seed=1)
    shared = texts(0, 2)
    build_index(model, store, Corpus(texts(0, 6)))
    build_index(model, store, Corpus([*shared, "Only here."], "another"))
    build_index(model, store, Corpus(texts(0, 6)), rate=16)
    build_index(other, store, Corpus(texts(0, 6)))
    build_index(model, store.namespace("b"), Corpus(texts(0, 6)))
    report = build_index(model, store, Corpus(texts(4, 8)), drop="safe")
    assert counts(report) == (4, 2, 2, 0, 2)
    ids = {name: passage_id(model.fingerprint, 4, name) for name in [*texts(0, 8), "Only here."]}
    there = {text for text, id in ids.items() if id in store}
    assert there == {*texts(4, 8), *shared, "Only here."}
    assert store.count() == 7 + 6 + 6
    assert store.namespace("b").count() == 6
    assert counts(build_index(model, store, Corpus(texts(4, 8)), drop="safe")) == (4, 0, 4, 0, 0)
    # What another source kept goes with that one.
    assert build_index(model, store, Corpus(["Only here."], "another"), drop="safe").dropped == 2
    assert not store.verify().problems


def test_a_build_drops_nothing_and_the_next_update_does(model, store) -> None:
    build_index(model, store, Corpus(texts(0, 6)))
    assert build_index(model, store, Corpus(texts(4, 6))).dropped == 0
    assert store.count() == 6
    assert build_index(model, store, Corpus(texts(4, 6)), drop="safe").dropped == 4
    assert held(store) == set(texts(4, 6))


def test_a_changed_passage_is_compressed_and_its_old_text_dropped(model, store) -> None:
    build_index(model, store, Corpus(texts(0, 3)))
    changed = [*texts(0, 2), "Lamp 2 is gone."]
    assert counts(build_index(model, store, Corpus(changed), drop="safe")) == (3, 1, 2, 0, 1)
    assert held(store) == set(changed)


def test_more_than_one_transaction_is_dropped(model, store, monkeypatch) -> None:
    monkeypatch.setattr(model, "compress", _Quick(model))
    build_index(model, store, Corpus(texts(0, 1300)))
    assert build_index(model, store, Corpus(texts(0, 10)), drop="safe").dropped == 1290
    assert held(store) == set(texts(0, 10))


def test_nothing_is_dropped_if_an_item_cannot_be_read(model, store) -> None:
    build_index(model, store, Corpus(texts(0, 4)))
    broken = Corpus([*texts(0, 2), BROKEN])
    report = build_index(model, store, broken, drop="safe")
    assert counts(report) == (3, 0, 2, 1, 0)
    assert report.not_dropped is not None
    assert report.not_dropped.startswith("1 items of the source could not be read")
    assert store.count() == 4
    report = build_index(model, store, broken, drop="always")
    assert (report.dropped, report.not_dropped) == (2, None)
    assert held(store) == set(texts(0, 2))


def test_nothing_is_dropped_if_the_source_gives_nothing(model, store) -> None:
    build_index(model, store, Corpus(texts(0, 4)))
    report = build_index(model, store, Corpus([]), drop="safe")
    assert counts(report) == (0, 0, 0, 0, 0)
    assert report.not_dropped is not None
    assert "gave no passages at all" in report.not_dropped
    assert build_index(model, store, Corpus([]), drop="always").dropped == 4


def test_an_interrupted_update_drops_nothing(model, store, compressions) -> None:
    build_index(model, store, Corpus(texts(0, 10)))
    compressions.before = fails_with(KeyboardInterrupt(), lambda b: texts(25, 26)[0] in b)
    changed = Corpus([*texts(5, 10), *texts(20, 30)])
    with pytest.raises(KeyboardInterrupt):
        build_index(model, store, changed, drop="safe", batch_size=4)
    assert held(store) >= set(texts(0, 10))
    compressions.before = lambda batch: None
    assert build_index(model, store, changed, drop="safe", batch_size=4).dropped == 5
    assert held(store) == set(changed.texts)


@pytest.mark.parametrize("late", [False, True])
def test_two_updates_at_once_drop_only_what_vanished(model, store, late) -> None:
    """An update that runs within another one, of which each has marked what the other has not yet."""
    build_index(model, store, Corpus(texts(0, 30)))
    changed = Corpus(texts(5, 30))
    seen: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == (3 if late else 1):
            inner = build_index(model, store, changed, drop="safe", batch_size=10)
            assert inner.dropped == 5

    outer = build_index(model, store, changed, drop="safe", batch_size=10, on_progress=on_progress)
    assert counts(outer) == (25, 0, 25, 0, 0)
    assert held(store) == set(changed.texts)


def test_a_reading_does_not_undo_the_marks_of_a_later_one(model, store) -> None:
    build_index(model, store, Corpus(texts(0, 3)))
    ids = list(store.ids())
    earlier, later = (Listing(store, "corpus", model.fingerprint, 4) for _ in range(2))
    later.mark(ids)
    earlier.mark(ids)
    assert (later.finish(drop=True), earlier.finish(drop=True)) == (0, 0)
    assert store.count() == 3


# --- what is refused ---------------------------------------------------------------------------------


def test_a_model_that_reads_a_question_is_refused(store) -> None:
    model = tiny_cocom(
        CocomConfig(
            rates=(4,),
            encoder=EncoderConfig(head="memory_mlp", query="For {query}: ", query_window=64),
        )
    )
    with pytest.raises(InputError, match="compresses passages for a question"):
        build_index(model, store, Corpus(texts(0, 2)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, InputError, "batch_size must be at least 1, got 0"),
        ({"rate": 7}, ConfigError, "rate 7 is not among the rates"),
        ({"drop": "sometimes"}, InputError, "drop must be one of never, safe, always"),
    ],
)
def test_bad_values_are_refused(model, store, options, error, message) -> None:
    with pytest.raises(error, match=message):
        build_index(model, store, Corpus(texts(0, 2)), **options)
    assert sources(store) == []


def test_an_engine_that_could_compress_nothing_is_refused(model) -> None:
    with pytest.raises(InputError, match="batch_tokens must be at least 1, got 0"):
        LocalEngine(model, 0)


def test_a_store_for_reading_only_is_refused(model, store) -> None:
    with (
        DiskStore(store.path, read_only=True) as frozen,
        pytest.raises(StoreError, match="open for reading only"),
    ):
        build_index(model, frozen, Corpus(texts(0, 2)))


# --- memory, files and progress ----------------------------------------------------------------------


class _Quick:
    """Compresses any passage into one embedding, at once."""

    def __init__(self, model: Cocom) -> None:
        self._fingerprint = model.fingerprint
        self._embeddings = torch.ones(1, 8)

    def __call__(
        self, batch: Sequence[str], *, rate: int, **options: Any
    ) -> list[ContextEmbeddings]:
        return [
            ContextEmbeddings(self._embeddings, rate, (Window(4, 1),), 4, self._fingerprint)
            for _ in batch
        ]


@dataclass(frozen=True)
class Numbers:
    """A corpus of any size that is not in memory."""

    size: int
    name: str = "numbers"

    def read(self) -> Iterator[Item]:
        for number in range(self.size):
            text = f"Passage {number} of {self.size}. " * 4
            yield Item(str(number), Passage(text), None, number + 1)


def test_memory_does_not_grow_with_the_corpus(model, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(model, "compress", _Quick(model))
    peaks = []
    gc.disable()  # what only the garbage collector frees would be seen late, or not at all
    try:
        for size in (500, 1000, 8_000):
            with DiskStore.create(tmp_path / str(size), shard_bytes=1 << 16) as store:
                tracemalloc.start()
                build_index(model, store, Numbers(size), batch_size=128)
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
                assert store.count() == size
    finally:
        tracemalloc.stop()
        gc.enable()
    assert peaks[2] < 1.3 * peaks[1], peaks


def test_the_store_is_compact_at_the_end(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model, "compress", _Quick(model))
    with DiskStore.create(tmp_path / "store", shard_bytes=1 << 16) as store:
        build_index(model, store, Numbers(1000), batch_size=50)
        found = statistics(store)
        assert found.recent == 0
        assert found.shard_bytes / found.shards > (1 << 16) / 2
        build_index(model, store, dataclasses.replace(Numbers(10)), drop="safe")
        found = statistics(store)
        assert (found.shards, found.unused, store.count()) == (1, 0.0, 10)


def test_progress_is_told_while_passages_are_skipped_too(model, store) -> None:
    told: list[Progress] = []
    build_index(model, store, Corpus(texts(0, 30)), batch_size=10, on_progress=told.append)
    assert [(p.passages, p.new, p.kept, p.position, p.size) for p in told[:3]] == [
        (10, 10, 0, 10, 30),
        (20, 20, 0, 20, 30),
        (30, 30, 0, 30, 30),
    ]
    told.clear()
    assert build_index(model, store, Corpus(texts(28, 33)), on_progress=told.append).new == 3
    assert [(p.new, p.kept) for p in told] == [(3, 2), (3, 2)]  # not before something is done
    told.clear()
    build_index(model, store, Corpus(texts(0, 40)), batch_size=10, on_progress=told.append)
    assert [(p.passages, p.new, p.kept) for p in told] == [
        (10, 0, 10),
        (20, 0, 20),
        (30, 0, 30),
        (40, 7, 33),
        (40, 7, 33),
    ]
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)


def progress(seconds: float, *, new: int = 0, kept: int = 0, size: int | None = 10_000) -> Progress:
    return Progress(new + kept, new, kept, 0, new + kept, size, seconds)


def test_a_meter_tells_rate_percent_and_time_left() -> None:
    meter = Meter()
    assert meter.line(progress(10, new=1000)) == (
        "1,000 passages: 1,000 new, 0 kept, 0 failed, 100 a second, 10%, 1:30 left"
    )
    assert meter.line(progress(20, new=3000)).endswith("150 a second, 30%, 0:47 left")
    assert meter.line(progress(20, new=3000, size=None)).endswith("failed, 150 a second")
    slow = Meter()
    assert slow.line(progress(3600, new=1000)).endswith("0 a second, 10%, 9:00:00 left")


def test_a_meter_tells_the_speed_of_the_last_minute() -> None:
    meter = Meter()
    for minute in range(1, 6):
        meter.line(progress(60 * minute, new=600 * minute))
    assert "10 a second" in meter.line(progress(330, new=3300))
    for second in range(330, 450, 10):
        line = meter.line(progress(second, new=3300))
    assert "0 a second, 33%" in line
    assert "left" not in line


def test_what_a_resumed_run_skips_does_not_distort_its_speed() -> None:
    meter = Meter()
    for step in range(1, 9):
        meter.line(progress(step / 8, kept=1000 * step))
    line = meter.line(progress(11, new=100, kept=8000))
    assert line == "8,100 passages: 100 new, 8,000 kept, 0 failed, 10 a second, 81%, 3:10 left"
    assert "10 a second, 82%, 3:00 left" in meter.line(progress(21, new=200, kept=8000))


def test_passages_in_work_are_no_skipped_ones() -> None:
    """What was read, but is not compressed yet, is the beginning of work."""
    meter = Meter()
    meter.line(progress(1, kept=1000))
    reading = Progress(1900, 0, 1500, 0, 1900, 10_000, 1.1)
    meter.line(reading)
    line = meter.line(progress(11, new=500, kept=1500))
    assert "100 a second, 20%, 1:20 left" in line
