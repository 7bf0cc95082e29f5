"""The next token: greedy or drawn, each line by its own options and from its own generator."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from cocom import Cocom, CocomConfig, GenerationOptions
from cocom.reader import ReadRequest
from cocom.running import decoding
from cocom.running.line import Line
from cocom.running.sampling import next_tokens
from cocom.testing import tiny_cocom
from tests.running.lines import Asked, run, written

WARM = GenerationOptions(max_new_tokens=12, temperature=1.3)


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4,), window=32))


@pytest.fixture(scope="module")
def who(model: Cocom) -> ReadRequest:
    return model.chat_request("Who?")


def seeded(seed: int, **options: Any) -> GenerationOptions:
    return dataclasses.replace(WARM, seed=seed, **options)


def lines(model: Cocom, *options: GenerationOptions) -> list[Line]:
    request = model.chat_request("Who?")
    return [Asked(request, one).line(model) for one in options]


def test_a_seed_gives_the_same_answer_in_any_company(model: Cocom, who: ReadRequest) -> None:
    long = model.chat_request("Where was it, then, and why did nobody say so before?")
    want = written(model, [who], seeded(5))[0]
    assert want == model._reader.read([who], seeded(5))[0]
    assert want != written(model, [who], seeded(6))[0]
    cold = GenerationOptions(max_new_tokens=30)
    company: list[tuple[ReadRequest, GenerationOptions]] = [
        (long, cold),
        (long, WARM),
        (who, seeded(5, top_k=3)),
        (who, seeded(6)),
        (long, seeded(5)),
    ]
    for at in range(len(company) + 1):
        asked = [Asked(request, options, after=n) for n, (request, options) in enumerate(company)]
        asked.insert(at, Asked(who, seeded(5), after=at))
        run(model, asked, most=4)
        assert asked[at].answer == want
    assert model._reader.read([long, who, who], seeded(5))[1:] == [want, want]
    for together in (model.answer_batch(["Who?", "Why?"], [[], []], temperature=1.5, seed=3),):
        alone = [model.answer(q, temperature=1.5, seed=3) for q in ("Who?", "Why?")]
        assert together == alone


def test_a_line_that_is_begun_again_draws_the_same(
    model: Cocom, who: ReadRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = written(model, [who], seeded(5))[0]
    calls = 0

    def failing(logits: torch.Tensor, lines: Any) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RuntimeError("no more memory")
        return next_tokens(logits, lines)

    monkeypatch.setattr(decoding, "next_tokens", failing)
    assert written(model, [who, who, who], seeded(5)) == [want] * 3
    assert calls > 12


def test_no_seed_draws_from_torch_s_own_generator(model: Cocom, who: ReadRequest) -> None:
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(written(model, [who, who], WARM))
    assert answers[0] == answers[1] != answers[2]
    assert answers[0][0] != answers[0][1]
    before = torch.get_rng_state()
    written(model, [who, who], [seeded(1), GenerationOptions(seed=4)])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("one", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_one_token_to_choose_from_is_greedy(
    model: Cocom, who: ReadRequest, one: dict[str, Any]
) -> None:
    options = dataclasses.replace(WARM, **one)
    greedy = GenerationOptions(max_new_tokens=12)
    want = written(model, [who], greedy) * 2
    assert written(model, [who, who], [options, greedy]) == want


def counted(model: Cocom, logits: torch.Tensor, times: int, **options: Any) -> torch.Tensor:
    """How often each token is drawn."""
    (line,) = lines(model, dataclasses.replace(WARM, seed=0, **options))
    drawn = [next_tokens(logits[None], [line])[0] for _ in range(times)]
    return torch.bincount(torch.tensor(drawn), minlength=len(logits)).double()


def check_chances(found: torch.Tensor, chances: torch.Tensor) -> None:
    """That counts are as likely as chances say: chi-square below what one in 10,000 exceeds."""
    possible = chances > 0
    assert not found[~possible].any()
    expected = chances[possible] * found.sum()
    square = ((found[possible] - expected) ** 2 / expected).sum()
    limits = {1: 15.2, 2: 18.5, 3: 21.2, 4: 23.6, 5: 25.8}
    assert square < limits[int(possible.sum()) - 1]


LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, 1.5], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_their_chances_say(model: Cocom, temperature: float) -> None:
    found = counted(model, LOGITS, 3000, temperature=temperature)
    check_chances(found, (LOGITS / temperature).softmax(0))
    if temperature != 1.0:  # the check can fail
        with pytest.raises(AssertionError):
            check_chances(found, LOGITS.softmax(0))


def test_top_k_keeps_the_likeliest(model: Cocom) -> None:
    kept = torch.where(LOGITS >= 1, LOGITS, -torch.inf)
    check_chances(counted(model, LOGITS, 2000, temperature=1.0, top_k=3), kept.softmax(0))
    all_of_them = counted(model, LOGITS, 2000, temperature=1.0, top_k=50)
    check_chances(all_of_them, LOGITS.softmax(0))


def test_top_p_keeps_the_smallest_set_with_that_mass(model: Cocom) -> None:
    chances = LOGITS.softmax(0)
    order = chances.argsort(descending=True)
    for top_p in (0.3, 0.6, 0.9):
        size = int((chances[order].cumsum(0) < top_p).sum()) + 1
        kept = torch.zeros_like(chances)
        kept[order[:size]] = chances[order[:size]]
        found = counted(model, LOGITS, 2000, temperature=1.0, top_p=top_p)
        if size == 1:
            assert found[order[0]] == 2000
        else:
            check_chances(found, kept / kept.sum())


def test_every_line_goes_by_its_own_options(model: Cocom) -> None:
    options = [
        GenerationOptions(),
        seeded(3, temperature=1.0, top_k=2),
        seeded(3, temperature=1.0),
        GenerationOptions(),
        seeded(4, temperature=1.0),
        seeded(3, temperature=1.0, top_k=2),
    ]
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(20, len(options), 6, generator=generator)
    together, alone = lines(model, *options), lines(model, *options)
    for logits in rows:
        found = next_tokens(logits, together)
        assert found == [
            next_tokens(row[None], [line])[0] for row, line in zip(logits, alone, strict=True)
        ]
        assert [found[0], found[3]] == logits[[0, 3]].argmax(-1).tolist()
        assert found[1] in logits[1].topk(2).indices
