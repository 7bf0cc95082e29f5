"""Question sets of users: files of JSON lines, and data sets of the `datasets` library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocom.errors import DataError, MissingExtraError
from cocom.training.records import records

__all__ = ["QuestionSet", "Record", "read_question_set"]

_HUB = "hf:"


@dataclass(frozen=True)
class Record:
    """One question as its set has it.

    Attributes:
        question: What is asked.
        answers: Accepted answers.
        passages: The passages it comes with, the answer's among them.
        gold: Places of the answer's passages among them; None if the set does not say.
        title: Of the article that the passages are from; empty if the set does not say.
    """

    question: str
    answers: tuple[str, ...]
    passages: tuple[str, ...]
    gold: tuple[int, ...] | None
    title: str = ""


@dataclass(frozen=True)
class QuestionSet:
    """Questions, and all the passages that there are.

    Attributes:
        name: What it was read from.
        records: The questions.
        pool: Every passage once, in the order of the set.
    """

    name: str
    records: tuple[Record, ...]
    pool: tuple[str, ...]

    @classmethod
    def of(cls, name: str, entries: Iterable[Record]) -> QuestionSet:
        """Put questions together; their passages are the pool."""
        own = tuple(entries)
        pool = dict.fromkeys(passage for entry in own for passage in entry.passages)
        return cls(name, own, tuple(pool))

    @property
    def hash(self) -> str:
        """Hash of every question, answer and passage."""
        digest = hashlib.sha256()
        for entry in self.records:
            value = [entry.question, entry.answers, entry.passages, entry.gold, entry.title]
            digest.update(json.dumps(value, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()


def read_question_set(source: str | Path) -> QuestionSet:
    """Read a question set.

    A record has `question`, `answers` (or `answer`, or the `datasets` library's `{"text": [...]}`) and
    `passage` (or `context`), or several `passages` with, if known, the places of the answer's as `gold`. A
    `title` groups passages into articles.

    Args:
        source: A JSONL file (also .gz), a folder that `datasets` saved, or `hf:owner/name`; a
            split is chosen as in `hf:rajpurkar/squad@validation` or `folder@test`.

    Raises:
        DataError: It is missing, or a record cannot be used.
        MissingExtraError: `datasets` is needed and not installed.
    """
    name = str(source)
    path = Path(name)
    if name.startswith(_HUB) or path.is_dir() or (not path.exists() and _folder_of(name)):
        found: Iterator[tuple[Mapping[str, Any], str]] = _rows(name)
    else:
        found = records(path)
    return QuestionSet.of(name, (_record(record, where) for record, where in found))


# --- datasets ------------------------------------------------------------------------------------


def _folder_of(name: str) -> Path | None:
    folder, at, _ = name.rpartition("@")
    return Path(folder) if at and Path(folder).is_dir() else None


def _rows(name: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("datasets", "index", f"reading '{name}'") from error
    on_hub = name.startswith(_HUB)
    place, split = name.removeprefix(_HUB), ""
    if on_hub or not Path(place).is_dir():
        before, at, after = place.rpartition("@")
        place, split = (before, after) if at else (place, "")
    try:
        loaded = datasets.load_dataset(place) if on_hub else datasets.load_from_disk(place)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"'{name}' cannot be loaded with datasets ({type(error).__name__}: {reason}): give a folder that "
            "datasets saved, or hf:owner/name@split."
        ) from error
    if isinstance(loaded, Mapping):
        if split not in loaded:
            raise DataError(
                f"'{name}' names the split {split!r}, but the data set has {', '.join(loaded)}: write "
                f"{name.partition('@')[0]}@{next(iter(loaded), 'split')}."
            )
        loaded = loaded[split]
    elif split:
        raise DataError(f"'{name}' names the split {split!r}, but the data set has no splits.")
    for number, row in enumerate(loaded):
        yield row, f"{name}, row {number}"


# --- Records -------------------------------------------------------------------------------------


def _record(record: Mapping[str, Any], where: str) -> Record:
    question = record.get("question")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: 'question' must be a text that is not empty, got {question!r}.")
    answers = record.get("answers", record.get("answer"))
    if isinstance(answers, Mapping):
        answers = answers.get("text")
    passages = record.get("passages", record.get("passage", record.get("context")))
    own = _texts(passages, "passage", where)
    gold = record.get("gold")
    if gold is None:
        places = (0,) if len(own) == 1 else None
    else:
        places = tuple(gold) if isinstance(gold, Sequence) else (gold,)
        if not places or not all(type(p) is int and p in range(len(own)) for p in places):
            raise DataError(
                f"{where}: 'gold' must be places among the {len(own)} passages, from 0, got {gold!r}."
            )
    title = record.get("title")
    return Record(
        question,
        _texts(answers, "answer", where),
        own,
        places,
        title if isinstance(title, str) else "",
    )


def _texts(value: object, name: str, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if (
        not isinstance(values, Sequence)
        or not values
        or not all(isinstance(v, str) and v.strip() for v in values)
    ):
        raise DataError(
            f"{where}: '{name}' must be a text or a list of texts that are not empty, got {value!r:.80}."
        )
    return tuple(values)
