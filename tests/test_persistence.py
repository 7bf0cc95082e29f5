"""Model folders: bit for bit, whole or not at all, and a message for every fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from cocom import Cocom, CocomConfig, EncoderConfig, LoraSettings
from cocom.errors import CheckpointError
from cocom.persistence import load_weights
from cocom.testing import tiny_cocom

CONFIGS = {
    "full": CocomConfig(rates=(4,), memory_tokens="per_rate"),
    "shared_lora": CocomConfig(rates=(4,), weights="shared_lora"),
    "separate_lora": CocomConfig(
        rates=(4, 16),
        weights="separate_lora",
        lora=LoraSettings(4, 8, 0.1, ("q_proj", "down_proj")),
    ),
    "concat": CocomConfig(rates=(4,), encoder=EncoderConfig("concat")),
    "mean": CocomConfig(rates=(4,), encoder=EncoderConfig("mean"), weights="shared_lora"),
    "memory_mlp": CocomConfig(rates=(4,), encoder=EncoderConfig("memory_mlp", mlp_hidden=20)),
}
PASSAGES = ["Ada was born in Rome.", "The river 서울 is long. " * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    tiny_cocom(CONFIGS["separate_lora"]).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_saved_and_loaded_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = tiny_cocom(CONFIGS[name])
    model.save_pretrained(tmp_path / "model")
    other = Cocom.from_pretrained(tmp_path / "model", device="cpu")
    assert (other.config, other.fingerprint) == (model.config, model.fingerprint)
    for part, module in model.modules().items():
        stored = other.modules()[part].state_dict()
        assert set(stored) == set(module.state_dict())
        assert all(torch.equal(stored[k], v) for k, v in module.state_dict().items())
    contexts, again = model.compress(PASSAGES), other.compress(PASSAGES)
    assert all(
        torch.equal(a.embeddings, b.embeddings) for a, b in zip(contexts, again, strict=True)
    )
    expected = model.answer("Who?", contexts, max_new_tokens=6)
    assert other.answer("Who?", contexts, max_new_tokens=6) == expected
    assert not any(m.training for part in other.modules().values() for m in part.modules())


@pytest.mark.parametrize(
    "family", ["mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt_neox"]
)
def test_other_families_and_tied_embeddings(family: str, tmp_path: Path) -> None:
    model = tiny_cocom(CONFIGS["shared_lora"], family=family, tie_word_embeddings=True)  # type: ignore[arg-type]
    model.save_pretrained(tmp_path)
    other = Cocom.from_pretrained(tmp_path)
    assert other.fingerprint == model.fingerprint
    assert torch.equal(
        other.compress(PASSAGES)[1].embeddings, model.compress(PASSAGES)[1].embeddings
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", torch.bfloat16])
@pytest.mark.parametrize("name", ["separate_lora", "memory_mlp"])
def test_loaded_in_another_dtype(name: str, dtype: str | torch.dtype, tmp_path: Path) -> None:
    model = tiny_cocom(CONFIGS[name])
    contexts = model.compress(PASSAGES)
    model.save_pretrained(tmp_path)
    other = Cocom.from_pretrained(tmp_path, dtype=dtype)
    assert other.fingerprint == model.fingerprint
    assert other.backbone.dtype == (getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    own = other.compress(PASSAGES)
    assert own[0].embeddings.dtype == other.backbone.dtype
    assert other.answer("Who?", contexts, max_new_tokens=2).token_ids
    assert model.answer("Who?", own, max_new_tokens=2).token_ids


@pytest.mark.parametrize("name", ["tiny-mistral-a", "tiny-mistral-c"])
def test_tokenizers_of_the_field(name: str, shared: Path, tmp_path: Path) -> None:
    base = shared / "formats" / "bases"
    causal, text = (
        AutoModelForCausalLM.from_pretrained(base / name, dtype=torch.float32),
        AutoTokenizer.from_pretrained(base / name),
    )
    light = AutoModel.from_pretrained(base / "tiny-bert-a", dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(base / "tiny-bert-a")
    words("Using a tokenizer", padding="max_length", truncation=True, max_length=5)
    config = CocomConfig(rates=(4,), window=64, encoder=EncoderConfig("mean"))
    model = Cocom(causal, text, config, encoder=light, encoder_tokenizer=words)
    model.save_pretrained(tmp_path)
    other = Cocom.from_pretrained(tmp_path)
    contexts, again = model.compress(PASSAGES), other.compress(PASSAGES)
    assert [c.windows for c in contexts] == [c.windows for c in again]
    assert all(
        torch.equal(a.embeddings, b.embeddings) for a, b in zip(contexts, again, strict=True)
    )
    expected = model.answer("Who?", [*contexts, "text"], max_new_tokens=6)
    assert other.answer("Who?", [*contexts, "text"], max_new_tokens=6) == expected
    assert other.backbone.text.tokenizer.chat_template == text.chat_template


def test_saving_again_replaces_the_folder_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for seed in (0, 1):
        tiny_cocom(CONFIGS["full"], seed=seed).save_pretrained(tmp_path / "model")
    expected = tiny_cocom(CONFIGS["full"], seed=1).fingerprint
    assert Cocom.from_pretrained(tmp_path / "model").fingerprint == expected
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_error_while_saving_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_cocom(CONFIGS["full"])
    model.save_pretrained(tmp_path / "model")
    changed = tiny_cocom(CONFIGS["full"], seed=1)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        changed.save_pretrained(tmp_path / "model")
    monkeypatch.undo()
    assert Cocom.from_pretrained(tmp_path / "model").fingerprint == model.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_weights_into_a_model_of_the_same_make(folder: Path) -> None:
    model = tiny_cocom(CONFIGS["separate_lora"], seed=3)
    load_weights(model, folder)
    assert model.fingerprint == tiny_cocom(CONFIGS["separate_lora"]).fingerprint
    with pytest.raises(CheckpointError, match=r"holds adapters.safetensors, but this model has no"):
        load_weights(tiny_cocom(CONFIGS["full"]), folder)
    with pytest.raises(
        CheckpointError, match=r"missing \['model.layers.0.mlp.down_proj.lora_A.shared"
    ):
        load_weights(tiny_cocom(CONFIGS["shared_lora"]), folder)
    wider = CocomConfig(rates=(4, 16), memory_tokens="per_rate", weights="separate_lora")
    with pytest.raises(
        CheckpointError, match=r"'weight' has shape \(4, 32\) in the file but \(5, 32\)"
    ):
        load_weights(tiny_cocom(wider), folder)


def test_files_that_are_not_models_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    model = tiny_cocom()
    for target in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(CheckpointError, match="exists and is not a COCOM model folder"):
            model.save_pretrained(target)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def edit_manifest(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "cocom.json").read_text())
        (folder / "cocom.json").write_text(json.dumps({**manifest, **values}))

    return change


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


def swap_weights(folder: Path) -> None:
    other = folder.parent / "other"
    tiny_cocom(CONFIGS["separate_lora"], seed=9).save_pretrained(other)
    shutil.copy(other / "control.safetensors", folder / "control.safetensors")
    shutil.copy(other / "backbone/model.safetensors", folder / "backbone/model.safetensors")


FAULTS: list[tuple[str, Callable[[Path], None], str]] = [
    ("no folder", shutil.rmtree, "is neither a model folder nor a model that ships"),
    (
        "no manifest",
        remove("cocom.json"),
        "has neither cocom.json nor config.json, so it is no COCOM",
    ),
    ("manifest cut", cut("cocom.json"), r"cocom.json' cannot be read .* the file is damaged"),
    ("manifest is a list", write("cocom.json", "[]"), "cannot be read .* the file is damaged"),
    ("manifest is empty", write("cocom.json", "{}"), "cannot be read .* the file is damaged"),
    ("no config", write("cocom.json", '{"format_version": 1}'), "cannot be read .* is damaged"),
    ("version", edit_manifest(format_version=99), "has format_version 99, but this cocom reads 1"),
    ("setting", edit_manifest(config={"hue": 1}), "cannot be used: unknown setting hue"),
    ("config", edit_manifest(config=[]), "cannot be used: a configuration must be a mapping"),
    (
        "fingerprint",
        edit_manifest(fingerprint="0" * 64),
        "says 000000000000: it was changed",
    ),
    ("other weights", swap_weights, "it was changed since it was saved"),
    (
        "no control",
        remove("control.safetensors"),
        "lacks control.safetensors: the folder is incomp",
    ),
    ("control cut", cut("control.safetensors"), "control.safetensors' cannot be read"),
    ("no adapters", remove("adapters.safetensors"), "lacks adapters.safetensors"),
    ("adapters cut", cut("adapters.safetensors"), "adapters.safetensors' cannot be read"),
    ("no backbone config", remove("backbone/config.json"), "lacks backbone/config.json"),
    ("backbone config", write("backbone/config.json", "{"), "backbone' cannot be read"),
    ("no backbone", remove("backbone/model.safetensors"), "backbone' cannot be read"),
    ("backbone cut", cut("backbone/model.safetensors"), "backbone' cannot be read"),
    ("no tokenizer", remove("backbone/tokenizer.json"), "backbone' cannot be read"),
    ("tokenizer cut", cut("backbone/tokenizer.json"), "backbone' cannot be read"),
]


@pytest.mark.filterwarnings("ignore")  # transformers' own, on the way to the error
@pytest.mark.parametrize(("fault", "change", "message"), FAULTS, ids=[f for f, _, _ in FAULTS])
def test_faulty_folders(
    fault: str, change: Callable[[Path], None], message: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(CheckpointError, match=message):
        Cocom.from_pretrained(tmp_path / "model")


def test_names_and_dtypes_that_do_not_exist(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'cocom-huge' is neither .* ships with cocom"):
        Cocom.from_pretrained("cocom-huge")
    for dtype in ("float17", "nn", "int8"):
        with pytest.raises(CheckpointError, match=f"dtype '{dtype}' is unknown"):
            Cocom.from_pretrained(folder, dtype=dtype)
