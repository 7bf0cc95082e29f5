"""What the package llmlingua 0.2.2 keeps of some prompts, by LLMLingua and by LongLLMLingua.

    python -m venv oracle
    oracle/bin/pip install torch==2.13.0 transformers==4.46.3 llmlingua==0.2.2 "numpy<2.4" accelerate
    oracle/bin/python -P scripts/oracles/llmlingua.py tests/baselines/golden/llmlingua.json

(-P keeps this file from standing in for the package.)

Nothing is downloaded: the model is the backbone that ships with this package, in float32, with its settings
as transformers 4 reads them and a tokenizer that puts no space in front of a text (the package looks for the
question in what it decodes), and the package's own counter of tokens is replaced by one of characters.
"""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Any

ROOT = Path(__file__).resolve().parents[2] / "core" / "cocom"
BACKBONE = ROOT / "models" / "cocom-tiny" / "backbone"
SAMPLES = ROOT / "samples" / "documents"
QUESTIONS = (
    "Who designed the Sydney Opera House?",
    "When was Marie Curie born and what did she study in Paris?",
    "How many Walkman players were sold?",
)
RATES = (1.5, 2, 4)


def paragraphs() -> list[str]:
    """Paragraphs of the sample documents, and the texts of their JSON lines."""
    found = []
    for name in ("marie_curie.txt", "sony_walkman.txt", "sydney_opera_house.md"):
        text = (SAMPLES / name).read_text(encoding="utf-8")
        found += [part.strip() for part in text.split("\n\n") if len(part) > 80]
    lines = (SAMPLES / "organisations_and_events.jsonl").read_text(encoding="utf-8").splitlines()
    found += [json.loads(line)["text"] for line in lines]
    return found


def prompts(texts: list[str]) -> list[list[str]]:
    """Lists of passages, short and long."""
    return [
        texts[:1],  # less than one window
        [" ".join(texts[:2])],
        [" ".join(texts[:5])],
        [" ".join(texts)],
        texts[:3],
        texts[2:8],
        texts,
    ]


def cases() -> list[dict[str, Any]]:
    """What to compress."""
    found = []
    lists = prompts(paragraphs())
    for number, (passages, rate) in enumerate(product(lists, RATES)):
        question = QUESTIONS[number % len(QUESTIONS)]
        for method in ("llmlingua", "longllmlingua"):
            found.append(
                {"method": method, "passages": passages, "question": question, "rate": rate}
            )
    return found


class Letters:
    """Stands in for the counter of tokens that the package downloads."""

    def encode(self, text: str) -> list[str]:
        """A text's characters."""
        return list(text)


def backbone(folder: Path) -> str:
    """The shipped backbone with its settings as transformers 4 reads them."""
    copytree(BACKBONE, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config))
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = None
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    return str(folder)


def answer(compressor: Any, case: dict[str, Any]) -> dict[str, Any]:
    """What the package makes of a case, or the error it ends with."""
    seen: dict[str, Any] = {}
    control, iterate = compressor.control_context_budget, compressor.iterative_compress_prompt

    def controlled(*given: Any, **named: Any) -> Any:
        result = control(*given, **named)
        seen["order"] = [int(i) for i in result[2]]
        return result

    def iterated(*given: Any, **named: Any) -> Any:
        result = iterate(*given, **named)
        seen["ids"] = result[0][0].tolist()
        return result

    compressor.control_context_budget = controlled
    compressor.iterative_compress_prompt = iterated
    total = sum(compressor.get_token_length(text) for text in case["passages"])
    options: dict[str, Any] = {"target_token": max(1, int(total / case["rate"]))}
    if case["method"] == "longllmlingua":
        options |= {
            "question": case["question"],
            "rank_method": "longllmlingua",
            "condition_in_question": "after_condition",
            "condition_compare": True,
            "reorder_context": "sort",
            "dynamic_context_compression_ratio": 0.3,
        }
    try:
        result = compressor.compress_prompt(
            list(case["passages"]), concate_question=False, **options
        )
    except Exception as error:  # whatever the package ends with is its answer
        seen = {"error": f"{type(error).__name__}: {error}"[:200]}
    else:
        seen["text"] = result["compressed_prompt"]
    finally:
        compressor.control_context_budget = control
        compressor.iterative_compress_prompt = iterate
    return {"target": options["target_token"], "total": total, **seen}


def main(target: str) -> None:
    """Write the golden file."""
    import tiktoken

    tiktoken.encoding_for_model = lambda name: Letters()
    tiktoken.get_encoding = lambda name: Letters()
    from llmlingua import PromptCompressor

    found = cases()
    texts = sorted({text for case in found for text in case["passages"]})
    with tempfile.TemporaryDirectory() as folder:
        compressor = PromptCompressor(backbone(Path(folder) / "backbone"), device_map="cpu")
        compressor.model.eval()
        for case in found:
            case |= answer(compressor, case)
            case["passages"] = [texts.index(text) for text in case["passages"]]
    Path(target).write_text(
        json.dumps({"texts": texts, "cases": found}, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1])
