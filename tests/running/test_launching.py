"""Steps that are captured or compiled: sizes are rounded up, and the answers are those of plain steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

from cocom import Answer, Cocom, CocomConfig
from cocom.running.launching import Compiled, Graphs
from cocom.testing import tiny_cocom

QUESTIONS = ["Who?", "Where was Ada born, and when?", "Why?", "What is long?" * 5, "How?"]


@pytest.fixture(scope="module")
def model() -> Cocom:
    return tiny_cocom(CocomConfig(rates=(4,), window=32))


def answers(model: Cocom, batch_size: int = 3) -> list[Answer]:
    """Of uneven prompts, more than go into one batch, and of uneven lengths."""
    contexts = model.compress(["Ada was born in Rome.", "The river is long. " * 9])
    passages = [contexts[: i % 3] * (i + 1) for i in range(len(QUESTIONS))]
    return [
        answer
        for tokens in (1, 7, 300)
        for answer in model.answer_batch(
            QUESTIONS, passages, max_new_tokens=tokens, batch_size=batch_size
        )
    ]


class Recorded:
    """Stands for a CUDA graph: what is captured is computed again, in the same places, when replayed."""

    captured: Any = None

    def replay(self) -> None:
        step, given, width, logits = self.captured
        logits.copy_(step(given, width))


class RecordedGraphs(Graphs):
    """Graphs on a machine without CUDA: only the capture itself is another."""

    def _capture(self, given: torch.Tensor, width: int) -> Any:
        graph = Recorded()
        logits = torch.zeros_like(self._step(given, width))
        graph.captured = (self._step, given, width, logits)
        sizes.append((given.shape[1], width))
        return graph, given, logits


sizes: list[tuple[int, int]] = []


@contextmanager
def launched_by(model: Cocom, launch: Any) -> Iterator[None]:
    decoding = model._reader._decoding
    before = decoding._new_steps

    def steps() -> Any:
        made = before()
        made._launch = launch(made._one)
        return made

    decoding._new_steps = steps  # type: ignore[method-assign]
    decoding._free.clear()
    try:
        yield
    finally:
        del decoding._new_steps
        decoding._free.clear()


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_captured_steps_give_the_same_answers(model: Cocom, batch_size: int) -> None:
    expected = answers(model, batch_size)
    sizes.clear()
    with launched_by(model, lambda step: RecordedGraphs(step, torch.device("cpu"))):
        assert answers(model, batch_size) == expected
        first = len(sizes)
        assert answers(model, batch_size) == expected
    assert {slots for slots, _ in sizes} <= {1, 2, 4, 8}
    assert all(width % 256 == 0 for _, width in sizes)
    assert (
        len(sizes) == first
    )  # keys and values stayed where they were, so nothing is captured again


def test_keys_and_values_that_move_are_captured_again(model: Cocom) -> None:
    sizes.clear()
    with launched_by(model, lambda step: RecordedGraphs(step, torch.device("cpu"))):
        short = model.answer("Who?", max_new_tokens=4)
        long = model.answer("Who?" * 200, max_new_tokens=4)
        assert model.answer("Who?", max_new_tokens=4) == short
    assert long == model.answer("Who?" * 200, max_new_tokens=4)
    assert sizes == [(1, 256), (1, 1024), (1, 256)]


def test_compiled_steps_give_the_same_answers(
    model: Cocom, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(model)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with launched_by(model, Compiled):
        assert answers(model) == expected


def test_decoding_is_configured(model: Cocom, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(model)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model.configure_decoding(compile=True)
    try:
        assert answers(model) == expected
        (steps,) = model._reader._decoding._free
        assert isinstance(steps._launch, Compiled)
    finally:
        model.configure_decoding()
    assert answers(model) == expected
    (steps,) = model._reader._decoding._free
    assert steps._launch is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_graphs_give_the_same_answers() -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    model.backbone.to("cuda")
    model.configure_decoding(graphs=False)
    expected = answers(model)
    model.configure_decoding(graphs=True)
    assert answers(model) == expected
    assert answers(model) == expected
