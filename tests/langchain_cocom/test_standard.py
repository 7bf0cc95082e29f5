"""LangChain's own tests of chat models and retrievers, with the shipped model.

What they skip is listed in `conftest.SKIPPED`; whatever else skips fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import ChatModelIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from cocom import Cocom
from cocom.testing import tiny_cocom
from langchain_cocom import ChatCocom, CocomDocumentCompressor, CocomRetriever


@pytest.fixture(scope="module", autouse=True)
def held(cocom_tiny: Cocom) -> Cocom:
    """The model, so that every test that names it finds it loaded."""
    return cocom_tiny


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatCocom

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "cocom-tiny"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"COCOM_MODEL": "a/model"}, {}, {"model": "a/model"}


# There is no traffic to record, so the test of streaming runs, but has nothing to replay and time.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")
class TestIntegration(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def other(self, tmp_path: Path) -> None:
        """Another model in a folder, which a call may name."""
        self._other = str(tmp_path / "model")

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatCocom

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "cocom-tiny"}

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        tiny_cocom().save_pretrained(self._other)
        return self._other


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return CocomRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        documents = [Document(page_content=f"Passage number {n}.") for n in range(5)]
        return {
            "retriever": RunnableLambda(lambda question: documents),
            "compressor": CocomDocumentCompressor(engine="cocom-tiny"),
        }

    @property
    def retriever_query_example(self) -> str:
        return "Which passage is the third?"
