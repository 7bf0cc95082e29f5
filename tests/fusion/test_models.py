"""Passages read apart by models of all kinds, with padding and without; what they leave behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from cocom import (
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    GenerationOptions,
)
from cocom.attention import NAME
from cocom.fusion import streams
from cocom.key_values import SlotKeyValues
from cocom.passes import passes_of
from cocom.requests import fused_request
from cocom.testing import Family, tiny_cocom
from tests.fusion.tiny import FUSIONS, QUESTION, TEXTS, WAYS, near, scored
from tests.running.lines import Asked, run, warm


@pytest.fixture(scope="module")
def model() -> Cocom:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    assert warm(model)
    return model


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(TEXTS)


def check_both(model: Cocom) -> None:
    """Both ways to run passages apart give the same, and leave the model as it was."""
    read: list[str | ContextEmbeddings] = [*model.compress(TEXTS[:2]), *TEXTS[2:4]]
    reader = model._reader
    model.backbone.train()
    for given in WAYS:
        options = GenerationOptions(**given, max_new_tokens=6)
        request = model.request_for(QUESTION, read, options, [0.3, 1.0, 0.0, -1.0])
        asked = [Asked(r, options) for r in (request, request)]  # type: ignore[arg-type]
        run(model, asked, runner=reader._plainly_fusing)
        got = Asked(request, options)  # type: ignore[arg-type]
        run(model, [got], runner=reader._fusing)
        assert got.answer is not None
        for one in asked:
            assert one.answer is not None
            assert near(one.answer, got.answer)
    answers = ["Rome", "", "by the river"]
    ids = [[*model.backbone.text.encode_text(a), 2] for a in answers]
    request = fused_request(model.backbone, model.fingerprint, QUESTION, read)
    plain = reader._plainly_fusing.tables(request.prompts, ids)
    packed = reader._fusing.tables(request.prompts, ids)
    for table, other in zip(plain, packed, strict=True):
        for logs, others in zip(table, other, strict=True):
            assert logs == pytest.approx(others, abs=1e-4)
    assert all(module.training for module in model.backbone.modules())
    assert model.backbone._role == "read"
    model.backbone.eval()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox"])
def test_families_answer_the_same_with_padding_and_without(family: Family) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family=family, tie_word_embeddings=False)
    assert passes_of(model.backbone).usable()
    check_both(model)


@pytest.mark.parametrize("positions", ["end", "uniform"])
def test_adapters_and_positions(positions: Any) -> None:
    config = CocomConfig(rates=(4,), window=16, weights="separate_lora", memory_positions=positions)
    check_both(tiny_cocom(config))


def test_a_window_smaller_than_a_prompt() -> None:
    check_both(tiny_cocom(CocomConfig(rates=(4,)), family="mistral", sliding_window=7))


def test_a_model_that_needs_its_own_attention() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family="gemma2", tie_word_embeddings=False)
    assert not passes_of(model.backbone).usable()
    read = model.compress(TEXTS[:3])
    for fusion in FUSIONS:
        for beams in (1, 3):
            given: dict[str, Any] = {"fusion": fusion, "beams": beams, "max_new_tokens": 5}
            answer = model.answer(QUESTION, read, scores=[2, 1, 0], **given)
            (said,) = model.score(
                QUESTION, read, [answer.token_ids], scores=[2, 1, 0], fusion=fusion
            )
            assert answer.fusion is not None
            fast = fusion == "rag-sequence-fast"
            assert answer.fusion.log_probability <= said.log_probability + 1e-4
            assert fast or scored(answer) == pytest.approx(
                [said.log_probability, *said.shares], abs=1e-4
            )
            one = model.answer(QUESTION, read[:1], **given, length_penalty=1.0)
            wanted = model.answer(
                QUESTION, read[:1], beams=beams, max_new_tokens=5, length_penalty=1.0
            )
            assert one.token_ids == wanted.token_ids


def test_the_model_is_as_it_was_after_an_error(
    model: Cocom, contexts: list[ContextEmbeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrange(*_: object) -> None:
        raise RuntimeError("the cable is loose")

    with monkeypatch.context() as patch:
        patch.setattr(SlotKeyValues, "arrange", arrange)
        with pytest.raises(RuntimeError, match="loose"):
            model.answer(QUESTION, contexts, fusion="rag-token", beams=3, max_new_tokens=5)
    config: Any = model.backbone.model.config
    assert config._attn_implementation != NAME
    assert model.answer(QUESTION, contexts, fusion="rag-token", max_new_tokens=3).token_ids


def test_keys_and_values_are_let_go(
    model: Cocom, contexts: list[ContextEmbeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[SlotKeyValues]] = []
    real = SlotKeyValues.__init__

    def begin(self: SlotKeyValues) -> None:
        real(self)
        kept.append(weakref.ref(self))

    monkeypatch.setattr(SlotKeyValues, "__init__", begin)
    model.answer(QUESTION, contexts, fusion="rag-sequence", beams=2, max_new_tokens=4)
    model.score(QUESTION, contexts, ["Rome"])
    gc.collect()
    held = [ref() for ref in kept if ref() is not None]
    assert kept
    assert not any(one._layers for one in held if one is not None)


def test_answers_are_tried_in_several_passes_where_they_are_many(
    model: Cocom, contexts: list[ContextEmbeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["Rome", "in Rome", "the river", "x", "by the sea in May"]
    whole = model.score(QUESTION, contexts, answers, fusion="rag-sequence")
    for numbers in (1, 20 * 5 * 261):
        monkeypatch.setattr(streams, "NUMBERS", numbers)
        parts = model.score(QUESTION, contexts, answers, fusion="rag-sequence")
        for one, other in zip(whole, parts, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
            assert one.shares == pytest.approx(other.shares, abs=1e-4)
    monkeypatch.setattr(streams, "_PROMPT_ROWS", 1)
    assert near(
        model.answer(QUESTION, contexts, fusion="rag-token", max_new_tokens=4),
        model.answer(QUESTION, contexts, fusion="rag-token", max_new_tokens=4),
    )
