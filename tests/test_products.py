"""Products in float32 on a CPU: whatever way is taken, the numbers are the same and torch is left alone."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from cocom import CocomConfig, products
from cocom.products import Products, fast_products, fastest, usual_products
from cocom.testing import tiny_cocom

CPU = torch.device("cpu")


def precision() -> Any:
    return products._onednn._matmul.fp32_precision


def take(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(products, "_measured", lambda rows, threads: way)


@pytest.fixture(autouse=True)
def torch_is_left_alone() -> Iterator[None]:
    before = precision()
    yield
    assert precision() == before


@pytest.mark.parametrize("way", ["usual", "onednn", "matrix first"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 7), (3, 5)])
def test_every_way_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, way: str, bias: bool, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(48, 96, bias=bias), nn.Linear(96, 32, bias=bias))
    rows = torch.randn(*shape, 48)
    expected = network.double()(rows.double()).float()
    network.float()
    take(monkeypatch, way)
    with (
        torch.no_grad(),
        fast_products(CPU, torch.float32),
        Products(network).used(shape[0] * shape[1]),
    ):
        found = network(rows)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert all("forward" not in layer.__dict__ for layer in network)


def test_a_way_is_measured_and_kept() -> None:
    products._measured.cache_clear()
    assert fastest(3) in ("usual", "onednn", "matrix first")
    assert fastest(4) == fastest(3)  # of one size
    assert products._measured.cache_info().misses == 1
    assert fastest(100_000) in ("usual", "onednn")
    assert fastest(600) == fastest(512)
    assert products._measured.cache_info().misses == 2


def test_a_way_that_rounds_more_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(rows), len(matrix))  # very fast

    measured = products._measured.__wrapped__
    monkeypatch.setattr(products, "_transposed", rounded)
    assert measured(2, 1) in ("usual", "onednn")
    monkeypatch.setattr(products, "linear", rounded)
    monkeypatch.setattr(products, "_EXACT", 2.0)
    assert measured(2, 1) in ("usual", "onednn", "matrix first")


@pytest.mark.skipif(not products._onednn.available, reason="this torch asks oneDNN for nothing")
def test_the_setting_is_back_when_the_last_thread_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, "onednn")
    before = precision()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with fast_products(CPU, torch.float32):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with fast_products(CPU, torch.float32):
        thread.start()
        assert entered.wait(10)
        assert precision() == "bf16"
        with usual_products():
            assert precision() == "bf16"  # the other relies on it
    assert precision() == "bf16"  # and is still at it
    leave.set()
    thread.join()
    assert precision() == before
    with fast_products(CPU, torch.float32):
        with usual_products():
            assert precision() == before
        assert precision() == "bf16"
    with pytest.raises(KeyError), fast_products(CPU, torch.float32):
        raise KeyError
    assert precision() == before


def test_only_float32_on_a_cpu_is_concerned(monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, "onednn")
    before = precision()
    with fast_products(CPU, torch.bfloat16):
        assert precision() == before
    with fast_products(torch.device("cuda"), torch.float32):
        assert precision() == before
    take(monkeypatch, "matrix first")
    network = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4))
    with Products(network).used(1):
        assert "forward" not in network[0].__dict__
        assert "forward" in network[1].__dict__
    with Products(network).used(products._FEW + 1):
        assert "forward" not in network[1].__dict__


def test_layers_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, "matrix first")
    layer = nn.Linear(4, 4)
    with Products(layer).used(1):
        copied = copy.deepcopy(layer)
    with pytest.raises(KeyError), Products(layer).used(1):
        raise KeyError
    assert "forward" not in layer.__dict__
    assert "forward" in copied.__dict__
    Products(copied)  # a copy that was made during a pass is put right
    assert "forward" not in copied.__dict__
    mine = layer.forward
    setattr(layer, "forward", lambda rows: mine(rows) + 1)  # noqa: B010
    with Products(layer).used(1):
        assert torch.equal(layer(torch.zeros(1, 4)), layer.bias[None] + 1)


@pytest.mark.parametrize("way", ["usual", "onednn", "matrix first"])
def test_answers_do_not_depend_on_the_way(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    model = tiny_cocom(CocomConfig(rates=(4,), window=32))
    take(monkeypatch, "usual")
    (context,) = model.compress(["Ada was born in Rome."])
    expected = model.answer_batch(["Who?", "Where was she born?"], [[context], []])
    take(monkeypatch, way)
    (again,) = model.compress(["Ada was born in Rome."])
    torch.testing.assert_close(again.embeddings, context.embeddings, rtol=1e-4, atol=1e-5)
    assert model.answer_batch(["Who?", "Where was she born?"], [[context], []]) == expected
