"""Word for word what the package llmlingua 0.2.2 keeps, where that is asked for.

The golden file was made by scripts/oracles/llmlingua2.py, which also builds the tiny models.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cocom.baselines.llmlingua2 import LLMLingua2
from cocom.baselines.published import PublishedRule
from cocom.baselines.token_probabilities import TokenProbabilities

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((Path(__file__).parent / "golden/llmlingua2.json").read_text(encoding="utf-8"))


def _script() -> Any:
    path = ROOT / "scripts/oracles/llmlingua2.py"
    spec = importlib.util.spec_from_file_location("oracle_of_llmlingua2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE = _script()
NUMBERS = range(len(ORACLE.CASES))


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenProbabilities]:
    made = {}
    for key in ("bert", "xlm_roberta"):
        folder = tmp_path_factory.mktemp(key)
        getattr(ORACLE, key)(folder)
        made[key] = LLMLingua2(folder).classifier
    return made


def compressor_of(classifier: TokenProbabilities, case: dict[str, Any]) -> LLMLingua2:
    return LLMLingua2(
        classifier.model,
        tokenizer=classifier.tokenizer,
        count_tokens=ORACLE.count_tokens,
        force_tokens=case.get("force_tokens", ()),
        force_reserve_digit=case.get("force_reserve_digit", False),
        drop_consecutive=case.get("drop_consecutive", False),
        filter_passages=case.get("use_context_level_filter", False),
        compat="llmlingua",
    )


def budget_of(case: dict[str, Any]) -> dict[str, Any]:
    if "rate" in case:
        return {"rate": 1 / case["rate"], "target_tokens": None}
    return {"rate": None, "target_tokens": case["target_token"]}


def labelled(rule: PublishedRule, case: dict[str, Any]) -> tuple[str, str]:
    found = rule.label(case["context"], **budget_of(case))
    words = [word for windows in found for window in windows for word in window]
    return (
        " ".join(word.text.lstrip("▁") for word in words),
        "".join(str(int(word.kept)) for word in words),
    )


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("key", ["bert", "xlm_roberta"])
def test_the_same_words_are_kept(
    classifiers: dict[str, TokenProbabilities], key: str, number: int
) -> None:
    case = ORACLE.CASES[number]
    compressor = compressor_of(classifiers[key], case)
    assert compressor.published is not None
    golden = GOLDEN[key][number]
    assert labelled(compressor.published, case) == (golden["words"], golden["labels"])
    texts = compressor.compress(case["context"], **budget_of(case)).texts
    words = zip(golden["words"].split(" "), golden["labels"], strict=True)
    kept = "".join(word for word, label in words if label == "1")
    assert re.sub(r"\s", "", "".join(texts)) == kept


def test_special_tokens_that_xlm_r_knows(classifiers: dict[str, TokenProbabilities]) -> None:
    differing = 0
    for case, published, mended in zip(
        ORACLE.CASES, GOLDEN["xlm_roberta"], GOLDEN["xlm_roberta_mended"], strict=True
    ):
        compressor = compressor_of(classifiers["xlm_roberta"], case)
        assert compressor.published is not None
        compressor.published.unknown_around = False
        assert labelled(compressor.published, case) == (mended["words"], mended["labels"])
        differing += published["labels"] != mended["labels"]
    assert differing >= 3
