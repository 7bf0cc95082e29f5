"""Many requests at once on the shipped model: the answers of one at a time, sooner."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.documents import Document

from cocom import Cocom
from langchain_cocom import ChatCocom, CocomDocumentCompressor, format_documents

REQUESTS = 64


@pytest.fixture(scope="module")
def prompts(cocom_tiny: Cocom, passages: tuple[str, ...], questions: dict[str, str]) -> list[Any]:
    """Questions on one to five passages in different orders, no two prompts alike."""
    compressor = CocomDocumentCompressor(engine=cocom_tiny, compression_rate=4)
    found = compressor.invoke([Document(page_content=text) for text in passages])
    prompts = []
    for n in range(REQUESTS):
        turned = [*found[n % 5 :], *found[: n % 5]][: 1 + n // 5 % 5]
        question = f"{list(questions)[n % 3]} ({n})"
        prompts.append([("system", format_documents(turned)), ("human", question)])
    return prompts


def test_64_threads(cocom_tiny: Cocom, prompts: list[Any], capsys: Any) -> None:
    llm = ChatCocom(engine=cocom_tiny, max_tokens=16)
    llm.invoke("warm up")
    started = time.perf_counter()
    alone = [llm.invoke(prompt).text for prompt in prompts]
    one_at_a_time = time.perf_counter() - started
    assert len(set(alone)) > 10
    with ThreadPoolExecutor(REQUESTS) as pool:
        started = time.perf_counter()
        together = list(pool.map(lambda prompt: llm.invoke(prompt).text, prompts))
        at_once = time.perf_counter() - started
    assert together == alone
    ratio = one_at_a_time / at_once
    with capsys.disabled():
        print(  # noqa: T201
            f"\n64 requests: {one_at_a_time:.2f} s one at a time, {at_once:.2f} s from 64 threads: "
            f"{ratio:.1f} times the throughput"
        )
    assert ratio > 1.2


async def test_64_tasks_and_streams(cocom_tiny: Cocom, prompts: list[Any]) -> None:
    llm = ChatCocom(engine=cocom_tiny, max_tokens=16)
    alone = [llm.invoke(prompt).text for prompt in prompts]

    async def streamed(prompt: Any) -> str:
        return "".join([chunk.text async for chunk in llm.astream(prompt)])

    async def whole(prompt: Any) -> str:
        return (await llm.ainvoke(prompt)).text

    calls = [streamed(p) if n % 2 else whole(p) for n, p in enumerate(prompts)]
    assert await asyncio.gather(*calls) == alone
