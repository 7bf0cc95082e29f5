"""SPLADE retrieval: the library's own weights, kept sparse, with exact scores that can be explained."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import pytest
import torch

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError
from cocom.retrieval import Hit, Prompts, SparseRetriever
from tests.retrieval.models import bert, bert_tokenizer, save_plain, save_splade

TEXTS = [
    "marie curie was born in warsaw.",
    "the brooklyn bridge is on the east river.",
    "",
    "voyager was launched on a rocket.",
]
PASSAGES = [Passage(text, id=str(number)) for number, text in enumerate(TEXTS)]
QUESTION = "where was curie born"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_splade(tmp_path_factory.mktemp("splade"))


@pytest.fixture(scope="module")
def model(folder) -> Any:
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(folder))


@pytest.fixture(scope="module")
def retriever(folder) -> SparseRetriever:
    return SparseRetriever(PASSAGES, folder)


def test_scores_are_the_librarys_dot_products(retriever, model) -> None:
    hits = retriever.retrieve(QUESTION, k=9)
    found = {hit.passage.id: hit.score for hit in hits}
    expected = model.similarity(
        model.encode_query([QUESTION], convert_to_sparse_tensor=False),
        model.encode_document(TEXTS, convert_to_sparse_tensor=False),
    )[0]
    assert len(set(found.values())) == 4
    for number, score in enumerate(expected.tolist()):
        assert found[str(number)] == pytest.approx(score, abs=1e-5)
    assert [hit.score for hit in hits] == sorted(found.values(), reverse=True)


def test_only_weights_that_are_not_0_are_kept(retriever, model) -> None:
    dense = model.encode_document(TEXTS, convert_to_sparse_tensor=False)
    assert 0 < retriever.index.weights == int((dense != 0).sum()) < dense.numel() / 2


def test_terms_explain_a_hit(retriever, model) -> None:
    for hit in retriever.retrieve(QUESTION, k=9):
        shared = retriever.explain(QUESTION, hit)
        assert sum(term.score for term in shared) == pytest.approx(hit.score, abs=1e-5)
        assert [term.score for term in shared] == sorted(
            (term.score for term in shared), reverse=True
        )
        vocabulary = model.tokenizer.get_vocab()
        weights = model.encode_query([QUESTION], convert_to_sparse_tensor=False)[0]
        for term in shared:
            assert term.question_weight == pytest.approx(float(weights[vocabulary[term.term]]))


def test_a_passage_of_another_retriever_has_no_explanation(retriever) -> None:
    with pytest.raises(InputError, match="'other' is not among the 4 of this retriever"):
        retriever.explain(QUESTION, Hit(Passage("rocket", id="other"), 1.0, 1))
    equal = Hit(Passage(TEXTS[0], id="0"), 1.0, 1)
    assert retriever.explain(QUESTION, equal)


def test_a_long_passage_is_read_to_its_end(folder, model, caplog) -> None:
    text = "voyager was launched on a rocket. " * 8 + "marie curie was born in warsaw."
    caplog.set_level(logging.INFO, "cocom")
    retriever = SparseRetriever([Passage("the bridge"), Passage(text)], folder)
    assert "1 of 2 passages have more than the 32 tokens" in caplog.text
    (hit,) = (hit for hit in retriever.retrieve(QUESTION) if hit.passage.text == text)
    pieces = 0
    weights = np.zeros(retriever.index.terms, dtype=np.float32)
    for piece in _windows(text, model.tokenizer):
        pieces += 1
        own = model.encode_document([piece], convert_to_sparse_tensor=False)[0].cpu().numpy()
        weights = np.maximum(weights, own)
    assert pieces > 2
    question = model.encode_query([QUESTION], convert_to_sparse_tensor=False)[0].cpu().numpy()
    assert hit.score == pytest.approx(float(weights @ question), abs=1e-5)


def _windows(text: str, tokenizer: Any) -> list[str]:
    from cocom.split import split_text

    return split_text(text, 32, count_tokens=lambda piece: len(tokenizer(piece).input_ids))


def test_blocks_keep_the_order_of_the_passages(folder, monkeypatch) -> None:
    passages = [Passage(" ".join(["rocket"] * (n % 7 + 1))) for n in range(23)]
    whole = SparseRetriever(passages, folder).retrieve("rocket", k=23)
    monkeypatch.setattr("cocom.retrieval.sparse._BLOCK", 5)
    parts = SparseRetriever(passages, folder, batch_size=2).retrieve("rocket", k=23)
    assert [hit.passage for hit in parts] == [hit.passage for hit in whole]
    assert [h.score for h in parts] == pytest.approx([h.score for h in whole], abs=1e-4)


def test_prompts_are_read(folder, model) -> None:
    own = SparseRetriever(PASSAGES, model, prompts=Prompts("query : ", "passage : "))
    (first, *_) = own.retrieve(QUESTION)
    expected = model.encode_query(f"query : {QUESTION}").to_dense() @ (
        model.encode_document(f"passage : {first.passage.text}").to_dense()
    )
    assert first.score == pytest.approx(float(expected), abs=1e-5)


def test_unusable_requests(retriever, folder) -> None:
    with pytest.raises(InputError, match="no passages to search"):
        SparseRetriever([], folder)
    with pytest.raises(InputError, match="question is empty"):
        retriever.retrieve(" ")
    with pytest.raises(InputError, match="k is 0, but"):
        retriever.retrieve("rocket", k=0)


def test_a_model_without_a_sparse_head_is_refused(tmp_path) -> None:
    plain = save_plain(tmp_path / "plain", bert(), bert_tokenizer())
    with pytest.raises(
        CheckpointError, match=r"is a plain BertModel, but .* needs a SparseEncoder"
    ):
        SparseRetriever(PASSAGES, plain)
    from sentence_transformers import SentenceTransformer

    dense = SentenceTransformer(str(plain))
    with pytest.raises(InputError, match="is a SentenceTransformer, but retrieval by weighted"):
        SparseRetriever(PASSAGES, cast(Any, dense))
    dense.save(str(tmp_path / "dense"), create_model_card=False)
    with pytest.raises(CheckpointError, match=r"dense' is a SentenceTransformer, but"):
        SparseRetriever(PASSAGES, tmp_path / "dense")


def test_a_model_that_is_not_there(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"none' cannot be loaded: give the folder of a Spa"):
        SparseRetriever(PASSAGES, tmp_path / "none")
    broken = save_plain(tmp_path / "broken", bert("ForMaskedLM"), bert_tokenizer())
    (broken / "model.safetensors").write_bytes(b"12345678 no weights")
    with pytest.raises(CheckpointError, match=r"broken' cannot be loaded"):
        SparseRetriever(PASSAGES, broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json of the retrieval model '.*broken'"):
        SparseRetriever(PASSAGES, broken)


def test_an_untrained_model_is_noticed(tmp_path, caplog) -> None:
    model = bert("ForMaskedLM")
    with torch.no_grad():
        model.cls.predictions.bias.fill_(5.0)
    SparseRetriever(PASSAGES, save_plain(tmp_path / "plain", model, bert_tokenizer()))
    assert "far more than a trained SPLADE model gives" in caplog.text
