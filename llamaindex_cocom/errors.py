"""Errors that LlamaIndex does not swallow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cocom import CocomError

__all__ = ["CocomLLMError", "heard"]


class CocomLLMError(CocomError, RuntimeError):
    """The model refused a prompt; `__cause__` is the error it refused it with.

    LlamaIndex's synthesizers take every `ValueError` and `TypeError` for an unparsable answer, leave it out
    and say "Empty Response". This is neither.
    """


@contextmanager
def heard() -> Iterator[None]:
    """Raise what LlamaIndex would swallow as an error that it lets through."""
    try:
        yield
    except CocomError as error:
        if isinstance(error, ValueError | TypeError):
            raise CocomLLMError(str(error)) from error
        raise
