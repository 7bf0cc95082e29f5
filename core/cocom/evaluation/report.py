"""All columns of a question set, and the table people read."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from cocom.engine import Cocom
from cocom.evaluation.columns import Question, Scores, columns_of, score_column
from cocom.evaluation.processes import Workers

__all__ = ["evaluate", "table"]


def evaluate(
    model: Cocom,
    questions: Sequence[Question],
    *,
    name: str = "questions",
    batch_size: int = 32,
    progress: bool = False,
    workers: Workers | None = None,
) -> list[Scores]:
    """Score every column of a model on the same questions.

    Args:
        model: Compresses and answers.
        questions: What is asked.
        name: Shown beside the progress bar.
        batch_size: Questions decoded at a time.
        progress: Show a progress bar.
        workers: Processes that answer in place of this one; they have loaded the same model.
    """
    scores: list[Scores] = []
    columns = columns_of(model)
    with tqdm(total=len(columns) * len(questions), disable=not progress, unit="question") as bar:
        for column in columns:
            bar.set_description(f"{name}, {column.name}")
            if workers is not None:
                score = workers.score(column, questions, batch_size=batch_size, advance=bar.update)
            else:
                score = score_column(
                    model, column, questions, batch_size=batch_size, advance=bar.update
                )
            scores.append(score)
    return scores


def table(scores: Sequence[Scores]) -> str:
    """A Markdown table; the share kept is of the exact match that reading text gives."""
    upper = next(score.exact_match for score in scores if score.column == "text")
    lines = [
        "| passages as | exact match (95 % interval) | F1 | match | kept of text | rows read |",
        "|---|---|---|---|---|---|",
    ]
    for score in scores:
        low, high = score.exact_match_interval
        kept = f"{score.exact_match / upper:.0%}" if upper else "-"
        lines.append(
            f"| {score.column} | {score.exact_match:.1%} ({low:.1%} to {high:.1%}) | {score.f1:.1%} | "
            f"{score.match:.1%} | {kept} | {score.prompt_rows:.0f} |"
        )
    return "\n".join(lines)
