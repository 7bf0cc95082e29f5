"""The start that prompts share: read once, and answers are those without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from cocom import Answer, Cocom, CocomConfig, ContextEmbeddings, GenerationOptions, Turn
from cocom.config import MemoryPositions
from cocom.reader import ReadRequest
from cocom.running.heads import SharedHeads
from cocom.testing import tiny_cocom
from cocom.text_tokens import EncodedPrompt
from tests.running.lines import warm, written

SYSTEM = "You answer questions on the passages below, briefly and in the language of the question."
OPTIONS = GenerationOptions(max_new_tokens=8)


@pytest.fixture
def model() -> Cocom:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    assert warm(model)
    return model


@pytest.fixture
def contexts(model: Cocom) -> list[ContextEmbeddings]:
    return model.compress(["Ada was born in Rome.", "The river is long."])


class Heads:
    """What heads a model has used, and what it writes with and without them."""

    def __init__(self, model: Cocom, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model = model
        self.used: list[tuple[int, int]] = []  # rows of the head, prompts
        self._patch = monkeypatch
        self._real = real = SharedHeads.find

        def find(shared: SharedHeads, requests: Sequence[ReadRequest]) -> Any:
            size, head = real(shared, requests)
            assert (size > 0) == (head is not None)
            if head is not None:
                self.used.append((size, len(requests)))
                assert all(keys.shape[2] == size for keys, _ in head.layers.values())
                for request in requests:
                    assert size < len(request.prompt.ids) or request.prompt.slots
                    assert all(place >= size for place, _ in request.prompt.slots)
            return size, head

        monkeypatch.setattr(SharedHeads, "find", find)

    @property
    def kept(self) -> list[tuple[int, ...]]:
        return list(self.model._reader._decoding._heads._heads)

    def written(self, requests: Sequence[ReadRequest]) -> list[Answer]:
        """Answers, which are those that come without heads."""
        found = written(self.model, requests, OPTIONS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SharedHeads, "find", lambda *_: (0, None))
            assert written(self.model, requests, OPTIONS) == found
        return found


@pytest.fixture
def heads(model: Cocom, monkeypatch: pytest.MonkeyPatch) -> Heads:
    return Heads(model, monkeypatch)


def asked(
    model: Cocom,
    question: str,
    contexts: Sequence[ContextEmbeddings] = (),
    system: str | None = SYSTEM,
) -> ReadRequest:
    turns = [] if system is None else [Turn("system", system)]
    return model.chat_request([*turns, Turn("user", [*contexts, question])])


def plain(*ids: int) -> ReadRequest:
    return ReadRequest(EncodedPrompt(ids, ()))


def test_a_system_prompt_is_read_once(heads: Heads, contexts: list[ContextEmbeddings]) -> None:
    model = heads.model
    heads.written([asked(model, "Who?")])
    assert not heads.used  # nobody knows yet that it comes again
    for requests in (
        [asked(model, "Where was it?")],
        [asked(model, "When?"), asked(model, "And why was that, then?"), asked(model, "Who?")],
        [asked(model, "What?")] * 2,
        [asked(model, "Where?", contexts), asked(model, "Why?", contexts[1:])],
    ):
        before = len(heads.used)
        heads.written(requests)
        assert len(heads.used) > before
        assert heads.used[-1][0] >= len(SYSTEM)
        assert heads.used[-1][1] == len(requests)
    assert 1 <= len(heads.kept) <= 3


def test_prompts_that_share_nothing_are_read_whole(heads: Heads) -> None:
    model = heads.model
    for _ in range(3):
        heads.written([asked(model, "Who?"), plain(*range(50, 90))])
    heads.written([plain(*range(90, 140))])
    heads.written([plain(*range(10, 90))])
    assert heads.used == []


@pytest.mark.parametrize("positions", ["end", "uniform"])
@pytest.mark.parametrize("weights", ["full", "separate_lora"])
def test_no_head_reaches_into_the_passages(
    weights: Any, positions: MemoryPositions, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), weights=weights, memory_positions=positions))
    heads = Heads(model, monkeypatch)  # makes sure that no slot is in one
    contexts = model.compress(["Ada was born in Rome.", "The river is long."])
    for question in ("Who?", "Where?", "When?"):
        # What follows the passages is the same, too, and other passages have as many embeddings.
        heads.written([asked(model, question, [c], system=SYSTEM) for c in contexts])
        heads.written([asked(model, question, contexts[:1], system=SYSTEM)])
    assert heads.used


def test_windows_reach_into_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    for window in (4, 100):
        model = tiny_cocom(CocomConfig(rates=(4,)), family="mistral", sliding_window=window)
        heads = Heads(model, monkeypatch)
        for questions in (["Who?"], ["When?", "Where was it?"], ["A?"]):
            heads.written([asked(model, question) for question in questions])
        assert heads.used


def test_prompts_that_are_the_same_and_prompts_within_others(heads: Heads) -> None:
    whole = tuple(range(10, 60))
    prompts = [whole, whole, whole[:30], (*whole, 70, 71), whole[:31], whole[:29]]
    for prompt in prompts:
        heads.written([plain(*prompt)])
    heads.written([plain(*prompt) for prompt in prompts])
    heads.written([plain(*prompt) for prompt in reversed(prompts)])
    heads.written([plain(*whole)] * 3)
    assert heads.used


def test_short_prompts(heads: Heads) -> None:
    for _ in range(2):
        for size in (1, 2, 8, 9, 10):
            heads.written([plain(*range(10, 10 + size))])
            heads.written([plain(*range(10, 10 + size))] * 2)
            heads.written([plain(*range(10, 10 + size)), plain(10)])
    assert all(size >= 8 for size, _ in heads.used)


def test_prompts_that_begin_with_a_passage(heads: Heads, contexts: list[ContextEmbeddings]) -> None:
    requests = [
        ReadRequest(EncodedPrompt((50, 51, 52), ((0, 0),)), (context,)) for context in contexts
    ]
    for _ in range(3):
        heads.written(requests)
    assert heads.used == []


def test_a_few_heads_are_kept_and_those_in_use_stay(heads: Heads) -> None:
    model = heads.model
    systems = [f"{n} is the number of this system prompt, {SYSTEM}" for n in range(7)]
    for system in systems:
        for question in ("Who?", "Where?"):
            heads.written([asked(model, question, system=system)])
            assert len(heads.kept) <= 4
        # The first is used all the time, and is not the one to go.
        heads.written([asked(model, "And?", system=systems[0])])
    assert len(heads.kept) == 4
    before = len(heads.used)
    heads.written([asked(model, "What?", system=systems[0])])
    heads.written([asked(model, "What?", system=systems[-1])])
    assert len(heads.used) == before + 2


def begun(heads: Heads) -> list[Answer]:
    """With a head that is in use."""
    requests = [asked(heads.model, question) for question in ("Who?", "Where was it?")]
    for _ in range(3):
        found = heads.written(requests)
    assert heads.used
    return found


def test_heads_are_forgotten_when_a_weight_changes(heads: Heads) -> None:
    model = heads.model
    weight: Any = next(model.backbone.model.parameters())
    before = begun(heads)
    with torch.no_grad():
        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    assert begun(heads) != before  # `written` compares with what comes without heads
    before = begun(heads)
    weight.data.mul_(-1)  # which torch does not count
    model.weights_changed()
    assert begun(heads) != before
    before = begun(heads)
    state = {name: -value for name, value in model.backbone.model.state_dict().items()}
    model.backbone.model.load_state_dict(state)
    assert begun(heads) != before
    model.backbone.to(torch.float64)
    assert begun(heads)


def test_heads_are_forgotten_when_an_adapter_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), weights="separate_lora"))
    heads = Heads(model, monkeypatch)
    before = begun(heads)
    model.merge_adapter("read")
    assert [a.token_ids for a in begun(heads)] == [a.token_ids for a in before]


def test_heads_stay_with_the_model_they_were_made_with(heads: Heads) -> None:
    import copy

    begun(heads)
    other = copy.deepcopy(heads.model)
    with torch.no_grad():
        for parameter in other.backbone.model.parameters():
            parameter.neg_()
    requests = [asked(other, question) for question in ("Who?", "Where was it?")]
    for _ in range(3):
        found = written(other, requests, OPTIONS)
        assert found == written(other, requests, OPTIONS, runner=other._reader._generating)
