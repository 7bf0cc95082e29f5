"""A comparison's figures: means with intervals, and differences between columns on the same questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocom.evaluation.systems import System

__all__ = ["MEASURES", "QUALITIES", "ColumnSummary", "Figure", "Resampling", "summarise"]

QUALITIES = ("exact_match", "f1", "match")
MEASURES = (
    *QUALITIES,
    "prompt_rows",
    "passage_rows",
    "passage_tokens",
    "compress_seconds",
    "answer_seconds",
    "online_seconds",
)


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ColumnSummary:
    """One column of a comparison.

    Attributes:
        column: Its name.
        family: What all its rates share.
        rate: Compression rate, or the one whose number of rows is kept to; None without any.
        questions: How many were asked.
        compression: When passages are compressed: "offline", "online" or "none".
        figures: Means over the questions, by the names of `MEASURES`.
        over_budget: Questions whose passages took more rows than they may.
        against: Differences to other columns (this one less the other), by their name and measure.
    """

    column: str
    family: str
    rate: int | None
    questions: int
    compression: str
    figures: Mapping[str, Figure]
    over_budget: int
    against: Mapping[str, Mapping[str, Figure]]

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ColumnSummary:
        """Rebuild from a report."""
        figures = {name: Figure(**own) for name, own in value["figures"].items()}
        against = {
            other: {name: Figure(**own) for name, own in measures.items()}
            for other, measures in value["against"].items()
        }
        return cls(**{**value, "figures": figures, "against": against})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a report."""
        return dataclasses.asdict(self)


class Resampling:
    """The same draws of questions for every figure: the intervals are those of `bootstrap_interval`."""

    def __init__(self, questions: int, *, resamples: int = 1000, seed: int = 0) -> None:
        """Draw.

        Args:
            questions: How many there are.
            resamples: How many times as many are drawn.
            seed: Fixes the draws.
        """
        generator = np.random.default_rng(seed)
        self._times = np.stack(
            [
                np.bincount(generator.integers(0, questions, questions), minlength=questions)
                for _ in range(resamples)
            ]
        ).astype(np.uint16)

    def figures(self, values: NDArray[np.float64], confidence: float = 0.95) -> list[Figure]:
        """Means and intervals.

        Args:
            values: One score for each figure and question, shape (figures, questions).
            confidence: The share of means that an interval holds.
        """
        draws = np.concatenate(
            [self._times[at : at + 100].astype(np.float64) @ values.T for at in self._starts()]
        )
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile(draws / values.shape[1], [tail, 1.0 - tail], axis=0)
        means = values.mean(axis=1)
        return [Figure(*map(float, one)) for one in zip(means, low, high, strict=True)]

    def figure(self, values: Sequence[float]) -> Figure:
        """Mean and interval of one score a question."""
        (one,) = self.figures(np.asarray([values], dtype=np.float64))
        return one

    def _starts(self) -> range:
        return range(0, len(self._times), 100)


def summarise(
    systems: Sequence[System],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    soft_is_online: bool = False,
) -> list[ColumnSummary]:
    """Means, intervals and differences of all columns.

    Args:
        systems: The columns, in the order of the table.
        rows: Each column's rows by its name, all in the order of the same questions.
        soft_is_online: Whether context embeddings are made for each question.
    """
    if not systems:
        return []
    values = {
        system.name: _values(rows[system.name], compression(system, soft_is_online))
        for system in systems
    }
    resampling = Resampling(len(rows[systems[0].name]))
    return [
        ColumnSummary(
            system.name,
            system.family,
            system.rate,
            len(rows[system.name]),
            compression(system, soft_is_online),
            dict(zip(MEASURES, resampling.figures(values[system.name]), strict=True)),
            sum(row["passage_rows"] > row.get("budget", np.inf) for row in rows[system.name]),
            {
                other: dict(
                    zip(
                        QUALITIES,
                        resampling.figures((values[system.name] - values[other])[: len(QUALITIES)]),
                        strict=True,
                    )
                )
                for other in ("text", system.soft_counterpart)
                if other in values and other != system.name
            },
        )
        for system in systems
    ]


def compression(system: System, soft_is_online: bool) -> str:
    """When a system compresses passages: before any question, or once it is asked."""
    if system.kind in ("none", "text"):
        return "none"
    if system.kind in ("soft", "wrong"):
        return "online" if soft_is_online else "offline"
    return "online"


def _values(rows: Sequence[Mapping[str, Any]], compressed: str) -> NDArray[np.float64]:
    def online(row: Mapping[str, Any]) -> float:
        before = row["compress_seconds"] if compressed == "online" else 0.0
        return float(before + row["answer_seconds"])

    return np.asarray(
        [
            [online(row) if name == "online_seconds" else row[name] for row in rows]
            for name in MEASURES
        ],
        dtype=np.float64,
    )
