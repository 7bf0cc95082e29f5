"""Loading the published format of BGE-M3, and every way in which its files can be wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from cocom.checkpoints.source import Source
from cocom.errors import CheckpointError
from cocom.retrieval.bge_m3_encoder import BgeM3Encoder
from cocom.retrieval.late_interaction import LateInteractionRetriever
from cocom.retrieval.sparse import SparseRetriever
from tests.retrieval.bge_m3_tiny import HIDDEN, backbone, make

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = ["where is the bridge", "서울은 한국의 수도"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("published"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(published, tmp_path / "bge-m3"))


def load(name: Any, **options: Any) -> BgeM3Encoder:
    return BgeM3Encoder.from_pretrained(name, device="cpu", **options)


def same(first: BgeM3Encoder, second: BgeM3Encoder) -> bool:
    one, other = first.encode(TEXTS), second.encode(TEXTS)
    assert one.multi_vectors is not None
    assert other.multi_vectors is not None
    return (
        one.dense.tolist() == other.dense.tolist()
        and one.sparse.toarray().tolist() == other.sparse.toarray().tolist()
        and one.multi_vectors[0].tolist() == other.multi_vectors[0].tolist()
    )


def test_nothing_is_random(published: Path) -> None:
    assert same(load(published), load(published))


def test_safetensors_and_folders_without_a_pooling_file(published: Path, folder: Path) -> None:
    (folder / "pytorch_model.bin").unlink()
    backbone().save_pretrained(folder)
    shutil.rmtree(folder / "1_Pooling")
    assert (folder / "model.safetensors").exists()
    assert same(load(folder), load(published))


def test_a_backbone_saved_without_the_pooler(published: Path, folder: Path) -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("pooler.")}
    assert len(kept) < len(state)
    torch.save(kept, folder / "pytorch_model.bin")
    assert same(load(folder), load(published))


def test_a_revision_from_the_cache_of_the_hub(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "models--me--m3"
    shutil.copytree(published, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "v2").write_text(COMMIT)
    found = load("me/m3", revision="v2", cache_dir=tmp_path, local_files_only=True)
    assert same(found, load(published))
    with pytest.raises(CheckpointError, match="'me/m3' is no folder here, and the hub gave no"):
        load("me/m3", revision="v3", cache_dir=tmp_path)


def test_only_what_is_needed_is_downloaded(
    published: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "onnx").mkdir()
    for name in ("onnx/model.onnx", "README.md", "imgs.jpg"):
        (folder / name).write_bytes(b"large and of no use")
    asked: list[str] = []

    def download(repository: str, *, filename: str, revision: Any, token: Any, **_: Any) -> str:
        assert (repository, revision, token) == ("BAAI/bge-m3", "main", "secret")
        asked.append(filename)
        return str(folder / filename)

    listed = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    monkeypatch.setattr(Source, "_listed", lambda self: listed)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert same(load("BAAI/bge-m3", revision="main", token="secret"), load(published))
    assert sorted(set(asked)) == [
        "1_Pooling/config.json",
        "colbert_linear.pt",
        "config.json",
        "pytorch_model.bin",
        "sparse_linear.pt",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


Damage = Callable[[Path], object]


def write_head(name: str, value: Any) -> Damage:
    return lambda folder: torch.save(value, folder / name)


def write_json(name: str, value: Any) -> Damage:
    return lambda folder: (folder / name).write_text(json.dumps(value), encoding="utf-8")


def head(outputs: int, inputs: int = HIDDEN, **more: Any) -> dict[str, Any]:
    return {"weight": torch.ones(outputs, inputs), "bias": torch.ones(outputs), **more}


class Harmful:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm"),))


def without_weights(folder: Path) -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["encoder.layer.1.output.dense.weight"]
    torch.save(state, folder / "pytorch_model.bin")


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no sparse head": (
        lambda folder: (folder / "sparse_linear.pt").unlink(),
        r"lacks sparse_linear.pt, without which .* random in part: download it again, or use Dense",
    ),
    "no multi-vector head": (
        lambda folder: (folder / "colbert_linear.pt").unlink(),
        r"lacks colbert_linear.pt, without which .* random in part",
    ),
    "cut": (
        lambda folder: (folder / "sparse_linear.pt").write_bytes(
            (folder / "sparse_linear.pt").read_bytes()[:500]
        ),
        "sparse_linear.pt cannot be read as tensors: the file is damaged, download it again",
    ),
    "noise": (
        lambda folder: (folder / "colbert_linear.pt").write_bytes(b"\x80\x02noise" * 99),
        "colbert_linear.pt cannot be read as tensors: the file is damaged",
    ),
    "code": (
        write_head("sparse_linear.pt", Harmful()),
        r"sparse_linear.pt holds more than tensors",
    ),
    "no dictionary": (
        write_head("sparse_linear.pt", torch.ones(1, HIDDEN)),
        "sparse_linear.pt holds a Tensor, not tensors by name",
    ),
    "no bias": (
        write_head("colbert_linear.pt", {"weight": torch.ones(HIDDEN, HIDDEN)}),
        "colbert_linear.pt lacks the tensor 'bias'",
    ),
    "one too many": (
        write_head("sparse_linear.pt", head(1, scale=torch.ones(1))),
        "sparse_linear.pt holds 1 tensors that the model has no place for: scale",
    ),
    "another hidden size": (
        write_head("colbert_linear.pt", head(16, 64)),
        r"weight of shape \(16, 64\) .* needs \(any, 32\) and as many biases: .* another model",
    ),
    "two weights": (
        write_head("sparse_linear.pt", head(2)),
        r"sparse_linear.pt has a weight of shape \(2, 32\) .* needs \(1, 32\)",
    ),
    "a bias of another shape": (
        write_head("colbert_linear.pt", head(8, bias=torch.ones(7))),
        r"bias of shape \(7,\)",
    ),
    "a flat weight": (
        write_head("colbert_linear.pt", head(8, weight=torch.ones(32))),
        r"weight of shape \(32,\)",
    ),
    "a text among the tensors": (
        write_head("colbert_linear.pt", head(8, bias="none")),
        "'bias' is a str, not a tensor",
    ),
    "not finite": (
        write_head("colbert_linear.pt", head(8, weight=torch.full((8, HIDDEN), torch.nan))),
        "weight that is not made of finite numbers: the file is damaged",
    ),
    "integers": (
        write_head("sparse_linear.pt", head(1, bias=torch.ones(1, dtype=torch.int64))),
        "bias that is not made of finite numbers",
    ),
    "mean pooling": (
        write_json(
            "1_Pooling/config.json",
            {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        ),
        r"asks for pooling \['mean_tokens'\] of 32 values, but BGE-M3's dense form is \['cls'\] of 32",
    ),
    "mean pooling, newer": (
        write_json("1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "mean"}),
        r"asks for pooling \['mean'\] of 32",
    ),
    "pooling of another width": (
        write_json("1_Pooling/config.json", {"embedding_dimension": 64, "pooling_mode": "cls"}),
        r"asks for pooling \['cls'\] of 64 values, but BGE-M3's dense form is \['cls'\] of 32",
    ),
    "pooling that is not JSON": (
        lambda folder: (folder / "1_Pooling" / "config.json").write_text("{"),
        "config.json is not valid JSON",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "lacks config.json"),
    "config without sizes": (
        write_json("config.json", {"model_type": "xlm-roberta"}),
        "config.json has no hidden_size",
    ),
    "no weights": (
        lambda folder: (folder / "pytorch_model.bin").unlink(),
        "cannot be loaded as an encoder and its tokenizer",
    ),
    "damaged weights": (
        lambda folder: (folder / "pytorch_model.bin").write_bytes(b"noise"),
        "cannot be loaded as an encoder and its tokenizer",
    ),
    "a weight less": (
        without_weights,
        r"lacks 1 weights of its XLMRobertaModel, encoder.layer.1.out",
    ),
    "no tokenizer": (
        without_tokenizer,
        "lacks tokenizer.json: the folder is incomplete, download it again",
    ),
    "a damaged tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        "cannot be loaded as an encoder and its tokenizer",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_gives_one_clear_error(
    damage: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    do, message = DAMAGES[damage]
    do(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert not Path("harm").exists()


def test_a_newer_pooling_file(folder: Path, published: Path) -> None:
    write_json("1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": ["cls"]})(
        folder
    )
    assert same(load(folder), load(published))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no folder here, and the hub gave no such"):
        load(tmp_path / "none")


def test_sentence_transformers_is_not_used(published: Path) -> None:
    """It knows only the dense form, and makes up heads for the others."""
    code = (
        "import sys\n"
        "from cocom import Passage\n"
        "from cocom.retrieval.bge_m3 import BgeM3Retriever\n"
        "assert 'torch' not in sys.modules\n"
        f"retriever = BgeM3Retriever([Passage('the bridge')], {str(published)!r})\n"
        "retriever.retrieve('bridge')\n"
        "assert 'sentence_transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("retriever", [SparseRetriever, LateInteractionRetriever])
def test_the_other_retrievers_do_not_make_up_heads_for_it(folder: Path, retriever: Any) -> None:
    from cocom import Passage

    # As BAAI/bge-m3 is published: a model for the dense form.
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(modules)
    ]
    write_json("modules.json", listed)(folder)
    write_json("config_sentence_transformers.json", {"__version__": {}})(folder)
    with pytest.raises(CheckpointError, match="a random one would give meaningless scores"):
        retriever([Passage("the bridge")], folder)
