"""Which of LangChain's standard tests may skip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

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
    # LangChain reads classes of its own partners only out of JSON.
    "test_serdes": "serialisation",
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
