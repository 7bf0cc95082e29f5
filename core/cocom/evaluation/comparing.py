"""Every system asked every question: in one process or several, on where an earlier run stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cocom.engine import Cocom
from cocom.evaluation.answering import Done, Settings, answer_some, write_back_some
from cocom.evaluation.columns import Question
from cocom.evaluation.hard import model_of
from cocom.evaluation.processes import Workers, unbroken
from cocom.evaluation.record_file import RecordFile
from cocom.evaluation.systems import System

__all__ = ["VERSION", "Comparison"]

VERSION = 1

# A task is what is lost when a run is stopped.
_TASK_QUESTIONS = 64
_TASK_PASSAGES = 4


@dataclass
class Comparison:
    """A comparison under way, with its folder.

    Attributes:
        model: Compresses and answers.
        settings: What all columns have in common.
        out: Folder of the results.
        fixed: What decides every result: model, data, settings, by name; part of each file's header.
        workers: Processes that answer in place of this one; they have loaded the same model.
        progress: Whether to show a progress bar.
        skipped: Why a column cannot be had, by its name; grows.
    """

    model: Cocom
    settings: Settings
    out: Path
    fixed: Mapping[str, Any]
    workers: Workers | None = None
    progress: bool = False
    skipped: dict[str, str] = field(default_factory=dict)

    def leave_out(
        self, systems: Sequence[System], why_not: Callable[[System], str]
    ) -> list[System]:
        """The systems that can be asked; of the others, `skipped` tells why.

        Args:
            systems: Those that are wanted.
            why_not: Why a system cannot be had; empty if it can.
        """
        reasons = {system.name: why_not(system) for system in systems}
        self.skipped.update((name, reason) for name, reason in reasons.items() if reason)
        return [system for system in systems if not reasons[system.name]]

    def ask(self, systems: Sequence[System], questions: Mapping[int, Question]) -> list[System]:
        """Ask every question in every system's form, as far as that was not done.

        Args:
            systems: The columns.
            questions: What is asked, by number.

        Returns:
            The systems that answered every question; of the others, `skipped` tells why.

        Raises:
            InputError: The folder holds results of other settings.
        """
        finished: list[System] = []
        with self._bar(len(systems) * len(questions), "question") as bar:
            for system in systems:
                bar.set_description(system.name)
                with self.file_of(system) as file:
                    open_numbers = [n for n in questions if n not in file.done]
                    bar.update(len(questions) - len(open_numbers))
                    tasks = [
                        (self.settings, system, part, [questions[n] for n in part])
                        for part in _parts(open_numbers, questions)
                    ]
                    error = self._do(answer_some, tasks, file, bar.update)
                if error:
                    self.skipped[system.name] = error
                else:
                    finished.append(system)
        return finished

    def write_back(self, rates: Sequence[int], passages: Mapping[int, str]) -> list[int]:
        """Compress passages at every rate and write them back, as far as that was not done.

        Args:
            rates: Compression rates.
            passages: Texts, by number.

        Returns:
            The rates that gave every passage back; of the others, `skipped` tells why.
        """
        finished: list[int] = []
        with self._bar(len(rates) * len(passages), "passage") as bar:
            for rate in rates:
                name = f"reconstruction rate {rate}"
                bar.set_description(name)
                with self.file(name) as file:
                    numbers = [n for n in passages if n not in file.done]
                    bar.update(len(passages) - len(numbers))
                    parts = [
                        numbers[start : start + _TASK_PASSAGES]
                        for start in range(0, len(numbers), _TASK_PASSAGES)
                    ]
                    tasks = [
                        (self.settings, rate, part, [passages[n] for n in part]) for part in parts
                    ]
                    error = self._do(write_back_some, tasks, file, bar.update)
                if error:
                    self.skipped[name] = error
                else:
                    finished.append(rate)
        return finished

    def file_of(self, system: System) -> RecordFile:
        """The file of a system's results, opened or begun."""
        own = model_of(self.settings.hard, system.method) if system.kind == "hard" else ""
        return self.file(system.name, **({"compressor": own} if own else {}))

    def file(self, name: str, **own: object) -> RecordFile:
        """A file of results, opened or begun; its header says what decides them, and what else is given."""
        header = {"cocom_evaluation": VERSION, "column": name, **self.fixed, **own}
        return RecordFile(_path(self.out, name), header)

    def _bar(self, total: int, unit: str) -> tqdm[Any]:
        return tqdm(total=total, disable=not self.progress, unit=unit, smoothing=0.05)

    def _do(
        self,
        function: Callable[..., Done],
        tasks: Sequence[tuple[Any, ...]],
        file: RecordFile,
        advance: Callable[[int], object],
    ) -> str:
        for done in _each(self.model, self.workers, function, tasks):
            if done.error:
                return done.error
            file.append(done.rows)
            advance(len(done.rows))
        return ""


def _path(out: Path, name: str) -> Path:
    return out / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.jsonl"


def _parts(numbers: Sequence[int], questions: Mapping[int, Question]) -> list[list[int]]:
    """Questions of like length, the longest first, so that no process is left with one at the end."""
    order = sorted(numbers, key=lambda n: (-sum(map(len, questions[n].passages)), n))
    return [order[at : at + _TASK_QUESTIONS] for at in range(0, len(order), _TASK_QUESTIONS)]


def _each(
    model: Cocom,
    workers: Workers | None,
    function: Callable[..., Done],
    tasks: Sequence[tuple[Any, ...]],
) -> Iterator[Done]:
    if workers is None:
        for task in tasks:
            yield function(model, *task)
        return
    under_way: list[Future[Done]] = []
    try:
        with unbroken():
            under_way += [workers.submit(function, *task) for task in tasks]
            for future in as_completed(under_way):
                yield future.result()
    finally:
        for future in under_way:
            future.cancel()
