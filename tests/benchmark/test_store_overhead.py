"""What the store adds to an answer: cells that add up, a check that follows from them."""

from __future__ import annotations

import pytest

from cocom import CocomConfig, DiskStore
from cocom.benchmark import store_overhead
from cocom.benchmark.store_overhead import fill_store, measure_store_overhead, store_cells
from cocom.errors import InputError
from cocom.testing import tiny_cocom

PARTS = {
    "answer from memory",
    "answer from the store",
    "answer from references",
    "store.get",
    "look up texts",
    "look up references",
    "build the request",
    "copy in",
    "store to first token",
    "answer from the store less answer from memory",
}


@pytest.fixture(scope="module")
def model():
    return tiny_cocom(CocomConfig(rates=(4, 16), window=64), max_position_embeddings=16384)


@pytest.fixture(scope="module")
def found(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_overhead, "_OTHERS", 100)
        cells, checks = store_cells(model, passages=3, rate=16, new_tokens=5, rounds=3)
    return {(cell.notes["part"], cell.notes["page cache"]): cell for cell in cells}, checks


def test_every_part_is_timed_each_round(found) -> None:
    cells, _ = found
    assert {part for part, cache in cells if cache == "warm"} == PARTS
    for (_, cache), cell in cells.items():
        assert (cell.what, cell.context, cell.passages, cell.new_tokens) == (
            "store",
            "rate 16",
            3,
            5,
        )
        if cache == "warm":
            assert cell.seconds is not None
            assert len(cell.seconds.rounds) == 3


def test_rows_and_bytes_are_those_that_are_read(found, model) -> None:
    cells, _ = found
    cell = cells["store.get", "warm"]
    assert cell.notes["bytes a passage"] % (model.backbone.hidden_size * 4 / 3) == pytest.approx(0)
    rows_of_contexts = cell.notes["bytes a passage"] * 3 / (model.backbone.hidden_size * 4)
    assert 3 <= rows_of_contexts <= 12  # at most 64 / 16 a passage
    assert cell.rows > rows_of_contexts
    assert cell.notes["passages in the store"] == 103


def test_the_difference_is_that_of_each_round(found) -> None:
    cells, _ = found
    store, memory, difference = (
        cells[part, "warm"].seconds.rounds
        for part in (
            "answer from the store",
            "answer from memory",
            "answer from the store less answer from memory",
        )
    )
    assert difference == tuple(a - b for a, b in zip(store, memory, strict=True))


def test_the_check_is_the_share_of_the_answer(found) -> None:
    cells, checks = found
    [check] = checks
    part = cells["store to first token", "warm"]
    answer = cells["answer from the store", "warm"].seconds.median
    assert check.value == part.seconds.median / answer == part.notes["share of the answer"]
    assert (check.wanted, check.at_least, check.met) == (0.05, False, check.value <= 0.05)
    assert check.name == "store to first token under 5 % of the answer"


def test_all_of_it_takes_longer_than_each_of_its_parts(found) -> None:
    cells, _ = found
    whole = cells["store to first token", "warm"].seconds
    for part in ("build the request", "store.get"):
        assert cells[part, "warm"].seconds.low < whole.high


def test_times_with_a_cold_cache_are_there_or_it_is_said_why_not(found) -> None:
    cells, _ = found
    for part in ("look up texts", "store to first token"):
        cell = cells[part, "cold"]
        assert (cell.seconds is None) == bool(cell.skipped)


def test_a_system_that_keeps_its_cache_is_said_to(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(store_overhead, "forget_files", lambda _: "it stays")
    monkeypatch.setattr(store_overhead, "_OTHERS", 10)
    cells, checks = measure_store_overhead(model, tmp_path, 2, new_tokens=2, rounds=1)
    assert [c.skipped for c in cells if c.notes["page cache"] == "cold"] == ["it stays"] * 2
    assert len(checks) == 1


def test_the_answer_from_the_store_is_the_one_from_memory(model, tmp_path) -> None:
    from cocom.benchmark.workload import Workload
    from cocom.view import CocomView

    with DiskStore.create(tmp_path / "store") as store:
        work = store_overhead._Work(model, CocomView(model, store=store), Workload(model, 3), 4, 6)
        ids = work.answer(work.contexts).token_ids
        assert work.answer(work.from_store()).token_ids == ids
        assert work.answer(work.from_references()).token_ids == ids


def test_answers_end_as_before_afterwards(model, found) -> None:
    assert not model.backbone.model.get_output_embeddings()._forward_hooks


def test_a_store_is_filled_with_passages_that_the_model_reads(model, tmp_path) -> None:
    [like] = model.compress(["Some passage of a few words."], rate=4)
    with DiskStore.create(tmp_path / "store") as store:
        assert fill_store(store, like, 5) == 5
        assert fill_store(store, like, 2, first=5) == 2
        assert store.count() == 7
        contexts = [entry.contexts for _, entry in store.items() if entry.contexts is not None]
    assert {len(c) for c in contexts} == {len(like)}
    assert model.answer("What is told?", contexts, max_new_tokens=2).usage.context_rows == 7 * len(
        like
    )


@pytest.mark.parametrize("name", ["passages", "new_tokens", "rounds"])
def test_numbers_start_at_one(model, tmp_path, name) -> None:
    with pytest.raises(InputError, match=f"{name} must be at least 1, got 0"):
        measure_store_overhead(model, tmp_path, **{name: 0})
