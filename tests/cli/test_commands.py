"""The command line on a tiny random model: what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cocom import Cocom, CocomConfig, load_contexts
from cocom.cli import main
from cocom.testing import tiny_cocom

SENTENCES = ["Ada was born in Rome.", "Bo plays the harp in Oslo.", "Cy sells lamps."]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cocom(CocomConfig(rates=(4, 16), memory_positions="uniform")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "notes.txt").write_text("\n\n".join(SENTENCES), encoding="utf-8")
    return folder


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def cocom(capsys, monkeypatch) -> Callable[..., Done]:
    """Runs the command in this process, exactly as its entry point does."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["cocom", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Done(int(end.value.code or 0), out, err)

    return run


def test_ask_names_answer_sources_rows_and_time(cocom, model, documents) -> None:
    text = cocom(
        "ask", "Where was Ada born?", documents, "--model", model, "--max-tokens", 4
    ).stdout
    assert "notes.txt:1" in text
    assert "rows instead of" in text
    assert "Seconds: load" in text
    report = json.loads(
        cocom(
            "ask", "Where was Ada born?", documents, "--model", model, "--max-tokens", 4,
            "--as-text", 1, "--passages", 2, "--json",
        ).stdout
    )  # fmt: skip
    forms = [source["read_as"] for source in report["sources"]]
    assert forms[0] == "text"
    assert set(forms[1:]) <= {"rate 4"}
    usage = report["usage"]
    assert (
        usage["rows_as_text"]
        == usage["prompt_rows"] - usage["context_rows"] + usage["replaced_tokens"]
    )
    assert set(report["seconds"]) == {"load", "index", "retrieve", "compress", "answer"}


def test_compress_writes_contexts_that_answer(cocom, model, documents, tmp_path) -> None:
    out = tmp_path / "contexts.safetensors"
    figures = json.loads(
        cocom("compress", documents, "--out", out, "--model", model, "--rate", 16, "--json").stdout
    )
    contexts = load_contexts(out)
    assert figures["passages"] == len(contexts)
    assert figures["embeddings"] == sum(map(len, contexts))
    engine = Cocom.from_pretrained(model)
    assert contexts[0].fingerprint == engine.fingerprint == figures["fingerprint"]
    engine.answer("Where?", contexts, max_new_tokens=2)


def test_reconstruct_shows_text_beside_reconstruction(cocom, model) -> None:
    report = json.loads(
        cocom("reconstruct", "--text", "Ada was born.", "--model", model, "--json").stdout
    )
    (entry,) = report["passages"]
    assert entry["text"] == "Ada was born."
    assert isinstance(entry["reconstruction"], str)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ask", "q?", "absent.txt"), "absent.txt"),
        (("ask", " ", "{documents}"), "question"),
        (("ask", "q?", "{documents}", "--rate", "7"), "rate 7 is not among the rates"),
        (("ask", "q?", "{documents}", "--passages", "0"), "k is 0"),
        (("ask", "q?", "{documents}", "--as-text", "-1"), "as_text must be 0 or more"),
        (("ask", "q?", "{documents}", "--max-tokens", "0"), "max_new_tokens must be at least 1"),
        (("ask", "q?", "{documents}", "--model", "nowhere"), "'nowhere' is neither a model folder"),
        (("reconstruct",), "either files or --text"),
        (("train", "absent.jsonl", "--out", "{tmp}/run"), "'absent.jsonl' does not exist"),
        (("eval", "--squad", "absent.jsonl", "--questions", "1"), "'absent.jsonl' does not exist"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_1(
    cocom, model, documents, tmp_path, arguments, message
) -> None:
    filled = [str(a).format(documents=documents, tmp=tmp_path) for a in arguments]
    if "--model" not in filled:
        filled += ["--model", str(model)]
    done = cocom(*filled)
    assert done.returncode == 1
    assert done.stderr.startswith("cocom: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_json_where_json_is_asked_for(cocom, model) -> None:
    done = cocom("ask", "q?", "absent.txt", "--model", model, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "InputError"


def test_wrong_usage_is_exit_code_2(cocom) -> None:
    assert cocom("ask").returncode == 2
    assert cocom("train", "x.jsonl", "--out", "y", "--objective", "z").returncode == 2


def questions_file(path: Path, count: int = 200) -> Path:
    names, places = ["Ada", "Bo", "Cy", "Di"], ["Rome", "Oslo", "Lima", "Bern", "Kiev"]
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            name, place = names[i % 4], places[i % 5]
            record = {
                "question": f"Where is {name}?",
                "passages": [f"{name} is in {place}.", "Nobody is here."],
                "answer": place,
            }
            file.write(json.dumps(record) + "\n")
    return path


@pytest.mark.slow
def test_train_resumes_after_kill_and_lowers_its_loss(cocom, model, tmp_path) -> None:
    data = questions_file(tmp_path / "data.jsonl")
    out = tmp_path / "run"
    arguments = [
        "train", data, "--out", out, "--model", model, "--learning-rate", "3e-3", "--batch-size", "4",
        "--epochs", "2", "--save-every", "20", "--json",
    ]  # fmt: skip
    command = [sys.executable, "-m", "cocom.cli", *map(str, arguments)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not list((out / "checkpoints").glob("checkpoint-*/trainer_state.json")):
        assert running.poll() is None, running.stderr.read() if running.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert not (out / "model").exists()
    resumed = json.loads(cocom(*arguments).stdout)
    assert resumed["steps"] == 100
    whole = json.loads(cocom(*[tmp_path / "whole" if a == out else a for a in arguments]).stdout)
    assert resumed["losses"] == whole["losses"]
    assert whole["losses"][-1]["loss"] < 0.5 * whole["losses"][0]["loss"]
    once, twice = (Cocom.from_pretrained(f / "model") for f in (tmp_path / "whole", out))
    assert once.fingerprint == twice.fingerprint


def test_the_command_is_a_program_of_its_own(model):
    arguments = ["ask", "q?", "absent.txt", "--model", str(model)]
    command = [sys.executable, "-m", "cocom.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cocom: ")


def test_eval_reports_every_column(cocom, model) -> None:
    report = json.loads(cocom("eval", "--questions", 6, "--model", model, "--json").stdout)
    columns = [row["column"] for row in report["sets"]["facts"]]
    assert columns == ["text", "rate 4", "rate 16", "no passage", "wrong passages, rate 4"]
    assert report["skipped"]["squad"].startswith("no file given")
    text = cocom("eval", "--questions", 6, "--model", model).stdout
    assert "| passages as | exact match" in text
