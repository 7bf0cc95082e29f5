"""E5 and its relatives: their prompts, their pooling, and passages longer than they read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError
from cocom.retrieval import DenseRetriever, Prompts, instruction
from cocom.retrieval.dense import DenseEncoder
from cocom.retrieval.prompts import family_of, prompts_of
from tests.retrieval.models import bert, bert_tokenizer, save_cross_encoder, save_plain

PASSAGES = [Passage("marie curie was born in warsaw."), Passage("the river is east.")]
QUESTION = "who was born"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("intfloat/e5-base-v2", "E5"),
        ("intfloat/multilingual-e5-large", "E5"),
        ("/models/e5_small", "E5"),
        ("cache/models--intfloat--e5-base/snapshots/0a1b2c", "E5"),
        ("intfloat/multilingual-e5-large-instruct", "E5-instruct"),
        ("intfloat/e5-mistral-7b-instruct", "E5-mistral"),
        ("/data/e5/all-MiniLM-L6-v2", None),
        ("someone/le5son", None),
        ("", None),
    ],
)
def test_a_family_is_known_by_its_name(name, family) -> None:
    found = family_of(name)
    assert (found.name if found else None) == family


def test_a_mistral_is_known_by_its_backbone() -> None:
    family = family_of("/models/my-embedder", "mistral")
    assert family is not None
    assert (family.name, family.pooling, family.max_tokens) == ("E5-mistral", "lasttoken", 4096)
    assert family_of("/models/my-embedder", "bert") is None


def test_a_models_own_prompts_come_first() -> None:
    e5 = family_of("e5-base")
    assert prompts_of({}, None) == Prompts()
    assert prompts_of({"query": "", "document": ""}, e5) == Prompts("query: ", "passage: ")
    assert prompts_of({"query": "Q: ", "document": "", "passage": "P: "}, e5) == Prompts(
        "Q: ", "P: "
    )
    mistral = {"web_search_query": "Instruct: Find.\nQuery: ", "sts_query": "Instruct: Same.\n"}
    assert prompts_of(mistral, family_of("e5-mistral")) == Prompts("Instruct: Find.\nQuery: ")


def test_an_instruction_goes_before_the_question_only() -> None:
    assert instruction("Find the culprit") == Prompts("Instruct: Find the culprit\nQuery: ", "")
    assert instruction().query.startswith("Instruct: Given a web search query, retrieve")


def plain_bert(folder: Path) -> Path:
    return save_plain(folder, bert(), bert_tokenizer())


def pooled(folder: Path, text: str, pooling: str) -> np.ndarray:
    """The unit vector of a text, from transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder)(**tokenizer(text, return_tensors="pt"))
    states = states.last_hidden_state[0]
    vector = {"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[pooling]
    return torch.nn.functional.normalize(vector, dim=0).numpy()


def check_scores(retriever: DenseRetriever, vector: Any, prompts: Prompts) -> None:
    hits = retriever.retrieve(QUESTION)
    assert len(hits) == 2
    for hit in hits:
        expected = vector(prompts.query + QUESTION) @ vector(prompts.passage + hit.passage.text)
        assert hit.score == pytest.approx(float(expected), abs=1e-5)


def test_a_plain_e5_reads_its_prompts_and_takes_means(tmp_path) -> None:
    folder = plain_bert(tmp_path / "my-e5-tiny")
    retriever = DenseRetriever(PASSAGES, folder)
    assert retriever.prompts == Prompts("query: ", "passage: ")
    check_scores(retriever, lambda text: pooled(folder, text, "mean"), retriever.prompts)
    own = DenseRetriever(PASSAGES, folder, prompts=Prompts("q ", ""), pooling="cls")
    check_scores(own, lambda text: pooled(folder, text, "cls"), Prompts("q ", ""))


@pytest.mark.parametrize(
    ("name", "padding"),
    [("e5-mistral-tiny", "<unk>"), ("my-embedder", "<unk>"), ("e5-mistral-tiny", None)],
)
def test_a_plain_e5_mistral_takes_the_last_token_behind_its_instruction(
    tmp_path, name, padding
) -> None:
    from transformers import MistralConfig, MistralModel

    from cocom.testing import tiny_tokenizer

    config = MistralConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        initializer_range=0.2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    folder = tmp_path / name
    tokenizer = tiny_tokenizer()
    if padding is not None:
        tokenizer.pad_token = padding
    save_plain(folder, MistralModel(config).eval(), tokenizer)

    retriever = DenseRetriever(PASSAGES, folder, batch_size=2)
    assert retriever.prompts == instruction()

    def vector(text: str) -> np.ndarray:
        return pooled(folder, text + "</s>", "lasttoken")

    check_scores(retriever, vector, instruction())
    assert retriever._encoder._model.max_seq_length == 4096


def test_an_e5_mistral_whose_texts_cannot_end(tmp_path) -> None:
    folder = plain_bert(tmp_path / "e5-mistral-tiny")
    with pytest.raises(CheckpointError, match="cannot end texts with its end-of-sequence token"):
        DenseRetriever(PASSAGES, folder)


def test_pooling_that_is_not_known_is_told(tmp_path, caplog) -> None:
    folder = plain_bert(tmp_path / "unknown")
    retriever = DenseRetriever(PASSAGES, folder)
    assert "does not say how the vectors of its tokens become one, so 'mean' is" in caplog.text
    assert retriever.prompts == Prompts()
    caplog.clear()
    DenseRetriever(PASSAGES, folder, pooling="mean")
    assert caplog.text == ""


def test_a_saved_model_keeps_what_its_files_say(tmp_path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    plain = plain_bert(tmp_path / "plain")
    model = SentenceTransformer(
        modules=[Transformer(str(plain)), Pooling(16, "cls")], prompts={"passage": "d "}
    )
    folder = tmp_path / "e5-saved"
    model.save(str(folder), create_model_card=False)
    retriever = DenseRetriever(PASSAGES, folder)
    assert retriever.prompts == Prompts("", "d ")
    check_scores(retriever, lambda text: pooled(plain, text, "cls"), retriever.prompts)
    loaded = DenseRetriever(PASSAGES, SentenceTransformer(str(folder)))
    assert loaded.retrieve(QUESTION) == retriever.retrieve(QUESTION)


def test_a_loaded_model_is_known_by_the_name_it_had(tmp_path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(plain_bert(tmp_path / "e5-tiny")))
    assert DenseRetriever(PASSAGES, model).prompts == Prompts("query: ", "passage: ")


def test_the_best_piece_of_a_long_passage_counts(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, "cocom")
    folder = plain_bert(tmp_path / "e5-tiny")
    end = "marie curie was born in warsaw."
    long = Passage("the bridge is on the river. " * 12 + end)
    hits = DenseRetriever([Passage("the east."), long], folder).retrieve(QUESTION)
    assert "1 of 2 passages have more than the 32 tokens" in caplog.text
    (found,) = (hit for hit in hits if hit.passage is long)
    from cocom.split import split_text
    from tests.retrieval.models import bert_tokenizer

    tokenizer = bert_tokenizer()
    pieces = split_text(
        long.text, 32, count_tokens=lambda piece: len(tokenizer("passage: " + piece).input_ids)
    )
    assert len(pieces) > 2
    question = pooled(folder, "query: " + QUESTION, "mean")
    scores = [float(pooled(folder, "passage: " + piece, "mean") @ question) for piece in pieces]
    assert found.score == pytest.approx(max(scores), abs=1e-5)


def test_a_question_that_is_too_long_is_told(tmp_path, caplog) -> None:
    retriever = DenseRetriever(PASSAGES, plain_bert(tmp_path / "e5-tiny"))
    retriever.retrieve("who " * 28)
    assert caplog.text == ""
    retriever.retrieve("who " * 40)
    assert "question has 44 tokens but the model reads 32" in caplog.text


def test_a_prompt_that_leaves_no_room_is_told(tmp_path) -> None:
    folder = plain_bert(tmp_path / "plain")
    prompts = Prompts(passage="d " * 20)
    long = Passage("the bridge is on the river. " * 12)
    with pytest.raises(InputError, match=r"22 of the 32 tokens .* no room for passage 2: give"):
        DenseRetriever([*PASSAGES, long], folder, prompts=prompts, pooling="mean")
    retriever = DenseRetriever(PASSAGES, folder, prompts=prompts, pooling="mean")
    check_scores(retriever, lambda text: pooled(folder, text, "mean"), prompts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_vectors_of_half_the_precision_have_length_one(tmp_path, dtype) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(plain_bert(tmp_path / "plain"))).to(dtype)
    encoder = DenseEncoder(model)
    passages = encoder.passages([passage.text for passage in PASSAGES]).vectors
    for vector in (*passages, encoder.question(QUESTION)):
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_models_of_another_kind_are_refused(tmp_path) -> None:
    cross = save_cross_encoder(tmp_path)
    with pytest.raises(CheckpointError, match="is a CrossEncoder, but retrieval by meaning needs"):
        DenseRetriever(PASSAGES, cross)
    with pytest.raises(CheckpointError, match="is a plain BertForSequenceClassification, but"):
        DenseRetriever(PASSAGES, tmp_path / "plain")
    from sentence_transformers import CrossEncoder

    loaded: Any = CrossEncoder(str(cross))
    with pytest.raises(
        InputError, match="is a CrossEncoder, but retrieval by meaning needs a Sent"
    ):
        DenseRetriever(PASSAGES, loaded)
