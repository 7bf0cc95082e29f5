"""Training: tiny models overfit, what is frozen stays, and a killed run ends as if it had not been."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from cocom import Cocom, CocomConfig, EncoderConfig, LoraSettings, PromptTemplate
from cocom.errors import ConfigError, DataError
from cocom.testing import tiny_cocom
from cocom.training.objectives import Example, Objectives
from cocom.training.trainer import TrainResult, TrainSettings, train

PASSAGES = ["Ada lives in Rome.", "Bo lives in Oslo.", "Cy lives in Lima.", "Di lives in Bern."]
NAMES, CITIES = ("Ada", "Bo", "Cy", "Di"), ("Rome", "Oslo", "Lima", "Bern")
LORA = LoraSettings(r=8, alpha=16, dropout=0.0)
SHORT = PromptTemplate(user="{passages}{question}", answer_prefix="")


class Four(Dataset[list[Example]]):
    """Four passages, over and over: who lives where, or the passage itself."""

    def __init__(self, model: Cocom, kind: str, length: int) -> None:
        self._kind = kind
        self._objectives = Objectives(model)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> list[Example]:
        i = index % 4
        if self._kind == "text":
            return [self._objectives.auto_encoding(PASSAGES[i], 4)]
        return self._objectives.question_answering(["?"], [CITIES[i]], [PASSAGES[i]], [4])


def fit(model: Cocom, folder: Path, kind: str = "question", **options: Any) -> TrainResult:
    values: dict[str, Any] = {
        "steps": 120,
        "batch_size": 4,
        "learning_rate": 8e-3,
        "warmup_steps": 5,
        "progress": False,
        **options,
    }
    settings = TrainSettings(**values)
    size = (settings.steps or 1) * settings.batch_size * settings.accumulate
    return train(model, Four(model, kind, size), folder, settings)


def small(config: CocomConfig) -> Cocom:
    return tiny_cocom(config, initializer_range=0.05)


def answers(model: Cocom) -> list[str]:
    contexts = model.compress(PASSAGES, rate=4)
    return [
        a.text for a in model.answer_batch(["?"] * 4, [[c] for c in contexts], max_new_tokens=8)
    ]


@pytest.mark.parametrize(
    "config",
    [
        CocomConfig(rates=(4,), prompt=SHORT),
        CocomConfig(rates=(4,), prompt=SHORT, memory_positions="uniform", memory_tokens="per_rate"),
        CocomConfig(rates=(4,), prompt=SHORT, weights="shared_lora", lora=LORA),
        CocomConfig(rates=(4,), prompt=SHORT, weights="separate_lora", lora=LORA),
        CocomConfig(rates=(4,), prompt=SHORT, encoder=EncoderConfig("concat")),
        CocomConfig(rates=(4,), prompt=SHORT, encoder=EncoderConfig("mean")),
        CocomConfig(rates=(4,), prompt=SHORT, encoder=EncoderConfig("memory_mlp")),
    ],
    ids=["full", "uniform", "shared_lora", "separate_lora", "concat", "mean", "memory_mlp"],
)
def test_four_questions_are_learned(config: CocomConfig, tmp_path: Path) -> None:
    model = small(config)
    assert answers(model) != list(CITIES)
    result = fit(model, tmp_path)
    assert answers(model) == list(CITIES)
    assert result.steps == 120
    assert result.losses[-1][1] < result.losses[0][1] - 1
    assert not any(m.training for part in model.modules().values() for m in part.modules())
    stored = Cocom.from_pretrained(result.folder)
    assert stored.fingerprint == model.fingerprint
    assert answers(stored) == list(CITIES)


def test_four_passages_are_reconstructed(tmp_path: Path) -> None:
    model = small(CocomConfig(rates=(4,)))
    fit(model, tmp_path, "text", steps=200)
    assert [model.reconstruct(c) for c in model.compress(PASSAGES)] == PASSAGES


@pytest.mark.parametrize(
    "config",
    [
        CocomConfig(rates=(4,), weights="separate_lora", lora=LORA),
        CocomConfig(rates=(4,), encoder=EncoderConfig("mean")),
        CocomConfig(rates=(4,), encoder=EncoderConfig("mean"), weights="shared_lora", lora=LORA),
        CocomConfig(rates=(4,), encoder=EncoderConfig("mean"), weights="separate_lora", lora=LORA),
    ],
    ids=["separate_lora", "light", "light shared_lora", "light separate_lora"],
)
def test_a_frozen_reader_stays_bit_for_bit(config: CocomConfig, tmp_path: Path) -> None:
    model = small(config)
    (context,) = model.compress(PASSAGES[:1])
    kept = {
        name: value.clone()
        for name, value in model.backbone.model.state_dict().items()
        if ".compress." not in name
    }
    result = fit(model, tmp_path, frozen_reader=True, steps=20)
    after = model.backbone.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in kept.items())
    assert not torch.allclose(model.compress(PASSAGES[:1])[0].embeddings, context.embeddings)
    assert result.losses[-1][1] < result.losses[0][1]


@pytest.mark.parametrize("weights", ["full", "shared_lora"])
def test_a_shared_reader_cannot_be_frozen(weights: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frozen_reader needs a compressor of its own"):
        fit(small(CocomConfig(weights=weights)), tmp_path, frozen_reader=True)


def test_base_weights_stay_under_adapters(tmp_path: Path) -> None:
    model = small(CocomConfig(rates=(4,), weights="separate_lora", lora=LORA))
    before = {k: v.clone() for k, v in model.backbone.model.state_dict().items()}
    fit(model, tmp_path, steps=5)
    for name, value in model.backbone.model.state_dict().items():
        assert torch.equal(value, before[name]) != (".lora_" in name), name


# --- resuming --------------------------------------------------------------------------------------

RESUMABLE = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
import test_trainer
test_trainer.run(Path(sys.argv[1]), hang_at=4 * 9)
"""


class Hanging(Four):
    """Stops for good at an index, as a run that is about to be killed."""

    hang_at = -1

    def __getitem__(self, index: int) -> list[Example]:
        while index == self.hang_at:
            time.sleep(0.1)
        return super().__getitem__(index)


def run(folder: Path, hang_at: int = -1) -> tuple[Cocom, TrainResult]:
    """Fourteen steps with dropout, a checkpoint every three, losses at every one."""
    lora = LoraSettings(r=4, alpha=8, dropout=0.1)
    model = small(CocomConfig(rates=(4,), weights="separate_lora", lora=lora))
    dataset = Hanging(model, "question", 14 * 4)
    dataset.hang_at = hang_at
    settings = TrainSettings(
        steps=14, batch_size=4, save_every=3, log_every=1, learning_rate=1e-3, progress=False
    )
    return model, train(model, dataset, folder, settings)


def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole, expected = run(tmp_path / "whole")
    assert [step for step, _ in expected.losses] == [*range(1, 15)]

    folder = tmp_path / "killed"
    script = RESUMABLE.format(here=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], env=dict(os.environ))
    state = folder / "checkpoints" / "checkpoint-6" / "trainer_state.json"
    deadline = time.monotonic() + 240
    while not state.is_file() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    saved = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert "checkpoint-6" in saved
    assert "checkpoint-12" not in saved
    assert not (folder / "model").exists()

    # Killed while a checkpoint was written: it is passed over.
    half = folder / "checkpoints" / "checkpoint-12"
    (half / "model").mkdir(parents=True)
    (half / "optimizer.pt").write_bytes(b"half")
    torch.manual_seed(2)
    resumed, result = run(folder)
    assert result.steps == 14
    assert result.losses == expected.losses
    for part, module in whole.modules().items():
        other = resumed.modules()[part].state_dict()
        assert all(torch.equal(value, other[name]) for name, value in module.state_dict().items())
    assert Cocom.from_pretrained(result.folder).fingerprint == whole.fingerprint
    steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 14


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    _, first = run(tmp_path)
    again, second = run(tmp_path)
    assert (second.steps, second.losses) == (first.steps, first.losses)
    assert again.fingerprint == Cocom.from_pretrained(first.folder).fingerprint


# --- evaluation, stopping, settings ----------------------------------------------------------------


def test_probes_are_called_and_can_stop_a_training(tmp_path: Path) -> None:
    model = small(CocomConfig(rates=(4,)))
    figures = itertools.chain([0.1, 0.5], itertools.repeat(0.9))
    modes: list[bool] = []

    def probe(current: Cocom) -> Mapping[str, float]:
        assert current is model
        modes.append(current.backbone.training)
        assert current.compress(PASSAGES[:1])
        return {"exact_match": next(figures)}

    settings = TrainSettings(
        steps=50, batch_size=2, evaluate_every=2, stop_when={"exact_match": 0.8}, progress=False
    )
    held_out = Four(model, "question", 4)
    result = train(
        model, Four(model, "question", 100), tmp_path, settings, eval_dataset=held_out, probe=probe
    )
    assert result.steps == 6
    assert result.metrics["eval_exact_match"] == 0.9
    assert result.metrics["eval_loss"] > 0


def test_accumulated_batches_and_several_rates(tmp_path: Path) -> None:
    model = small(CocomConfig(rates=(4, 16)))
    result = fit(model, tmp_path, steps=3, batch_size=2, accumulate=2)
    assert result.steps == 3


BAD = [
    ({"steps": 0}, "steps must be a whole number from 1, got 0"),
    ({"batch_size": 0}, "batch_size must be a whole number from 1"),
    ({"accumulate": 0}, "accumulate must be a whole number from 1"),
    ({"log_every": 0}, "log_every must be a whole number from 1"),
    ({"save_every": -1}, "save_every must be a whole number from 0"),
    ({"warmup_steps": 0.1}, "warmup_steps must be a whole number from 0, got 0.1"),
    ({"learning_rate": 0}, "learning_rate must be above 0"),
    ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_bad_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainSettings(**values)


def test_settings_that_do_not_go_together_and_empty_data(tmp_path: Path) -> None:
    model = small(CocomConfig())
    with pytest.raises(ConfigError, match="but evaluate_every is 0: set how often to evaluate"):
        train(model, Four(model, "text", 4), tmp_path, TrainSettings(stop_when={"loss": 1.0}))
    with pytest.raises(DataError, match="the dataset has no examples"):
        train(model, Four(model, "text", 0), tmp_path, TrainSettings(steps=1))
    assert list(tmp_path.iterdir()) == []


def test_muon_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = CocomConfig(rates=(4,), prompt=SHORT)
    options: dict[str, Any] = {"optimizer": "muon", "learning_rate": 5e-3, "save_every": 60}
    model = small(config)
    whole = fit(model, tmp_path / "whole", **options)
    assert answers(model) == list(CITIES)
    again = tmp_path / "again"
    shutil.copytree(
        tmp_path / "whole" / "checkpoints" / "checkpoint-60",
        again / "checkpoints" / "checkpoint-60",
    )
    other = small(config)
    resumed = fit(other, again, **options)
    assert other.fingerprint == model.fingerprint
    assert resumed.losses == whole.losses
