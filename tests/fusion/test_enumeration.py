"""RAG-Token and RAG-Sequence are what their formulas say, checked against a list of all answers.

The list is made by plain forward passes of the model in float64, one for every answer and passage, and sums
written out; nothing of the package has a part in it but the context embeddings.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from cocom import Cocom, ContextEmbeddings
from tests.fusion.tiny import END, letters_cocom

CASES = range(50)
Answer = tuple[int, ...]


@dataclass
class Case:
    """A model, a question, passages and scores, and the probability of every answer.

    Attributes:
        each: Of every answer, for each passage the probability of each token.
        by_token: p(y|x) of RAG-Token.
        by_sequence: p(y|x) of RAG-Sequence.
    """

    model: Cocom
    question: str
    passages: list[str | ContextEmbeddings]
    scores: list[float] | None
    prior: list[float]
    most: int
    each: dict[Answer, list[list[float]]]
    by_token: dict[Answer, float]
    by_sequence: dict[Answer, float]


@cache
def case(seed: int) -> Case:
    draw = random.Random(seed)
    tokens, most = draw.choices([(5, 3), (6, 3), (8, 2), (7, 3), (5, 4)], [4, 3, 3, 1, 1])[0]
    model = letters_cocom(tokens, seed, initializer_range=draw.choice([0.2, 0.4, 0.8]))
    letters = "abcdefgh"[: tokens - 2]

    def text(least: int) -> str:
        return "".join(draw.choices(letters, k=draw.randint(least, 7)))

    question = text(1)
    texts = [text(2) for _ in range(draw.randint(1, 4))]
    passages: list[str | ContextEmbeddings] = [
        model.compress([text])[0] if draw.random() < 0.5 else text for text in texts
    ]
    scores = [draw.gauss(0, 2) for _ in texts] if draw.random() < 0.8 else None
    if scores and len(scores) > 2 and draw.random() < 0.3:
        scores[draw.randrange(len(scores))] = -math.inf
    weights = [math.exp(score) for score in scores or [0.0] * len(texts)]
    prior = [weight / math.fsum(weights) for weight in weights]

    answers = every_answer(tokens, most)
    network = copy.deepcopy(model.backbone.model).double()
    each: dict[Answer, list[list[float]]] = {answer: [] for answer in answers}
    for passage in passages:
        for answer, found in zip(
            answers, plain(network, letters, question, passage, answers), strict=True
        ):
            each[answer].append(found)
    by_token = {
        answer: math.prod(
            math.fsum(p * table[z][i] for z, p in enumerate(prior)) for i in range(len(answer))
        )
        for answer, table in each.items()
    }
    by_sequence = {
        answer: math.fsum(p * math.prod(table[z]) for z, p in enumerate(prior))
        for answer, table in each.items()
    }
    return Case(model, question, passages, scores, prior, most, each, by_token, by_sequence)


def every_answer(tokens: int, most: int) -> list[Answer]:
    """All that end, and all that are cut off."""
    inner = [token for token in range(tokens) if token != END]
    ended = [
        (*start, END) for size in range(most) for start in itertools.product(inner, repeat=size)
    ]
    return [*ended, *itertools.product(inner, repeat=most)]


def plain(
    network: Any,
    letters: str,
    question: str,
    passage: str | ContextEmbeddings,
    answers: list[Answer],
) -> list[list[float]]:
    """Probability of each token of each answer, by one forward pass without a cache for each length."""

    def ids(text: str) -> torch.Tensor:
        return torch.tensor(
            [letters.index(letter) + 2 if letter in letters else 0 for letter in text]
        )

    embed = network.get_input_embeddings()
    found: list[list[float]] = [[]] * len(answers)
    with torch.no_grad():
        if isinstance(passage, str):
            prompt = embed(ids(f"{passage};|{question}="))
        else:
            prompt = torch.cat([passage.embeddings.double(), embed(ids(f";|{question}="))])
        for size in {len(answer) for answer in answers}:
            places = [i for i, answer in enumerate(answers) if len(answer) == size]
            written = torch.tensor([answers[i] for i in places])
            rows = torch.cat([prompt.expand(len(places), -1, -1), embed(written)], 1)
            chances = network(inputs_embeds=rows, use_cache=False).logits.softmax(-1)
            for i, row in zip(places, chances, strict=True):
                found[i] = [
                    float(row[len(prompt) - 1 + at, token]) for at, token in enumerate(answers[i])
                ]
    return found


def likeliest(chances: dict[Answer, float]) -> tuple[Answer, bool]:
    """The likeliest answer, and whether it is by more than rounding."""
    first, second = sorted(chances, key=lambda answer: -chances[answer])[:2]
    return first, chances[first] > chances[second] * 1.0001


@pytest.mark.parametrize("seed", CASES)
def test_the_probabilities_of_all_answers_are_one_together(seed: int) -> None:
    one = case(seed)
    assert math.fsum(one.by_token.values()) == pytest.approx(1, abs=1e-9)
    assert math.fsum(one.by_sequence.values()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("seed", CASES)
def test_rag_token_gives_every_answer_the_probability_of_the_enumeration(seed: int) -> None:
    one = case(seed)
    found = one.model.score(
        one.question, one.passages, list(one.each), scores=one.scores, fusion="rag-token"
    )
    for (answer, wanted), got in zip(one.by_token.items(), found, strict=True):
        assert math.exp(got.log_probability) == pytest.approx(wanted, abs=1e-5, rel=1e-4)
        shares = [0.0] * len(one.prior)
        for i in range(len(answer)):
            joint = [p * one.each[answer][z][i] for z, p in enumerate(one.prior)]
            for z, part in enumerate(joint):
                shares[z] += part / math.fsum(joint) / len(answer)
        assert got.shares == pytest.approx(shares, abs=1e-4)
    total = math.fsum(math.exp(scores.log_probability) for scores in found)
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", CASES)
def test_rag_sequence_gives_every_answer_the_probability_of_the_enumeration(seed: int) -> None:
    one = case(seed)
    found = one.model.score(
        one.question, one.passages, list(one.each), scores=one.scores, fusion="rag-sequence"
    )
    for (answer, wanted), got in zip(one.by_sequence.items(), found, strict=True):
        assert math.exp(got.log_probability) == pytest.approx(wanted, abs=1e-5, rel=1e-4)
        joint = [p * math.prod(one.each[answer][z]) for z, p in enumerate(one.prior)]
        assert got.shares == pytest.approx([part / math.fsum(joint) for part in joint], abs=1e-4)
    total = math.fsum(math.exp(scores.log_probability) for scores in found)
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("fusion", ["rag-token", "rag-sequence", "rag-sequence-fast"])
@pytest.mark.parametrize("seed", CASES)
def test_a_beam_wide_enough_finds_the_likeliest_answer_of_the_enumeration(
    seed: int, fusion: str
) -> None:
    one = case(seed)
    chances = one.by_token if fusion == "rag-token" else one.by_sequence
    wanted, clearly = likeliest(chances)
    got = one.model.answer(
        one.question,
        one.passages,
        scores=one.scores,
        fusion=fusion,
        beams=len(chances),
        max_new_tokens=one.most,
    )
    if clearly:
        assert got.token_ids == wanted
    assert got.fusion is not None
    assert math.exp(got.fusion.log_probability) == pytest.approx(chances[wanted], abs=1e-5)


@pytest.mark.parametrize("seed", CASES)
def test_greedy_rag_token_takes_the_likeliest_token_of_the_enumeration_each_time(seed: int) -> None:
    one = case(seed)
    begun: Answer = ()
    while len(begun) < one.most and END not in begun:
        at = len(begun)
        next_ones: dict[int, float] = {}
        for answer, table in one.each.items():
            if answer[:at] == begun and len(answer) > at:
                next_ones[answer[at]] = math.fsum(p * table[z][at] for z, p in enumerate(one.prior))
        begun = (*begun, max(next_ones, key=lambda token: next_ones[token]))
    got = one.model.answer(
        one.question, one.passages, scores=one.scores, fusion="rag-token", max_new_tokens=one.most
    )
    assert got.token_ids == begun
    assert got.fusion is not None
    assert math.exp(got.fusion.log_probability) == pytest.approx(one.by_token[begun], abs=1e-5)


@pytest.mark.parametrize("seed", CASES)
def test_rag_sequence_weighs_the_greedy_answer_of_each_passage(seed: int) -> None:
    one = case(seed)
    greedy: list[Answer] = []
    for z, weight in enumerate(one.prior):
        begun: Answer = ()
        while weight and len(begun) < one.most and END not in begun:
            at = len(begun)
            next_ones = {
                answer[at]: table[z][at]
                for answer, table in one.each.items()
                if answer[:at] == begun and len(answer) > at
            }
            begun = (*begun, max(next_ones, key=lambda token: next_ones[token]))
        greedy.append(begun)
    thorough = {answer: one.by_sequence[answer] for answer in greedy if answer}
    fast = {
        answer: math.fsum(
            p * math.prod(one.each[answer][z])
            for z, p in enumerate(one.prior)
            if greedy[z] == answer
        )
        for answer in thorough
    }
    for fusion, chances in (("rag-sequence", thorough), ("rag-sequence-fast", fast)):
        got = one.model.answer(
            one.question, one.passages, scores=one.scores, fusion=fusion, max_new_tokens=one.most
        )
        assert got.fusion is not None
        assert got.token_ids == max(chances, key=lambda answer: chances[answer])
        wanted = chances[got.token_ids]
        assert math.exp(got.fusion.log_probability) == pytest.approx(wanted, abs=1e-5)
