"""Generation: decoding options, stop strings, streaming, usage, errors of a call."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cocom import Answer, Cocom, CocomConfig, ContextEmbeddings, GenerationOptions, Window
from cocom.answer_text import AnswerText
from cocom.errors import InputError, SlotMismatchError
from cocom.running import decoding
from cocom.running.line import Line
from cocom.running.sampling import next_tokens
from cocom.testing import tiny_cocom

EOS = 2


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4,), window=32))


@pytest.fixture(scope="module")
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(["Ada was born in Rome.", "The river is long."])


@contextmanager
def saying(
    model: Cocom,
    *texts: str | Sequence[int],
    end: bool = True,
    at: Callable[[int], None] | None = None,
) -> Iterator[list[int]]:
    """The model writes these texts, one a line in the order they come (longest prompt first), and ends.

    Yields a list that grows by one with each pass; `at` is called with the pass.
    """
    text = model.backbone.text
    scripts = [[*(text.encode_text(t) if isinstance(t, str) else t), *[EOS] * end] for t in texts]
    steps: list[int] = []
    known: list[Line] = []

    def write(logits: torch.Tensor, lines: Sequence[Line]) -> list[int]:
        # By line, since lines change places when one of them ends.
        if at is not None:
            at(len(steps))
        steps.append(len(steps))
        known.extend(line for line in lines if line not in known)
        forced = torch.full_like(logits, -100.0)
        for row, line in enumerate(lines):
            script = scripts[known.index(line) % len(scripts)]
            forced[row, script[len(line.ids) % len(script)]] = 100.0
        return next_tokens(forced, lines)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "next_tokens", write)
        yield steps


def written(model: Cocom, text: str | Sequence[int], **options: Any) -> Answer:
    with saying(model, text):
        return model.answer("Who?", **options)


def streamed(model: Cocom, text: str | Sequence[int], **options: Any) -> list[str]:
    with saying(model, text):
        return list(model.stream("Who?", **options))


# --- options ---------------------------------------------------------------------------------------


def test_greedy_is_the_default_and_repeatable(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    first = model.answer("Who?", contexts)
    assert first == model.answer("Who?", contexts)
    assert first.usage.generated_tokens == len(first.token_ids) <= 64


def test_sampling_with_a_seed_is_repeatable_and_leaves_torch_alone(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    options: dict[str, Any] = {"temperature": 1.5, "max_new_tokens": 8}
    answers = [model.answer("Who?", contexts, seed=seed, **options) for seed in (1, 1, 2, 3)]
    assert torch.equal(torch.get_rng_state(), before)
    assert answers[0] == answers[1]
    assert len({a.token_ids for a in answers}) > 1
    together = model.answer_batch(["Who?", "Where was it?"], [contexts, []], seed=1, **options)
    assert together[0] == answers[0]
    assert together[1] == model.answer("Where was it?", seed=1, **options)
    assert "".join(model.stream("Who?", contexts, seed=1, **options)) == answers[0].text
    assert torch.equal(torch.get_rng_state(), before)
    model.answer("Who?", contexts, **options)  # without a seed, torch's own generator is used
    assert not torch.equal(torch.get_rng_state(), before)


def test_sampling_options_reach_the_model(model: Cocom) -> None:
    greedy = model.answer("Who?", max_new_tokens=8)
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        values: dict[str, Any] = {"temperature": 1.0, "seed": 0, "max_new_tokens": 8, **options}
        assert model.answer("Who?", **values).token_ids == greedy.token_ids


def test_beams_find_likelier_answers_alike_in_batches(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    def likelihood(answer: Answer) -> float:
        prompt = list(model.request("Who?", []).prompt.ids)
        ids = torch.tensor([[*prompt, *answer.token_ids]])
        with torch.no_grad():
            logits = model.backbone.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        chosen = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])
        return float(chosen.mean())

    greedy, beam = (model.answer("Who?", max_new_tokens=6, beams=beams) for beams in (1, 4))
    assert likelihood(beam) >= likelihood(greedy)
    questions = ["Who?", "Where was it, then?", "When?"]
    passages: list[list[Any]] = [[], contexts, ["text", contexts[0]]]
    together = model.answer_batch(questions, passages, beams=3, max_new_tokens=6)
    alone = [
        model.answer(q, p, beams=3, max_new_tokens=6)
        for q, p in zip(questions, passages, strict=True)
    ]
    assert together == alone


def test_beams_with_uniform_positions() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), memory_positions="uniform"))
    contexts = model.compress(["Ada was born in Rome.", "The river is long."])
    together = model.answer_batch(["A?", "Where?"], [contexts, []], beams=3, max_new_tokens=6)
    assert together == [
        model.answer("A?", contexts, beams=3, max_new_tokens=6),
        model.answer("Where?", beams=3, max_new_tokens=6),
    ]


def test_generation_settings_of_the_checkpoint_do_not_leak_in(model: Cocom) -> None:
    expected = model.answer("Who?", max_new_tokens=8)
    own: Any = model.backbone.model.generation_config
    kept = own.to_dict()
    own.update(repetition_penalty=9.0, no_repeat_ngram_size=1, suppress_tokens=[3], min_length=60)
    own.update(do_sample=True, temperature=3.0, num_beams=2, max_length=3)
    try:
        assert model.answer("Who?", max_new_tokens=8) == expected
    finally:
        own.update(**kept)


def test_ends_of_the_checkpoint_end_an_answer_too() -> None:
    model = tiny_cocom()
    first = model.answer("Who?", max_new_tokens=8)
    own: Any = model.backbone.model.generation_config
    own.eos_token_id = [EOS, first.token_ids[1]]
    again = type(model)(model.backbone.model, model.backbone.text.tokenizer)
    answer = again.answer("Who?", max_new_tokens=8)
    assert (answer.token_ids, answer.finish_reason) == (first.token_ids[:2], "stop")


# --- finish and usage ------------------------------------------------------------------------------


def test_usage_and_finish_reason(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    passages: list[Any] = [contexts[0], "text", contexts[1]]
    with saying(model, "Rome"):
        answer = model.answer("Who?", passages)
    assert (answer.text, answer.finish_reason) == ("Rome", "stop")
    # 21 and 18 tokens at rate 4 are 6 and 5 rows; <s>, three <SEP>, "text", question, "Answer:".
    words = len("text") + len("Question: Who?\nAnswer:")
    assert answer.usage.context_rows == 6 + 5
    assert answer.usage.prompt_rows == 1 + 3 + words + 11
    assert answer.usage.replaced_tokens == 21 + 18
    assert answer.usage.text_rows == 1 + 3 + words + 39
    assert answer.usage.generated_tokens == 5  # with the end of sequence
    with saying(model, "Rome"):
        cut = model.answer("Who?", passages, max_new_tokens=4)
    assert (cut.text, cut.finish_reason, cut.usage.generated_tokens) == ("Rome", "length", 4)
    with saying(model, "Rome"):
        exact = model.answer("Who?", passages, max_new_tokens=5)
    assert (exact.finish_reason, exact.usage.generated_tokens) == ("stop", 5)


def test_an_answer_that_ends_at_once(model: Cocom) -> None:
    answer = written(model, "")
    assert (answer.text, answer.token_ids, answer.finish_reason) == ("", (EOS,), "stop")
    assert streamed(model, "") == []


# --- stop strings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stop", "expected", "tokens"),
    [
        ("abcSTOPdef", ["STOP"], "abc", 7),
        ("abcSTOPdef", "STOP", "abc", 7),
        ("abSTxSTOP", ["STOP"], "abSTx", 9),
        ("one\ntwo", ["\n"], "one", 4),
        ("\n\none", ["\n"], "", 1),
        (" \nab\nc", ["\nab"], "", 4),
        ("é🙂 end. more", [". "], "é🙂 end", 12),
        ("aXbY", ["Y", "X"], "a", 2),
        ("abc", ["abcd", "zz"], "abc", 4),
        ("same", ["e"] * 500, "sam", 4),
    ],
)
def test_stop_strings(model: Cocom, text: str, stop: Any, expected: str, tokens: int) -> None:
    answer = written(model, text, stop=stop)
    assert (answer.text, answer.finish_reason) == (expected, "stop")
    assert answer.usage.generated_tokens == tokens
    assert "".join(streamed(model, text, stop=stop)) == expected


def test_stop_strings_end_rows_of_a_batch_as_alone(model: Cocom) -> None:
    questions = ["A long question?", "Who is it?", "Why?"]
    texts = ["abSTOP", "a longer one STOP", "no end"]
    with saying(model, *texts):
        together = model.answer_batch(questions, [[]] * 3, stop=["STOP"])
    alone = []
    for question, text in zip(questions, texts, strict=True):
        with saying(model, text):
            alone.append(model.answer(question, stop=["STOP"]))
    assert together == alone
    assert [a.text for a in together] == ["ab", "a longer one", "no end"]


# --- streaming -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Rome",
        "  leading",
        "trailing  \n",
        " in  the\n\nmiddle ",
        "서울 🙂 é",
        "\ufffd",
        "a\ufffd b",
        "  ",
    ],
)
def test_pieces_join_to_the_answer(model: Cocom, text: str) -> None:
    pieces = streamed(model, text)
    assert "".join(pieces) == written(model, text).text == text.strip()
    assert all(pieces)


def test_pieces_come_one_by_one(model: Cocom) -> None:
    assert streamed(model, "서울 ok") == ["서", "울", " o", "k"]


@settings(max_examples=25)
@given(st.lists(st.integers(3, 260), max_size=12), st.sampled_from([(), (" ",), ("ab", "b ")]))
def test_pieces_join_for_any_tokens(model: Cocom, ids: list[int], stop: tuple[str, ...]) -> None:
    answer = written(model, ids, stop=stop)
    assert "".join(streamed(model, ids, stop=stop)) == answer.text


@settings(max_examples=25)
@given(st.text("abX \n🙂\ufffd", max_size=16), st.lists(st.text("abX \n", min_size=1), max_size=3))
def test_pieces_are_the_start_of_the_answer(model: Cocom, text: str, stops: list[str]) -> None:
    reader = model._reader
    options = GenerationOptions(stop=tuple(stops))
    ids = reader._generating._until_stop(model.backbone.text.encode_text(text), options)
    ends = reader.ends
    final = model.request("Who?", []).answer(ids, options, text=model.backbone.text, ends=ends).text
    pieces: AnswerText = reader.text_of(options)
    sent = ""
    for token in ids:
        sent += pieces.add(token)
        assert final.startswith(sent)
    assert sent + pieces.finish(final) == final


def test_the_answer_of_a_stream(model: Cocom, contexts: list[ContextEmbeddings]) -> None:
    stream: Any = model.stream("Who?", contexts, max_new_tokens=5)
    with pytest.raises(InputError, match="has not been read to its end"):
        _ = stream.answer
    text = "".join(stream)
    assert stream.answer == model.answer("Who?", contexts, max_new_tokens=5)
    assert stream.answer.text == text
    assert list(stream) == []


def test_errors_while_generating_reach_the_reader_of_a_stream(model: Cocom) -> None:
    def fail(step: int) -> None:
        if step == 3:
            raise RuntimeError("no more memory")

    pieces: list[str] = []
    with saying(model, "abcdef", at=fail), pytest.raises(RuntimeError, match="no more memory"):
        pieces.extend(model.stream("Who?"))
    assert "".join(pieces) in ("ab", "abc")
    assert written(model, "fine").text == "fine"


def test_closing_a_stream_stops_generating_and_frees_the_model(model: Cocom) -> None:
    def slow(_: int) -> None:
        time.sleep(0.002)

    with saying(model, "abcdefgh", end=False, at=slow) as steps:
        stream = model.stream("Who?", max_new_tokens=2000)
        assert next(stream) == "a"
        stream.close()
        deadline = time.monotonic() + 5
        while any(t.name == "cocom-batcher" for t in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        done = len(steps)
        assert done < 1000
    assert written(model, "next").text == "next"
    assert len(steps) == done
    assert list(stream) == []


def test_a_stream_that_is_never_started_costs_nothing(model: Cocom) -> None:
    model.stream("Who?")
    assert not any(t.name == "cocom-batcher" for t in threading.enumerate())


def test_a_stream_left_half_read_does_not_block_others(model: Cocom) -> None:
    def slow(_: int) -> None:
        time.sleep(0.01)

    with saying(model, "abcdefgh", at=slow) as steps:
        stream = model.stream("Who?")
        assert next(stream) == "a"
        assert model.compress(["waits neither for the stream to be read nor to be written"])
        deadline = time.monotonic() + 5
        while len(steps) < 9:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    assert written(model, "other").text == "other"
    assert "".join(stream) == "bcdefgh"


# --- errors of a call ------------------------------------------------------------------------------


def test_an_error_is_raised_when_the_other_answers_have_been_stopped(model: Cocom) -> None:
    (context,) = model.compress(["Ada was born in Rome."])
    cut = dataclasses.replace(context, windows=(Window(tokens=400, embeddings=100),))
    bad = model.request("A question that is longer than the others?", [cut])
    good = model.request("Who?", [])
    options = GenerationOptions(max_new_tokens=500)
    with saying(model, "ab", end=False) as steps:
        with pytest.raises(SlotMismatchError, match="100 slots"):
            model._reader.read([good, bad, good], options, batch_size=3)
        with pytest.raises(SlotMismatchError, match="100 slots"):
            model._reader.read([bad, *[good] * 50], options, batch_size=2)
    assert len(steps) < 10
    assert model._reader.read([good], options) == [model.answer("Who?", max_new_tokens=500)]


def test_any_batch_size_gives_the_same_answers(
    model: Cocom, contexts: list[ContextEmbeddings]
) -> None:
    questions = ["Who?", "Where was it, then?", "When?", "Why is it so?"]
    passages: list[list[Any]] = [[], contexts, ["text", contexts[0]], [contexts[1]]]
    # Some end early, so that others take their slots while neighbours go on.
    stop = tuple("aeiost,.0123456789")
    all_at_once = model.answer_batch(questions, passages, stop=stop, max_new_tokens=20)
    assert len({a.usage.generated_tokens for a in all_at_once}) > 1
    for size in (1, 2, 3):
        assert all_at_once == model.answer_batch(
            questions, passages, stop=stop, max_new_tokens=20, batch_size=size
        )
