"""The hub: its cache without a network, what is asked of it, what is written to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from cocom import Cocom
from cocom.checkpoints.info import describe
from cocom.checkpoints.source import HubOptions, Source
from cocom.errors import CheckpointError
from cocom.testing import tiny_cocom

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(cache: Path, repository: str, folder: Path, revision: str = "main") -> None:
    """Put a folder into a hub cache as if it had been downloaded."""
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / revision).write_text(COMMIT)


def test_published_checkpoint_and_base_from_the_cache(
    pisco: Path, base: Path, tmp_path: Path
) -> None:
    cached(tmp_path, "naver/pisco-tiny", pisco)
    cached(tmp_path, "tiny/llama", base)
    model = Cocom.from_pretrained(
        "naver/pisco-tiny", cache_dir=tmp_path, local_files_only=True, device="cpu"
    )
    expected = Cocom.from_pretrained(pisco, base=base, device="cpu")
    assert model.fingerprint == expected.fingerprint


def test_our_own_model_at_a_revision_from_the_cache(tmp_path: Path) -> None:
    model = tiny_cocom()
    model.save_pretrained(tmp_path / "model")
    cached(tmp_path / "cache", "me/tiny", tmp_path / "model", revision="v2")
    found = Cocom.from_pretrained(
        "me/tiny", revision="v2", cache_dir=tmp_path / "cache", device="cpu"
    )
    assert found.fingerprint == model.fingerprint
    with pytest.raises(CheckpointError, match="'me/tiny' is no folder here, and the hub gave no"):
        Cocom.from_pretrained("me/tiny", revision="v3", cache_dir=tmp_path / "cache")


def test_a_repository_that_is_not_in_the_cache(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'me/none' is no folder here, and the hub gave no"):
        Cocom.from_pretrained("me/none", cache_dir=tmp_path)


def test_only_what_a_reader_needs_is_downloaded(
    pisco: Path, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(pisco, remote)
    (remote / "pytorch_model.bin").write_bytes(b"large and of no use")
    asked: list[str] = []

    def download(repository: str, *, filename: str, revision: Any, **_: Any) -> str:
        assert (repository, revision) == ("naver/pisco-tiny", "main")
        asked.append(filename)
        return str(remote / filename)

    listed = [p.name for p in remote.iterdir()]
    monkeypatch.setattr(Source, "_listed", lambda self: listed)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    Cocom.from_pretrained("naver/pisco-tiny", base=base, revision="main", device="cpu")
    assert sorted(set(asked)) == [
        "adapters.pth",
        "config.json",
        "decoder_first_last_layers.pth",
    ]


def test_a_subfolder_of_a_repository_and_of_a_folder(
    pisco: Path, base: Path, tmp_path: Path
) -> None:
    shutil.copytree(pisco, tmp_path / "repository" / "compression-16")
    cached(tmp_path / "cache", "apple/clara", tmp_path / "repository")
    expected = Cocom.from_pretrained(pisco, base=base, device="cpu").fingerprint
    for name in ("apple/clara", tmp_path / "repository"):
        found = Cocom.from_pretrained(
            name,
            base=base,
            subfolder="compression-16",
            cache_dir=tmp_path / "cache",
            local_files_only=True,
            device="cpu",
        )
        assert found.fingerprint == expected
        with pytest.raises(CheckpointError, match="'compression-4': check subfolder"):
            Cocom.from_pretrained(
                name,
                subfolder="compression-4",
                cache_dir=tmp_path / "cache",
                local_files_only=True,
            )


def test_token_and_revision_reach_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        seen.update(options)
        raise OSError("401 Client Error: gated")

    monkeypatch.setattr(Source, "_listed", lambda self: ["config.json"])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(CheckpointError, match="the hub gave no such repository: 401 Client Error"):
        Cocom.from_pretrained("me/gated", token="secret", revision="v1")
    assert (seen["token"], seen["revision"], seen["filename"]) == ("secret", "v1", "config.json")


def test_push_to_hub_writes_model_and_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Api:
        def __init__(self, token: Any = None) -> None:
            assert token == "secret"

        def create_repo(self, name: str, **options: Any) -> None:
            assert (name, options) == ("me/tiny", {"private": True, "exist_ok": True})

        def upload_folder(self, *, folder_path: Path, **options: Any) -> Any:
            assert options["repo_id"] == "me/tiny"
            shutil.copytree(folder_path, tmp_path / "uploaded")
            return type("Commit", (), {"commit_url": "https://hub/me/tiny/commit/1"})()

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = tiny_cocom()
    url = model.push_to_hub("me/tiny", private=True, token="secret")
    assert url == "https://hub/me/tiny/commit/1"
    card = (tmp_path / "uploaded" / "README.md").read_text()
    assert 'Cocom.from_pretrained("me/tiny")' in card
    assert model.fingerprint[:12] in card
    again = Cocom.from_pretrained(tmp_path / "uploaded", device="cpu")
    assert again.fingerprint == model.fingerprint


def test_info_of_a_published_checkpoint_reads_no_weights(
    pisco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr(torch, "load", refuse)
    found = describe(pisco)
    assert (found.format, found.base) == ("pisco", ("tiny/llama",))
    values = found.to_dict()
    assert values["embeddings_per_window"] == {"16": 8}
    assert values["adapters"] == ["compress", "read"]
    assert values["fingerprint"] is None
    assert values["megabytes"] == pytest.approx(
        sum(f.stat().st_size for f in pisco.glob("*.pth")) / 1e6, abs=0.06
    )
    json.dumps(values)


def test_info_of_our_own_model() -> None:
    found = describe("cocom-tiny")
    assert found.format == "cocom"
    assert found.fingerprint == Cocom.from_pretrained("cocom-tiny", device="cpu").fingerprint


def test_the_hash_follows_the_weights(cocom_v1: Path, tmp_path: Path) -> None:
    before = describe(cocom_v1).weights_sha256
    shutil.copytree(cocom_v1, tmp_path / "other")
    assert describe(tmp_path / "other").weights_sha256 == before
    shard = tmp_path / "other" / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\1")
    assert describe(tmp_path / "other").weights_sha256 != before


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("x")
    with pytest.raises(CheckpointError, match="is a file, not a folder with a checkpoint"):
        Source.find(tmp_path / "model", HubOptions())
