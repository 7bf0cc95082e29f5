"""The parts of a run: its grid, its passages, its random models, and what it predicts."""

from __future__ import annotations

import pytest
import torch

from cocom.benchmark.models import SHAPES, describe, open_model
from cocom.benchmark.options import BenchmarkOptions, points, quick
from cocom.benchmark.prediction import Prediction
from cocom.benchmark.workload import Workload
from cocom.errors import InputError
from cocom.testing import tiny_cocom


def test_options_that_cannot_be_are_told() -> None:
    with pytest.raises(
        InputError, match=r"batch must be one or more whole numbers from 1, got \(0,\)"
    ):
        BenchmarkOptions(batch=(0,))
    with pytest.raises(InputError, match="passages must be one or more"):
        BenchmarkOptions(passages=())
    with pytest.raises(InputError, match="cell_seconds must be above 0, got 0"):
        BenchmarkOptions(cell_seconds=0)


def test_the_default_grid_varies_one_axis_at_a_time_around_a_surface() -> None:
    found = points(BenchmarkOptions(), [4])
    assert len(set(found)) == len(found)
    answers = {
        (p.passages, p.batch, p.new_tokens)
        for p in found
        if (p.what, p.way, p.context) == ("answer", "cocom", "rate 4")
    }
    surface = {(p, b, 32) for p in (1, 5, 20, 50) for b in (1, 16, 64)}
    assert answers == surface | {(p, 1, t) for p in (5, 20) for t in (6, 128)}
    assert all(p.batch == 1 for p in found if p.way == "straightforward")
    assert {p.batch for p in found if p.what == "stream"} == {1, 16}
    assert all(p.passages == 0 for p in found if p.context == "none")
    ours = points(BenchmarkOptions(straightforward=False), [4])
    assert ours == [p for p in found if p.way == "cocom"]


def test_a_quick_run_leaves_options_that_were_given_as_they_are() -> None:
    assert quick(BenchmarkOptions()).rounds == 3
    kept = quick(BenchmarkOptions(rounds=9, passages=(7,)))
    assert (kept.rounds, kept.passages) == (9, (7,))
    assert len(points(quick(BenchmarkOptions()), [16])) < 40


def test_passages_are_uneven_fit_the_window_and_are_the_same_every_time() -> None:
    model = tiny_cocom()
    workload = Workload(model, 30)
    assert workload.passages == Workload(model, 30).passages
    assert len(set(workload.tokens)) > 10
    assert max(workload.tokens) <= model.config.window
    assert workload.describe()["longest"] == max(workload.tokens)


def test_contexts_share_the_choice_and_turns_change_the_first_words_only() -> None:
    workload = Workload(tiny_cocom(), 6)
    questions, texts = workload.asked("text", 8, 3)
    asked, compressed = workload.asked("rate 16", 8, 3)
    assert questions == asked
    at = {id(c): i for i, c in enumerate(workload.compress(16))}
    for passages, contexts in zip(texts, compressed, strict=True):
        assert [workload.passages[at[id(c)]] for c in contexts] == passages
        assert set(passages[:6]) == set(workload.passages)  # all before one comes again
    turned_questions, turned = workload.asked("text", 8, 3, turn=1)
    for before, after in zip(texts, turned, strict=True):
        assert before[0].split()[0] != after[0].split()[0]
        assert sorted(before[0].split()) == sorted(after[0].split())
        assert before[1:] == after[1:]
    assert turned_questions != questions
    assert workload.asked("none", 0, 2) == (questions[:2], [[], []])


def test_random_shapes_are_drawn_in_their_type_and_write_what_their_tokenizer_knows(
    monkeypatch,
) -> None:
    small = {**SHAPES["llama-60m"], "num_hidden_layers": 1, "hidden_size": 64}
    monkeypatch.setitem(
        SHAPES, "small", {**small, "num_attention_heads": 1, "num_key_value_heads": 1}
    )
    model = open_model("small", device="cpu", dtype="bfloat16")
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}
    found = describe(model, "small")
    assert (found["random_weights"], found["vocabulary"]) == (True, 32000)
    answers = model.answer_batch(["Who?", "Where?"], [[], ["Ada was born in Rome."]])
    assert max(i for a in answers for i in a.token_ids) < model.backbone.text.vocabulary_size
    again = open_model("small", device="cpu", dtype="bfloat16")
    assert again.fingerprint == model.fingerprint


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="device 'gpu' is unknown: give cpu, cuda or cuda:N"):
        open_model("llama-60m", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device 'cuda:0' is not there"):
            open_model("llama-60m", device="cuda:0")


def test_shapes_have_the_sizes_that_their_names_say() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    wanted = {"llama-60m": 63.6e6, "llama-100m": 100e6, "llama-1b": 1.1e9, "mistral-7b": 7.25e9}
    for name, shape in SHAPES.items():
        with torch.device("meta"):
            config = AutoConfig.for_model(**shape)
            model = AutoModelForCausalLM.from_config(config)
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(wanted[name], rel=0.02)


def test_a_prediction_learns_overhead_and_factor() -> None:
    prediction = Prediction()
    assert prediction.seconds(2.0, 1) == pytest.approx(3.0)
    for floor, passes in ((0.01, 1), (0.1, 32), (1.0, 1), (2.0, 32)):
        prediction.learn(floor, passes, 2.5 * floor + 0.02 * passes)
    assert prediction.seconds(50.0, 64) == pytest.approx(2.5 * 50 + 0.02 * 64, rel=0.2)
    faster = Prediction()
    faster.learn(1.0, 1, 0.5)  # than the floor, which cannot stay so
    assert faster.seconds(10.0, 1) >= 10.0
