"""The synthesizer says what the engine says that is called directly, by every kind of fusion."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode

from cocom import Cocom
from cocom.errors import InputError
from cocom.generation import Fusion
from llamaindex_cocom import (
    CocomLLM,
    CocomLLMError,
    CocomNodePostprocessor,
    CocomSynthesizer,
    PassageRetriever,
)

QUESTION = "How long is the main span?"
RATE = 4


@pytest.fixture
def llm(cocom_tiny: Cocom) -> CocomLLM:
    return CocomLLM(cocom_tiny, max_tokens=12)


@pytest.fixture
def nodes(passages: tuple[str, ...]) -> list[NodeWithScore]:
    found = [
        NodeWithScore(node=TextNode(text=text, id_=f"n{i}", metadata={"a": "b"}), score=1 - i / 5)
        for i, text in enumerate(passages)
    ]
    return [*found[:2], NodeWithScore(node=TextNode(text=" ")), *found[2:]]


@pytest.mark.parametrize("use_scores", [False, True])
@pytest.mark.parametrize("fusion", get_args(Fusion))
async def test_answers_are_the_engine_s(
    cocom_tiny: Cocom,
    llm: CocomLLM,
    nodes: list[NodeWithScore],
    passages: tuple[str, ...],
    fusion: Fusion,
    use_scores: bool,
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 12, "fusion": fusion}
    if use_scores and fusion != "concat":
        options["scores"] = [n.score for n in nodes if n.text.strip()]
    contexts = cocom_tiny.compress(passages, rate=RATE)
    want = cocom_tiny.answer(QUESTION, contexts, **options)
    settings: dict[str, Any] = {
        "fusion": fusion,
        "use_scores": use_scores,
        "compression_rate": RATE,
    }
    whole = CocomSynthesizer(llm, **settings)
    pieces = CocomSynthesizer(llm, **settings, streaming=True)
    responses: list[Any] = [
        whole.synthesize(QUESTION, nodes),
        await whole.asynthesize(QUESTION, nodes),
        pieces.synthesize(QUESTION, nodes),
        await pieces.asynthesize(QUESTION, nodes),
    ]
    said = [
        str(responses[0]),
        str(responses[1]),
        "".join(responses[2].response_gen),
        "".join([piece async for piece in responses[3].response_gen]),
    ]
    assert said == [want.text] * 4
    for response in responses:
        assert response.source_nodes == nodes
        assert response.metadata["n0"] == {"a": "b"}
        if want.fusion is None:
            assert "fusion" not in response.metadata
        else:
            shares = [*want.fusion.shares[:2], 0.0, *want.fusion.shares[2:]]
            assert response.metadata["fusion"]["shares"] == pytest.approx(shares, abs=1e-4)
            log_probability = response.metadata["fusion"]["log_probability"]
            assert log_probability == pytest.approx(want.fusion.log_probability, abs=1e-3)


def test_a_query_engine_finds_and_reads_apart(
    cocom_tiny: Cocom, llm: CocomLLM, nodes: list[NodeWithScore]
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    full = [n.node for n in nodes if n.text.strip()]
    engine = RetrieverQueryEngine(
        PassageRetriever.from_nodes(full, similarity_top_k=2),
        response_synthesizer=CocomSynthesizer(
            llm,
            fusion="rag-token",
            use_scores=True,
            compression_rate=RATE,
            callback_manager=CallbackManager([debug]),
        ),
    )
    response = engine.query(QUESTION)
    assert str(response) == "486 metres"
    assert response.source_nodes[0].text == full[1].get_content()
    shares = (response.metadata or {})["fusion"]["shares"]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > 0.9
    assert len(debug.get_event_pairs(CBEventType.SYNTHESIZE)) == 1


def test_nodes_that_were_compressed_are_read_as_they_are(
    cocom_tiny: Cocom, llm: CocomLLM, nodes: list[NodeWithScore], monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesizer = CocomSynthesizer(llm, fusion="rag-token", compression_rate=RATE)
    want = str(synthesizer.synthesize(QUESTION, nodes))
    compressed = CocomNodePostprocessor(cocom_tiny, compression_rate=RATE).postprocess_nodes(nodes)

    def compress(*given: Any, **settings: Any) -> Any:
        raise AssertionError("compressed again")

    monkeypatch.setattr(llm.view, "contexts", lambda texts, **settings: compress() if texts else [])
    assert str(synthesizer.synthesize(QUESTION, compressed)) == want


def test_some_may_be_read_as_text(
    cocom_tiny: Cocom, llm: CocomLLM, nodes: list[NodeWithScore], passages: tuple[str, ...]
) -> None:
    contexts = cocom_tiny.compress(passages[2:], rate=RATE)
    want = cocom_tiny.answer(QUESTION, [*passages[:2], *contexts], max_new_tokens=12).text
    synthesizer = CocomSynthesizer(llm, as_text=2, compression_rate=RATE)
    assert str(synthesizer.synthesize(QUESTION, nodes)) == want


def test_options_of_one_answer(llm: CocomLLM, nodes: list[NodeWithScore]) -> None:
    synthesizer = CocomSynthesizer(llm, compression_rate=RATE)
    response = synthesizer.synthesize(QUESTION, nodes[1:2], fusion="rag-token", max_tokens=2)
    assert str(response) == "48"
    assert "fusion" in (response.metadata or {})
    with pytest.raises(CocomLLMError, match="unknown option 'tokens'"):
        synthesizer.synthesize(QUESTION, nodes, tokens=2)


def test_texts_alone_are_answered_too(llm: CocomLLM, passages: tuple[str, ...]) -> None:
    synthesizer = CocomSynthesizer(llm, fusion="rag-token", compression_rate=RATE)
    assert synthesizer.get_response(QUESTION, [passages[1]]) == "486 metres"


def test_without_nodes_nothing_is_asked(llm: CocomLLM) -> None:
    synthesizer = CocomSynthesizer(llm, fusion="rag-token", empty_response="nothing found")
    assert str(synthesizer.synthesize(QUESTION, [])) == "nothing found"


def test_what_cannot_be_answered(llm: CocomLLM, nodes: list[NodeWithScore]) -> None:
    nodes[0].score = None
    synthesizer = CocomSynthesizer(llm, fusion="rag-token", use_scores=True)
    with pytest.raises(CocomLLMError, match="node n0 has no score, but use_scores is on"):
        synthesizer.synthesize(QUESTION, nodes)
    with pytest.raises(InputError, match="fusion must be one of"):
        CocomSynthesizer(llm, fusion="rag")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="as_text must be 0 or more"):
        CocomSynthesizer(llm, as_text=-1)
    with pytest.raises(InputError, match="llm must be a CocomLLM, got MockLLM"):
        CocomSynthesizer(MockLLM())  # type: ignore[arg-type]


def test_the_default_model_of_llamaindex(llm: CocomLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_llm", None)
    with pytest.raises(InputError, match="got NoneType"):
        CocomSynthesizer()
    monkeypatch.setattr(Settings, "_llm", llm)
    assert CocomSynthesizer().get_prompts() == {}


def test_a_model_alone_reads_one_prompt(cocom_tiny: Cocom, llm: CocomLLM) -> None:
    with pytest.raises(InputError, match="use CocomSynthesizer"):
        CocomLLM(cocom_tiny, fusion="rag-token")
    with pytest.raises(CocomLLMError, match="use CocomSynthesizer"):
        llm.complete("Who?", fusion="rag-token")
