# ruff: noqa: E501  (the card is prose)
"""Put the trained model into the package, with a card whose every figure comes from `cocom eval`.

cocom eval --suite shipped --model runs/shipped/cocom-tiny --squad SQUAD --json > runs/shipped/eval.json
python recipes/shipped/publish.py runs/shipped/cocom-tiny runs/shipped/eval.json
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from cocom import Cocom
from cocom.asking import ask, load_passages, make_retriever
from cocom.evaluation.columns import Scores
from cocom.evaluation.metrics import exact_match
from cocom.evaluation.report import table

SQUAD_DEV = 10_570
MODELS = Path(__file__).resolve().parents[2] / "core" / "cocom" / "models"

CARD = """# cocom-tiny

A very small COCOM model that ships with the package, so that everything can be tried and tested without a
download. It compresses passages at rates 4, 16 and 128, answers short questions from them, and writes them back.

- **Size:** {parameters:.1f} million parameters, {megabytes:.1f} MB in bfloat16. A Llama of 4 layers, width 256, with
  its own byte-level vocabulary of 2,048. Window: {window} tokens (about 60 English words).
- **One set of weights** compresses and reads; memory tokens stand at uniform positions, one kind for each rate.
- **Trained** from random weights on one CPU (two cores) in about three hours by `recipes/shipped/` (seeds, stages and
  scripts are there): auto-encoding and continuation, then questions on generated facts about made-up people, places,
  organisations, products and events, then SQuADShifts (CC BY 4.0), QAMR (MIT), Re-DocRED (MIT) and WikiSplit
  (CC BY-SA 4.0). It may not claim scores on SQuADShifts.
- **Licence:** Apache-2.0.

## What it can do

Short factual questions on short, plain passages: who, where, when, which, how much, with the answer copied from a
passage; the figures below say how often. They were still rising when training stopped.

## What it cannot do

It seldom answers questions on real documents ({samples} of the 40 on the sample documents that ship beside it, at
rate 4). It knows nothing that is not in the passages, and little English: long sentences, paraphrase, reasoning, yes-or-no
questions, counting and every other language are beyond it, and it answers them too, wrongly. It never says that an answer is
missing. Compression at rate 128 keeps the gist at best. It is for trying out and testing; for real work train a
backbone of your own.

## Figures

All by `cocom eval --suite shipped`, greedy decoding, five passages a question of which one holds the answer, in
{dtype} on a CPU; fingerprint `{fingerprint}`. "No passage" is the lower bound, reading the same passages as
text the upper one, and "wrong passages" the control: five embedded passages without the answer's.

### Generated facts, {facts} questions

Made-up names, cities, list values and sentence templates are those of the generator's `held_out` split: training's
generator has none of them.

{facts_table}

### SQuAD v1.1 dev, {squad}

Never trained on; the gold passage among five of the same article.

{squad_table}
"""


def _share(questions: int) -> str:
    if questions == SQUAD_DEV:
        return f"all {questions:,} questions"
    return f"{questions:,} of {SQUAD_DEV:,} questions, from the first"


def _samples_answered(model: Cocom) -> int:
    """How many of the sample questions are answered exactly, retrieval included."""
    folder = MODELS.parent / "samples"
    retriever = make_retriever("bm25", load_passages(model, [folder / "documents"]))
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    found = [ask(model, e["question"], retriever, max_new_tokens=24).answer.text for e in entries]
    return int(
        sum(exact_match(text, [e["answer"]]) for text, e in zip(found, entries, strict=True))
    )


def main() -> None:
    """Copy the model and write its card."""
    source, report_file = Path(sys.argv[1]), Path(sys.argv[2])
    report = json.loads(report_file.read_text(encoding="utf-8"))
    model = Cocom.from_pretrained(source)
    if model.fingerprint != report["fingerprint"]:
        sys.exit(f"{report_file} was measured on another model than {source}")
    target = MODELS / "cocom-tiny"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    sets = {name: [Scores.from_dict(row) for row in rows] for name, rows in report["sets"].items()}
    card = CARD.format(
        parameters=sum(p.numel() for p in model.backbone.parameters()) / 1e6,
        megabytes=sum(f.stat().st_size for f in target.rglob("*") if f.is_file()) / 1e6,
        window=model.config.window,
        dtype=report["dtype"],
        fingerprint=report["fingerprint"][:12],
        facts=sets["facts"][0].questions,
        squad=_share(sets["squad"][0].questions),
        samples=_samples_answered(model),
        facts_table=table(sets["facts"]),
        squad_table=table(sets["squad"]),
    )
    (target / "README.md").write_text(card, encoding="utf-8")
    (target / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
