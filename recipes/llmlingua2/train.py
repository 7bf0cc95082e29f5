"""Train a classifier for LLMLingua-2 on the words that questions and answers use.

    python recipes/llmlingua2/train.py --data DATA/qa/squadshifts_*.jsonl.gz DATA/qa/qamr.jsonl.gz \
        --leave-out DATA/qa/squad_v1.1_dev.jsonl.gz --base MINILM --out DIR

`--base` is the folder or name of a BERT-like encoder; `--base small` trains a small one from random weights
over a vocabulary of its own; `--frozen` trains the last layer only. The result, in `--out`/model, is a folder
that `LLMLingua2` loads. Run it again after an interruption: it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from labels import Labelled, read, split, without_overlap
from torch import nn
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from cocom.baselines.token_probabilities import TokenProbabilities
from cocom.baselines.words import words_of
from cocom.windows import cut_windows

NAMES = {"drop": 0, "keep": 1}
Row = tuple[list[int], list[int]]  # token ids, and the label of each


def small_tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """Word pieces of lower-case text, learnt from some texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=512,
    )


def small_model(vocabulary: int, width: int, layers: int) -> BertForTokenClassification:
    """A small encoder with random weights."""
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        label2id=NAMES,
        id2label={number: name for name, number in NAMES.items()},
    )
    return BertForTokenClassification(config)


def rows_of(classifier: TokenProbabilities, passages: Sequence[Labelled]) -> list[Row]:
    """Windows of passages; a token is to be kept if its word is."""
    rows: list[Row] = []
    for passage in passages:
        pieces = classifier.pieces(passage.text)
        labels = [0] * len(pieces.ids)
        spans = passage.kept()
        for word in words_of(passage.text, pieces.offsets):
            first, last = word.tokens
            if any(start < word.end and end > word.start for start, end in spans):
                labels[first:last] = [1] * (last - first)
        at = 0
        for window in cut_windows(passage.text, pieces.ids, pieces.offsets, classifier.room):
            rows.append((list(window.ids), labels[at : at + len(window.ids)]))
            at += len(window.ids)
    return rows


def batches(rows: Sequence[Row], tokens: int, seed: int) -> Iterator[list[Row]]:
    """Rows in batches of like length, in random order."""
    rng = random.Random(seed)
    order = sorted(rows, key=lambda row: len(row[0]) + rng.random() * 16)
    made: list[list[Row]] = [[]]
    for row in order:
        if made[-1] and len(row[0]) * (len(made[-1]) + 1) > tokens:
            made.append([])
        made[-1].append(row)
    rng.shuffle(made)
    yield from made


def loss_of(
    model: PreTrainedModel, batch: Sequence[Row], around: tuple[list[int], list[int]], pad: int
) -> torch.Tensor:
    """Cross entropy of the tokens' labels."""
    before, after = around
    width = max(len(ids) for ids, _ in batch) + len(before) + len(after)
    ids, mask, labels = [], [], []
    for own, wanted in batch:
        row = [*before, *own, *after]
        padding = width - len(row)
        ids.append(row + [pad] * padding)
        mask.append([1] * len(row) + [0] * padding)
        labels.append([-100] * len(before) + wanted + [-100] * (len(after) + padding))
    device = model.device
    with torch.autocast(device.type, torch.bfloat16):
        logits = model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
        ).logits
    wanted_labels = torch.tensor(labels, device=device).flatten()
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), wanted_labels)


def train(arguments: argparse.Namespace) -> None:
    """Train, and leave the model in `--out`/model."""
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    passages = without_overlap(read(arguments.data), arguments.leave_out)
    kept, held_out = split(passages, arguments.seed)
    logging.info("%d passages to train on, %d held out", len(kept), len(held_out))
    if arguments.base == "small":
        learnt_before = arguments.out / "tokenizer"  # learnt again, it would not be quite the same
        if learnt_before.is_dir():
            tokenizer = AutoTokenizer.from_pretrained(learnt_before)
        else:
            tokenizer = small_tokenizer([p.text for p in kept], arguments.vocabulary)
            tokenizer.save_pretrained(learnt_before)
        model = small_model(len(tokenizer), arguments.width, arguments.layers)
    else:
        tokenizer = AutoTokenizer.from_pretrained(arguments.base)
        model = AutoModelForTokenClassification.from_pretrained(
            arguments.base,
            label2id=NAMES,
            id2label={number: name for name, number in NAMES.items()},
            attn_implementation="eager",
        )
    if arguments.frozen:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("classifier" in name)
    model.to(arguments.device)
    classifier = TokenProbabilities(model, tokenizer, 8192)
    rows = rows_of(classifier, kept)
    share = sum(map(sum, (labels for _, labels in rows))) / sum(len(ids) for ids, _ in rows)
    logging.info("%.1f %% of the tokens are to be kept", 100 * share)

    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=arguments.learning_rate, weight_decay=0.01)
    epochs = [
        list(batches(rows, arguments.batch_tokens, arguments.seed + epoch))
        for epoch in range(arguments.epochs)
    ]
    steps = [batch for epoch in epochs for batch in epoch]
    warmup = max(1, len(steps) // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda n: min((n + 1) / warmup, max(0.0, (len(steps) - n) / max(1, len(steps) - warmup))),
    )
    checkpoint = arguments.out / "checkpoint.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = int(state["steps"])
        logging.info("going on behind step %d", done)
    model.train(not arguments.frozen)
    started, losses = time.monotonic(), []
    for number, batch in enumerate(steps[done:], start=done + 1):
        loss = loss_of(model, batch, classifier.around, int(tokenizer.pad_token_id or 0))
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise RuntimeError(f"the loss at step {number} is {losses[-1]}: lower --learning-rate.")
        if number % 50 == 0 or number == len(steps):
            logging.info(
                "step %d of %d, loss %.4f, %.0f s",
                number,
                len(steps),
                sum(losses) / len(losses),
                time.monotonic() - started,
            )
            losses.clear()
        if number % 200 == 0:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "steps": number,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    model.eval()
    model.config.architectures = [type(model).__name__]
    model.to(torch.float16 if arguments.half else torch.float32)
    model.save_pretrained(arguments.out / "model")
    tokenizer.save_pretrained(arguments.out / "model")
    checkpoint.unlink(missing_ok=True)
    logging.info("the classifier is in %s", arguments.out / "model")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="questions to train on")
    parser.add_argument("--leave-out", type=Path, nargs="*", default=[], help="evaluation sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", required=True, help="an encoder, or 'small'")
    parser.add_argument("--frozen", action="store_true", help="train the last layer only")
    parser.add_argument("--half", action="store_true", help="save float16")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--batch-tokens", type=int, default=2560)
    parser.add_argument("--vocabulary", type=int, default=8192, help="of a small encoder")
    parser.add_argument("--width", type=int, default=64, help="of a small encoder")
    parser.add_argument("--layers", type=int, default=2, help="of a small encoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments)


if __name__ == "__main__":
    main()
