"""The curriculum: without it the auto-encoding loss stays on a plateau and nothing is learned.

Random strings first (only the embeddings can tell them), then questions on two one-sentence passages,
then more and longer ones, then real text beside them. A stage ends when its probe is good enough or at
its last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Source = tuple[float, str, dict[str, object]]


@dataclass(frozen=True)
class Stage:
    """One training: (weight, method of `Sources`, its arguments) and when to go on."""

    name: str
    steps: int
    batch_size: int
    sources: tuple[Source, ...]
    learning_rate: float = 1e-3
    schedule: str = "constant_with_warmup"
    passages: int = 0
    sentences: int = 1
    stop_when: Mapping[str, float] = field(default_factory=dict)


def strings(name: str, tokens: int, steps: int, loss: float) -> Stage:
    """Auto-encoding of random strings."""
    return Stage(
        name,
        steps,
        64,
        ((1.0, "strings", {"tokens": tokens}),),
        stop_when={"strings_loss": loss},
    )


def facts(name: str, passages: int, sentences: int, steps: int, exact: float) -> Stage:
    """Questions on generated passages, with strings, recall and plain reading beside them."""
    size = {"passages": passages, "sentences": sentences}
    return Stage(
        name,
        steps,
        16,
        (
            (0.60, "facts", size),
            (0.15, "facts", {**size, "form": "text"}),
            (0.10, "recall", size),
            (0.10, "strings", {"tokens": 24}),
            (0.05, "fact_text", {}),
        ),
        passages=passages,
        sentences=sentences,
        stop_when={"exact_4": exact, "exact_16": exact - 0.15},
    )


def mixed_facts(name: str, fewest: int, passages: int, sentences: int, steps: int) -> Stage:
    """Questions on generated passages of many sizes, the easier ones carrying the harder."""
    size = {"passages": passages, "sentences": sentences, "fewest": fewest, "shortest": 1}
    return Stage(
        name,
        steps,
        24,
        (
            (0.62, "facts", size),
            (0.15, "facts", {**size, "form": "text"}),
            (0.08, "recall", {"passages": passages, "sentences": sentences}),
            (0.05, "strings", {"tokens": 24}),
            (0.10, "fact_text", {}),
        ),
        learning_rate=1.5e-3,
        passages=passages,
        sentences=sentences,
        stop_when={"exact_4": 0.9, "exact_16": 0.75},
    )


def everything(name: str, steps: int, learning_rate: float, schedule: str) -> Stage:
    """Five passages, real questions and real text."""
    size = {"passages": 5, "sentences": 4}
    wiki = {"source": "squadshifts_wiki", "passages": 5}
    return Stage(
        name,
        steps,
        16,
        (
            (0.50, "facts", size),
            (0.12, "facts", {**size, "form": "text"}),
            (0.05, "facts", {**size, "form": "mixed"}),
            (0.05, "recall", {"passages": 5, "sentences": 2}),
            (0.04, "strings", {"tokens": 24}),
            (0.04, "real_text", {}),
            (0.08, "real_questions", {"source": "qamr", "passages": 5}),
            (0.02, "real_questions", {"source": "qamr", "passages": 5, "form": "text"}),
            (0.04, "real_questions", wiki),
            (0.02, "real_questions", {**wiki, "passages": 2, "form": "text"}),
            (0.02, "real_questions", {"source": "squadshifts_reddit", "passages": 3}),
            (0.02, "real_questions", {"source": "squadshifts_amazon", "passages": 3}),
        ),
        learning_rate=learning_rate,
        schedule=schedule,
        passages=5,
        sentences=3,
    )


STAGES = (
    strings("01-strings-8", 8, 600, 0.3),
    strings("02-strings-16", 16, 400, 0.6),
    strings("03-strings-32", 32, 300, 1.0),
    facts("04-facts-2x1", 2, 1, 1000, 0.85),
    mixed_facts("05-facts-to-3x2", 1, 3, 2, 1500),
    mixed_facts("06-facts-to-5x3", 2, 5, 3, 1200),
    everything("07-everything", 1500, 1.5e-3, "linear"),
)
