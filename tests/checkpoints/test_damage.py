"""Damaged, foreign and malicious checkpoints: one clear sentence, nothing executed, nothing half-loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cocom import Cocom
from cocom.errors import CheckpointError, CocomError

Change = Callable[[Path], object]
SHARD = "model-00001-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
LAYERS = "decoder_first_last_layers.pth"


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def remove(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()

    return change


def cut(name: str, share: float = 0.5) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return change


def write(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content)


def config(**values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        settings = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({k: v for k, v in settings.items() if v != "gone"}))

    return change


def shard(edit: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    """Edit the tensors of a shard and let the index know."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / SHARD)
        before = set(tensors)
        edit(tensors)
        save_file(tensors, folder / SHARD)
        index = json.loads((folder / INDEX).read_text())
        for name in before - set(tensors):
            del index["weight_map"][name]
        for name in set(tensors) - before:
            index["weight_map"][name] = SHARD
        (folder / INDEX).write_text(json.dumps(index))

    return change


def pth(name: str, edit: Callable[[dict[str, Any]], None]) -> Change:
    def change(folder: Path) -> None:
        value = torch.load(folder / name, weights_only=True)
        edit(value)
        torch.save(value, folder / name)

    return change


def drop_first(tensors: dict[str, Any]) -> None:
    del tensors[min(tensors)]


def add_foreign(tensors: dict[str, Any]) -> None:
    tensors["decoder.foreign.weight"] = torch.zeros(2)


def crop_first(tensors: dict[str, Any]) -> None:
    tensors[min(tensors)] = tensors[min(tensors)][:1].clone()


def crop_embedding(tensors: dict[str, Any]) -> None:
    name = "model.embed_tokens.weight"
    tensors[name] = tensors[name][:-1].clone()


class Bomb:
    """Creates a file when it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("exploded", "w"))


def bomb(folder: Path) -> None:
    (folder / "adapters.pth").write_bytes(pickle.dumps({"decoder_adapter": Bomb()}))


def zipped_bomb(folder: Path) -> None:
    torch.save({"decoder_adapter": Bomb()}, folder / "adapters.pth")


DAMAGE: list[tuple[str, str, Change, str]] = [
    (
        "empty folder",
        "cocom_v1",
        empty,
        "has neither",
    ),
    ("no config", "cocom_v1", remove("config.json"), "has neither cocom.json nor config.json"),
    ("config cut", "cocom_v1", cut("config.json"), "config.json is not valid JSON"),
    (
        "config is a list",
        "cocom_v1",
        write("config.json", "[1]"),
        r"holds \[1\], not a JSON object",
    ),
    (
        "foreign config",
        "cocom_v1",
        write("config.json", '{"model_type": "bert"}'),
        "none of the form",
    ),
    ("no rate", "cocom_v1", config(compr_rate="gone"), "compr_rate is missing, but must be"),
    (
        "rate is a text",
        "cocom_v1",
        config(compr_rate="4"),
        "compr_rate is '4', but must be of type",
    ),
    ("rate is zero", "cocom_v1", config(compr_rate=0), "compr_rate is 0, but must be at least 1"),
    ("rate too high", "cocom_v1", config(compr_rate=999), "rate 999 exceeds window 128"),
    ("other rank", "cocom_v1", config(lora_r=8), r"lora_A.*has shape \(4, .*needs \(8, "),
    ("no lora told of", "cocom_v1", config(lora=False), "lacks the tensor 'decoder.model."),
    ("no index", "cocom_v1", remove(INDEX), "has neither model.safetensors nor model"),
    ("index cut", "cocom_v1", cut(INDEX), "index.json is not valid JSON"),
    ("index empty", "cocom_v1", write(INDEX, "{}"), "names no files in its weight_map"),
    ("no shard", "cocom_v1", remove(SHARD), f"lacks {SHARD}: the folder is incomplete"),
    ("shard cut", "cocom_v1", cut(SHARD), f"{SHARD} cannot be read .* the file is damaged"),
    ("shard header cut", "cocom_v1", cut(SHARD, 0.001), f"{SHARD} cannot be read"),
    ("tensor missing", "cocom_v1", shard(drop_first), "lacks the tensor 'decoder.base_model"),
    ("tensor too many", "cocom_v1", shard(add_foreign), "no place for: decoder.foreign.weight"),
    ("wrong shape", "cocom_v1", shard(crop_first), r"has shape \(1, .* but the model needs"),
    (
        "shard of another",
        "cocom_v1",
        lambda f: shutil.copy(f / SHARD, f / "model-00002-of-00002.safetensors"),
        "the shards do not fit",
    ),
    (
        "no adapters",
        "pisco",
        remove("adapters.pth"),
        "lacks adapters.pth: the folder is incomplete",
    ),
    ("adapters cut", "pisco", cut("adapters.pth"), "adapters.pth cannot be read .* is damaged"),
    ("pickled code", "pisco", bomb, "adapters.pth cannot be read as tensors: the file is damaged"),
    (
        "zipped pickled code",
        "pisco",
        zipped_bomb,
        r"holds more than tensors \(io.open\) and was not read",
    ),
    (
        "not a dictionary",
        "pisco",
        lambda f: torch.save([1], f / "adapters.pth"),
        "holds a list, not",
    ),
    (
        "one adapter",
        "pisco",
        pth("adapters.pth", lambda v: v.pop("encoder_adapter")),
        "lacks the adapter 'encoder_adapter'",
    ),
    (
        "adapter too many",
        "pisco",
        config(training_form="both"),
        "that config.json does not tell of: enc",
    ),
    (
        "adapter tensor missing",
        "pisco",
        pth("adapters.pth", lambda v: drop_first(v["decoder_adapter"])),
        "lacks the tensor 'model.layers",
    ),
    (
        "adapter tensor foreign",
        "pisco",
        pth("adapters.pth", lambda v: add_foreign(v["decoder_adapter"])),
        "no place for: decoder.for",
    ),
    (
        "embedding too short",
        "pisco",
        pth(LAYERS, crop_embedding),
        r"has shape \(271, .* needs \(272",
    ),
    (
        "adapter of a number",
        "pisco",
        pth("adapters.pth", lambda v: v["decoder_adapter"].update({"rank": 4})),
        "'rank' is a int, not a tensor",
    ),
    ("other length", "pisco", config(doc_max_length=64), r"embed_tokens.weight' has shape \(272, "),
    ("no length", "pisco", config(doc_max_length=None), "doc_max_length is missing"),
    (
        "no base named",
        "pisco",
        config(decoder_model_name=None),
        "base model as None: say where it is with base=",
    ),
    ("index of lists", "cocom_v1", write(INDEX, '{"weight_map": {"a": ["x"]}}'), "names no files"),
    (
        "short pickle",
        "pisco",
        lambda f: (f / "adapters.pth").write_bytes(b"\x80\x02X\x01"),
        "is damaged",
    ),
    ("dot", "pisco", lambda f: (f / "adapters.pth").write_bytes(b"."), "the file is damaged"),
    (
        "LFS pointer",
        "pisco",
        write("adapters.pth", "version https://git-lfs.github.com/spec/v1"),
        "is damaged",
    ),
    ("no layers", "pisco", remove(LAYERS), f"lacks {LAYERS}: the folder is incomplete"),
    (
        "base is a list",
        "pisco",
        config(decoder_model_name=["x"]),
        r"base model as \['x'\]: say where",
    ),
    ("not lora", "pisco", config(lora=False), "lora is false, but this format holds adapters only"),
]


@pytest.mark.parametrize(("fault", "kind", "change", "message"), DAMAGE, ids=[d[0] for d in DAMAGE])
def test_damaged_checkpoints_are_refused(
    fault: str,
    kind: str,
    change: Change,
    message: str,
    base: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(request.getfixturevalue(kind), folder)
    change(folder)
    monkeypatch.chdir(tmp_path)
    where: Any = {"tiny/llama": base}
    with pytest.raises(CheckpointError, match=message) as caught:
        Cocom.from_pretrained(folder, base=where, device="cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_the_bomb_would_go_off_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb())).close()
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["cocom_v1", "pisco"])
def test_undamaged_they_load(kind: str, base: Path, request: pytest.FixtureRequest) -> None:
    model = Cocom.from_pretrained(request.getfixturevalue(kind), base=base, device="cpu")
    context = model.compress(["Ada was born in Rome."])[0]
    assert len(context) == 8
    assert model.answer("Where?", [context], max_new_tokens=3).token_ids
    assert not any(m.training for p in model.modules().values() for m in p.modules())


@pytest.mark.parametrize("kind", ["cocom_v1", "pisco"])
def test_a_base_that_is_not_there(kind: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(CheckpointError, match=r"'tiny/llama' cannot be loaded .* with base="):
        Cocom.from_pretrained(request.getfixturevalue(kind), device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "sideways"}, "layout 'sideways' is unknown for this checkpoint"),
        ({"window": 8}, "cannot be used: rate 16 exceeds window 8"),
        ({"quantization": "2bit"}, "quantization '2bit' is unknown: choose 8bit, 4bit"),
        ({"dtype": "int8"}, "dtype 'int8' is unknown"),
    ],
)
def test_options_that_do_not_fit(
    options: dict[str, Any], message: str, cocom_v1: Path, base: Path
) -> None:
    with pytest.raises(CocomError, match=message):
        Cocom.from_pretrained(cocom_v1, base=base, device="cpu", **options)


def test_our_own_folders_take_no_base(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"base is 'x', but .* was saved by cocom"):
        Cocom.from_pretrained("cocom-tiny", base="x")


def test_a_base_that_lacks_a_tensor(pisco: Path, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors, among them 'model.layers.1.mlp"):
        Cocom.from_pretrained(pisco, base=tmp_path / "base", device="cpu")


@pytest.mark.filterwarnings("ignore")  # transformers' own, on the way to the error
def test_a_base_that_is_cut(pisco: Path, base: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copytree(base, tmp_path / name)
        cut(name)(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"base model.* cannot be loaded"):
            Cocom.from_pretrained(pisco, base=tmp_path / name, device="cpu")


def test_code_of_a_base_is_never_run_nor_asked_for(
    pisco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    def asked(*_: Any) -> str:
        raise AssertionError("asked to run code")

    monkeypatch.setattr(builtins, "input", asked)
    evil = tmp_path / "evil"
    evil.mkdir()
    auto = {"AutoConfig": "evil.E", "AutoModelForCausalLM": "evil.M"}
    (evil / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}))
    (evil / "evil.py").write_text("open('exploded', 'w')")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Cocom.from_pretrained(pisco, base=evil, device="cpu")
