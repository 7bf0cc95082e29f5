"""What the adapter's tests share: the shipped model, loaded once, and which standard tests may skip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cocom import Cocom
from cocom.opening import view_of

SKIPPED = {
    # There is no tool calling: agents bring their tools' results as messages.
    "test_agent_loop": "tools",
    "test_bind_runnables_as_tools": "tools",
    "test_structured_few_shot_examples": "tools",
    "test_tool_calling": "tools",
    "test_tool_calling_async": "tools",
    "test_tool_calling_with_no_arguments": "tools",
    "test_tool_choice": "tools",
    "test_tool_message_error_status": "tools",
    "test_tool_message_histories_list_content": "tools",
    "test_tool_message_histories_string_content": "tools",
    "test_unicode_tool_call_integration": "tools",
    # Structured output needs tools or constrained decoding.
    "test_json_mode": "structured output",
    "test_structured_output": "structured output",
    "test_structured_output_async": "structured output",
    "test_structured_output_optional_param": "structured output",
    "test_structured_output_pydantic_2_v1": "structured output",
    # The model reads text and context embeddings only.
    "test_anthropic_inputs": "media",
    "test_audio_inputs": "media",
    "test_image_inputs": "media",
    "test_image_tool_message": "media",
    "test_pdf_inputs": "media",
    "test_pdf_tool_message": "media",
    # A local model is no service: it has no address or key in the environment, its object holds weights,
    # which are not written into JSON, and it has no traffic to record.
    "test_init_from_env": "service",
    "test_serdes": "service",
    "test_stream_time": "service",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A standard test that skips without being listed fails."""
    report: Any = yield
    if "test_standard" in item.nodeid and report.skipped:
        name = getattr(item, "originalname", item.name)
        if name not in SKIPPED:
            report.outcome = "failed"
            report.longrepr = f"{name} skips, but is not listed in SKIPPED"
    return report


@pytest.fixture(scope="session")
def cocom_tiny() -> Cocom:
    """The shipped model; the same one that its name loads."""
    return view_of("cocom-tiny").model


PASSAGES = (
    "Alan Turing was born in Maida Vale in 1912.",
    "The Brooklyn Bridge opened on 24 May 1883. Its main span is 486 metres long.",
    "In May 1884 the showman P. T. Barnum led 21 elephants across the bridge.",
    "Marie Curie was born in Warsaw in 1867. She studied physics in Paris.",
    "Voyager 1 was launched on 5 September 1977 from Cape Canaveral.",
)
QUESTIONS = {  # with what the shipped model answers from these passages, compressed at rate 4
    "How many elephants did P. T. Barnum lead across the bridge?": "21",
    "How long is the main span?": "486 metres",
    "When was Voyager 1 launched?": "5 September 1977",
}


@pytest.fixture(scope="session")
def passages() -> tuple[str, ...]:
    return PASSAGES


@pytest.fixture(scope="session")
def questions() -> dict[str, str]:
    """Questions on the passages, with the shipped model's answers from them at rate 4."""
    return QUESTIONS
