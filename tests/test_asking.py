"""From files to a sourced answer, on a tiny random model."""

from __future__ import annotations

import pytest

from cocom import Cocom, CocomConfig, DiskStore
from cocom.asking import ask, load_passages, make_retriever
from cocom.errors import InputError
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
