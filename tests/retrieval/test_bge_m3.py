"""BGE-M3 as a retriever: three forms, one order, and what each hit says of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocom.datatypes import Passage
from cocom.errors import InputError
from cocom.retrieval.bge_m3 import BgeM3Hit, BgeM3Retriever
from cocom.retrieval.bge_m3_encoder import BgeM3Encoder
from cocom.retrieval.bge_m3_scores import BgeM3Scores
from cocom.retrieval.hits import Hit, Retriever
from tests.retrieval.bge_m3_tiny import make

WORDS = (
    *(
        "the",
        "bridge",
        "river",
        "city",
        "king",
        "queen",
        "in",
        "is",
        "was",
        "born",
        "water",
        "east",
    ),
    *("서울", "한국", "수도", "東京", "日本", "首都", "🙂"),
)
QUESTIONS = [
    "where is the bridge",
    "한국의 수도는 어디?",
    "東京 🙂",
    "the king and the queen",
    "zebra",
]


def passages(number: int) -> list[Passage]:
    """Texts of some words each, no two alike."""
    generator = np.random.default_rng(0)
    texts = [
        " ".join(generator.choice(WORDS, size=generator.integers(3, 12))) for _ in range(number)
    ]
    assert len(set(texts)) == number
    return [Passage(text, id=str(i)) for i, text in enumerate(texts)]


PASSAGES = passages(40)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> BgeM3Encoder:
    folder = make(tmp_path_factory.mktemp("bge-m3"), dimension=16)
    return BgeM3Encoder.from_pretrained(folder, device="cpu")


def expected(
    encoder: BgeM3Encoder, question: str, weights: Any
) -> list[tuple[Passage, BgeM3Scores]]:
    """All passages compared one by one, best first."""
    scores = encoder.scores(question, PASSAGES, weights=weights)
    pairs = zip(PASSAGES, scores, strict=True)
    return sorted(pairs, key=lambda pair: -pair[1].hybrid)


@pytest.mark.parametrize(
    "weights", [(1, 1, 1), (0.4, 0.2, 0.4), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 3, 1), (2, 0.5, 0)]
)
@pytest.mark.parametrize("question", QUESTIONS)
def test_hits_come_in_the_order_of_their_weighted_scores(
    encoder: BgeM3Encoder, question: str, weights: tuple[float, float, float]
) -> None:
    hits = BgeM3Retriever(PASSAGES, encoder, weights=weights).retrieve(question, k=10)
    best = expected(encoder, question, weights)[:10]
    assert [hit.rank for hit in hits] == list(range(1, 11))
    assert [hit.score for hit in hits] == pytest.approx([s.hybrid for _, s in best], abs=1e-5)
    for hit in hits:
        (found,) = encoder.scores(question, [hit.passage], weights=weights)
        assert hit.score == pytest.approx(found.hybrid, abs=1e-5)
        assert hit.dense == pytest.approx(found.dense, abs=1e-5)
        assert hit.sparse == pytest.approx(found.sparse, abs=1e-5)
        if weights[2]:
            assert hit.multi_vector == pytest.approx(found.multi_vector, abs=1e-5)
        else:
            assert hit.multi_vector is None


@pytest.mark.parametrize("form", ["dense", "sparse", "multi_vector"])
def test_a_form_alone_is_the_score(encoder: BgeM3Encoder, form: str) -> None:
    weights = [2.5 * (name == form) for name in ("dense", "sparse", "multi_vector")]
    hits = BgeM3Retriever(PASSAGES, encoder, weights=weights).retrieve(QUESTIONS[0], k=40)
    assert [hit.score for hit in hits] == pytest.approx([getattr(hit, form) for hit in hits])
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_the_forms_do_not_agree_so_that_the_tests_above_tell_them_apart(
    encoder: BgeM3Encoder,
) -> None:
    orders = {
        tuple(p.id for p, _ in expected(encoder, QUESTIONS[0], weights))
        for weights in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    }
    assert len(orders) == 4


@pytest.mark.parametrize(
    ("weights", "first"), [((1, 1, 1), (1, 1, 0)), ((0, 2, 1), (0, 1, 0)), ((0, 0, 1), (1, 1, 0))]
)
def test_token_vectors_are_compared_for_the_best_of_the_other_two_forms(
    encoder: BgeM3Encoder, weights: Any, first: Any
) -> None:
    for question in QUESTIONS:
        hits = BgeM3Retriever(PASSAGES, encoder, weights=weights, rerank_depth=7).retrieve(question)
        chosen = [p for p, _ in expected(encoder, question, first)[:7]]
        scores = encoder.scores(question, chosen, weights=weights)
        best = sorted(scores, key=lambda s: -s.hybrid)[:5]
        assert {hit.passage.id for hit in hits} <= {p.id for p in chosen}
        assert [hit.score for hit in hits] == pytest.approx([s.hybrid for s in best], abs=1e-5)


def test_more_hits_than_the_depth_are_all_compared(encoder: BgeM3Encoder) -> None:
    retriever = BgeM3Retriever(PASSAGES, encoder, rerank_depth=1)
    hits = retriever.retrieve(QUESTIONS[0], k=100)
    assert len(hits) == len(PASSAGES)
    whole = BgeM3Retriever(PASSAGES, encoder).retrieve(QUESTIONS[0], k=100)
    assert hits == whole


def test_token_vectors_that_are_not_kept_or_kept_in_half(encoder: BgeM3Encoder) -> None:
    kept, none, half = (
        BgeM3Retriever(PASSAGES, encoder, rerank_depth=10, keep=keep)
        for keep in ("float32", None, "float16")
    )
    for question in QUESTIONS:
        hits = kept.retrieve(question)
        for other, apart in ((none, 1e-5), (half, 1e-3)):
            found = other.retrieve(question)
            assert [hit.score for hit in found] == pytest.approx([h.score for h in hits], abs=apart)


def test_token_vectors_of_passages_are_not_made_without_need(
    encoder: BgeM3Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    real = encoder.encode

    def encode(texts: Any, *, multi_vectors: bool = True, **options: Any) -> Any:
        asked.append(multi_vectors)
        return real(texts, multi_vectors=multi_vectors, **options)

    monkeypatch.setattr(encoder, "encode", encode)
    BgeM3Retriever(PASSAGES, encoder, weights=(1, 1, 0)).retrieve("the bridge")
    BgeM3Retriever(PASSAGES, encoder, keep=None)
    assert asked == [False, False, False]


def test_equal_scores_keep_the_order_of_the_passages(encoder: BgeM3Encoder) -> None:
    same = [Passage("the same words", id=str(i)) for i in range(30)]
    for weights in ((1, 1, 1), (0, 1, 0)):
        retriever = BgeM3Retriever(same, encoder, weights=weights, rerank_depth=12)
        hits = retriever.retrieve("words", k=10)
        assert [hit.passage.id for hit in hits] == [str(i) for i in range(10)]


def test_passages_without_words_can_be_searched(encoder: BgeM3Encoder) -> None:
    texts = [Passage(""), Passage("the river")]
    hits = BgeM3Retriever(texts, encoder, weights=(0, 1, 0)).retrieve("the river")
    assert hits[0].passage.text == "the river"
    assert hits[1].sparse == 0


def test_scores_of_given_passages_have_the_retrievers_weights(encoder: BgeM3Encoder) -> None:
    retriever = BgeM3Retriever(PASSAGES, encoder, weights=(1, 0.3, 1))
    found = retriever.scores("the bridge", ["the river", PASSAGES[0]])
    texts = ["the river", PASSAGES[0].text]
    assert found == encoder.scores("the bridge", texts, weights=(1, 0.3, 1))
    assert found[0].hybrid == pytest.approx(
        (found[0].dense + 0.3 * found[0].sparse + found[0].multi_vector) / 2.3
    )


def test_threads_get_what_one_thread_gets(encoder: BgeM3Encoder) -> None:
    retriever = BgeM3Retriever(PASSAGES, encoder, rerank_depth=10)
    alone = [retriever.retrieve(question) for question in QUESTIONS]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(retriever.retrieve, QUESTIONS * 20))
    assert together == alone * 20


def test_a_folder_is_loaded(encoder: BgeM3Encoder, tmp_path: Path) -> None:
    retriever: Retriever = BgeM3Retriever(PASSAGES, make(tmp_path, dimension=16))
    hit = retriever.retrieve("the bridge", 1)[0]
    assert isinstance(hit, BgeM3Hit)
    assert isinstance(hit, Hit)
    known = BgeM3Retriever(PASSAGES, encoder).retrieve("the bridge", 1)[0]
    assert hit.score == pytest.approx(known.score, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": (1, 1)}, r"weights is \(1, 1\), but it needs three numbers of 0 or more"),
        ({"weights": (0, 0, 0)}, r"weights is \(0, 0, 0\), but .* one of them above 0"),
        ({"rerank_depth": 0}, "rerank_depth is 0, but must be at least 1"),
        ({"keep": "int8"}, "keep is 'int8', but must be 'float32', 'float16' or None"),
    ],
)
def test_settings_that_cannot_be(
    encoder: BgeM3Encoder, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        BgeM3Retriever(PASSAGES, encoder, **settings)


def test_unusable_requests(encoder: BgeM3Encoder) -> None:
    with pytest.raises(InputError, match="no passages to search"):
        BgeM3Retriever([], encoder)
    with pytest.raises(
        InputError, match=r"Text 1 .* has 202 tokens, but the model reads at most 128"
    ):
        BgeM3Retriever([PASSAGES[0], Passage("the " * 200)], encoder)
    retriever = BgeM3Retriever(PASSAGES, encoder)
    with pytest.raises(InputError, match="question is empty"):
        retriever.retrieve(" ")
    with pytest.raises(InputError, match="k is 0, but"):
        retriever.retrieve("the bridge", k=0)
