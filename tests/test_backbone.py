"""Roles: state changes only inside `with`, is put back after errors too, and threads take turns."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import BertConfig, BertModel

from cocom import Cocom, CocomConfig, EncoderConfig
from cocom.config import EncoderHead, Weights
from cocom.errors import ModelError
from cocom.testing import tiny_backbone, tiny_cocom, tiny_tokenizer

HEADS: tuple[EncoderHead, ...] = ("concat", "mean", "memory_mlp")
WEIGHTS: tuple[Weights, ...] = ("full", "shared_lora", "separate_lora")
CONFIGS = [CocomConfig(rates=(4,), weights=weights) for weights in WEIGHTS] + [
    CocomConfig(rates=(4,), encoder=EncoderConfig(head), weights="shared_lora") for head in HEADS
]
IDS = [*WEIGHTS, *HEADS]
PASSAGES = ["one passage about rain", "two", "three passages, one of them longer than the rest"]


def state(model: Cocom) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part, root in model.modules().items():
        for name, module in root.named_modules():
            found[f"{part}.{name}.training"] = module.training
            if isinstance(module, BaseTunerLayer):
                found[f"{part}.{name}.active"] = list(module.active_adapters)
        for name, parameter in root.named_parameters():
            found[f"{part}.{name}.requires_grad"] = parameter.requires_grad
    found["generation_config"] = model.backbone.model.generation_config
    return found


def mix(model: Cocom) -> None:
    """Modes and flags as nobody would set them, so that a blunt restore shows."""
    for root in model.modules().values():
        for i, module in enumerate(root.modules()):
            module.training = i % 3 == 0
        for i, parameter in enumerate(root.parameters()):
            parameter.requires_grad_(i % 2 == 0)


class BrokenError(Exception):
    pass


def fail(*_: Any) -> None:
    raise BrokenError


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_state_is_as_before(config: CocomConfig) -> None:
    model = tiny_cocom(config)
    mix(model)
    before = state(model)
    contexts = model.compress(PASSAGES)
    assert state(model) == before
    model.answer("Who?", contexts, max_new_tokens=2)
    assert state(model) == before
    list(model.stream("Who?", contexts, max_new_tokens=2))
    assert state(model) == before
    model.reconstruct(contexts[0], max_new_tokens=2)
    assert state(model) == before


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_state_is_as_before_after_an_error(config: CocomConfig) -> None:
    model = tiny_cocom(config)
    contexts = model.compress(PASSAGES)
    mix(model)
    before = state(model)
    layers: list[Any] = [model.backbone.model.model.layers[1]]
    if model.encoder is not None:
        bert: Any = model.encoder.encoder
        layers.append(bert.encoder.layer[1])
    hooks = [layer.register_forward_pre_hook(fail) for layer in layers]
    with pytest.raises(BrokenError):
        model.compress(PASSAGES)
    assert state(model) == before
    with pytest.raises(BrokenError):
        model.answer("Who?", contexts)
    assert state(model) == before
    with pytest.raises(BrokenError):
        list(model.stream("Who?", contexts))
    assert state(model) == before
    for hook in hooks:
        hook.remove()
    assert model.answer("Who?", contexts, max_new_tokens=2).token_ids


def active(model: Cocom) -> set[str]:
    layers = [m for m in model.backbone.model.modules() if isinstance(m, BaseTunerLayer)]
    return {name for layer in layers for name in layer.active_adapters}


def test_roles_nest() -> None:
    model = tiny_cocom(CocomConfig(weights="separate_lora"))
    backbone = model.backbone
    backbone.train()
    assert active(model) == {"read"}
    with backbone.role("compress"):
        assert active(model) == {"compress"}
        assert not backbone.training
        with backbone.role("read", train=True):
            assert active(model) == {"read"}
        with pytest.raises(BrokenError), backbone.role("read"):
            raise BrokenError
        assert active(model) == {"compress"}
    assert active(model) == {"read"}
    assert all(module.training for module in backbone.modules())
    with backbone.role("compress", train=True):
        assert backbone.training


def test_each_role_has_its_own_adapter_on_every_linear_layer() -> None:
    names = [
        n for n, _ in tiny_cocom(CocomConfig(weights="separate_lora")).backbone.named_parameters()
    ]
    of = {
        role: {n.replace(f".{role}.", ".") for n in names if f".{role}." in n}
        for role in ("compress", "read")
    }
    assert of["compress"] == of["read"]
    assert len(of["read"]) == 2 * 2 * 7  # A and B, two layers, q k v o gate up down
    assert not any("lm_head" in name for name in of["read"])


def test_the_adapter_of_a_role_is_the_one_that_counts() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), weights="separate_lora"))
    (before,) = model.compress(PASSAGES[:1])
    asked = model.request("Who?", ["text"])

    def change(role: str) -> None:
        with torch.no_grad():
            for name, parameter in model.backbone.named_parameters():
                if f".{role}." in name:
                    parameter.add_(0.1)

    change("read")
    (after,) = model.compress(PASSAGES[:1])
    assert torch.equal(before.embeddings, after.embeddings)
    change("compress")
    (after,) = model.compress(PASSAGES[:1])
    assert not torch.allclose(before.embeddings, after.embeddings)
    assert asked.rows


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_threads_take_turns(config: CocomConfig) -> None:
    model = tiny_cocom(config)
    model.compress(["warm"])
    for root in model.modules().values():
        root.train()  # where a race over the mode would switch dropout on

    def work(i: int) -> tuple[Any, ...]:
        contexts = model.compress([f"{i} {text}" for text in PASSAGES])
        answer = model.answer(f"Question {i}?", contexts, max_new_tokens=4)
        streamed = "".join(model.stream(f"Question {i}?", contexts, max_new_tokens=4))
        return answer.token_ids, streamed, [c.embeddings.tolist() for c in contexts]

    alone = [work(i) for i in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, range(4)))
    assert together == alone


def test_two_adapters_come_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny_cocom(CocomConfig(weights="separate_lora"))


@pytest.mark.parametrize("config", [CONFIGS[2], CONFIGS[4]], ids=["decoder", "encoder"])
def test_models_can_be_copied_and_pickled(config: CocomConfig) -> None:
    model = tiny_cocom(config)
    contexts = model.compress(PASSAGES)
    expected = model.answer("Who?", contexts, max_new_tokens=4)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.answer("Who?", contexts, max_new_tokens=4) == expected
        assert torch.equal(other.compress(PASSAGES)[0].embeddings, contexts[0].embeddings)


def test_gemma_3_control_tokens_are_on_the_scale_of_words() -> None:
    model = tiny_cocom(family="gemma3")
    words = model.backbone.embed(torch.arange(model.backbone.text.vocabulary_size))
    ratio = (model.backbone.control.weight.std() / words.std()).item()
    assert 0.7 < ratio < 1.4


def test_models_that_cannot_be_a_backbone() -> None:
    shape = BertConfig(
        vocab_size=300,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    with pytest.raises(ModelError, match="BertModel is not a causal language model"):
        Cocom(BertModel(shape), tiny_tokenizer())
    with pytest.raises(ModelError, match=r"the tokenizer has 261 tokens but the model embeds 100"):
        Cocom(tiny_backbone(vocab_size=100), tiny_tokenizer())
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="the tokenizer has no eos_token"):
        Cocom(tiny_backbone(), tokenizer)
