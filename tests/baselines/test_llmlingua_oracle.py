"""What the package llmlingua 0.2.2 keeps (made by scripts/oracles/llmlingua.py), and what we keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cocom.baselines import LLMLingua, LongLLMLingua
from cocom.baselines.causal_models import load_causal_model
from cocom.baselines.published_causal import Published
from cocom.errors import ConfigError, InputError
from cocom.testing import tiny_backbone, tiny_tokenizer

GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "llmlingua.json").read_text(encoding="utf-8")
)
CASES = GOLDEN["cases"]


def passages(case: dict[str, Any]) -> list[str]:
    return [GOLDEN["texts"][number] for number in case["passages"]]


@pytest.fixture(scope="module")
def model() -> Any:
    return load_causal_model("cocom-tiny", dtype="float32", device="cpu")[0]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The shipped tokenizer without the space in front, which the package cannot work with."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    shipped: Any = load_causal_model("cocom-tiny", device="cpu")[1]
    settings = json.loads(shipped.backend_tokenizer.to_str())
    settings["normalizer"] = None
    plain = Tokenizer.from_str(json.dumps(settings))
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>")


def identity(case: dict[str, Any]) -> str:
    return f"{case['method']}-{len(case['passages'])}-{case['total']}-{case['rate']}"


def cases() -> list[Any]:
    """All of them; the longest are for those who have the time, but for one of each method."""
    found = []
    for case in CASES:
        brief = case["total"] < 1000 or (len(case["passages"]), case["rate"]) == (20, 4)
        marks = () if brief else (pytest.mark.slow,)
        found.append(pytest.param(case, id=identity(case), marks=marks))
    return found


@pytest.mark.parametrize("case", cases())
def test_compat_keeps_the_same_tokens(case, model, tokenizer) -> None:
    long = case["method"] == "longllmlingua"
    found = Published(model, tokenizer).compress(
        passages(case),
        case["target"],
        question=case["question"] if long else None,
        spread=0.3 if long else 0.0,
        sort=long,
    )
    assert found.order == case.get("order", [0])
    assert found.ids == case["ids"]
    assert tokenizer.decode(found.ids) == case["text"]


def test_the_golden_file_covers_several_windows_and_both_methods() -> None:
    assert {case["method"] for case in CASES} == {"llmlingua", "longllmlingua"}
    assert sum(case["total"] > 400 for case in CASES) == 18
    assert {case["rate"] for case in CASES} == {1.5, 2, 4}
    assert not any("error" in case for case in CASES)


@pytest.mark.parametrize("method", ["llmlingua", "longllmlingua"])
def test_compat_is_a_setting_of_both_methods(method, model, tokenizer) -> None:
    kind: Any = {"llmlingua": LLMLingua, "longllmlingua": LongLLMLingua}[method]
    compressor = kind(model, tokenizer=tokenizer, compat="llmlingua")
    cases = [case for case in CASES if case["method"] == method and len(case["passages"]) > 1]
    for case in cases[:4]:
        found = compressor.compress(
            passages(case), question=case["question"], target_tokens=case["target"]
        )
        order = [passage.index for passage in found.passages]
        assert order == [place for place in case["order"] if place in order]
        for passage in found.passages:
            assert passage.text == "".join(passage.source[a:b] for a, b in passage.spans)
        # The package's text has broken characters where ours has whole ones.
        ours = "".join("".join(found.texts).split())
        theirs = "".join(case["text"].split())
        if "\ufffd" not in theirs:
            assert ours == theirs
        else:
            assert abs(len(ours) - len(theirs)) <= theirs.count("\ufffd")


def kept_share(found: Any, case: dict[str, Any], published: Any) -> float:
    """Of the characters that either keeps, the share that both keep."""
    ours = {(p.index, at) for p in found.passages for a, b in p.spans for at in range(a, b)}
    theirs = {(p.index, at) for p in published.passages for a, b in p.spans for at in range(a, b)}
    return len(ours & theirs) / len(ours | theirs)


def test_the_papers_rules_keep_something_else(model, tokenizer) -> None:
    """How far the default is from the package: of what either keeps, less than half is kept by both."""
    for kind, method in ((LLMLingua, "llmlingua"), (LongLLMLingua, "longllmlingua")):
        ours: Any = kind(model, tokenizer=tokenizer)
        theirs: Any = kind(model, tokenizer=tokenizer, compat="llmlingua")
        shares = []
        for case in CASES:
            if case["method"] == method and 300 < case["total"] < 1000 and case["rate"] == 2:
                given = {"question": case["question"], "target_tokens": case["target"]}
                found = ours.compress(passages(case), **given)
                assert case["target"] - 1 <= found.compressed_tokens <= case["target"]
                shares.append(kept_share(found, case, theirs.compress(passages(case), **given)))
        assert 0.4 < sum(shares) / len(shares) < 0.6


def test_what_compat_cannot_do_is_refused(model, tokenizer) -> None:
    compressor = LLMLingua(model, tokenizer=tokenizer, compat="llmlingua")
    with pytest.raises(ConfigError, match="force_tokens and force_passages"):
        compressor.compress(["some text"], rate=2, force_tokens=["text"])
    with pytest.raises(ConfigError, match="compat must be None or 'llmlingua', got 'lingua'"):
        LLMLingua(model, tokenizer=tokenizer, compat="lingua")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"sentence_budget is 1.4 and compat is 'llmlingua'"):
        LLMLingua(model, tokenizer=tokenizer, sentence_budget=1.4, compat="llmlingua")
    short = LLMLingua(
        tiny_backbone(max_position_embeddings=32), tokenizer=tiny_tokenizer(), compat="llmlingua"
    )
    with pytest.raises(InputError, match="have 40 tokens but the model reads 32"):
        short.compress(["x" * 40], rate=2)
