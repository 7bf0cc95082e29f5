"""Passages read apart by models of all kinds, with padding and without; what they leave behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch

from cocom import (
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    GenerationOptions,
)
from cocom.attention import NAME
from cocom.fusion import runner, streams, writing
from cocom.fusion.branches import Branches
from cocom.fusion.plain_streams import PlainStreams
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


def test_a_model_that_needs_its_own_attention_keeps_no_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family="gemma2", tie_word_embeddings=False)
    read = model.compress(TEXTS[:2])
    seen: list[bool] = []
    real: Any = model.backbone.model.forward

    def forward(*given: Any, **named: Any) -> Any:
        output = real(*given, **named)
        seen.append(output.logits.requires_grad)
        return output

    monkeypatch.setattr(model.backbone.model, "forward", forward)
    model.answer(QUESTION, read, fusion="rag-sequence", max_new_tokens=3)
    model.score(QUESTION, read, ["Rome"])
    assert len(seen) > 2
    assert not any(seen)


def test_more_prompts_than_are_read_at_once_by_a_model_that_needs_its_own_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family="gemma2", tie_word_embeddings=False)
    read = model.compress(TEXTS[:2])
    options = GenerationOptions(fusion="rag-token", max_new_tokens=4)
    rows = model.request_for(QUESTION, read, options).rows
    wanted = model.answer(QUESTION, read, fusion="rag-token", max_new_tokens=4)
    prompts: list[int] = []
    real = PlainStreams.read

    def reading(self: PlainStreams, given: Any, most: Any) -> Any:
        prompts.append(len(given))
        return real(self, given, most)

    monkeypatch.setattr(PlainStreams, "read", reading)
    for module in (runner, writing):
        monkeypatch.setattr(module, "PROMPT_ROWS", 2 * rows)
    got = model.answer_batch([QUESTION] * 6, [read] * 6, fusion="rag-token", max_new_tokens=4)
    assert prompts == [4, 4, 4]
    assert all(near(answer, wanted) for answer in got)


def test_drawn_answers_of_a_model_that_needs_its_own_attention_are_those_it_gives_alone() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)), family="gemma2", tie_word_embeddings=False)
    read = model.compress(TEXTS[:3])
    for fusion in ("concat", "rag-token"):
        drawn: dict[str, Any] = {"temperature": 1.3, "seed": 4, "fusion": fusion}
        wanted = model.answer(QUESTION, read, max_new_tokens=8, **drawn)
        got = model.answer_batch([QUESTION] * 3, [read] * 3, max_new_tokens=8, **drawn)
        assert [answer.token_ids for answer in got] == [wanted.token_ids] * 3


def test_room_that_could_not_grow_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = SlotKeyValues()
    kept.reserve(2, 8)
    every = torch.arange(2)
    kept.aim(every, every, used=2, width=8)
    for layer in (0, 1):
        kept.write(layer, torch.ones(2, 3, 4), torch.ones(2, 3, 4))
    before = [part.clone() for layer in (0, 1) for part in kept.read(layer)]
    real = SlotKeyValues._grown
    calls: list[int] = []

    def grown(self: SlotKeyValues, old: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 2:
            raise torch.OutOfMemoryError("full")
        return real(self, old)

    with monkeypatch.context() as patch:
        patch.setattr(SlotKeyValues, "_grown", grown)
        with pytest.raises(torch.OutOfMemoryError):
            kept.reserve(9, 200)
    after = [part for layer in (0, 1) for part in kept.read(layer)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert kept.reserve(9, 200)
    kept.aim(torch.tensor([8]), torch.tensor([150]), used=9, width=200)
    for layer in (0, 1):
        kept.write(layer, torch.ones(1, 3, 4), torch.ones(1, 3, 4))
        assert kept.read(layer)[0].shape == (9, 3, 200, 4)


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
    rows: list[int] = []

    def branches(*given: Any) -> Any:
        rows.append(len(given[-1].ids))
        return Branches(*given)

    monkeypatch.setattr(streams, "Branches", branches)
    for name, most in (("_ANSWER_ROWS", 20), ("NUMBERS", 20 * 5 * 261), ("NUMBERS", 1)):
        rows.clear()
        monkeypatch.setattr(streams, name, most)
        parts = model.score(QUESTION, contexts, answers, fusion="rag-sequence")
        for one, other in zip(whole, parts, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
            assert one.shares == pytest.approx(other.shares, abs=1e-4)
        assert len(rows) > 1
        assert max(rows) <= 20
    monkeypatch.setattr(streams, "_PROMPT_ROWS", 1)
    assert near(
        model.answer(QUESTION, contexts, fusion="rag-token", max_new_tokens=4),
        model.answer(QUESTION, contexts, fusion="rag-token", max_new_tokens=4),
    )
