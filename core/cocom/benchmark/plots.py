"""A benchmark's report, drawn: SVG files that the same report makes byte for byte again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cocom.benchmark.figures import look
from cocom.benchmark.plot_rates import draw_quality, draw_rates
from cocom.benchmark.plot_ratios import draw_floors, draw_straightforward
from cocom.benchmark.plot_speedup import draw_speed_up
from cocom.benchmark.result import Report

__all__ = ["draw"]


def draw(
    report: Report,
    folder: Path,
    *,
    quality: Mapping[str, float] | None = None,
    quality_name: str = "exact match",
) -> list[Path]:
    """Draw what a report has figures for.

    Args:
        report: What to draw.
        folder: Where the files go; it is made if it is not there.
        quality: Score of each context ("text", "rate 16" ...), for a plot of quality against speed.
        quality_name: What the score is.

    Returns:
        The files that were drawn; a plot that the report has no cells for is not among them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with look():
        drawn = [
            draw_rates(report, folder / "rates.svg"),
            draw_speed_up(report, "first_token", folder / "speedup_first_token.svg"),
            draw_speed_up(report, "answer", folder / "speedup_answer.svg"),
            draw_quality(report, quality or {}, quality_name, folder / "quality.svg"),
            draw_floors(report, folder / "floor.svg"),
            draw_straightforward(report, folder / "straightforward.svg"),
        ]
    return [path for path in drawn if path is not None]
