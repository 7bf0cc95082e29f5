"""Measure classifiers for LLMLingua-2 on passages that they were not trained on.

    python recipes/llmlingua2/evaluate.py --data DATA/qa/squad_v1.1_dev.jsonl.gz --counter MINILM \
        --models OUT/model OTHER/model --passages 300

Answer recall is the share of questions of which an accepted answer's words all stay in its passage, at some
rates; besides the classifiers, it is measured for words dropped at random, for stop words dropped first (the
others at random), and for rare words kept first. F1 is that of the labels that training uses, where as many
words are kept as are labelled. With `--held-out`, give the `--data` and `--leave-out` of the training.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from labels import STOP_WORDS, Labelled, read, split, without_overlap
from transformers import AutoTokenizer

from cocom.baselines.budget import fit
from cocom.baselines.llmlingua2 import LLMLingua2
from cocom.baselines.plain_encoding import PlainEncoding
from cocom.baselines.selection import Selection
from cocom.baselines.spans import Unit
from cocom.baselines.words import Word, words_of
from cocom.windows import cut_windows

Scores = Callable[[str, Sequence[Unit]], list[float]]
_WORD = re.compile(r"\w+")


def by_chance(seed: int, *, stop_words_last: bool = False) -> Scores:
    """Words in random order, stop words and signs behind the others if so asked."""
    rng = random.Random(seed)

    def scores(text: str, words: Sequence[Unit]) -> list[float]:
        found = []
        for word in words:
            parts = _WORD.findall(text[word.start : word.end].lower())
            empty = stop_words_last and all(part in STOP_WORDS for part in parts)
            found.append(rng.random() - empty)
        return found

    return scores


def by_rarity(texts: Sequence[str]) -> Scores:
    """Words that the fewest of some texts have first."""
    seen = Counter(word for text in texts for word in set(_WORD.findall(text.lower())))

    def scores(text: str, words: Sequence[Unit]) -> list[float]:
        return [
            max(
                (-math.log(seen[p] + 1) for p in _WORD.findall(text[w.start : w.end].lower())),
                default=-99.0,
            )
            for w in words
        ]

    return scores


def by_classifier(model: Path) -> Scores:
    """Words by their probability of being kept."""
    classifier = LLMLingua2(model).classifier

    def scores(text: str, words: Sequence[Unit]) -> list[float]:
        pieces = classifier.pieces(text)
        windows = cut_windows(text, pieces.ids, pieces.offsets, classifier.room)
        kept = [p for row in classifier.of([w.ids for w in windows]) for p in row]
        found = []
        for word in words:
            own = [
                p
                for p, (a, b) in zip(kept, pieces.offsets, strict=True)
                if a < word.end and b > word.start
            ]
            found.append(sum(own) / len(own) if own else 0.0)
        return found

    return scores


def measure(
    passages: Sequence[Labelled], scores: Scores, counter: PlainEncoding, rates: Sequence[float]
) -> dict[str, float]:
    """Answer recall at each rate, and F1 of the labels."""
    questions, right = 0, Counter[float]()
    hits = wanted = 0
    for passage in passages:
        ((_, offsets),) = counter.encode([passage.text])
        units = words_of(passage.text, offsets)
        ranks = scores(passage.text, units)
        words = [Word(unit, rank) for unit, rank in zip(units, ranks, strict=True)]
        selection = Selection([passage.text], [words], counter.count)
        spans = passage.kept()
        labelled = {
            number
            for number, unit in enumerate(units)
            if any(a < unit.end and b > unit.start for a, b in spans)
        }
        hits += len(labelled.intersection(selection.order([0])[: len(labelled)]))
        wanted += len(labelled)
        questions += len(passage.questions)
        for rate in rates:
            target = max(1, int(counter.count(passage.text) / rate))
            kept = selection.result(fit(selection.order([0]), target, selection.count), [None])
            left = Counter(_WORD.findall(" ".join(kept.texts).lower()))
            for _, answers in passage.questions:
                right[rate] += any(Counter(_WORD.findall(a.lower())) <= left for a in answers)
    found = {f"recall at rate {rate:g}": right[rate] / questions for rate in rates}
    return {**found, "F1": hits / max(1, wanted)}


def main() -> None:
    """Read the command line, and print a line of JSON for each way of choosing words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--models", type=Path, nargs="*", default=[])
    parser.add_argument("--counter", required=True, help="whose tokenizer counts the budgets")
    parser.add_argument("--held-out", action="store_true", help="only what train.py held out")
    parser.add_argument("--leave-out", type=Path, nargs="*", default=[])
    parser.add_argument("--passages", type=int, default=300)
    parser.add_argument("--rates", type=float, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything = without_overlap(read(arguments.data, evaluation=True), arguments.leave_out)
    passages = split(everything, arguments.seed)[1] if arguments.held_out else everything
    random.Random(arguments.seed).shuffle(passages)
    passages = passages[: arguments.passages]
    counter = PlainEncoding(AutoTokenizer.from_pretrained(arguments.counter))
    ways: dict[str, Scores] = {
        "random": by_chance(arguments.seed),
        "stop words first": by_chance(arguments.seed, stop_words_last=True),
        "rare words last": by_rarity([passage.text for passage in everything]),
        **{str(model): by_classifier(model) for model in arguments.models},
    }
    for name, scores in ways.items():
        found = measure(passages, scores, counter, arguments.rates)
        print(json.dumps({"way": name, **{k: round(v, 4) for k, v in found.items()}}), flush=True)


if __name__ == "__main__":
    main()
