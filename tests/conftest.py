"""What every test shares: no network, one thread, and the way to the golden files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
