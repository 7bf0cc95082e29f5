"""Late interaction: MaxSim over the library's token vectors, as a retriever and as a reranker."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError
from cocom.retrieval import Hit, LateInteractionReranker, LateInteractionRetriever, Prompts
from tests.retrieval.models import bert, bert_tokenizer, save_late, save_plain

TEXTS = ["marie curie was born in warsaw.", "the river is east.", "", "voyager was launched."]
PASSAGES = [Passage(text, id=str(n)) for n, text in enumerate(TEXTS)]
QUESTION = "where was curie born"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_late(tmp_path_factory.mktemp("late"))


@pytest.fixture(scope="module")
def model(folder) -> Any:
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(folder))


def library_scores(model: Any, texts: list[str]) -> list[float]:
    return model.similarity(model.encode_query([QUESTION]), model.encode_document(texts)).tolist()[
        0
    ]


def test_scores_are_the_librarys_maxsim(folder, model) -> None:
    hits = LateInteractionRetriever(PASSAGES, folder, batch_size=2).retrieve(QUESTION, k=9)
    expected = library_scores(model, TEXTS)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    for hit in hits:
        assert hit.score == pytest.approx(expected[int(hit.passage.id or "")], abs=1e-4)
    assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)


class Letters:
    """A stand-in for a model: one axis a letter, a vector a character."""

    similarity_fn_name = "maxsim"

    def encode_document(self, texts: list[str], **_: object) -> list[Any]:
        return [self.encode_query(text) for text in texts]

    def encode_query(self, text: str, **_: object) -> Any:
        own = [np.eye(4, dtype=np.float32)["abcd".index(letter)] for letter in text]
        return np.array(own, dtype=np.float32).reshape(-1, 4)


def test_every_token_of_the_question_finds_its_best_match() -> None:
    passages = [Passage("abd"), Passage("c"), Passage(""), Passage("aab")]
    retriever = LateInteractionRetriever(passages, cast(Any, Letters()))
    hits = retriever.retrieve("abbc", k=4)
    # a and both b are in the first and the last passage, c in the second; the third has no token.
    assert [(hit.passage.text, hit.score) for hit in hits] == [
        ("abd", 3.0),
        ("aab", 3.0),
        ("c", 1.0),
        ("", 0.0),
    ]


def test_a_model_trained_on_means_scores_means(model) -> None:
    sums = LateInteractionRetriever(PASSAGES, model).retrieve(QUESTION)
    model.similarity_fn_name = "meanmaxsim"
    try:
        means = LateInteractionRetriever(PASSAGES, model).retrieve(QUESTION)
    finally:
        model.similarity_fn_name = "maxsim"
    tokens = len(model.encode_query(QUESTION))
    assert [h.score * tokens for h in means] == pytest.approx([h.score for h in sums], abs=1e-4)


def test_the_reranker_scores_as_the_retriever(folder) -> None:
    hits = [Hit(passage, 9.0 - n, n + 1) for n, passage in enumerate(PASSAGES)]
    reranker = LateInteractionReranker(folder)
    found = reranker.rerank(QUESTION, hits, k=3)
    direct = LateInteractionRetriever(PASSAGES, folder).retrieve(QUESTION, k=3)
    assert [hit.passage for hit in found] == [hit.passage for hit in direct]
    assert [h.score for h in found] == pytest.approx([h.score for h in direct], abs=1e-4)
    assert [hit.first_rank for hit in found] == [int(hit.passage.id or "") + 1 for hit in found]
    assert reranker.rerank(QUESTION, []) == []
    with pytest.raises(InputError, match="k is 0, but"):
        reranker.rerank(QUESTION, hits, k=0)


def test_a_long_passage_has_the_tokens_of_all_its_pieces(folder, model) -> None:
    text = "the brooklyn bridge is on the east river. " * 9 + TEXTS[0]
    hits = LateInteractionRetriever([Passage("the east"), Passage(text)], folder).retrieve(QUESTION)
    (found,) = (hit for hit in hits if hit.passage.text == text)
    from cocom.split import split_text

    def count(piece: str) -> int:
        return len(model.tokenizer("d " + piece).input_ids)

    pieces = split_text(text, 32, count_tokens=count)
    assert len(pieces) > 2
    vectors = np.concatenate(model.encode_document(pieces, convert_to_numpy=True))
    question = model.encode_query(QUESTION, convert_to_numpy=True)
    assert found.score == pytest.approx(float((question @ vectors.T).max(1).sum()), abs=1e-4)


def test_other_prompts(folder, model) -> None:
    prompts = Prompts("query ", "passage ")
    (hit, *_) = LateInteractionRetriever(PASSAGES, folder, prompts=prompts).retrieve(QUESTION)
    question = model.encode_query(QUESTION, prompt="query ", convert_to_numpy=True)
    vectors = model.encode_document(hit.passage.text, prompt="passage ", convert_to_numpy=True)
    assert hit.score == pytest.approx(float((question @ vectors.T).max(1).sum()), abs=1e-4)


def test_unusable_models_and_requests(folder, tmp_path) -> None:
    with pytest.raises(InputError, match="no passages to search"):
        LateInteractionRetriever([], folder)
    with pytest.raises(InputError, match="question is empty"):
        LateInteractionRetriever(PASSAGES, folder).retrieve("")
    plain = save_plain(tmp_path / "plain", bert(), bert_tokenizer())
    with pytest.raises(CheckpointError, match="is a plain BertModel, but late interaction needs a"):
        LateInteractionRetriever(PASSAGES, plain)
    with pytest.raises(CheckpointError, match=r"none' cannot be loaded"):
        LateInteractionReranker(tmp_path / "none")
