"""Train the model that ships with the package, stage after stage.

    python recipes/shipped/train.py --data DATA --out runs/shipped

Run it again after an interruption: finished stages are skipped, an unfinished one goes on from its last
checkpoint. The result is `OUT/cocom-tiny`, in bfloat16.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from data import RealData, load_real_data
from sources import Sources
from stages import STAGES, Stage
from tokenizer import train_tokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

from cocom import Cocom, CocomConfig, PromptTemplate
from cocom.evaluation.metrics import exact_match
from cocom.training.datasets import Mixture
from cocom.training.facts import FactGenerator
from cocom.training.step import Collator, TrainingModule
from cocom.training.trainer import TrainSettings, train

VOCABULARY = 2048
CONFIG = CocomConfig(
    rates=(4, 16, 128),
    window=128,
    memory_positions="uniform",
    memory_tokens="per_rate",
    prompt=PromptTemplate(answer_prefix=""),
)


def build(real: RealData, seed: int, device: str) -> Cocom:
    """The untrained model: 4 layers of width 256 over its own vocabulary."""
    facts = FactGenerator("train", seed)
    generated = (facts.text(i) for i in range(12_000))
    passages = (p.text for kind in sorted(real.passages) for p in real.passages[kind])
    tokenizer = train_tokenizer(chain(generated, passages, real.texts), VOCABULARY)
    set_seed(seed)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Cocom(LlamaForCausalLM(shape).to(device), tokenizer, CONFIG)


class Probe:
    """Exact match on questions that training never sees, as embeddings and as text."""

    def __init__(
        self, model: Cocom, stage: Stage, real: RealData, seed: int, groups: int = 24
    ) -> None:
        self._stage = stage
        self._groups = []
        if stage.passages:
            seen = FactGenerator("train", seed + 1)
            unseen = FactGenerator("held_out", seed + 1)
            size = {"passages": stage.passages, "sentences": stage.sentences, "questions": 2}
            self._groups = [
                (kind, generator.group(i, **size))
                for kind, generator in (("", seen), ("held_out_", unseen))
                for i in range(groups)
            ]
        sources = Sources(model, real, seed)
        rng = random.Random(f"{seed}/probe")
        self._strings = [
            e
            for _ in range(128)
            for e in sources.strings(rng, tokens=dict(stage.sources[0][2]).get("tokens", 16))
        ]

    @torch.compiler.set_stance("force_eager")
    def __call__(self, model: Cocom) -> dict[str, float]:
        """Measure a model; the figures stop stages."""
        figures: dict[str, float] = {}
        if not self._groups:
            module = TrainingModule(model)
            module.eval()
            batch = Collator(model.backbone.pad_id, model.config)(self._strings)
            with torch.no_grad():
                figures["strings_loss"] = float(module(**batch)["loss"])
            return figures
        for rate in (4, 16, None):
            for kind in ("", "held_out_"):
                figures[f"{kind}exact_{rate or 'text'}"] = self._exact(model, kind, rate)
        return figures

    def _exact(self, model: Cocom, kind: str, rate: int | None) -> float:
        questions, passages, answers = [], [], []
        for own, group in self._groups:
            if own != kind:
                continue
            read = group.passages if rate is None else model.compress(group.passages, rate=rate)
            for question in group.questions:
                questions.append(question.question)
                passages.append(read)
                answers.append(question.answer)
        found = model.answer_batch(questions, passages, max_new_tokens=20, batch_size=48)
        scores = [exact_match(a.text, [gold]) for a, gold in zip(found, answers, strict=True)]
        return sum(scores) / len(scores)


def run_stage(
    model: Cocom, stage: Stage, number: int, folder: Path, real: RealData, seed: int
) -> None:
    """Train one stage and leave its model in `folder`/model."""
    sources = Sources(model, real, seed)

    def drawn(name: str, arguments: dict[str, object]) -> object:
        method = partial(getattr(sources, name), **arguments)
        return lambda index, rng: method(rng)

    dataset = Mixture(
        [(weight, drawn(name, arguments)) for weight, name, arguments in stage.sources],
        length=stage.steps * stage.batch_size,
        block=stage.block or stage.batch_size,
        seed=seed + 1000 * number,
    )
    settings = TrainSettings(
        steps=stage.steps,
        batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        schedule=stage.schedule,
        optimizer=stage.optimizer,
        warmup_steps=50,
        weight_decay=0.01,
        evaluate_every=100 if not stage.passages else 250,
        save_every=250,
        log_every=25,
        stop_when=stage.stop_when,
        bf16=True,
        progress=False,
        seed=seed,
    )
    probe = Probe(model, stage, real, seed)
    result = train(model, dataset, folder, settings, probe=probe)
    logging.info("%s: %d steps, %s", stage.name, result.steps, dict(result.metrics))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def main() -> None:
    """Run every stage that is not finished yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/ and text/")
    parser.add_argument("--out", type=Path, required=True, help="where stages and the result go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--until", default="", help="stop after this stage")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    real = load_real_data(arguments.data, arguments.seed)
    finished: Path | None = None
    for number, stage in enumerate(STAGES):
        folder = arguments.out / stage.name
        if not (folder / "model").is_dir():
            model = (
                Cocom.from_pretrained(finished, device=arguments.device, dtype=torch.float32)
                if finished
                else build(real, arguments.seed, arguments.device)
            )
            # On a CPU, attention in plain matrix products trains nearly twice as fast as the fused one,
            # and compiled layers a quarter faster than others.
            if arguments.device == "cpu":
                torch._dynamo.config.recompile_limit = 64
                for layer in model.backbone.model.model.layers:
                    layer.compile(dynamic=True)
            plain = sdpa_kernel(SDPBackend.MATH) if arguments.device == "cpu" else nullcontext()
            with plain:
                run_stage(model, stage, number, folder, real, arguments.seed)
        finished = folder / "model"
        if stage.name == arguments.until:
            return
    assert finished is not None
    model = Cocom.from_pretrained(finished, dtype=torch.bfloat16)
    model.save_pretrained(arguments.out / "cocom-tiny")
    logging.info("the shipped model is in %s", arguments.out / "cocom-tiny")


if __name__ == "__main__":
    main()
