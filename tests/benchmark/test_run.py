"""A whole run on a tiny model: its cells, what it leaves out and why, and where it stops."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cocom import CocomConfig
from cocom.benchmark.options import BenchmarkOptions, Point, points
from cocom.benchmark.result import read_report, write_report
from cocom.benchmark.run import run_benchmark
from cocom.benchmark.table import table
from cocom.config import EncoderConfig
from cocom.errors import ConfigError, InputError, ModelError
from cocom.testing import tiny_cocom

SMALL = BenchmarkOptions(
    model="tiny",
    rates=(4, 16),
    passages=(2, 3),
    batch=(1, 3),
    new_tokens=(2, 4),
    rounds=2,
    compressed=4,
    store=False,
    floor_seconds=0.001,
)


@pytest.fixture(autouse=True)
def _small_floors(monkeypatch) -> None:
    monkeypatch.setattr("cocom.benchmark.floors._VALUES", {"cpu": 1 << 20})
    monkeypatch.setattr("cocom.benchmark.floors._SIDE", {"cpu": 128})


def tiny(**settings):
    return tiny_cocom(**{"max_position_embeddings": 16384, **settings})


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def report(told):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cocom.benchmark.floors._VALUES", {"cpu": 1 << 20})
        patch.setattr("cocom.benchmark.floors._SIDE", {"cpu": 128})
        return run_benchmark(SMALL, model=tiny(), progress=told.append)


def test_every_cell_of_a_small_grid_is_measured(report) -> None:
    names = Point.__dataclass_fields__
    found = [Point(**{name: getattr(cell, name) for name in names}) for cell in report.cells]
    assert found == points(SMALL, [4, 16])
    for cell in report.cells:
        assert cell.skipped == ""
        assert cell.seconds is not None
        assert len(cell.seconds.rounds) == 2
        assert cell.rows > 0
        assert cell.to_floor is not None
        assert cell.to_floor > 1
        assert cell.flops_analytic
        assert cell.peak_bytes is None or cell.peak_bytes >= 0
    assert {c.what for c in report.cells} == {"compress", "first_token", "answer", "stream"}
    assert {c.context for c in report.cells} == {"none", "text", "rate 4", "rate 16"}


def test_operations_are_counted_and_those_of_plain_passes_are_those_of_the_formula(report) -> None:
    for cell in report.cells:
        if cell.what == "stream":
            assert cell.flops_counted is None
        else:
            assert cell.flops_counted is not None
            if cell.way == "straightforward":
                # Prompts of later rounds begin with other words, which may be a token more or less.
                assert cell.flops_counted == pytest.approx(cell.flops_analytic, rel=0.05)
            else:
                # A single row may be multiplied as two where that is faster.
                assert 0.7 < cell.flops_counted / cell.flops_analytic < 2.1


def test_the_straightforward_way_takes_more_operations_to_compress_and_has_the_same_floor(
    report,
) -> None:
    ours, plain = (
        next(c for c in report.cells if (c.what, c.context, c.way) == ("compress", "rate 16", way))
        for way in ("cocom", "straightforward")
    )
    assert plain.flops_counted == pytest.approx(plain.flops_analytic, rel=0.02)
    assert plain.flops_analytic > 1.3 * ours.flops_analytic
    assert plain.floor_seconds == ours.floor_seconds


def test_a_report_is_written_and_read_back_as_it_was(report, tmp_path) -> None:
    write_report(report, tmp_path / "deep" / "report.json")
    assert read_report(tmp_path / "deep" / "report.json") == report
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"other.json' holds no report of cocom bench \(KeyError\)"
    ):
        read_report(tmp_path / "other.json")


def test_the_table_tells_what_was_measured_and_on_what(report) -> None:
    text = table(report)
    assert "trained weights, float32, 2 layers of 32" in text
    assert "4 passages of" in text
    for word in ("copy", "read", "matrix", "Compressing", "First token", "Answering", "Streaming"):
        assert word in text
    assert "MISSED" in text or "met" in text
    assert "left out" not in text
    crowded = dataclasses.replace(report, machine={**report.machine, "load": 99.0})
    alone = dataclasses.replace(report, machine={**report.machine, "load": 0.1})
    assert "Other processes were running" in table(crowded)
    assert "Other processes were running" not in table(alone)


def test_progress_is_told(told, report) -> None:
    assert told[0] == "loading tiny"
    assert f"making ready {len(report.cells)} of {len(report.cells)} cells" in told
    total = 2 * len(report.cells)
    assert f"round 2: {total} of {total} measurements" in told


def test_after_a_run_answers_end_again() -> None:
    model = tiny()
    heads = model.backbone.model.get_output_embeddings()._forward_hooks
    run_benchmark(few(), model=model)
    assert not heads


def test_the_store_is_measured_too() -> None:
    report = run_benchmark(few(store=True), model=tiny())
    parts = {cell.notes["part"] for cell in report.cells if cell.what == "store"}
    assert {"store.get", "store to first token", "answer from the store"} <= parts
    assert report.checks[-1].name == "store to first token under 5 % of the answer"
    assert "From the store on disk: milliseconds, rate 16, 2 passages" in table(report)


def few(**changed):
    """One short answer as text, and what belongs to it."""
    return BenchmarkOptions(
        **{
            **{"model": "tiny", "rates": (16,), "passages": (2,), "batch": (1,), "rounds": 1},
            **{"new_tokens": (2,), "compressed": 3, "store": False, "floor_seconds": 0.001},
            **changed,
        }
    )


def test_a_cell_that_would_take_too_long_is_left_out_with_the_seconds_it_would_take() -> None:
    report = run_benchmark(few(passages=(40,), cell_seconds=1e-5), model=tiny())
    for cell in report.cells:
        assert cell.seconds is None
        assert "s for 1 rounds, above the 1e-05 s that a cell may take: raise --cell-seconds." in (
            cell.skipped
        )
    assert report.checks == ()
    text = table(report)
    assert text.count("left out:") == len(report.cells)
    assert "Checks: none, because no two cells that they compare were measured." in text


def test_a_cell_that_needs_more_memory_than_there_is_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr("cocom.benchmark.session.free_bytes", lambda device: 100_000)
    report = run_benchmark(few(), model=tiny())
    (text,) = (c for c in report.cells if (c.what, c.context, c.way) == ("answer", "text", "cocom"))
    assert "GB of memory, of which 0.0 GB are free" in text.skipped
    assert text.flops_analytic is not None


def test_a_prompt_that_the_model_cannot_read_is_left_out_and_the_rest_is_measured() -> None:
    report = run_benchmark(few(passages=(3,)), model=tiny(max_position_embeddings=200))
    left = {c.context: c.skipped for c in report.cells if c.what == "answer" and c.skipped}
    assert set(left) == {"text"}
    assert "positions" in left["text"]
    assert any(c.seconds for c in report.cells if c.context == "rate 16")


def test_running_out_of_memory_leaves_one_cell_out(monkeypatch) -> None:
    model = tiny()
    real = model.answer_batch

    def answer_batch(questions, passages, **options):
        if passages and passages[0] and isinstance(passages[0][0], str):
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate a lot.")
        return real(questions, passages, **options)

    monkeypatch.setattr(model, "answer_batch", answer_batch)
    report = run_benchmark(few(straightforward=False), model=model)
    for cell in report.cells:
        if cell.context == "text" and cell.what in ("answer", "first_token"):
            assert cell.skipped == "out of memory: CUDA out of memory."
        else:
            assert cell.seconds is not None


def test_an_error_that_is_none_of_memory_is_not_hidden(monkeypatch) -> None:
    model = tiny()

    real, calls = model.compress, []

    def compress(passages, **options):
        calls.append(passages)
        if len(calls) > 3:  # once it is timed
            raise RuntimeError("the cable is loose")
        return real(passages, **options)

    monkeypatch.setattr(model, "compress", compress)
    with pytest.raises(RuntimeError, match="the cable is loose"):
        run_benchmark(few(), model=model)


def test_an_interrupted_run_tells_what_it_has(monkeypatch) -> None:
    turns = []

    def progress(message: str) -> None:
        turns.append(message)
        if message.startswith("round 2: "):
            raise KeyboardInterrupt

    report = run_benchmark(few(rounds=2), model=tiny(), progress=progress)
    assert report.settings["interrupted"] is True
    assert all(cell.seconds and len(cell.seconds.rounds) == 1 for cell in report.cells)

    def early(message: str) -> None:
        if message.startswith("round 1: 2"):
            raise KeyboardInterrupt

    report = run_benchmark(few(), model=tiny(), progress=early)
    measured = [cell for cell in report.cells if cell.seconds]
    assert len(measured) == 1
    assert {c.skipped for c in report.cells if not c.seconds} == {
        "the run was interrupted before this was measured."
    }
    assert "The run was interrupted" in table(report)


def test_fewer_rounds_are_told_of(monkeypatch) -> None:
    monkeypatch.setattr("cocom.benchmark.session.Prediction.seconds", lambda *_: 0.0)
    report = run_benchmark(few(rounds=3, cell_seconds=1e-4), model=tiny())
    for cell in report.cells:
        assert cell.seconds is not None
        assert len(cell.seconds.rounds) == 1
        assert "1 of 3" in cell.notes["rounds"]


def test_answers_that_end_early_are_an_error(monkeypatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr("cocom.benchmark.run.endless", lambda model: nullcontext())
    model = tiny()
    model.backbone.model.generation_config.eos_token_id = list(
        range(len(model.backbone.text.tokenizer))
    )
    model = type(model)(model.backbone.model, model.backbone.text.tokenizer, model.config)
    with pytest.raises(ModelError, match="such as 1 tokens where 2 were asked for"):
        run_benchmark(few(), model=model)


def test_a_light_compressor_is_measured_without_a_straightforward_way() -> None:
    model = tiny_cocom(
        CocomConfig(rates=(16,), encoder=EncoderConfig()), max_position_embeddings=16384
    )
    report = run_benchmark(few(), model=model)
    ours, plain = (c for c in report.cells if c.what == "compress")
    assert ours.seconds is not None
    assert "light compressor" in plain.skipped


def test_a_compressor_that_reads_the_question_is_not_measured() -> None:
    encoder = EncoderConfig(head="memory_mlp", query="{query} ", query_window=200)
    model = tiny_cocom(CocomConfig(rates=(16,), encoder=encoder))
    with pytest.raises(InputError, match="the compressor of 'tiny' reads the question too"):
        run_benchmark(few(), model=model)


def test_a_rate_that_the_model_does_not_serve_is_an_error() -> None:
    with pytest.raises(ConfigError, match="rate 5 is not among"):
        run_benchmark(few(rates=(5,)), model=tiny())
