"""Do the hard methods keep what they promise? Budgets, forced strings and odd texts, method by method.

    python benchmarks/budgets.py
    python benchmarks/budgets.py --classifier FOLDER --out benchmarks/results/budgets.json

Each method compresses 1,000 random prompts in many scripts, each with a budget of its own; then as many with
strings that must not be lost; then 50 odd texts at several budgets. LLMLingua and LongLLMLingua score with
the backbone of the model that ships, LLMLingua-2 with the classifier that ships unless another is given.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from odd_texts import ODD_TEXTS

from cocom.baselines import HardCompression, make_compressor
from cocom.errors import InputError

QUESTION = "How many people lived there in 1987?"
FORCED = ("not", "1987", "?")
SCRIPTS = (
    "the cat sat on a mat, and 1987 of 4,512 people did not read it twice. Why not?",
    "서울은 대한민국의 수도이며 가장 큰 도시이다",
    "東京は日本の首都であり、世界最大の都市の一つです。",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "القاهرة هي عاصمة مصر وأكبر مدنها",
    "naïve café Ångström 👨‍👩‍👧 🇰🇷 ☕️",
    "if (x != y) { return f(x)[3]; } # done",
)


def prompts(count: int, rng: random.Random) -> list[list[str]]:
    """Up to five passages each, of words from two scripts."""

    def passage() -> str:
        words = [word for text in rng.sample(SCRIPTS, 2) for word in text.split(" ")]
        chosen = rng.choices(words, k=rng.randrange(1, 16))
        return rng.choice([" ", " ", " ", "", "\n"]).join(chosen)

    return [[passage() for _ in range(rng.randrange(1, 6))] for _ in range(count)]


def standing(string: str, text: str) -> int:
    """How often a string stands in a text, letters and digits as words of their own."""
    edge = r"\b" if string.isalnum() else ""
    return len(re.findall(edge + re.escape(string) + edge, text))


def check(found: HardCompression, passages: list[str], count: Callable[[str], int]) -> None:
    """What stays is the passages' own text, counted as it is, and every passage is accounted for."""
    assert found.compressed_tokens == sum(map(count, found.texts))
    assert found.origin_tokens == sum(map(count, passages))
    for passage in found.passages:
        assert passage.source == passages[passage.index]
        assert passage.text == "".join(passage.source[a:b] for a, b in passage.spans)
    places = [passage.index for passage in found.passages]
    assert sorted([*places, *found.dropped]) == list(range(len(passages)))


def measure(
    make: Callable[..., Any], count: Callable[[str], int], number: int, *, forced_by_call: bool
) -> dict[str, Any]:
    """What one method keeps of its promises.

    Args:
        make: Makes the compressor, with `force_tokens` where the method takes them when it is made.
        count: Counts tokens as the reader does.
        number: How many prompts.
        forced_by_call: The method takes `force_tokens` with each call.
    """
    rng = random.Random(0)
    compressor = make()
    under: dict[int, int] = {}
    above = 0
    began = time.perf_counter()
    for passages in prompts(number, rng):
        origin = sum(map(count, passages))
        target = rng.randrange(1, origin + 1)
        found = compressor.compress(passages, question=QUESTION, target_tokens=target)
        check(found, passages, count)
        above += found.compressed_tokens > target
        short = target - found.compressed_tokens
        under[short] = under.get(short, 0) + 1
    seconds = time.perf_counter() - began
    given = {"force_tokens": FORCED}
    forcing = compressor if forced_by_call else make(**given)
    lost = refused = occurrences = 0
    for passages in prompts(number, rng):
        target = rng.randrange(1, sum(map(count, passages)) + 1)
        try:
            found = forcing.compress(
                passages,
                question=QUESTION,
                target_tokens=target,
                **(given if forced_by_call else {}),
            )
        except InputError:  # the forced ones alone are more than the budget
            refused += 1
            continue
        assert found.compressed_tokens <= target
        left = {passage.index: passage.text for passage in found.passages}
        for index, source in enumerate(passages):
            for string in FORCED:
                before = standing(string, source)
                occurrences += before
                lost += max(0, before - left.get(index, "").count(string))
    crashed: list[str] = []
    for text in ODD_TEXTS:
        for budget in ({"rate": 1}, {"target_tokens": 1}, {"rate": 2}, {"rate": 7.5}):
            try:
                found = compressor.compress([text, "a second"], question=QUESTION, **budget)
                check(found, [text, "a second"], count)
            except Exception as error:
                crashed.append(f"{text[:20]!r} {budget}: {type(error).__name__}: {error}")
    return {
        "prompts": number,
        "above_budget": above,
        "within_one_token": sum(times for short, times in under.items() if 0 <= short <= 1),
        "tokens_under_budget": {str(short): under[short] for short in sorted(under)},
        "forced_occurrences": occurrences,
        "forced_lost": lost,
        "refused_because_forced_exceed": refused,
        "odd_texts": len(ODD_TEXTS),
        "odd_texts_crashed": crashed,
        "milliseconds_a_prompt": round(1000 * seconds / number, 2),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure every method, print a table, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--classifier", default="llmlingua2-tiny", help="of LLMLingua-2")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args(arguments)
    makers: dict[str, Callable[..., Any]] = {
        "llmlingua": lambda **given: make_compressor("llmlingua", dtype="float32", **given),
        "longllmlingua": lambda **given: make_compressor("longllmlingua", dtype="float32", **given),
        "llmlingua2": lambda **given: make_compressor("llmlingua2", options.classifier, **given),
    }
    report: dict[str, Any] = {"classifier": options.classifier, "methods": {}}
    print(
        "method         within 1   above   forced lost   odd texts crashed   ms a prompt",
        flush=True,
    )
    for name, make in makers.items():
        count = make().count_tokens
        found = measure(make, count, options.prompts, forced_by_call=name != "llmlingua2")
        report["methods"][name] = found
        print(
            f"{name:13} {found['within_one_token']:5}/{found['prompts']:<5} {found['above_budget']:4} "
            f"{found['forced_lost']:6}/{found['forced_occurrences']:<6} "
            f"{len(found['odd_texts_crashed']):8}/{found['odd_texts']:<6} "
            f"{found['milliseconds_a_prompt']:12}",
            flush=True,
        )
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    main()
