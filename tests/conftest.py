"""What tests share: no network, one thread, the way to the golden files, and what both adapters need."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from cocom import Cocom

# Read when huggingface_hub, tokenizers and torch are first imported, so before any test module is.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    # The models are tiny: threads that wait for each other cost more than they save, and on a busy
    # machine fifty times more.
    OMP_NUM_THREADS="1",
)

# No deadline, because what else the machine does decides how long an example takes; and in CI the
# same examples in every run.
settings.register_profile("cocom", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cocom")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden files and data beside the repository; without it the test is skipped."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder 'shared' beside the repository: its golden files are not at hand")
    return folder


@pytest.fixture(scope="session")
def cocom_tiny() -> Cocom:
    """The shipped model; the same one that its name loads."""
    from cocom.opening import view_of

    return view_of("cocom-tiny").model


@pytest.fixture(scope="session")
def passages() -> tuple[str, ...]:
    """Passages that the shipped model can answer questions from."""
    return (
        "Alan Turing was born in Maida Vale in 1912.",
        "The Brooklyn Bridge opened on 24 May 1883. Its main span is 486 metres long.",
        "In May 1884 the showman P. T. Barnum led 21 elephants across the bridge.",
        "Marie Curie was born in Warsaw in 1867. She studied physics in Paris.",
        "Voyager 1 was launched on 5 September 1977 from Cape Canaveral.",
    )


@pytest.fixture(scope="session")
def questions() -> dict[str, str]:
    """Questions on the passages, with the shipped model's answers from them at rate 4."""
    return {
        "How many elephants did P. T. Barnum lead across the bridge?": "21",
        "How long is the main span?": "486 metres",
        "When was Voyager 1 launched?": "5 September 1977",
    }


class Slow:
    """Makes each token of a model take a while, counts them, and fails with one of them."""

    def __init__(self, model: Cocom, monkeypatch: pytest.MonkeyPatch, fails_at: int = 0) -> None:
        from cocom.passes import passes_of

        self.tokens = 0
        passes_of(model.backbone).usable()  # tries the model, if that was not done yet
        network: Any = model.backbone.model
        real = network.forward

        def forward(*given: Any, **named: Any) -> Any:
            self.tokens += 1
            if self.tokens == fails_at:
                raise RuntimeError("the cable is loose")
            time.sleep(0.01)
            return real(*given, **named)

        monkeypatch.setattr(network, "forward", forward)

    def stopped(self) -> bool:
        """Whether no more tokens are made."""
        time.sleep(0.1)
        before = self.tokens
        time.sleep(0.1)
        return self.tokens == before


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Slow]:
    """Slows a model down."""
    return lambda model, **settings: Slow(model, monkeypatch, **settings)


@pytest.fixture
def blocked() -> Callable[[Awaitable[Any]], Awaitable[float]]:
    """Does some work, and gives the share of its time in which the event loop stood still longest."""

    async def share(work: Awaitable[Any]) -> float:
        task = asyncio.ensure_future(work)
        started = last = time.perf_counter()
        longest = 0.0
        while not task.done():
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - last)
            last = time.perf_counter()
        assert await task
        return longest / (last - started)

    return share
