"""`cocom train`: fine-tune or pre-train on a JSONL file."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cocom.cli import shared
from cocom.errors import ConfigError, InputError, MissingExtraError

if TYPE_CHECKING:
    from cocom.config import CocomConfig
    from cocom.engine import Cocom

__all__ = ["command"]


class Objective(StrEnum):
    """What to learn."""

    qa = "qa"
    pretrain = "pretrain"


def command(
    data: Annotated[
        Path,
        typer.Argument(
            help='JSONL: {"question", "passages", "answer"} records for qa, {"text"} for pretrain.'
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and OUT/model.")],
    objective: Annotated[Objective, typer.Option(help="What to learn.")] = Objective.qa,
    model: shared.Model = "cocom-tiny",
    backbone: Annotated[
        str | None,
        typer.Option(help="Start from this Hugging Face causal LM instead of a COCOM model."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="With --backbone: a light compressor from this encoder.")
    ] = None,
    encoder_head: Annotated[str, typer.Option(help="concat, mean or memory_mlp.")] = "concat",
    rates: Annotated[
        str | None,
        typer.Option(help="With --backbone: compression rates, such as 4,16,128."),
    ] = None,
    window: Annotated[int, typer.Option(help="With --backbone: tokens in a window.")] = 128,
    weights: Annotated[
        str, typer.Option(help="With --backbone: full, shared_lora or separate_lora.")
    ] = "separate_lora",
    chat: Annotated[
        bool, typer.Option("--chat", help="With --backbone: prompt through its chat template.")
    ] = False,
    epochs: Annotated[int, typer.Option(help="Times through the data.")] = 1,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Examples in a forward pass.")] = 8,
    accumulate: Annotated[int, typer.Option(help="Forward passes in a step.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-4,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the peak.")] = 0,
    text_share: Annotated[
        float, typer.Option(help="qa: share of examples that read passages as text.")
    ] = 0.1,
    continuation_share: Annotated[
        float, typer.Option(help="pretrain: share of continuation; the rest is auto-encoding.")
    ] = 0.5,
    frozen_reader: Annotated[
        bool, typer.Option("--frozen-reader", help="Train only what compresses.")
    ] = False,
    eval_data: Annotated[
        Path | None, typer.Option(help="JSONL of the same kind; its loss is measured.")
    ] = None,
    evaluate_every: Annotated[int, typer.Option(help="Steps; 0 at the end only.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps; 0 at the end only.")] = 100,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    device: shared.Device = None,
    as_json: shared.Json = False,
) -> None:
    """Train on your own data; run it again after an interruption and it goes on.

    Several GPUs: accelerate launch -m cocom.cli train ...
    """
    _need_accelerate()
    from torch.utils.data import Dataset

    from cocom.training.datasets import Questions, Texts
    from cocom.training.objectives import Example
    from cocom.training.records import read_questions, read_texts
    from cocom.training.trainer import TrainSettings, train

    engine = (
        shared.load_model(model, device, "float32")
        if backbone is None
        else _new(
            backbone, encoder, _config(rates, window, weights, encoder, encoder_head, chat), device
        )
    )

    def dataset(path: Path, times: int) -> Dataset[list[Example]]:
        if objective is Objective.qa:
            return Questions(
                engine, read_questions(path), epochs=times, text_share=text_share, seed=seed
            )
        return Texts(
            engine,
            read_texts(path),
            epochs=times,
            continuation_share=continuation_share,
            seed=seed,
        )

    settings = TrainSettings(
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        frozen_reader=frozen_reader,
        evaluate_every=evaluate_every,
        save_every=save_every,
        bf16=bf16,
        progress=shared.show_progress(as_json),
        log_to_console=not as_json,
        seed=seed,
    )
    result = train(
        engine,
        dataset(data, epochs),
        out,
        settings,
        eval_dataset=dataset(eval_data, 1) if eval_data is not None else None,
    )
    figures = {
        "model": str(result.folder),
        "steps": result.steps,
        "losses": [{"step": step, "loss": loss} for step, loss in result.losses],
        "metrics": dict(result.metrics),
    }
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        return
    if as_json:
        shared.write_json(figures)
        return
    first, last = (result.losses[0][1], result.losses[-1][1]) if result.losses else (0.0, 0.0)
    shared.write(
        f"{result.steps} steps; loss {first:.3f} -> {last:.3f}; the model is in {result.folder}."
    )


def _need_accelerate() -> None:
    try:
        import accelerate  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("accelerate", "train", "Training") from error


def _config(
    rates: str | None, window: int, weights: str, encoder: str | None, head: str, chat: bool
) -> CocomConfig:
    from cocom.config import CocomConfig, PromptTemplate

    values: dict[str, object] = {"window": window, "weights": weights}
    if chat:
        values["prompt"] = PromptTemplate.instruct()
    if rates is not None:
        try:
            values["rates"] = [int(rate) for rate in rates.split(",")]
        except ValueError as error:
            raise ConfigError(
                f"--rates must be whole numbers such as 4,16, got {rates!r}."
            ) from error
    else:
        values["rates"] = [16] if encoder is not None and head == "concat" else [4, 16, 128]
    if encoder is not None:
        values["encoder"] = {"head": head}
    return CocomConfig.from_dict(values)


def _new(backbone: str, encoder: str | None, config: CocomConfig, device: str | None) -> Cocom:
    from cocom.engine import Cocom

    if encoder is None and config.encoder is not None:
        raise InputError("--encoder-head needs --encoder.")
    return Cocom.from_backbone(backbone, config, encoder=encoder, device=device)
