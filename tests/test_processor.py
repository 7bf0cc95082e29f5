"""Which processors compute in bfloat16 by default, and what that does to a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cocom import Cocom, CocomConfig, EncoderConfig, load_contexts, save_contexts
from cocom.processor import fast_bfloat16
from cocom.store import DiskStore
from cocom.testing import tiny_cocom
from cocom.view import CocomView

PASSAGES = ["Ada was born in Rome.", "The river is long. " * 9]
CONFIGS = {
    "separate_lora": CocomConfig(rates=(4,), weights="separate_lora"),
    "light": CocomConfig(rates=(4,), encoder=EncoderConfig("memory_mlp")),
}

Pretend = Callable[[bool], None]


@pytest.fixture
def fresh() -> Iterator[None]:
    fast_bfloat16.cache_clear()
    yield
    fast_bfloat16.cache_clear()


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Makes this processor fast at bfloat16, or not."""
    return lambda fast: monkeypatch.setattr("cocom.checkpoints.loading.fast_bfloat16", lambda: fast)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("amx", "avx512", "onednn", "expected"),
    [
        (True, True, True, True),
        (True, False, True, True),
        (False, True, True, True),
        (False, False, True, False),
        (True, True, False, False),
    ],
)
def test_amx_or_avx512_through_onednn(
    amx: bool, avx512: bool, onednn: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    assert fast_bfloat16() is expected


@pytest.mark.usefixtures("fresh")
def test_a_torch_that_cannot_tell_counts_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert fast_bfloat16() is False


@pytest.mark.usefixtures("fresh")
def test_the_answer_is_this_processors() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    if "flags" not in flags or not torch.backends.mkldnn.is_available():
        pytest.skip("no x86 processor that Linux tells of, or no oneDNN")
    assert fast_bfloat16() is ("avx512_bf16" in flags or "amx_tile" in flags)


def types(model: Cocom) -> set[torch.dtype]:
    return {p.dtype for part in model.modules().values() for p in part.parameters()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(
    ("saved", "fast", "expected"),
    [
        (torch.bfloat16, True, torch.bfloat16),
        (torch.bfloat16, False, torch.float32),
        (torch.float16, True, torch.float32),
        (torch.float32, True, torch.float32),
    ],
)
def test_only_a_saved_bfloat16_is_kept(
    config: CocomConfig,
    saved: torch.dtype,
    fast: bool,
    expected: torch.dtype,
    processor: Pretend,
    tmp_path: Path,
) -> None:
    model = tiny_cocom(config)
    for part in model.modules().values():
        part.to(saved)
    model.save_pretrained(tmp_path / "model")
    processor(fast)
    loaded = Cocom.from_pretrained(tmp_path / "model", device="cpu")
    assert types(loaded) == {expected}
    assert loaded.fingerprint == model.fingerprint
    assert loaded.answer("Who?", loaded.compress(PASSAGES), max_new_tokens=2).token_ids


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_type_that_was_asked_for_is_taken(
    dtype: torch.dtype, processor: Pretend, tmp_path: Path
) -> None:
    model = tiny_cocom(CONFIGS["separate_lora"])
    model.backbone.to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    processor(True)
    assert types(Cocom.from_pretrained(tmp_path / "model", device="cpu", dtype=dtype)) == {dtype}


def test_a_new_model_is_in_float32_for_its_training(processor: Pretend, tmp_path: Path) -> None:
    model = tiny_cocom()
    model.backbone.to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    processor(True)
    new = Cocom.from_backbone(tmp_path / "model" / "backbone", device="cpu")
    assert types(new) == {torch.float32}


@pytest.mark.parametrize("fast_first", [True, False])
def test_contexts_and_stores_serve_both_kinds_of_processor(
    fast_first: bool, processor: Pretend, tmp_path: Path
) -> None:
    made = tiny_cocom(CONFIGS["separate_lora"])
    made.backbone.to(torch.bfloat16)
    made.save_pretrained(tmp_path / "model")
    models = []
    for fast in (fast_first, not fast_first):
        processor(fast)
        models.append(Cocom.from_pretrained(tmp_path / "model", device="cpu"))
    writer, reader = models
    assert types(writer) != types(reader)

    save_contexts(writer.compress(PASSAGES), tmp_path / "contexts.safetensors")
    contexts = load_contexts(tmp_path / "contexts.safetensors")
    assert {c.embeddings.dtype for c in contexts} == types(writer)
    assert reader.answer("Who?", contexts, max_new_tokens=4).token_ids
    own = [c.embeddings.float() for c in reader.compress(PASSAGES)]
    for context, other in zip(contexts, own, strict=True):
        assert torch.allclose(context.embeddings.float(), other, atol=0.2)

    with DiskStore.create(tmp_path / "store") as store:
        CocomView(writer, store=store).compress(PASSAGES)
        kinds = store.kinds()
    with DiskStore(tmp_path / "store") as store:
        view = CocomView(reader, store=store)
        references = view.compress(PASSAGES)
        assert store.kinds() == kinds  # nothing was compressed again
        (answer,) = view.reply([f"Who? {references[0]}"], max_new_tokens=4)
        assert answer.usage.context_rows
