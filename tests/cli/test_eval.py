"""`cocom eval --data`: the comparison from the command line, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cocom import CocomConfig
from cocom.cli import main
from cocom.testing import tiny_cocom

COLUMNS = "text,rate *,truncated *,llmlingua2 *"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_cocom(CocomConfig(rates=(4, 16))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rooms.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(130):
            entry = {"question": f"Who has room {i}?", "answers": [f"guest {i}"]}
            file.write(json.dumps({**entry, "passage": f"Room {i} is that of guest {i}."}) + "\n")
    return path


@pytest.fixture
def cocom(capsys, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cocom", "eval", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_the_table_the_notes_and_the_files(cocom, model, data, tmp_path) -> None:
    out = tmp_path / "out"
    code, shown, _ = cocom(
        *("--data", data, "--retriever", "bm25", "--out", out, "--model", model),
        *("--columns", COLUMNS, "--limit", 9, "--max-tokens", 2, "--reconstruct", 1),
        *("--llmlingua2", ""),
    )
    assert code == 0
    assert "| rate 16 |" in shown
    assert "9 questions of rooms.jsonl, 130 passages; 5 for each question by bm25." in shown
    assert "recall@5, 9 questions" in shown
    assert "Skipped: llmlingua2 rate 4: LLMLingua-2 needs a token classifier" in shown
    assert {p.name for p in out.iterdir()} >= {
        "report.json",
        "report.html",
        "exact_match_rows.svg",
        "retrieval.jsonl",
        "truncated-rate-16.jsonl",
    }


def test_json_is_the_report(cocom, model, data, tmp_path) -> None:
    code, shown, _ = cocom(
        *("--data", data, "--out", tmp_path / "out", "--model", model, "--json"),
        *("--columns", "no passage", "--sample", 7, "--max-tokens", 2, "--reconstruct", 0),
    )
    assert code == 0
    report = json.loads(shown)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["columns"][0]["questions"] == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "x.jsonl"), "--data is x.jsonl and --out is None: a comparison needs both"),
        (("--out", "x"), "--data is None and --out is x"),
        (
            ("--data", "a", "--out", "b", "--squad", "c"),
            "--data a and --squad c do not go together",
        ),
        (("--data", "absent.jsonl", "--out", "{tmp}/out"), "'absent.jsonl' does not exist"),
        (
            ("--data", "{data}", "--out", "{tmp}/out", "--columns", "all"),
            "no column is called 'all'",
        ),
        (("--processes", "0"), "--processes must be at least 1, got 0"),
        (("--questions", "0"), "--questions must be at least 1, got 0"),
        (("--data", "{data}", "--out", "{data}"), "cannot be written (File exists)"),
        (
            ("--data", "{data}", "--out", "{tmp}/out", "--retriever", "bm52:"),
            "no retriever 'bm52:'",
        ),
    ],
)
def test_errors_are_one_sentence(cocom, model, data, tmp_path, arguments, message) -> None:
    filled = [argument.format(data=data, tmp=tmp_path) for argument in arguments]
    code, _, shown = cocom(*filled, "--model", model)
    assert code == 1
    assert message in shown
    assert shown.startswith("cocom: ")
    assert shown.count("\n") == 1


def rows(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob("*.jsonl"))


def children(parent: int) -> list[str]:
    return Path(f"/proc/{parent}/task/{parent}/children").read_text().split()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find processes")
def test_a_killed_run_goes_on_where_it_was(cocom, model, data, tmp_path) -> None:
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "cocom.cli", "eval", "--data", str(data), "--out", str(out)),
        *("--model", str(model), "--columns", COLUMNS, "--max-tokens", "2", "--reconstruct", "0"),
        *("--processes", "2"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as running:
        deadline = time.monotonic() + 120
        while rows(out) < 140:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        workers = children(running.pid)
        running.send_signal(signal.SIGKILL)
    assert len(workers) >= 2
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived the run"
        time.sleep(0.05)
    before = {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
    assert not (out / "report.json").exists()
    code, shown, _ = cocom(*command[4:-2])  # alone: it does not matter who goes on
    assert code == 0
    assert "| truncated rate 16 |" in shown
    for name, content in before.items():
        whole = content[: content.rfind(b"\n") + 1]
        assert (out / name).read_bytes().startswith(whole), "what was there stayed"
    for path in out.glob("*.jsonl"):
        numbers = [json.loads(line)["n"] for line in path.read_bytes().splitlines()[1:]]
        assert sorted(numbers) == list(range(130)), "each question once"
