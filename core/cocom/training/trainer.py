"""`train`: the objectives on `transformers.Trainer`, resumable, with evaluation while it runs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from cocom.engine import Cocom
from cocom.errors import ConfigError, DataError
from cocom.persistence import load_weights, save
from cocom.training.optimizer import MuonWithAdamW
from cocom.training.step import Collator, TrainingModule

__all__ = ["Probe", "TrainResult", "TrainSettings", "train"]

_log = logging.getLogger(__name__)

Probe = Callable[[Cocom], Mapping[str, float]]
"""Measures a model while it trains, such as exact match on held-out questions."""


@dataclass(frozen=True)
class TrainSettings:
    """How to train. The defaults are the paper's (section 4.1) where a batch fits.

    Attributes:
        steps: Optimizer steps; None goes once through the dataset.
        batch_size: Examples in one forward pass, on each device.
        accumulate: Forward passes in one optimizer step.
        learning_rate: Peak.
        optimizer: "adamw", or "muon" for the matrices with AdamW for the rest: faster from nothing.
        schedule: Learning-rate schedule of transformers, such as "linear" or "constant_with_warmup".
        warmup_steps: Steps until the peak.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm.
        frozen_reader: Train only what compresses.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        save_every: Steps between checkpoints; 0 saves at the end only.
        log_every: Steps between log lines.
        stop_when: Stop once an evaluation figure is at least (or, if the name ends in "loss", at most)
            this value.
        bf16: Compute in bfloat16; weights stay as loaded.
        progress: Show a progress bar.
        log_to_console: Print each log line; they are in the log file in any case.
        seed: Of dropout and everything else that is drawn.
    """

    steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 1e-4
    optimizer: Literal["adamw", "muon"] = "adamw"
    schedule: str = "linear"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    frozen_reader: bool = False
    evaluate_every: int = 0
    save_every: int = 0
    log_every: int = 10
    stop_when: Mapping[str, float] = field(default_factory=dict)
    bf16: bool = False
    progress: bool = True
    log_to_console: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "accumulate": 1, "log_every": 1}
        least |= dict.fromkeys(("warmup_steps", "evaluate_every", "save_every"), 0)
        if self.steps is not None:
            least["steps"] = 1
        for name, bound in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < bound:
                raise ConfigError(f"{name} must be a whole number from {bound}, got {value!r}.")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate!r}.")


@dataclass(frozen=True)
class TrainResult:
    """What a training did: its last evaluation, its losses as (step, loss), and where it stopped."""

    steps: int
    losses: tuple[tuple[int, float], ...]
    metrics: Mapping[str, float]
    folder: Path


def train(
    model: Cocom,
    dataset: Dataset[Any],
    folder: str | Path,
    settings: TrainSettings | None = None,
    *,
    eval_dataset: Dataset[Any] | None = None,
    probe: Probe | None = None,
) -> TrainResult:
    """Train `model` in place and write it to `folder`/model.

    Checkpoints are kept in `folder`/checkpoints; called again after an interruption, training goes on
    from the last one and ends as if it had not been interrupted. Several GPUs: `accelerate launch`.

    Args:
        model: Changed in place.
        dataset: Map-style dataset of examples; read in order, so it does its own shuffling.
        folder: For checkpoints, the log and the finished model.
        settings: How to train.
        eval_dataset: Examples whose loss is measured.
        probe: Measures the model at each evaluation.

    Raises:
        ConfigError: Settings that do not go together.
        DataError: A record that cannot be used.
    """
    settings = settings or TrainSettings()
    if settings.stop_when and not settings.evaluate_every:
        raise ConfigError(
            f"stop_when is {dict(settings.stop_when)} but evaluate_every is 0: set how often to evaluate."
        )
    if not len(dataset):  # type: ignore[arg-type]
        raise DataError("the dataset has no examples: there is nothing to train on.")
    folder = Path(folder)
    checkpoints = folder / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    module = TrainingModule(model, frozen_reader=settings.frozen_reader)
    collator = Collator(model.backbone.pad_id, model.config)
    trainer = _CocomTrainer(
        probe=probe,
        optimizer=settings.optimizer,
        model=module,
        args=_arguments(
            settings, checkpoints, model, eval_dataset is not None or probe is not None
        ),
        data_collator=collator,
        train_dataset=dataset,
        eval_dataset=eval_dataset if eval_dataset is not None else [],
        callbacks=[_Stop(settings.stop_when), _LogFile(folder / "log.jsonl")],
    )
    if not settings.log_to_console:
        trainer.remove_callback(PrinterCallback)
    last = _last_complete(checkpoints)
    if last is not None:
        _log.info("resuming from %s", last)
    trainer.train(resume_from_checkpoint=last)
    model.weights_changed()
    metrics = trainer.evaluate() if (eval_dataset is not None or probe is not None) else {}
    if trainer.is_world_process_zero():
        save(model, folder / "model")
    losses = tuple(
        (int(entry["step"]), float(entry["loss"]))
        for entry in trainer.state.log_history
        if "loss" in entry
    )
    for part in model.modules().values():
        part.eval()
    return TrainResult(trainer.state.global_step, losses, metrics, folder / "model")


def _last_complete(checkpoints: Path) -> str | None:
    """The last checkpoint that was written to its end: its state file comes last."""
    numbered = {
        int(path.name.removeprefix("checkpoint-")): path
        for path in checkpoints.glob("checkpoint-*")
        if path.name.removeprefix("checkpoint-").isdecimal()
    }
    for _, path in sorted(numbered.items(), reverse=True):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            _log.warning("%s was not written to its end: passing it over", path)
            continue
        return str(path)
    return None


def _arguments(
    settings: TrainSettings, checkpoints: Path, model: Cocom, evaluates: bool
) -> TrainingArguments:
    every = bool(settings.evaluate_every) and evaluates
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=settings.steps or -1,
        num_train_epochs=1,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        eval_strategy="steps" if every else "no",
        eval_steps=settings.evaluate_every or None,
        save_strategy="steps" if settings.save_every else "no",
        save_steps=settings.save_every or 500,
        save_total_limit=2,
        logging_first_step=True,
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        bf16=settings.bf16,
        use_cpu=model.backbone.device.type == "cpu",
        disable_tqdm=not settings.progress,
        report_to=[],
        seed=settings.seed,
        remove_unused_columns=False,
        label_names=["read"],
        dataloader_pin_memory=False,
        # A batch of text only leaves the compressor's weights without a gradient.
        ddp_find_unused_parameters=True,
    )
    if arguments.n_gpu > 1:  # several GPUs are for `accelerate launch`, not for DataParallel
        arguments._n_gpu = 1
    return arguments


class _CocomTrainer(Trainer):
    """`Trainer` that saves COCOM folders, reads its dataset in order, and probes the model."""

    def __init__(self, *, probe: Probe | None, optimizer: str, **arguments: Any) -> None:
        self._optimizer_kind = optimizer
        super().__init__(**arguments)
        self._probe = probe

    @property
    def _cocom(self) -> Cocom:
        module = self.accelerator.unwrap_model(self.model)
        assert isinstance(module, TrainingModule)
        return module.model

    def create_optimizer(self, model: Any = None) -> Any:
        if self._optimizer_kind != "muon":
            return super().create_optimizer()
        if self.optimizer is None:
            trained: Any = self.model
            self.optimizer = MuonWithAdamW(
                trained.named_parameters(), self.args.learning_rate, self.args.weight_decay
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(dataset)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self._cocom.weights_changed()
        save(self._cocom, Path(str(output_dir or self.args.output_dir)) / "model")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self._cocom, Path(resume_from_checkpoint) / "model")

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        with torch.no_grad(), self.compute_loss_context_manager():
            return model(**inputs)["loss"].detach(), None, None

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        start = time.monotonic()
        metrics: dict[str, float] = {}
        dataset: Any = self.eval_dataset
        if dataset is not None and len(dataset):
            metrics = super().evaluate(*arguments, **options)
        if self._probe is not None:
            self._cocom.weights_changed()
            measured = {f"eval_{name}": value for name, value in self._probe(self._cocom).items()}
            measured["eval_probe_seconds"] = time.monotonic() - start
            self.log(dict(measured))
            metrics |= measured
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
        return metrics


class _Stop(TrainerCallback):
    """Ends training once a figure is good enough."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        reached = [
            (value := (metrics or {}).get(f"eval_{name}")) is not None
            and (value <= bound if name.endswith("loss") else value >= bound)
            for name, bound in self._thresholds.items()
        ]
        if reached and all(reached):
            control.should_training_stop = True


class _LogFile(TrainerCallback):
    """One JSON object a line: step, time, and whatever is logged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if state.is_world_process_zero:
            with self._path.open("a", encoding="utf-8") as file:
                entry = {"step": state.global_step, "time": round(time.time(), 1), **(logs or {})}
                file.write(json.dumps(entry) + "\n")
