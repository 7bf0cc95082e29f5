"""Contexts files: bit for bit in every dtype, and a message for every fault."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import save_file

from cocom import CocomConfig, ContextEmbeddings, Passage, Window
from cocom.contexts_file import load_contexts, save_contexts
from cocom.errors import DataError, FingerprintError, InputError
from cocom.testing import tiny_cocom

PASSAGES = [
    Passage(
        "Ada was born in Rome.", id="a", metadata={"page": 3, "tags": ["x", None], "서울": 1.5}
    ),
    Passage("The river 🙂 is long. " * 20),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    model.backbone.to(dtype)
    contexts = model.compress(PASSAGES)
    save_contexts(contexts, tmp_path / "deep" / "contexts.safetensors")
    again = load_contexts(tmp_path / "deep" / "contexts.safetensors")
    for before, after in zip(contexts, again, strict=True):
        assert after.embeddings.dtype == dtype
        assert torch.equal(before.embeddings, after.embeddings)
        assert before.passage == after.passage
        for name in ("rate", "windows", "text_tokens", "fingerprint"):
            assert getattr(before, name) == getattr(after, name)
    expected = model.answer("Who?", contexts, max_new_tokens=6)
    assert model.answer("Who?", again, max_new_tokens=6) == expected
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["contexts.safetensors"]


def test_without_the_text(tmp_path: Path) -> None:
    contexts = tiny_cocom().compress(PASSAGES, keep_text=False)
    save_contexts(contexts, tmp_path / "c")
    assert [c.passage for c in load_contexts(tmp_path / "c")] == [None, None]
    assert b"Ada" not in (tmp_path / "c").read_bytes()


def test_the_same_context_twice_and_views_of_one_tensor(tmp_path: Path) -> None:
    model = tiny_cocom()
    (context,) = model.compress(["twice"])
    shared = torch.arange(24.0).view(6, 4)
    views = [
        ContextEmbeddings(shared[i : i + 2], 4, (Window(8, 2),), 8, "f", None) for i in range(3)
    ]
    save_contexts([context, context, *views], tmp_path / "c")
    again = load_contexts(tmp_path / "c")
    assert torch.equal(again[0].embeddings, again[1].embeddings)
    assert [c.embeddings[0, 0].item() for c in again[2:]] == [0, 4, 8]


def test_metadata_of_any_mapping_and_odd_text(tmp_path: Path) -> None:
    passage = Passage("lone surrogate \ud800", metadata=MappingProxyType({"a": 1}))
    contexts = [ContextEmbeddings(torch.zeros(1, 4), 4, (Window(1, 1),), 1, "f", passage)]
    save_contexts(contexts, tmp_path / "c")
    (again,) = load_contexts(tmp_path / "c")
    assert again.passage == Passage("lone surrogate \ud800", metadata={"a": 1})


def test_more_text_than_a_safetensors_header_holds(tmp_path: Path) -> None:
    passage = Passage("x" * 101_000_000)
    contexts = [ContextEmbeddings(torch.zeros(1, 4), 4, (Window(1, 1),), 1, "f", passage)]
    save_contexts(contexts, tmp_path / "c")
    assert load_contexts(tmp_path / "c")[0].passage == passage


def test_nothing_to_write_and_metadata_that_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no context embeddings to write"):
        save_contexts([], tmp_path / "c")
    contexts = tiny_cocom().compress([Passage("x", metadata={"when": object()})])
    with pytest.raises(InputError, match="the metadata of passage 0 cannot be written as JSON"):
        save_contexts(contexts, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(DataError, match="does not exist: write it with save_contexts"):
        load_contexts(path)
    with pytest.raises(DataError, match="does not exist"):
        load_contexts(tmp_path)
    path.write_text("hello")
    with pytest.raises(DataError, match=r"cannot be read .* the file is damaged"):
        load_contexts(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be read .* the file is damaged"):
        load_contexts(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"has format None, but expected 'cocom.contexts.1'"):
        load_contexts(path)
    save_contexts(tiny_cocom().compress(["x"]), path)
    data = path.read_bytes()
    for size in (4, 100, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"cannot be read .* the file is damaged"):
            load_contexts(path)


@pytest.mark.parametrize("listing", ["{", "[{}]", '[{"windows": 3, "passage": null}]', "[1]"])
def test_listings_that_cannot_be_read(listing: str, tmp_path: Path) -> None:
    data = torch.frombuffer(bytearray(listing.encode()), dtype=torch.uint8)
    tensors = {"0": torch.zeros(1, 4), "contexts": data}
    save_file(tensors, tmp_path / "c", metadata={"format": "cocom.contexts.1"})
    with pytest.raises(DataError, match=r"cannot be read .* the file is damaged"):
        load_contexts(tmp_path / "c")


def test_another_model_refuses_them(tmp_path: Path) -> None:
    save_contexts(tiny_cocom().compress(["x"]), tmp_path / "c")
    other = tiny_cocom(seed=1)
    with pytest.raises(FingerprintError, match="passage 0 was compressed by model"):
        other.answer("Who?", load_contexts(tmp_path / "c"))
    assert json.dumps(other.fingerprint)
