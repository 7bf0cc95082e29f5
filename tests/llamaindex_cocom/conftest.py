"""What the adapter's tests share: the shipped model, passages, and questions on them."""

from __future__ import annotations

import pytest

from cocom import Cocom
from cocom.opening import view_of


@pytest.fixture(scope="session")
def cocom_tiny() -> Cocom:
    """The shipped model; the same one that its name loads."""
    return view_of("cocom-tiny").model


@pytest.fixture(scope="session")
def passages() -> tuple[str, ...]:
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
