"""Reranking: the model's scores, the retriever's kept beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError
from cocom.retrieval import Hit, RerankedHit, Reranker, SimilarityReranker
from cocom.retrieval.hits import rerank_hits
from tests.retrieval.models import bert, bert_tokenizer, save_cross_encoder, save_plain

TEXTS = ["marie curie was born in warsaw.", "the river is east.", "", "voyager was launched."]
HITS = [Hit(Passage(text, id=str(n)), 9.0 - n, n + 1) for n, text in enumerate(TEXTS)]
QUESTION = "where was curie born"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_cross_encoder(tmp_path_factory.mktemp("cross"))


@pytest.fixture(scope="module")
def reranker(folder) -> Reranker:
    return Reranker(folder)


def logits(folder: Any, question: str, texts: list[str]) -> list[float]:
    """The scores without an activation function, from transformers alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        return [
            float(model(**tokenizer([question], [text], return_tensors="pt")).logits)
            for text in texts
        ]


def test_scores_are_those_of_the_model(reranker, folder) -> None:
    raw = logits(folder, QUESTION, TEXTS)
    expected = torch.sigmoid(torch.tensor(raw)).tolist()
    found = reranker.rerank(QUESTION, HITS)
    assert [hit.rank for hit in found] == [1, 2, 3, 4]
    assert [hit.score for hit in found] == sorted((h.score for h in found), reverse=True)
    for hit in found:
        assert hit.score == pytest.approx(expected[int(hit.passage.id or "")], abs=1e-6)


def test_a_model_without_a_sigmoid_gives_raw_scores(folder) -> None:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), activation_fn=torch.nn.Identity())
    found = Reranker(model, batch_size=2).rerank(QUESTION, HITS)
    raw = logits(folder, QUESTION, TEXTS)
    assert {hit.passage.id: hit.score for hit in found} == pytest.approx(
        {str(n): score for n, score in enumerate(raw)}, abs=1e-5
    )
    assert min(raw) < 0 or max(raw) > 1


def test_the_retrievers_score_and_rank_are_kept(reranker) -> None:
    found = reranker.rerank(QUESTION, HITS, k=2)
    assert len(found) == 2
    for hit in found:
        number = int(hit.passage.id or "")
        assert (hit.first_score, hit.first_rank) == (HITS[number].score, HITS[number].rank)
        assert hit.passage is HITS[number].passage
    again = rerank_hits(found, [1.0, 2.0], None)
    assert again[0] == RerankedHit(
        found[1].passage, 2.0, 1, found[1].first_score, found[1].first_rank
    )


def test_equal_scores_keep_the_order_of_the_hits(reranker) -> None:
    same = [Hit(Passage("warsaw", id=str(n)), 5.0 - n, n + 1) for n in range(40)]
    found = reranker.rerank(QUESTION, same)
    assert [hit.passage.id for hit in found] == [str(n) for n in range(40)]


def test_the_best_piece_of_a_long_passage_counts(reranker, folder) -> None:
    text = "the brooklyn bridge is on the east river. " * 9 + TEXTS[0]
    (hit,) = reranker.rerank(QUESTION, [Hit(Passage(text), 1.0, 1)])
    from transformers import AutoTokenizer

    from cocom.split import split_text

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pieces = split_text(
        text, 32, count_tokens=lambda piece: len(tokenizer(QUESTION, piece).input_ids)
    )
    assert len(pieces) > 2
    scores = torch.sigmoid(torch.tensor(logits(folder, QUESTION, pieces))).tolist()
    assert hit.score == pytest.approx(max(scores), abs=1e-6)


def test_nothing_to_rerank(reranker) -> None:
    assert reranker.rerank(QUESTION, []) == []
    assert reranker.scores(QUESTION, []) == []


def test_unusable_requests(reranker) -> None:
    with pytest.raises(InputError, match="question is empty"):
        reranker.rerank("  ", HITS)
    with pytest.raises(InputError, match="k is 0, but"):
        reranker.rerank(QUESTION, HITS, k=0)
    with pytest.raises(InputError, match="question takes 43 of the 32 tokens that the model reads"):
        reranker.rerank("who " * 40, HITS)


def test_models_that_cannot_rerank_are_refused(tmp_path) -> None:
    several = save_cross_encoder(tmp_path / "several", labels=3)
    with pytest.raises(CheckpointError, match="gives 3 scores for a pair, but a reranker needs 1"):
        Reranker(several)
    plain = save_plain(tmp_path / "plain", bert(), bert_tokenizer())
    with pytest.raises(
        CheckpointError, match="is a plain BertModel, but reranking of question and"
    ):
        Reranker(plain)
    with pytest.raises(CheckpointError, match=r"none' cannot be loaded"):
        Reranker(tmp_path / "none")


def test_a_decoder_that_cannot_fill_up_rows(tmp_path) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from cocom.testing import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        id2label={0: "score"},
    )
    folder = save_plain(tmp_path, LlamaForSequenceClassification(config).eval(), tokenizer)
    with pytest.raises(CheckpointError, match=r"read several pairs at once .*: set the padding"):
        Reranker(folder).rerank(QUESTION, HITS)


def test_similarity_reranks_by_cosine(tmp_path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(save_plain(tmp_path / "plain", bert(), bert_tokenizer())))
    found = SimilarityReranker(model).rerank(QUESTION, HITS, k=3)
    vectors = model.encode_document(TEXTS, normalize_embeddings=True)
    cosines = vectors @ model.encode_query(QUESTION, normalize_embeddings=True)
    order = sorted(range(4), key=lambda n: -cosines[n])[:3]
    assert [hit.passage.id for hit in found] == [str(n) for n in order]
    assert [hit.score for hit in found] == pytest.approx([cosines[n] for n in order], abs=1e-6)
    assert SimilarityReranker(model).rerank(QUESTION, []) == []
