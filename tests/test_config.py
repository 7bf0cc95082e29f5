"""Configuration: round trips, counts of embeddings and memory tokens, and every refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cocom.config import CocomConfig, EncoderConfig, LoraSettings, PromptTemplate
from cocom.errors import ConfigError

CONFIGS = [
    CocomConfig(),
    CocomConfig(rates=(16,), window=32, embedding_count="fixed", memory_tokens="distinct"),
    CocomConfig(rates=(3, 7), memory_positions="uniform", memory_tokens="per_rate"),
    CocomConfig(weights="separate_lora", lora=LoraSettings(4, 8, 0.0, ("q_proj", "v_proj"))),
    CocomConfig(rates=(4,), encoder=EncoderConfig("concat")),
    CocomConfig(prompt=PromptTemplate(chat=True, system="Be brief.", user="{passages}{question}")),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_dict_round_trip_through_json(config: CocomConfig) -> None:
    assert CocomConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_from_dict_fills_in_defaults() -> None:
    assert CocomConfig.from_dict({}) == CocomConfig()
    assert CocomConfig.from_dict({"rates": [8]}).rates == (8,)


@pytest.mark.parametrize(
    ("tokens", "rate", "count"), [(1, 4, 1), (4, 4, 1), (5, 4, 2), (128, 16, 8), (127, 128, 1)]
)
def test_proportional_counts_are_the_ceiling(tokens: int, rate: int, count: int) -> None:
    assert CocomConfig().embeddings_for(tokens, rate) == count


@pytest.mark.parametrize("tokens", [1, 5, 128])
def test_fixed_counts_do_not_depend_on_the_length(tokens: int) -> None:
    config = CocomConfig(rates=(16,), embedding_count="fixed", window=128)
    assert config.embeddings_for(tokens, 16) == 8


def test_memory_tokens_by_kind() -> None:
    shared = CocomConfig(rates=(4, 16))
    assert shared.memory_token_run(4, 3) == ("<MEM>",) * 3
    per_rate = CocomConfig(rates=(4, 16), memory_tokens="per_rate")
    assert per_rate.memory_token_names() == ("<MEM@4>", "<MEM@16>")
    assert per_rate.memory_token_run(16, 2) == ("<MEM@16>",) * 2
    distinct = CocomConfig(
        rates=(4, 10), window=10, memory_tokens="distinct", embedding_count="fixed"
    )
    assert len(distinct.memory_token_names()) == 3
    assert distinct.memory_token_run(4, 3) == ("<MEM0>", "<MEM1>", "<MEM2>")


def test_rates_are_checked() -> None:
    config = CocomConfig(rates=(16, 4))
    assert config.check_rate(None) == 16
    assert config.check_rate(4) == 4
    for wrong in (8, "4", True, -4):
        with pytest.raises(ConfigError, match=r"not among the rates this model serves, 16, 4"):
            config.check_rate(wrong)  # type: ignore[arg-type]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"rates": ()}, "rates must be one or more whole numbers"),
    ({"rates": 4}, "rates must be one or more whole numbers"),
    ({"rates": "4"}, "rates must be one or more whole numbers"),
    ({"rates": (0,)}, "rates must be one or more whole numbers"),
    ({"rates": (4.0,)}, "rates must be one or more whole numbers"),
    ({"rates": (True,)}, "rates must be one or more whole numbers"),
    ({"rates": (4, 4)}, "rates holds a rate twice"),
    ({"window": 0}, "window must be at least 1 token, got 0"),
    ({"window": "128"}, "window must be at least 1 token, got '128'"),
    ({"rates": (64,), "window": 32}, "rate 64 exceeds window 32"),
    ({"embedding_count": "some"}, "embedding_count must be one of .* got 'some'"),
    ({"memory_positions": "middle"}, "memory_positions must be one of"),
    ({"memory_tokens": "none"}, "memory_tokens must be one of"),
    ({"weights": "lora"}, "weights must be one of"),
    ({"memory_positions": "uniform", "embedding_count": "fixed"}, "'uniform' needs"),
    ({"rates": [4, 16], "encoder": {"head": "concat"}}, "'concat' has one linear map"),
    ({"encoder": {"head": "mean"}, "embedding_count": "fixed"}, "'mean' groups the tokens"),
    ({"encoder": {"head": "max"}}, "encoder.head must be one of"),
    ({"encoder": {"mlp_hidden": -1}}, "encoder.mlp_hidden must be 0"),
    ({"encoder": "bert"}, "encoder must be EncoderConfig or None, got 'bert'"),
    ({"lora": {"r": 0}}, "lora.r and lora.alpha must be at least 1"),
    ({"lora": {"r": "16"}}, "lora.r and lora.alpha must be at least 1"),
    ({"lora": {"dropout": 1.0}}, r"lora.dropout must be in \[0, 1\), got 1.0"),
    ({"lora": 16}, "lora must be LoraSettings, got 16"),
    ({"prompt": {"user": "{question}"}}, "prompt.user must contain {passages} exactly once"),
    ({"prompt": {"user": "{passages}{passages}{question}"}}, "has it 2 times"),
    ({"prompt": {"passage": "x"}}, "prompt.passage must contain {passage} exactly once"),
    ({"prompt": {"auto_encoding": ""}}, "prompt.auto_encoding must contain {passages}"),
    ({"prompt": {"user": None}}, "prompt.user must be str, got None"),
    ({"prompt": {"chat": "yes"}}, "prompt.chat must be bool, got 'yes'"),
    ({"prompt": {"system": "Be brief."}}, "prompt.system is 'Be brief.' but prompt.chat is off"),
    ({"rate": 4}, "unknown setting rate: expected one of embedding_count, encoder"),
    ({"lora": {"rank": 4}}, "unknown setting lora.rank"),
    ({"prompt": {"bos": "x"}}, "unknown setting prompt.bos"),
]


@pytest.mark.parametrize(("values", "message"), BAD, ids=[str(values) for values, _ in BAD])
def test_bad_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CocomConfig.from_dict(values)


def test_a_configuration_must_be_a_mapping() -> None:
    with pytest.raises(ConfigError, match="must be a mapping of settings, got 'x'"):
        CocomConfig.from_dict("x")  # type: ignore[arg-type]
