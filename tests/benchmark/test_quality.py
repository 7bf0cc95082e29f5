"""Known scores of a model, for the plot of quality against speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cocom.benchmark.quality import known_quality
from cocom.errors import InputError


def test_the_shipped_model_has_scores() -> None:
    scores = known_quality("cocom-tiny")
    assert set(scores) == {"text", "rate 4", "rate 16", "rate 128"}
    assert all(0 < score < 1 for score in scores.values())


def test_a_folder_may_have_scores_or_not(tmp_path: Path) -> None:
    assert known_quality(str(tmp_path)) == known_quality("llama-60m") == {}
    columns = [{"column": c, "exact_match": 0.5} for c in ("text", "rate 8", "no passage")]
    (tmp_path / "evaluation.json").write_text(json.dumps({"sets": {"a": columns, "b": []}}))
    assert known_quality(str(tmp_path)) == {"text": 0.5, "rate 8": 0.5}
    assert known_quality("llama-60m", tmp_path / "evaluation.json") == {"text": 0.5, "rate 8": 0.5}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sets": {}}', '{"sets": {"a": [{}]}}'])
def test_what_holds_no_scores_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scores.json"
    with pytest.raises(InputError, match=r"cocom eval \(FileNotFoundError"):
        known_quality("llama-60m", path)
    path.write_text(text)
    with pytest.raises(InputError, match="holds no scores of cocom eval"):
        known_quality("llama-60m", path)
