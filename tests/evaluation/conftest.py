"""A comparison small enough for tests: twelve short questions, a tiny model, hard compressors that count."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cocom import Cocom, CocomConfig
from cocom.baselines.budget import fit
from cocom.baselines.result import HardCompression, HardPassage
from cocom.baselines.spans import Unit, kept_spans, kept_text
from cocom.evaluation import answering
from cocom.evaluation.processes import Workers
from cocom.testing import tiny_cocom

ESCAPING = "</script><script>document.title='broken'</script> & <b>\u2028"


@pytest.fixture(scope="session")
def tiny() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4, 16)))


@pytest.fixture(scope="session")
def workers(tiny, tmp_path_factory) -> Iterator[Workers]:
    """Two processes with the tiny model, started when first used; starting them takes seconds."""
    folder = tmp_path_factory.mktemp("workers") / "tiny"
    tiny.save_pretrained(folder)
    with Workers(2, {"name_or_path": str(folder), "device": "cpu"}) as started:
        yield started


@pytest.fixture
def questions_file(tmp_path) -> Path:
    path = tmp_path / "people.jsonl"
    names = ("Ada", "Bo", "Cy", "Di", "Ed", "Fay", "Gus", "Hal", "Ida", "Jo", "Kit", "Lea")
    with path.open("w", encoding="utf-8") as file:
        for i, name in enumerate(names):
            text = f"{name} lives in a house of {i + 10} rooms in the old town."
            if i == 3:
                text += f" {ESCAPING}"
            entry = {
                "question": f"Where does {name} live?",
                "answers": [f"{i + 10} rooms"],
                "passage": text,
            }
            file.write(json.dumps(entry) + "\n")
    return path


class Last:
    """A stand-in for a hard method: keeps the last words that fit, of all passages together."""

    def __init__(self, count: Callable[[str], int], *, fails: str = "") -> None:
        self.count_tokens = self.count = count
        self.calls: list[int | None] = []

    def compress(
        self,
        passages: Sequence[Any],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> HardCompression:
        assert question
        assert target_tokens is not None
        self.calls.append(target_tokens)
        units = [
            (index, Unit(*word.span(), (0, 0)))
            for index, text in enumerate(passages)
            for word in re.finditer(r"\s*\S+", text)
        ]

        def spans(kept, index):
            own = [unit for place, unit in units if place == index]
            first = next(i for i, (place, _) in enumerate(units) if place == index)
            return kept_spans(own, [i - first for i in kept if units[i][0] == index])

        def text(kept, index):
            return kept_text(passages[index], spans(kept, index))

        def total(kept):
            return sum(self.count(text(kept, i)) for i in range(len(passages)))

        kept = fit(range(len(units) - 1, -1, -1), target_tokens, total)
        staying = [i for i in reversed(range(len(passages))) if text(kept, i)]
        return HardCompression(
            tuple(HardPassage(i, text(kept, i), passages[i], spans(kept, i)) for i in staying),
            tuple(i for i in range(len(passages)) if i not in staying),
            sum(map(self.count, passages)),
            total(kept),
        )


@pytest.fixture
def hard(monkeypatch) -> list[Last]:
    """Puts the stand-in in the place of every hard method; those that were opened."""
    opened: list[Last] = []

    def open_stand_in(settings, method, count, *, device=None):
        opened.append(Last(count))
        return opened[-1]

    monkeypatch.setattr(answering, "open_hard", open_stand_in)
    monkeypatch.setattr(answering, "_giver", None)
    return opened
