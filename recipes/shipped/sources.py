"""Where the shipped model's examples come from: random strings, generated facts, real text."""

from __future__ import annotations

import random
from collections.abc import Sequence

from data import RealData

from cocom import Cocom
from cocom.training.facts import FactGenerator
from cocom.training.objectives import Example, Objectives

# Each passage form goes with each question form: (entity, property) -> value, and nothing else to go by.
LOOKUP_PASSAGES = (
    "The {r} of {k} is {v}.",
    "{k} has the {r} {v}.",
    "For {k}, {r} means {v}.",
    "{v} is what {k} calls {r}.",
    "{k}: {r} {v}.",
    "As {r}, {k} took {v}.",
)
LOOKUP_QUESTIONS = (
    "What is the {r} of {k}?",
    "Which {r} has {k}?",
    "What does {r} mean for {k}?",
    "What does {k} call {r}?",
    "{k}: {r}?",
    "What did {k} take as {r}?",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# How the generator's words are made: from the training syllables and lists only, or half of the names,
# then half of the list entries too, from any letters.
WORDS: dict[str, dict[str, float]] = {
    "syllables": {},
    "spelled": {"spelled": 0.5},
    "invented": {"spelled": 0.5, "invented": 0.5},
}
RATES = (4, 16, 128)
RATE_WEIGHTS = (4, 5, 1)


class Sources:
    """Each method draws one example (or one group sharing its passages) from a generator's numbers."""

    def __init__(self, model: Cocom, real: RealData, seed: int) -> None:
        self._objectives = Objectives(model, share_prefix=True)
        self._facts = {
            name: FactGenerator("train", seed, **shares) for name, shares in WORDS.items()
        }
        self._real = real
        self._model = model
        tokens = model.backbone.text
        words = (tokens.decode([i]) for i in range(3, tokens.vocabulary_size))
        self._words = sorted({w for w in words if w.isascii() and w.strip() and w.isprintable()})
        self._pieces = [w for w in self._words if w.isalpha()]
        self._nouns = [w[1:] for w in self._words if w[0] == " " and w[1:].isalpha() and len(w) > 4]

    def strings(self, rng: random.Random, *, tokens: int) -> list[Example]:
        """Auto-encode a string of random vocabulary: nothing but the embeddings can tell it."""
        text = "".join(rng.choices(self._words, k=rng.randint(max(2, tokens // 2), tokens)))
        rate = rng.choice((4, 16))
        return [self._objectives.auto_encoding(text.strip(), rate)]

    def lookups(
        self, rng: random.Random, *, passages: int, sentences: int, form: str = "rate"
    ) -> list[Example]:
        """Questions on passages that give random properties of randomly spelled names random values.

        Finding the right name and copying its value exactly is what small models learn last.
        """
        count = rng.randint(2, passages)
        properties = rng.sample(self._nouns, rng.randint(1, sentences))
        names = [self._name(rng) for _ in range(count)]
        if rng.random() < 0.2:
            names[1] = f"{names[0].split()[0]} {self._name(rng)}"
        texts: list[str] = []
        facts: list[tuple[str, str]] = []
        for name in names:
            lines = []
            for noun in rng.sample(properties, len(properties)):
                value = self._name(rng) if rng.random() < 0.8 else str(rng.randint(10, 9999))
                words = {"r": noun, "k": name, "v": value}
                lines.append(rng.choice(LOOKUP_PASSAGES).format(**words))
                facts.append((rng.choice(LOOKUP_QUESTIONS).format(**words), value))
            texts.append(" ".join(lines))
        asked = rng.sample(facts, min(8, len(facts)))
        return self._objectives.question_answering(
            [q for q, _ in asked], [a for _, a in asked], texts, _rates(count, form, rng)
        )

    def _name(self, rng: random.Random) -> str:
        """One or two words of random vocabulary pieces or of random letters."""
        words = []
        for _ in range(rng.randint(1, 2)):
            if rng.random() < 0.5:
                word = "".join(rng.choices(self._pieces, k=rng.randint(1, 3)))
            else:
                word = "".join(rng.choices(LETTERS, k=rng.randint(3, 8)))
            words.append(word.capitalize())
        return " ".join(words)

    def fact_text(self, rng: random.Random, *, words: str = "syllables") -> list[Example]:
        """Auto-encode or continue a generated passage."""
        return self._text(self._facts[words].text(rng.randrange(10**9)), rng)

    def real_text(self, rng: random.Random) -> list[Example]:
        """Auto-encode or continue real text, a window at a time."""
        return self._text(rng.choice(self._real.texts), rng)

    def facts(
        self,
        rng: random.Random,
        *,
        passages: int,
        sentences: int,
        fewest: int = 0,
        shortest: int = 0,
        documents: float = 0.0,
        questions: int = 6,
        words: str = "syllables",
        worn: float = 0.0,
        form: str = "rate",
    ) -> list[Example]:
        """Questions on `fewest` to `passages` generated passages.

        In a share of the groups, `documents`, several passages tell of the same entity; another share,
        `worn`, has lost some of its small words, so that no template can be known by heart.
        """
        passages = rng.randint(fewest or passages, passages)
        group = self._facts[words].group(
            rng.randrange(10**9),
            passages=passages,
            sentences=rng.randint(shortest or max(1, sentences - 1), sentences),
            questions=questions,
            same=rng.randint(2, passages) if passages > 1 and rng.random() < documents else 1,
        )
        questions, texts = [q.question for q in group.questions], list(group.passages)
        if rng.random() < worn:
            kept = {word.strip(".,") for q in group.questions for word in q.answer.split()}
            questions = [_worn(text, kept, rng) for text in questions]
            texts = [_worn(text, kept, rng) for text in texts]
        return self._objectives.question_answering(
            questions, [q.answer for q in group.questions], texts, _rates(len(texts), form, rng)
        )

    def recall(
        self, rng: random.Random, *, passages: int, sentences: int, words: str = "syllables"
    ) -> list[Example]:
        """Finish the generated passage that starts with the given tokens."""
        group = self._facts[words].group(
            rng.randrange(10**9), passages=passages, sentences=min(2, sentences), questions=1
        )
        asked = rng.sample(range(passages), min(passages, 2))
        rates = _rates(passages, "rate", rng)
        return [self._objectives.recall(group.passages, rates, asked, rng.randint(4, 10))]

    def real_questions(
        self, rng: random.Random, *, source: str, passages: int, form: str = "rate"
    ) -> list[Example]:
        """Questions on real passages."""
        chosen = rng.sample(self._real.passages[source], rng.randint(1, passages))
        pairs = [pair for p in chosen for pair in rng.sample(p.questions, min(3, len(p.questions)))]
        pairs = rng.sample(pairs, min(8, len(pairs)))
        return self._objectives.question_answering(
            [q for q, _ in pairs],
            [a for _, a in pairs],
            [p.text for p in chosen],
            _rates(len(chosen), form, rng),
        )

    def _text(self, text: str, rng: random.Random) -> list[Example]:
        window = rng.choice(self._model.window_compressor.windows(text))
        part = text[window.start : window.end]
        rate = _rate(rng)
        starts = [start for start, _ in self._model.backbone.text.offsets(part) if start > 0]
        if starts and rng.random() < 0.25:
            return [self._objectives.continuation(part, rng.choice(starts), rate)]
        return [self._objectives.auto_encoding(part, rate)]


def _worn(text: str, kept: set[str], rng: random.Random) -> str:
    """Leave out some small words, none that an answer needs."""
    words = text.split(" ")
    gone = [w.isalpha() and w.islower() and w not in kept and rng.random() < 0.2 for w in words]
    return " ".join(word for word, lost in zip(words, gone, strict=True) if not lost)


def _rate(rng: random.Random) -> int:
    return rng.choices(RATES, RATE_WEIGHTS)[0]


def _rates(count: int, form: str, rng: random.Random) -> Sequence[int | None]:
    """One rate for all passages, text for all, or some as text and the rest compressed."""
    if form == "text":
        return [None] * count
    rate = _rate(rng)
    if form == "mixed":
        return [None if rng.random() < 0.4 else rate for _ in range(count)]
    return [rate] * count
