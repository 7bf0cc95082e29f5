"""The engine as a whole: plain reading, batches equal singles, every family, every layout."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
import string
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import cocom.running.request
from cocom import (
    Cocom,
    CocomConfig,
    ContextEmbeddings,
    EncoderConfig,
    Passage,
    PromptTemplate,
)
from cocom.attention import Packed, Stepped
from cocom.config import MemoryPositions, MemoryTokens, Weights
from cocom.engine import PassageLike
from cocom.key_values import SlotKeyValues
from cocom.packing import EndToEnd, lay_prompts
from cocom.passes import passes_of
from cocom.testing import Family, tiny_cocom

FAMILIES: tuple[Family, ...] = Family.__args__  # type: ignore[attr-defined]
WORDS = ["the", "of", "Ada", "Rome", "river", "1815", "born", "café", "서울", "🙂", "loves,", "it."]
EARLY = tuple(string.ascii_lowercase[::2] + string.digits + string.punctuation)
LIGHT = [
    CocomConfig(rates=(4,), window=24, encoder=EncoderConfig("concat")),
    CocomConfig(rates=(4, 3), window=24, encoder=EncoderConfig("mean")),
    CocomConfig(rates=(4, 3), window=24, encoder=EncoderConfig("memory_mlp", mlp_hidden=20)),
    CocomConfig(
        rates=(4, 3),
        window=24,
        encoder=EncoderConfig("memory_mlp"),
        embedding_count="fixed",
        memory_tokens="distinct",
    ),
]


def plain(model: Cocom, ids: Sequence[int], count: int) -> list[int]:
    """What `generate` of transformers writes after these ids."""
    language_model: Any = model.backbone.model.eval()
    output = language_model.generate(
        input_ids=torch.tensor([list(ids)]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
    )
    return [int(i) for i in output[0, len(ids) :]]


# --- 1. without slots, as plain generate -----------------------------------------------------------


@pytest.mark.parametrize("weights", ["full", "shared_lora", "separate_lora"])
@pytest.mark.parametrize("positions", ["end", "uniform"])
def test_prompts_without_slots_read_as_plain_generate(
    weights: Weights, positions: MemoryPositions
) -> None:
    layout = PromptTemplate(passage="{passage}\n")
    model = tiny_cocom(CocomConfig(weights=weights, memory_positions=positions, prompt=layout))
    for passages in ([], ["Text only."], ["Two texts.", "서울 🙂"]):
        ids = model.request("Who?", passages).prompt.ids
        assert max(ids) < model.backbone.text.vocabulary_size
        answer = model.answer("Who?", passages, max_new_tokens=12)
        assert list(answer.token_ids) == plain(model, ids, 12)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_read_as_plain_generate(family: Family) -> None:
    layout = PromptTemplate(passage="{passage}\n")
    model = tiny_cocom(CocomConfig(prompt=layout), family=family, tie_word_embeddings=False)
    ids = model.request("Who?", ["Text."]).prompt.ids
    answer = model.answer("Who?", ["Text."], max_new_tokens=12)
    assert list(answer.token_ids) == plain(model, ids, 12)


# --- 2. batches equal singles ----------------------------------------------------------------------


def random_text(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


def random_batch(model: Cocom, rng: random.Random) -> tuple[list[str], list[list[PassageLike]]]:
    """Two to four questions, each with none to four passages, as text or embeddings of any rate."""
    pool: list[PassageLike] = [random_text(rng, 6) for _ in range(3)]
    for rate in model.config.rates:
        pool += model.compress([random_text(rng, 12) for _ in range(2)], rate=rate)
    size = rng.randint(2, 4)
    questions = [random_text(rng, 5) + "?" for _ in range(size)]
    return questions, [rng.choices(pool, k=rng.randint(0, 4)) for _ in range(size)]


def differences(model: Cocom, seed: int, tokens: int = 6) -> int:
    """Answers that are others in a batch than alone; with every other seed, some end early."""
    questions, passages = random_batch(model, random.Random(seed))
    options: dict[str, Any] = {"max_new_tokens": tokens, "stop": EARLY if seed % 2 else ()}
    together = model.answer_batch(questions, passages, **options)
    alone = [model.answer(q, p, **options) for q, p in zip(questions, passages, strict=True)]
    return sum(a != b for a, b in zip(together, alone, strict=True))


RAGGED = [
    CocomConfig(rates=(4, 16), window=32),
    CocomConfig(rates=(4, 16), window=32, memory_positions="uniform"),
]


@pytest.mark.parametrize("start", range(0, 100, 25))
@pytest.mark.parametrize("config", RAGGED, ids=["end", "uniform"])
def test_ragged_batches_answer_as_one_at_a_time(config: CocomConfig, start: int) -> None:
    model = tiny_cocom(config)
    assert [differences(model, seed) for seed in range(start, start + 25)] == [0] * 25


def wrong_rows(broken: str) -> Callable[..., Any]:
    """Lays prompts out with a mistake that a prompt alone does not show."""

    def lay(rows: Any, pad_id: int, **options: Any) -> tuple[EndToEnd, list[int]]:
        laid, following = lay_prompts(rows, pad_id, **options)
        if broken == "order":
            laid = dataclasses.replace(laid, places=laid.places.roll(1))
        if broken == "positions":
            times = torch.arange(len(laid.lengths)) + 1
            times = times.repeat_interleave(torch.tensor(laid.lengths))
            laid = dataclasses.replace(laid, position_ids=laid.position_ids * times)
        if broken == "following":
            following = [max(following)] * len(following)
        return laid, following

    return lay


@pytest.mark.parametrize("broken", ["order", "positions", "following", "mask", "slot", "lengths"])
@pytest.mark.parametrize("config", RAGGED, ids=["end", "uniform"])
def test_the_ragged_test_can_fail(
    config: CocomConfig, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_cocom(config)
    # What is wrong from the start is found out, and the model is run otherwise.
    assert passes_of(model.backbone).usable()
    assert sum(differences(model, seed) for seed in range(8)) == 0
    monkeypatch.setattr(cocom.running.request, "lay_prompts", wrong_rows(broken))
    if broken == "mask":  # rows that were not written, or by another answer, are seen
        monkeypatch.setattr(Stepped, "_seen", lambda self, window: None)
    if broken == "slot":  # an answer goes on with what is left of one that ended
        monkeypatch.setattr(SlotKeyValues, "move", lambda *_: None)
    if broken == "lengths":  # all are taken to be as long as the first
        real = Packed.__init__

        def even(self: Packed, lengths: Sequence[int], **options: Any) -> None:
            mean, rest = divmod(sum(lengths), len(lengths))
            real(self, [mean] * (len(lengths) - 1) + [mean + rest], **options)

        monkeypatch.setattr(Packed, "__init__", even)
    assert sum(differences(model, seed) for seed in range(8)) > 0


def check_compress(model: Cocom, rate: int) -> None:
    rng = random.Random(0)
    texts = [random_text(rng, 20) for _ in range(12)] + ["a", ".", "x" * 60]
    together = model.compress(texts, rate=rate)
    small = model.compress(texts, rate=rate, batch_tokens=1)
    for text, one, other in zip(texts, together, small, strict=True):
        (alone,) = model.compress([text], rate=rate)
        torch.testing.assert_close(one.embeddings, alone.embeddings, atol=1e-5, rtol=0)
        torch.testing.assert_close(other.embeddings, alone.embeddings, atol=1e-5, rtol=0)
        assert (one.windows, one.text_tokens) == (alone.windows, alone.text_tokens)


@pytest.mark.parametrize("config", [*RAGGED, *LIGHT])
def test_compressing_together_equals_alone(config: CocomConfig) -> None:
    model = tiny_cocom(config)
    for rate in config.rates:
        check_compress(model, rate)


# --- 8. families and layouts -----------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["full", "shared_lora", "separate_lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_families_compress_and_answer_in_batches(family: Family, weights: Weights) -> None:
    config = CocomConfig(rates=(4, 16), window=32, weights=weights)
    model = tiny_cocom(config, family=family, tie_word_embeddings=False)
    assert [differences(model, seed) for seed in range(2)] == [0, 0]
    one, other = model.compress(["Ada was born in Rome.", "The river."], rate=4)
    assert not torch.allclose(one.embeddings[:3], other.embeddings[:3])
    assert one.embeddings.isfinite().all()
    check = [model.answer("Who?", [c], max_new_tokens=8).token_ids for c in (one, other)]
    assert check[0] != check[1] or family.startswith("gemma")


@pytest.mark.parametrize("tokens", ["shared", "per_rate", "distinct"])
@pytest.mark.parametrize("count", ["proportional", "fixed"])
def test_layouts(tokens: MemoryTokens, count: Any) -> None:
    config = CocomConfig(rates=(4, 5), window=12, memory_tokens=tokens, embedding_count=count)
    model = tiny_cocom(config)
    assert [differences(model, seed) for seed in range(3)] == [0] * 3
    for rate in config.rates:
        for length in (1, 3, 4, 5, 11, 12, 13, 30):
            (context,) = model.compress(["x" * length], rate=rate)
            sizes = [12] * (length // 12) + [length % 12] * (length % 12 > 0)
            expected = [-(-(12 if count == "fixed" else size) // rate) for size in sizes]
            assert [w.embeddings for w in context.windows] == expected
            assert [w.tokens for w in context.windows] == sizes
            assert context.embeddings.shape == (sum(expected), model.backbone.hidden_size)
            assert (context.rate, context.text_tokens, len(context)) == (
                rate,
                length,
                sum(expected),
            )


@pytest.mark.parametrize("config", LIGHT, ids=["concat", "mean", "memory_mlp", "fixed"])
def test_light_compressors(config: CocomConfig) -> None:
    model = tiny_cocom(config)
    assert [differences(model, seed) for seed in range(2)] == [0, 0]
    rate = config.rates[0]
    for length in (1, 4, 5, 24, 25):
        (context,) = model.compress(["x" * length], rate=rate)
        sizes = [24] * (length // 24) + [length % 24] * (length % 24 > 0)
        fixed = config.embedding_count == "fixed"
        assert len(context) == sum(-(-(24 if fixed else size) // rate) for size in sizes)


def test_the_mean_head_is_the_mean_of_mapped_states() -> None:
    model = tiny_cocom(LIGHT[1])
    light = model.encoder
    assert light is not None
    ids = light.text.encode_text("abcdef")
    with torch.no_grad():
        hidden = light.encoder(input_ids=torch.tensor([[1, *ids, 2]])).last_hidden_state[0, 1:7]
        mapped = light.head(hidden)
    expected = torch.stack([mapped[:4].mean(0), mapped[4:].mean(0)])
    (context,) = model.compress(["abcdef"], rate=4)
    torch.testing.assert_close(context.embeddings, expected)


def test_the_embeddings_are_the_last_states_at_the_memory_tokens() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)))
    text, language_model = model.backbone.text, model.backbone.model
    ids = [text.control_ids["<ENC>"], 1, *text.encode_text("abcdef"), 2]
    ids += [text.control_ids["<MEM>"]] * 2
    with torch.no_grad():
        embeds = model.backbone.embed(torch.tensor([ids]))
        hidden = language_model.base_model(inputs_embeds=embeds).last_hidden_state
    (context,) = model.compress(["abcdef"])
    torch.testing.assert_close(context.embeddings, hidden[0, -2:])


# --- what users hit --------------------------------------------------------------------------------


def test_nothing_in_nothing_out() -> None:
    model = tiny_cocom()
    assert model.compress([]) == []
    assert model.answer_batch([], []) == []
    assert model.answer("Who?", max_new_tokens=1).usage.context_rows == 0


@pytest.mark.parametrize("text", ["a", ".", "?!...", "🙂", "a\u200b", "0", "안", "</s>", "\u202e"])
@pytest.mark.parametrize("rate", [4, 128])
def test_small_and_odd_passages(text: str, rate: int) -> None:
    model = tiny_cocom(CocomConfig(rates=(4, 128)))
    (context,) = model.compress([text], rate=rate)
    assert len(context) == -(-len(text.encode()) // rate)
    assert model.answer("Who?", [context, text, context], max_new_tokens=2).token_ids


def test_a_passage_of_many_windows_is_read_and_reconstructed() -> None:
    model = tiny_cocom(CocomConfig(rates=(16,), window=50), max_position_embeddings=40_000)
    text = "".join(f"문장 {i} is short. " for i in range(70)) + "🙂" * 40
    (context,) = model.compress([text])
    assert sum(w.tokens for w in context.windows) == context.text_tokens == len(text.encode())
    assert max(w.tokens for w in context.windows) <= 50
    assert model.answer("Who?", [context], max_new_tokens=2).usage.context_rows == len(context)
    assert isinstance(model.reconstruct(context, max_new_tokens=3), str)


def test_twenty_thousand_tokens_compress() -> None:
    model = tiny_cocom(CocomConfig(rates=(128,)))
    text = "서울은 수도이다. 🙂 " * 700
    (context,) = model.compress([text])
    assert sum(w.tokens for w in context.windows) == len(text.encode()) > 20_000
    assert len(context) == sum(-(-w.tokens // 128) for w in context.windows)


def test_iterators_passages_and_their_ids() -> None:
    model = tiny_cocom()
    passage = Passage("Some text.", id="p1", metadata={"page": 3})
    (kept,) = model.compress(p for p in [passage])  # type: ignore[arg-type]
    assert kept.passage == passage
    (dropped,) = model.compress([passage], keep_text=False)
    assert dropped.passage is None
    as_text = model.answer("Who?", iter([passage]), max_new_tokens=3)  # type: ignore[arg-type]
    assert as_text == model.answer("Who?", ["Some text."], max_new_tokens=3)


def test_contexts_can_be_copied_pickled_and_cut_off_from_the_graph() -> None:
    model = tiny_cocom()
    contexts = model.compress(["Some text.", "More."])
    assert not any(c.embeddings.requires_grad for c in contexts)
    expected = model.answer("Who?", contexts, max_new_tokens=4)
    for other in (copy.deepcopy(contexts), pickle.loads(pickle.dumps(contexts))):
        assert model.answer("Who?", other, max_new_tokens=4) == expected


def test_the_same_passage_twice_is_read_twice() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)))
    (context,) = model.compress(["Some text."])
    usage = model.answer("Who?", [context, context], max_new_tokens=1).usage
    assert usage.context_rows == 2 * len(context)
    assert usage.replaced_tokens == 2 * context.text_tokens


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("config", [RAGGED[1], *LIGHT[:3]])
def test_half_precision(config: CocomConfig, dtype: torch.dtype) -> None:
    model = tiny_cocom(config)
    for part in model.modules().values():
        part.to(dtype)
    contexts = model.compress(["Ada was born in Rome.", "The river."])
    assert {c.embeddings.dtype for c in contexts} == {dtype}
    assert all(c.embeddings.isfinite().all() for c in contexts)
    assert model.answer("Who?", [*contexts, "text"], max_new_tokens=3).token_ids


def test_contexts_are_read_in_another_dtype() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,)))
    contexts = model.compress(["Ada was born in Rome."])
    fingerprint = model.fingerprint
    for part in model.modules().values():
        part.to(torch.bfloat16)
    model.weights_changed()
    assert model.fingerprint == fingerprint
    assert model.answer("Who?", contexts, max_new_tokens=3).token_ids


def test_a_tiny_model_is_the_same_every_time() -> None:
    for config in (CocomConfig(weights="separate_lora"), *LIGHT):
        assert tiny_cocom(config).fingerprint == tiny_cocom(config).fingerprint
        assert tiny_cocom(config, seed=1).fingerprint != tiny_cocom(config).fingerprint


def test_a_setting_left_at_its_default_leaves_no_mark_on_the_fingerprint() -> None:
    from cocom.fingerprint import _meaning

    assert _meaning(CocomConfig()) == {"lora_scale": 2.0}
    changed = CocomConfig(rates=(4,), encoder=EncoderConfig("mean"))
    assert _meaning(changed) == {"rates": [4], "encoder": {"head": "mean"}, "lora_scale": 2.0}


def test_building_and_using_a_model_leaves_the_input_alone() -> None:
    model = tiny_cocom()
    passages: list[str | Passage] = ["a", "b"]
    contexts: list[PassageLike] = list(model.compress(passages))
    before = [c.embeddings.clone() for c in contexts if isinstance(c, ContextEmbeddings)]
    model.answer("Who?", contexts, max_new_tokens=2)
    after = [c.embeddings for c in contexts if isinstance(c, ContextEmbeddings)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert passages == ["a", "b"]
