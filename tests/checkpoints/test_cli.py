"""`cocom info` and `cocom convert`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cocom import Cocom
from cocom.cli import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def cocom(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cocom", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out + err

    return run


def test_info_in_words(cocom: Run, pisco: Path) -> None:
    code, out = cocom("info", pisco)
    assert code == 0
    lines = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    found = {name.strip(): value.strip() for name, value in lines.items()}
    assert found["format"] == "pisco"
    assert found["base"] == "tiny/llama"
    assert found["adapters"] == "compress, read"
    assert "8 at rate 16" in out
    assert "known after loading" in out


def test_info_of_the_shipped_model_as_json(cocom: Run) -> None:
    code, out = cocom("info", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["format"] == "cocom"
    assert found["rates"] == [4, 16, 128]
    assert len(found["fingerprint"]) == 64


def test_info_of_nothing(cocom: Run, tmp_path: Path) -> None:
    code, out = cocom("info", tmp_path / "none", "--json")
    assert code == 1
    assert json.loads(out)["error"] == "CheckpointError"


def test_convert_keeps_the_stored_type_and_the_meaning(
    cocom: Run, cocom_v1: Path, base: Path, tmp_path: Path
) -> None:
    code, out = cocom("convert", cocom_v1, tmp_path / "ours", "--base", base, "--json")
    assert code == 0, out
    ours = Cocom.from_pretrained(tmp_path / "ours", device="cpu", dtype="auto")
    published = Cocom.from_pretrained(cocom_v1, base=base, device="cpu", dtype="auto")
    assert str(ours.backbone.dtype) == "torch.bfloat16"
    assert ours.fingerprint == published.fingerprint == json.loads(out)["fingerprint"]


def test_convert_with_named_bases(cocom: Run, pisco: Path, base: Path, tmp_path: Path) -> None:
    code, out = cocom(
        "convert", pisco, tmp_path / "a", "--base", f"tiny/llama={base}", "--base", "other=x"
    )
    assert code == 0, out
    code, out = cocom("convert", pisco, tmp_path / "b", "--base", base, "--base", "x")
    assert code == 1
    assert "write NAME=FOLDER for each base model" in out
    assert not (tmp_path / "b").exists()
