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
    optimizer: str = "adamw"
    block: int = 0  # examples in a row from one source; 0 is a whole batch
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


def lookups(name: str, steps: int) -> Stage:
    """Random names and values, so that matching and copying come to work for any spelling."""
    size = {"passages": 4, "sentences": 2}
    facts = {"passages": 4, "sentences": 2, "fewest": 2, "shortest": 1}
    return Stage(
        name,
        steps,
        24,
        (
            (0.42, "lookups", size),
            (0.13, "lookups", {**size, "form": "text"}),
            (0.25, "facts", facts),
            (0.07, "facts", {**facts, "form": "text"}),
            (0.05, "recall", {"passages": 4, "sentences": 2}),
            (0.04, "strings", {"tokens": 24}),
            (0.04, "fact_text", {}),
        ),
        learning_rate=1.5e-3,
        passages=4,
        sentences=2,
        stop_when={"exact_4": 0.9, "exact_16": 0.75},
    )


def everything(name: str, steps: int) -> Stage:
    """Five passages, real questions and real text; the learning rate falls to nothing."""
    size = {"passages": 5, "sentences": 3, "fewest": 2, "shortest": 1, "documents": 0.25}
    wiki = {"source": "squadshifts_wiki", "passages": 4}
    return Stage(
        name,
        steps,
        24,
        (
            (0.42, "facts", size),
            (0.10, "facts", {**size, "form": "text"}),
            (0.03, "facts", {**size, "form": "mixed"}),
            (0.18, "lookups", {"passages": 5, "sentences": 3}),
            (0.04, "lookups", {"passages": 5, "sentences": 3, "form": "text"}),
            (0.05, "recall", {"passages": 5, "sentences": 2}),
            (0.03, "strings", {"tokens": 24}),
            (0.02, "real_text", {}),
            (0.06, "real_questions", {"source": "qamr", "passages": 5}),
            (0.02, "real_questions", {"source": "qamr", "passages": 5, "form": "text"}),
            (0.02, "real_questions", wiki),
            (0.01, "real_questions", {**wiki, "passages": 2, "form": "text"}),
        ),
        learning_rate=2e-3,
        optimizer="muon",
        schedule="linear",
        block=1,
        passages=5,
        sentences=3,
    )


def longer(name: str, steps: int, words: str) -> Stage:
    """The same with words of any spelling, mostly at full size, and more questions on each group."""
    size = {"passages": 5, "sentences": 3, "documents": 0.15, "questions": 10, "words": words}
    hard = {**size, "fewest": 3, "shortest": 2}
    easy = {**size, "fewest": 2, "shortest": 1}
    lookups = {"passages": 5, "sentences": 3}
    wiki = {"source": "squadshifts_wiki", "passages": 2}
    return Stage(
        name,
        steps,
        24,
        (
            (0.40, "facts", hard),
            (0.12, "facts", easy),
            (0.10, "facts", {**hard, "form": "text"}),
            (0.02, "facts", {**hard, "form": "mixed"}),
            (0.05, "lookups", lookups),
            (0.02, "lookups", {**lookups, "form": "text"}),
            (0.06, "recall", {"passages": 5, "sentences": 2, "words": words}),
            (0.05, "strings", {"tokens": 24}),
            (0.07, "fact_text", {"words": words}),
            (0.02, "real_text", {}),
            (0.05, "real_questions", {"source": "qamr", "passages": 5}),
            (0.02, "real_questions", {"source": "qamr", "passages": 5, "form": "text"}),
            (0.01, "real_questions", wiki),
            (0.01, "real_questions", {**wiki, "form": "text"}),
        ),
        learning_rate=2e-3,
        optimizer="muon",
        block=1,
        passages=5,
        sentences=3,
    )


def settle(name: str, steps: int) -> Stage:
    """Passages of one document too, worn texts, more real questions; the rate falls to nothing."""
    size = {"questions": 10, "words": "invented", "worn": 0.5}
    apart = {**size, "passages": 5, "sentences": 3, "documents": 0.1}
    hard = {**apart, "fewest": 3, "shortest": 2}
    documents = {
        **size,
        "passages": 5,
        "fewest": 3,
        "sentences": 5,
        "shortest": 3,
        "documents": 1.0,
    }
    lookups = {"passages": 5, "sentences": 3}
    return Stage(
        name,
        steps,
        24,
        (
            (0.34, "facts", hard),
            (0.08, "facts", {**apart, "fewest": 2, "shortest": 1}),
            (0.08, "facts", {**hard, "form": "text"}),
            (0.02, "facts", {**hard, "form": "mixed"}),
            (0.16, "facts", documents),
            (0.03, "facts", {**documents, "form": "text"}),
            (0.03, "lookups", lookups),
            (0.01, "lookups", {**lookups, "form": "text"}),
            (0.05, "recall", {"passages": 5, "sentences": 2, "words": "invented"}),
            (0.04, "strings", {"tokens": 24}),
            (0.05, "fact_text", {"words": "invented"}),
            (0.01, "real_text", {}),
            (0.07, "real_questions", {"source": "qamr", "passages": 5}),
            (0.03, "real_questions", {"source": "qamr", "passages": 5, "form": "text"}),
        ),
        learning_rate=2e-3,
        optimizer="muon",
        schedule="linear",
        block=1,
        passages=5,
        sentences=3,
    )


STAGES = (
    strings("01-strings-8", 8, 600, 0.3),
    strings("02-strings-16", 16, 400, 0.6),
    strings("03-strings-32", 32, 300, 1.0),
    facts("04-facts-2x1", 2, 1, 1000, 0.85),
    mixed_facts("05-facts-to-3x2", 1, 3, 2, 1250),
    lookups("06-lookups", 500),
    everything("07-everything", 1500),
    longer("08-spelled", 1000, "spelled"),
    longer("09-invented", 750, "invented"),
    settle("10-settle", 1800),
)
