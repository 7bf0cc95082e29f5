"""Whatever cannot be used is refused with a message that names it and says what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cocom import Cocom, CocomConfig, ContextEmbeddings, EncoderConfig, GenerationOptions
from cocom.errors import (
    ConfigError,
    EmptyPassageError,
    FingerprintError,
    InputError,
    PromptTooLongError,
    SlotMismatchError,
)
from cocom.testing import tiny_backbone, tiny_cocom, tiny_encoder, tiny_tokenizer

MODEL = CocomConfig(rates=(4, 16), window=32)


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(MODEL, max_position_embeddings=200)


@pytest.fixture(scope="module")
def context(model: Cocom) -> ContextEmbeddings:
    return model.compress(["Ada was born in Rome."])[0]


Call = Callable[[Any, Any], object]

TABLE: list[tuple[str, Call, type[Exception], str]] = [
    ("one text", lambda m, c: m.compress("text"), InputError, "got a single one: put it in a list"),
    ("empty", lambda m, c: m.compress(["a", ""]), EmptyPassageError, "passage 1 has no text"),
    (
        "blank",
        lambda m, c: m.compress([" \n\t"]),
        EmptyPassageError,
        r"got ' \\n\\t': leave it out",
    ),
    ("number", lambda m, c: m.compress([5]), InputError, "passage 0 must be text, got int"),
    ("none", lambda m, c: m.compress([None]), InputError, "passage 0 must be text, got NoneType"),
    ("bytes", lambda m, c: m.compress(b"ab"), InputError, "passage 0 must be text, got int"),
    ("again", lambda m, c: m.compress([c]), InputError, "must be text, got ContextEmbeddings"),
    ("rate", lambda m, c: m.compress(["a"], rate=8), ConfigError, "rate 8 is not among .* 4, 16"),
    ("rate 0", lambda m, c: m.compress(["a"], rate=0), ConfigError, "rate 0 is not among"),
    (
        "batch",
        lambda m, c: m.compress(["a"], batch_tokens=0),
        InputError,
        "batch_tokens must be at",
    ),
    ("question", lambda m, c: m.answer(""), InputError, "question must be a text that asks"),
    ("blank question", lambda m, c: m.answer("  "), InputError, "asks something, got '  '"),
    ("no question", lambda m, c: m.answer(None), InputError, "asks something, got None"),
    ("a context", lambda m, c: m.answer("q", c), InputError, "got a single ContextEmbeddings"),
    (
        "a text",
        lambda m, c: m.answer("q", "text"),
        InputError,
        "got a single str: put it in a list",
    ),
    (
        "empty text",
        lambda m, c: m.answer("q", [c, ""]),
        EmptyPassageError,
        "passage 1 has no text to",
    ),
    ("object", lambda m, c: m.answer("q", [3]), InputError, "passage 0 must be text or context"),
    (
        "nested",
        lambda m, c: m.answer("q", [[c]]),
        InputError,
        "text or context embeddings, got list",
    ),
    (
        "one question",
        lambda m, c: m.answer_batch("q", [[]]),
        InputError,
        "call answer\\(\\) for one",
    ),
    ("lists", lambda m, c: m.answer_batch(["q"], []), InputError, "got 1 questions but 0 lists"),
    ("texts", lambda m, c: m.answer_batch(["q"], ["text"]), InputError, "got a single str"),
    (
        "batch size",
        lambda m, c: m.answer_batch(["q"], [[]], batch_size=0),
        InputError,
        "batch_size mu",
    ),
    ("option", lambda m, c: m.answer("q", max_tokens=3), InputError, "unknown option 'max_tokens'"),
    (
        "tokens 0",
        lambda m, c: m.answer("q", max_new_tokens=0),
        InputError,
        "max_new_tokens must be",
    ),
    ("tokens", lambda m, c: m.answer("q", max_new_tokens="9"), InputError, "be a number, got '9'"),
    (
        "fraction",
        lambda m, c: m.answer("q", max_new_tokens=2.5),
        InputError,
        "be a number, got 2.5",
    ),
    ("cold", lambda m, c: m.answer("q", temperature=-1), InputError, "temperature must be 0"),
    ("nan", lambda m, c: m.answer("q", temperature=float("nan")), InputError, "number, got nan"),
    ("top_p", lambda m, c: m.answer("q", top_p=0), InputError, r"top_p must be in \(0, 1\], got 0"),
    ("top_p 2", lambda m, c: m.answer("q", top_p=2), InputError, r"top_p must be in \(0, 1\]"),
    (
        "top_k",
        lambda m, c: m.answer("q", top_k=-1),
        InputError,
        r"top_k must be 0 \(all\) or above",
    ),
    ("seed", lambda m, c: m.answer("q", seed="x"), InputError, "seed must be a number, got 'x'"),
    ("beams", lambda m, c: m.answer("q", beams=0), InputError, "beams must be at least 1, got 0"),
    ("both", lambda m, c: m.answer("q", beams=2, temperature=1), InputError, "do not go together"),
    ("stop", lambda m, c: m.answer("q", stop=[""]), InputError, "stop holds an empty string"),
    ("stops", lambda m, c: m.answer("q", stop=[1]), InputError, "stop must be one or more strings"),
    ("stream empty", lambda m, c: m.stream("", [c]), InputError, "question must be a text"),
    (
        "long",
        lambda m, c: m.answer("q" * 200),
        PromptTooLongError,
        "the prompt takes 2.* reads 200",
    ),
    (
        "long answer",
        lambda m, c: m.answer("q", max_new_tokens=190),
        PromptTooLongError,
        "is 190, but",
    ),
    ("long stream", lambda m, c: m.stream("q" * 200), PromptTooLongError, "pass fewer passages"),
    ("many", lambda m, c: m.answer("q", [c] * 40), PromptTooLongError, "the prompt takes 3"),
    ("reconstruct", lambda m, c: m.reconstruct(c, beam=1), InputError, "unknown option 'beam'"),
]


@pytest.mark.parametrize(
    ("name", "call", "kind", "message"), TABLE, ids=[name for name, _, _, _ in TABLE]
)
def test_bad_input(
    name: str,
    call: Call,
    kind: type[Exception],
    message: str,
    model: Cocom,
    context: ContextEmbeddings,
) -> None:
    with pytest.raises(kind, match=message):
        call(model, context)


def test_options_that_stand_for_none() -> None:
    assert GenerationOptions(stop=None).stop == ()  # type: ignore[arg-type]
    assert GenerationOptions(stop=["a"]).stop == ("a",)  # type: ignore[arg-type]
    assert GenerationOptions(stop="end").stop == ("end",)  # type: ignore[arg-type]


def test_exactly_as_long_as_the_model_reads(model: Cocom, context: ContextEmbeddings) -> None:
    room = 200 - model.request("q", [context]).rows
    assert model.answer("q", [context], max_new_tokens=room).token_ids
    with pytest.raises(PromptTooLongError):
        model.answer("q", [context], max_new_tokens=room + 1)


def test_uniform_positions_count_as_positions() -> None:
    model = tiny_cocom(
        CocomConfig(rates=(16,), window=64, memory_positions="uniform"), max_position_embeddings=140
    )
    (context,) = model.compress(["x" * 64])
    request = model.request("q", [context])
    room = 140 - (len(request.prompt.ids) + 64)
    assert model.answer("q", [context], max_new_tokens=room).token_ids
    with pytest.raises(PromptTooLongError, match=f"takes {140 - room} positions"):
        model.answer("q", [context], max_new_tokens=room + 1)


def test_embeddings_of_another_model(context: ContextEmbeddings) -> None:
    other = tiny_cocom(MODEL, seed=1)
    for use in (lambda: other.answer("q", ["text", context]), lambda: other.stream("q", [context])):
        with pytest.raises(
            FingerprintError, match=rf"by model {context.fingerprint[:12]}, but this"
        ):
            use()
    with pytest.raises(FingerprintError, match="passage 0 was compressed by model"):
        other.reconstruct(context)


def test_embeddings_changed_by_hand(model: Cocom, context: ContextEmbeddings) -> None:
    fewer = dataclasses.replace(context, embeddings=context.embeddings[1:])
    more = dataclasses.replace(
        context, embeddings=context.embeddings.repeat(2, 1)[: len(context) + 1]
    )
    for contexts in ([fewer], [more], [fewer, more]):  # the last have the right sum
        with pytest.raises(SlotMismatchError, match=r"has 6 slots in its windows but [57] context"):
            model.answer("q", contexts)
    with pytest.raises(SlotMismatchError, match="6 slots in its windows but 5"):
        list(model.stream("q", [fewer]))
    narrow = dataclasses.replace(context, embeddings=context.embeddings[:, :8])
    with pytest.raises(
        SlotMismatchError, match=r"context embeddings are 8 wide but .* are 32 wide"
    ):
        model.answer("q", [narrow])
    other = tiny_cocom(MODEL, seed=1)
    forged = dataclasses.replace(
        context, embeddings=torch.zeros(6, 16), fingerprint=other.fingerprint
    )
    with pytest.raises(SlotMismatchError, match="16 wide"):
        other.answer("q", [forged])


def test_windows_longer_than_the_model() -> None:
    with pytest.raises(ConfigError, match=r"window 128 needs .* positions but the model has 100"):
        tiny_cocom(max_position_embeddings=100)
    encoder, tokenizer = tiny_encoder(max_position_embeddings=100)
    config = CocomConfig(rates=(4,), encoder=EncoderConfig("mean"))
    with pytest.raises(ConfigError, match="window 128 needs 130 positions but the encoder has 100"):
        Cocom(
            tiny_backbone(), tiny_tokenizer(), config, encoder=encoder, encoder_tokenizer=tokenizer
        )


def test_encoders_without_a_setting_and_the_other_way_round() -> None:
    encoder, tokenizer = tiny_encoder()
    with pytest.raises(InputError, match=r"config.encoder is None but encoder is BertModel"):
        Cocom(tiny_backbone(), tiny_tokenizer(), encoder=encoder, encoder_tokenizer=tokenizer)
    config = CocomConfig(rates=(4,), encoder=EncoderConfig())
    for given in ({}, {"encoder": encoder}, {"encoder_tokenizer": tokenizer}):
        options: dict[str, Any] = dict(given)
        with pytest.raises(InputError, match="give all three for a light compressor, or none"):
            Cocom(tiny_backbone(), tiny_tokenizer(), config, **options)
    with pytest.raises(InputError, match="give all three"):
        Cocom(tiny_backbone(), tiny_tokenizer(), encoder=encoder)


def test_unknown_families() -> None:
    with pytest.raises(InputError, match="family 'bert' is unknown: choose one of"):
        tiny_cocom(family="bert")  # type: ignore[arg-type]
