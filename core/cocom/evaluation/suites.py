"""Question sets that models are measured on, each a pure function of its seed or file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cocom.errors import DataError
from cocom.evaluation.columns import Question
from cocom.evaluation.datasets import QuestionSet, Record
from cocom.evaluation.finding import among_others
from cocom.training.facts import FactGenerator
from cocom.training.records import records

__all__ = ["PASSAGES", "fact_questions", "squad_questions"]

PASSAGES = 5


def fact_questions(count: int = 1000, *, sentences: int = 3, seed: int = 7) -> list[Question]:
    """Generated questions whose names, places and sentence templates no training has seen.

    Each has five passages about entities of its own kind; one holds the answer. The wrong passages
    are the same without that one, and one more of another group.
    """
    generator = FactGenerator("held_out", seed)
    questions: list[Question] = []
    index = 0
    while len(questions) < count:
        group = generator.group(index, passages=PASSAGES, sentences=sentences, questions=2)
        other = generator.group(10**6 + index, passages=1, sentences=sentences, questions=1)
        for asked in group.questions:
            rest = [p for i, p in enumerate(group.passages) if i != asked.passage]
            wrong = (*rest, other.passages[0])
            gold = (group.passages[asked.passage],)
            questions.append(Question(asked.question, group.passages, wrong, (asked.answer,), gold))
        index += 1
    return questions[:count]


def squad_questions(path: str | Path, *, seed: int = 7) -> list[Question]:
    """Every question of a SQuAD file, its gold passage among five of the same article.

    Reads JSONL with `title`, `passage`, `question` and `answers`, also gzipped. Articles of fewer than
    six passages are filled up with passages of other articles.

    Raises:
        DataError: The file is missing or a record cannot be used.
    """
    entries = [_entry(record, where) for record, where in records(path)]
    return among_others(QuestionSet.of(str(path), entries), passages=PASSAGES, seed=seed)


def _entry(record: Mapping[str, object], where: str) -> Record:
    values = [record.get(name) for name in ("title", "passage", "question")]
    answers = record.get("answers")
    if not all(isinstance(v, str) and v.strip() for v in values) or not _is_texts(answers):
        raise DataError(
            f"{where}: expected texts 'title', 'passage' and 'question' and a list 'answers', "
            f"got {sorted(record)}."
        )
    title, passage, question = map(str, values)
    assert isinstance(answers, list)
    return Record(question, tuple(answers), (passage,), (0,), title)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
