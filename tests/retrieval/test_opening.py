"""Retrievers and rerankers by name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError
from cocom.retrieval import (
    BM25Retriever,
    DenseRetriever,
    LateInteractionReranker,
    LateInteractionRetriever,
    Reranker,
    SimilarityReranker,
    SparseRetriever,
    loading,
    open_reranker,
    open_retriever,
)
from tests.retrieval.models import save_cross_encoder, save_late, save_splade

PASSAGES = [Passage("marie curie was born in warsaw."), Passage("the river is east.")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    from sentence_transformers import SentenceTransformer

    splade = save_splade(folder / "1")
    SentenceTransformer(str(folder / "1" / "plain")).save(
        str(folder / "dense"), create_model_card=False
    )
    return {
        "splade": splade,
        "late": save_late(folder / "2"),
        "cross": save_cross_encoder(folder / "3"),
        "dense": folder / "dense",
    }


def test_every_kind_has_a_name(folders) -> None:
    kinds = {
        "dense": DenseRetriever,
        "splade": SparseRetriever,
        "late": LateInteractionRetriever,
    }
    assert isinstance(open_retriever("bm25", PASSAGES), BM25Retriever)
    assert isinstance(open_retriever("BM25", PASSAGES), BM25Retriever)
    assert isinstance(open_retriever(str(folders["dense"]), PASSAGES), DenseRetriever)
    for kind, expected in kinds.items():
        retriever = open_retriever(f"{kind}:{folders[kind]}", PASSAGES)
        assert isinstance(retriever, expected)
        assert len(retriever.retrieve("river")) == 2


def test_every_kind_of_reranker_has_a_name(folders) -> None:
    hits = BM25Retriever(PASSAGES).retrieve("river")
    kinds = {"cross": Reranker, "dense": SimilarityReranker, "late": LateInteractionReranker}
    assert isinstance(open_reranker(str(folders["cross"])), Reranker)
    for kind, expected in kinds.items():
        reranker = open_reranker(f"{kind}:{folders[kind]}")
        assert isinstance(reranker, expected)
        assert len(reranker.rerank("river", hits)) == 2


@pytest.mark.parametrize("name", ["", "tfidf:model", "splade:", "splade", "Splade", "cross:model"])
def test_a_retriever_that_there_is_not(name) -> None:
    with pytest.raises(InputError, match=f"no retriever '{name}': give bm25, dense:MODEL, splade:"):
        open_retriever(name, PASSAGES)


@pytest.mark.parametrize("name", ["bm25:", "bm25", "Late"])
def test_a_reranker_that_there_is_not(name) -> None:
    with pytest.raises(
        InputError, match=f"no reranker '{name}': give cross:MODEL, dense:MODEL, late"
    ):
        open_reranker(name)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(InputError, match=r"name of the retriever, 'x{40}'…, cannot be used"):
        open_retriever("x" * 400, PASSAGES)


def test_the_files_of_a_model_are_looked_up_once(folders, monkeypatch) -> None:
    read: list[str] = []
    real = loading._read_json

    def noted(place: str, file: str) -> Any:
        read.append(file)
        return real(place, file)

    monkeypatch.setattr(loading, "_read_json", noted)
    open_retriever(str(folders["dense"]), PASSAGES)
    assert sorted(read) == ["config.json", "config_sentence_transformers.json", "modules.json"]


def test_the_wrong_model_for_a_kind(folders) -> None:
    with pytest.raises(CheckpointError, match=r"is a SparseEncoder, but late interaction needs"):
        open_retriever(f"late:{folders['splade']}", PASSAGES)
    with pytest.raises(CheckpointError, match=r"is a MultiVectorEncoder, but retrieval by meaning"):
        open_retriever(str(folders["late"]), PASSAGES)
    with pytest.raises(
        CheckpointError, match=r"is a SentenceTransformer, but reranking of question"
    ):
        open_reranker(str(folders["dense"]))


def test_a_folder_with_a_colon_in_its_name(folders, tmp_path) -> None:
    folder = tmp_path / "tfidf:model"
    folder.symlink_to(folders["dense"])
    assert isinstance(open_retriever(str(folder), PASSAGES), DenseRetriever)


def test_what_the_package_exports_is_there_and_costs_nothing_to_import() -> None:
    code = (
        "import sys, cocom.retrieval as r;"
        "[getattr(r, name) for name in r.__all__];"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'scipy', 'bm25s'};"
        "print(heavy & set(sys.modules), sorted(r.__all__) == dir(r))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set() True"
