"""Operations by formula beside those that torch counts, and the least time that follows from them."""

from __future__ import annotations

import pytest
import torch

from cocom import CocomConfig
from cocom.benchmark import straightforward
from cocom.benchmark.cost import sizes_of
from cocom.benchmark.counting import count_flops
from cocom.benchmark.exact import endless
from cocom.benchmark.floors import better, measure_floors
from cocom.benchmark.result import Floors, Spread
from cocom.benchmark.timing import once, spread, take_turns
from cocom.testing import tiny_cocom

CPU = torch.device("cpu")
ENCODED = "Ada was born in Rome, and Bo plays the harp in Oslo."


def speed(value: float) -> Spread:
    return spread([value])


# A machine that needs no time to read, and one that needs none to multiply.
READS = Floors(speed(1e30), speed(1e30), speed(1.0))
MULTIPLIES = Floors(speed(1.0), speed(1.0), speed(1e30))


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("mistral", {"sliding_window": None}),
        ("qwen3", {}),
        ("gemma3", {}),
        ("gpt_neox", {}),
    ],
)
def test_operations_by_formula_are_those_that_torch_counts(family, settings) -> None:
    # Attention counts whole: every row attends to every row, as torch counts it.
    model = tiny_cocom(family=family, **settings)
    reader, compressor = sizes_of(model, "read"), sizes_of(model, "compress")

    # The first calls find out how to run the model.
    model.answer_batch(["Why?", "How?"], [model.compress(["Cy."])] * 2, max_new_tokens=2)

    (window,) = model.window_compressor.windows(ENCODED)
    rows = len(model.window_compressor.row(window.ids, 4).ids)
    counted = count_flops(lambda: model.compress([ENCODED], rate=4))
    assert compressor.compress([rows], READS).flops == pytest.approx(counted, rel=0.02)

    rows = model.request("Where?", [ENCODED]).rows
    first = count_flops(lambda: model.answer("Where?", [ENCODED], max_new_tokens=1))
    assert reader.read([rows], 1, READS).flops == pytest.approx(first, rel=0.02)

    # Other prompts of the same length, since keys and values of the same would be there already; and two,
    # because a single row may be multiplied as two where that is faster.
    texts = [[ENCODED.swapcase()], [ENCODED[::-1]]]
    with endless(model):
        two = count_flops(lambda: model.answer_batch(["Where?"] * 2, texts, max_new_tokens=9))
        plain = count_flops(
            lambda: straightforward.answer(model, "Where?", [ENCODED], max_new_tokens=9)
        )
    assert reader.read([rows, rows], 9, READS).flops == pytest.approx(two, rel=0.02)
    steps = reader.read([rows], 9, READS).flops - reader.read([rows], 1, READS).flops
    assert steps == pytest.approx(plain - first, rel=0.02)


def test_attention_of_the_cpu_is_counted() -> None:
    query = torch.randn(1, 4, 16, 8)
    call = torch.nn.functional.scaled_dot_product_attention
    with torch.no_grad():
        assert count_flops(lambda: call(query, query, query)) == 4 * 4 * 16 * 16 * 8


def test_an_adapter_that_does_not_play_is_not_counted() -> None:
    alone = sizes_of(tiny_cocom(CocomConfig(weights="shared_lora")), "read")
    one_of_two = sizes_of(tiny_cocom(CocomConfig(weights="separate_lora")), "read")
    assert one_of_two.weights == alone.weights > sizes_of(tiny_cocom(), "read").weights


def test_a_light_compressor_has_sizes_of_its_own() -> None:
    from cocom.config import EncoderConfig

    model = tiny_cocom(CocomConfig(rates=(4,), encoder=EncoderConfig()))
    assert sizes_of(model, "compress").hidden == 24
    assert sizes_of(model, "read").hidden == 32


def test_a_floor_counts_causal_attention_and_every_reading_of_the_weights() -> None:
    sizes = sizes_of(tiny_cocom(), "read")
    one = sizes.read([100], 1, READS)
    assert one.least_flops < one.flops
    assert one.floor_seconds == one.least_flops  # at one operation a second

    # At one byte a second: the weights with each of three tokens, and the cache with two of them.
    read = sizes.read([100, 50], 3, MULTIPLIES).floor_seconds
    assert read == 3 * sizes.weight_bytes + (152 + 154) * sizes.row_bytes


def test_compressing_reads_no_head() -> None:
    sizes = sizes_of(tiny_cocom(), "compress")
    assert sizes.compress([10], MULTIPLIES).floor_seconds == sizes.weights * sizes.value_bytes


def test_floors_of_the_machine_are_positive_and_the_better_ones_are_kept(monkeypatch) -> None:
    monkeypatch.setattr("cocom.benchmark.floors._VALUES", {"cpu": 1 << 20})
    found = measure_floors(CPU, torch.float32, seconds=0.001, rounds=2)
    for floor in (found.copy, found.read, found.matrix):
        assert 0 < floor.low <= floor.median <= floor.high
        assert len(floor.rounds) == 2
    slow = Floors(speed(1.0), speed(1e30), speed(1.0))
    assert better(found, slow) == Floors(found.copy, slow.read, found.matrix)


def test_everybody_has_as_many_turns_as_they_are_given_in_changing_order() -> None:
    turns: list[tuple[str, int]] = []
    take_turns(dict.fromkeys("abcdef", 3) | {"g": 1}, lambda name, n: turns.append((name, n)))
    assert sorted(turns) == sorted([*((name, n) for name in "abcdef" for n in range(3)), ("g", 0)])
    orders = {
        tuple(name for name, n in turns if n == number and name != "g") for number in range(3)
    }
    assert len(orders) == 3
    assert once(lambda: None, CPU) >= 0
