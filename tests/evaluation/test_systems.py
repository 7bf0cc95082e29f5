"""The columns of a comparison: their names, and how they are chosen."""

from __future__ import annotations

import pytest

from cocom.errors import InputError
from cocom.evaluation.comparing import _path
from cocom.evaluation.systems import all_systems, chosen

NAMES = [
    "text",
    "no passage",
    "wrong passages rate 4",
    "rate 4",
    "rate 16",
    "llmlingua rate 4",
    "llmlingua rate 16",
    "longllmlingua rate 4",
    "longllmlingua rate 16",
    "llmlingua2 rate 4",
    "llmlingua2 rate 16",
    "truncated rate 4",
    "truncated rate 16",
    "random words rate 4",
    "random words rate 16",
    "rag-token text",
    "rag-token rate 4",
    "rag-token rate 16",
    "rag-sequence text",
    "rag-sequence rate 4",
    "rag-sequence rate 16",
]


def test_every_system_at_every_rate_has_a_name_and_a_file_of_its_own(tmp_path) -> None:
    systems = all_systems((4, 16))
    assert [system.name for system in systems] == NAMES
    assert len({_path(tmp_path, system.name) for system in systems}) == len(NAMES)


def test_systems_are_chosen_by_pattern_in_the_order_of_the_table() -> None:
    found = chosen(all_systems((4, 16)), ["llmlingua2 *", "rate *", "text"])
    assert [s.name for s in found] == [
        "text",
        "rate 4",
        "rate 16",
        "llmlingua2 rate 4",
        "llmlingua2 rate 16",
    ]


def test_a_pattern_that_no_column_has() -> None:
    with pytest.raises(InputError, match=r"no column is called 'rate 8': choose from 'text', "):
        chosen(all_systems((4, 16)), ["text", "rate 8"])


def test_each_shortened_column_stands_against_the_embeddings_of_its_rows() -> None:
    against = {system.name: system.soft_counterpart for system in all_systems((4, 16))}
    assert against["llmlingua rate 16"] == against["rag-token rate 16"] == "rate 16"
    assert against["rate 16"] is against["text"] is against["rag-token text"] is None
