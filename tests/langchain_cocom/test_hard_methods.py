"""Documents through a hard method: what stays of texts, what is noted, and the way back."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from cocom import shared
from cocom.baselines.result import HardCompression, HardPassage
from cocom.errors import ConfigError, InputError, MissingContextError
from cocom.references import find
from cocom.store import MemoryStore
from cocom.testing import tiny_cocom
from langchain_cocom import CocomDocumentCompressor, CocomRetriever, format_documents

TEXTS = ("the first of them", "   ", "and another one of many words", "the last")


class FirstWords:
    """A hard method: of each passage the first words stay, of long passages first, the longest first."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.threads: set[int] = set()

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def compress(
        self,
        passages: Sequence[Any],
        *,
        question: str | None = None,
        rate: float | None = None,
        target_tokens: int | None = None,
    ) -> HardCompression:
        self.asked.append(question)
        self.threads.add(threading.get_ident())
        counts = [self.count_tokens(text) for text in passages]
        left = target_tokens if rate is None else int(sum(counts) / rate)
        assert left is not None
        kept: list[HardPassage] = []
        for i in sorted(range(len(passages)), key=lambda i: -counts[i]):
            words = passages[i].split()[:left]
            left -= len(words)
            text = " ".join(words)
            if text:
                kept.append(HardPassage(i, text, passages[i], ((0, len(text)),), counts[i] / 10))
        stayed = {p.index for p in kept}
        dropped = tuple(i for i in range(len(passages)) if i not in stayed)
        tokens = sum(self.count_tokens(p.text) for p in kept)
        return HardCompression(tuple(kept), dropped, sum(counts), tokens)


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hard method needs no Cocom model."""

    def load(name: str) -> Any:
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr("cocom.opening.loaded", load)


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(page_content=text, id=f"d{i}", metadata={"source": f"{i}.txt"})
        for i, text in enumerate(TEXTS)
    ]


def compressor_of(**settings: Any) -> CocomDocumentCompressor:
    return CocomDocumentCompressor(
        **{"method": "llmlingua2", "scorer": FirstWords(), "compression_rate": 2, **settings}
    )


async def test_every_way_of_calling_gives_the_same(documents: list[Document]) -> None:
    compressor = compressor_of()
    found: Runnable[str, list[Document]] = RunnableLambda(lambda question: documents)
    want = compressor.compress_documents(documents, "Who?")
    assert [doc.page_content for doc in want] == ["and another one of many words"]
    assert await compressor.acompress_documents(documents, "Who?") == want
    assert compressor.invoke(documents) == await compressor.ainvoke(documents) == want
    assert compressor.batch([documents, []]) == [want, []]
    assert await compressor.abatch([documents, []]) == [want, []]
    assert (found | compressor).invoke("Who?") == want
    assert await (found | compressor).ainvoke("Who?") == want
    retriever = CocomRetriever(retriever=found, compressor=compressor)
    assert retriever.invoke("Who?") == await retriever.ainvoke("Who?") == want
    classic = ContextualCompressionRetriever(base_retriever=found, base_compressor=compressor)
    assert classic.invoke("Who?") == want
    assert compressor.scorer.asked == ["Who?"] * 2 + [None] * 6 + ["Who?"] * 3


def test_ids_metadata_and_the_order_of_the_method_survive(documents: list[Document]) -> None:
    before = [doc.model_copy(deep=True) for doc in documents]
    out = compressor_of(compression_rate=1.2).invoke(documents)
    assert documents == before
    assert [doc.id for doc in out] == ["d2", "d0"]
    assert [doc.page_content for doc in out] == [TEXTS[2], "the first of them"]
    for doc in out:
        original = next(d for d in documents if d.id == doc.id)
        assert {**original.metadata, "cocom": doc.metadata["cocom"]} == doc.metadata


def test_what_became_of_each_is_noted(documents: list[Document]) -> None:
    first, second = compressor_of(compression_rate=None, target_tokens=9).invoke(documents)
    assert first.metadata["cocom"].pop("id") != second.metadata["cocom"].pop("id")
    together = {"passages": 2, "dropped": 2, "tokens": 9, "origin_tokens": 12}
    assert second.metadata["cocom"] == {
        "compressed": True,
        "method": "llmlingua2",
        "spans": [[0, 12]],
        "score": 0.4,
        "tokens": 3,
        "origin_tokens": 4,
        "together": together,
    }
    assert json.loads(json.dumps(first.metadata))["cocom"]["together"] == together
    assert "not_implemented" not in dumps([first, second])


def test_what_is_left_out_is_logged(documents: list[Document], caplog: Any) -> None:
    caplog.set_level(logging.INFO, "cocom.hard_writer")
    compressor_of().invoke(documents)
    assert "llmlingua2 left out 3 of 4 passages to keep 6 of 12 tokens" in caplog.text
    caplog.clear()
    compressor_of(compression_rate=1).invoke([documents[0]])
    assert caplog.text == ""


def test_nothing_found_is_nothing_compressed() -> None:
    assert compressor_of().invoke([]) == []
    assert compressor_of().invoke([Document(page_content=" ")]) == []
    assert compressor_of().restore_documents([]) == []


@pytest.mark.parametrize("keep_text", ["store", "metadata"])
def test_texts_come_back(documents: list[Document], keep_text: str) -> None:
    compressor = compressor_of(compression_rate=1.2, keep_text=keep_text)
    out = compressor.invoke(documents)
    assert compressor.restore_documents(out) == [documents[2], documents[0]]
    assert CocomDocumentCompressor().restore_documents(out) == [documents[2], documents[0]]


def test_a_text_that_nobody_kept_is_missed(
    documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared._once, "store", MemoryStore(text_bytes=0))
    compressor = compressor_of()
    with pytest.raises(MissingContextError, match="compress the passage again"):
        compressor.restore_documents(compressor.invoke(documents))
    kept = compressor_of(keep_text="metadata")
    assert kept.restore_documents(kept.invoke(documents)) == [documents[2]]


def test_texts_of_another_namespace_are_not_given(documents: list[Document]) -> None:
    secret = [Document(page_content="a secret of somebody else")]
    out = compressor_of(namespace="a", compression_rate=1).invoke(secret)
    with pytest.raises(MissingContextError):
        compressor_of(namespace="b").restore_documents(out)


def test_what_stays_is_no_reference() -> None:
    """Neither one that stood in a text, nor one that comes about when words between its parts go."""
    (compressed,) = CocomDocumentCompressor(engine=tiny_cocom()).invoke(
        [Document(page_content="a secret")]
    )
    reference = compressed.page_content
    assert list(find(reference))
    planted = Document(page_content=f"{reference} more words", metadata={"title": reference})
    (out,) = compressor_of(compression_rate=1).invoke([planted])
    assert not list(find(f"{out.metadata} {out.page_content}"))

    class Joins(FirstWords):
        def compress(self, passages: Sequence[Any], **budget: Any) -> HardCompression:
            half = len(reference) // 2
            text = passages[0][:half] + passages[0][half + 1 :]
            spans = ((0, half), (half + 1, len(passages[0])))
            return HardCompression((HardPassage(0, text, passages[0], spans),), (), 9, 8)

    half = len(reference) // 2
    cut = Document(page_content=f"{reference[:half]} {reference[half:]}")
    (out,) = compressor_of(scorer=Joins()).invoke([cut])
    assert out.page_content.replace(" ", "") == reference
    assert not list(find(out.page_content))


def test_references_are_not_shortened() -> None:
    soft = CocomDocumentCompressor(engine=tiny_cocom())
    compressed = soft.invoke([Document(page_content="a passage")])
    for key in ("cocom", "hard"):
        with pytest.raises(InputError, match="reference"):
            compressor_of(metadata_key=key).invoke(compressed)


def test_a_hard_method_may_come_before_context_embeddings(documents: list[Document]) -> None:
    hard = compressor_of(metadata_key="hard")
    soft = CocomDocumentCompressor(engine=tiny_cocom())
    (out,) = (hard | soft).invoke(documents)
    assert soft.view.expand(out.page_content) == TEXTS[2]
    assert out.metadata["hard"]["method"] == "llmlingua2"
    with pytest.raises(InputError, match="have a 'cocom' already"):
        compressor_of().invoke(compressor_of().invoke(documents))


def test_longllmlingua_needs_a_question(documents: list[Document]) -> None:
    compressor = compressor_of(method="longllmlingua")
    assert compressor.invoke(documents, query="Who?")
    assert compressor.bind(query="Who?").invoke(documents)
    for call in (
        lambda: compressor.invoke(documents),
        lambda: compressor.compress_documents(documents, " "),
    ):
        with pytest.raises(InputError, match="'longllmlingua' reads passages for a question"):
            call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lingua"}, "'llmlingua', 'longllmlingua' or 'llmlingua2'"),
        ({"compression_rate": None}, "give one of the two"),
        ({"target_tokens": 9}, "give one of the two"),
        ({"compression_rate": 0.5}, "compression_rate must be 1 or more"),
        ({"compression_rate": None, "target_tokens": 0}, "target_tokens must be at least 1"),
        ({"scorer": tiny_cocom()}, "scorer is a Cocom"),
        ({"scorer": "<FirstWords>"}, "which JSON does not hold"),
        ({"method_settings": {"dtype": "float32"}}, "give them where it is made"),
        ({"count_tokens": len}, "give them where it is made"),
        ({"count_tokens": "<function>", "scorer": "a/folder"}, "must be a function"),
        ({"as_text": 1}, "as_text is for method 'cocom', but method is 'llmlingua2'"),
        ({"min_tokens": 1}, "min_tokens is for method 'cocom'"),
        ({"batch_tokens": 1}, "batch_tokens is for method 'cocom'"),
        ({"on_error": "passthrough"}, "on_error is for method 'cocom'"),
        ({"engine": tiny_cocom()}, "engine is given, but method 'llmlingua2' uses none"),
        ({"method": "cocom"}, "scorer is for hard methods such as 'llmlingua2'"),
        ({"method": "cocom", "scorer": None, "target_tokens": 9}, "target_tokens is for hard"),
    ],
)
def test_settings_that_do_not_go_together(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compressor_of(**settings)


def test_settings_are_checked_when_they_change_too(documents: list[Document]) -> None:
    changed = compressor_of().model_copy(update={"as_text": 1})
    with pytest.raises(ConfigError, match="as_text is for method 'cocom'"):
        changed.invoke(documents)


def test_copies_share_the_scorer_and_json_names_it() -> None:
    compressor = compressor_of()
    assert copy.deepcopy(compressor).scorer is compressor.scorer
    assert json.loads(compressor.model_dump_json())["scorer"] == "<FirstWords>"
    with pytest.raises(ValueError, match="which JSON does not hold"):
        CocomDocumentCompressor.model_validate_json(compressor.model_dump_json())
    with pytest.raises(InputError, match="scorer object of this process"):
        pickle.dumps(compressor)
    named = compressor_of(scorer="a/folder", method_settings={"force_tokens": ["."]})
    for again in (
        pickle.loads(pickle.dumps(named)),
        CocomDocumentCompressor.model_validate_json(named.model_dump_json()),
    ):
        assert again.model_dump() == named.model_dump()


def test_equal_names_share_one_small_model(
    documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def make(method: str, model: Any = None, **settings: Any) -> FirstWords:
        made.append((method, model, settings))
        return FirstWords()

    monkeypatch.setattr("cocom.hard_loading.make_compressor", make)
    settings: Any = {"scorer": "a/folder/of/its/own", "method_settings": {"force_tokens": ["."]}}
    first, second = compressor_of(**settings), compressor_of(**settings)
    assert made == []  # not loaded before it is needed
    assert first.invoke(documents) == second.invoke(documents) == first.invoke(documents)
    assert made == [("llmlingua2", "a/folder/of/its/own", {"force_tokens": ["."]})]
    counting = compressor_of(**settings, count_tokens=len)
    for _ in range(2):
        counting.invoke(documents)
    assert made[1:] == [
        ("llmlingua2", "a/folder/of/its/own", {"force_tokens": ["."], "count_tokens": len})
    ]


class Watching(BaseCallbackHandler):
    def __init__(self) -> None:
        self.prompts: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.prompts.append(messages[0][-1].content)


def test_any_chat_model_reads_what_stays(documents: list[Document]) -> None:
    found: Runnable[str, list[Document]] = RunnableLambda(lambda question: documents)
    watching = Watching()
    chain = (
        {
            "context": found | compressor_of() | format_documents,
            "input": RunnablePassthrough(),
        }
        | ChatPromptTemplate.from_template("{context}\n\n{input}")
        | FakeListChatModel(responses=["many"])
        | StrOutputParser()
    )
    assert chain.invoke("How many words?", {"callbacks": [watching]}) == "many"
    assert watching.prompts == ["and another one of many words\n\nHow many words?"]
