"""The errors cocom raises. Each message names the value at fault, what was expected and what to do.

CocomError
├── ConfigError              a setting that cannot be, or two that do not go together
├── InputError               a passage, question or option that cannot be used (also a ValueError)
│   ├── EmptyPassageError        a passage without text
│   ├── PromptTooLongError       prompt, passages and answer do not fit the model
│   ├── SlotMismatchError        slots in the prompt and embeddings given differ in number
│   ├── InvalidReferenceError    a reference that was guessed, changed or made for another namespace
│   ├── MissingContextError      a reference whose passage is not in the store any more
│   └── DataError                a data file that cannot be read; carries the line number
├── FingerprintError         context embeddings made by another model
├── ModelError               the backbone lacks something the method needs
├── AnswerTimeoutError       no answer within the time that was given (also a TimeoutError)
├── CheckpointError          a model folder that is incomplete, foreign or damaged
├── StoreError               a context store that is missing, damaged, read-only or of a newer version
│   └── StoreBusyError           another process writes to it (also a TimeoutError)
└── MissingExtraError        an optional dependency is not installed (also an ImportError)
"""

from __future__ import annotations

__all__ = [
    "AnswerTimeoutError",
    "CheckpointError",
    "CocomError",
    "ConfigError",
    "DataError",
    "EmptyPassageError",
    "FingerprintError",
    "InputError",
    "InvalidReferenceError",
    "MissingContextError",
    "MissingExtraError",
    "ModelError",
    "PromptTooLongError",
    "SlotMismatchError",
    "StoreBusyError",
    "StoreError",
]


class CocomError(Exception):
    """Base of every error that cocom raises on purpose."""


class ConfigError(CocomError, ValueError):
    """A setting that cannot be, or two settings that do not go together."""


class InputError(CocomError, ValueError):
    """A passage, a question or an option of a call that cannot be used."""


class EmptyPassageError(InputError):
    """A passage without any text to compress."""


class PromptTooLongError(InputError):
    """Prompt, passages and the room for the answer exceed what the model can read."""


class SlotMismatchError(InputError):
    """The slots in a prompt and the embeddings to put there differ in number."""


class InvalidReferenceError(InputError):
    """A reference that this namespace did not make, or not so."""


class MissingContextError(InputError):
    """A reference whose passage is not in the store any more."""


class DataError(InputError):
    """A data file with a line that cannot be used; the message gives file and line."""


class FingerprintError(CocomError, ValueError):
    """Context embeddings that another model made."""


class ModelError(CocomError):
    """A backbone that lacks something the method needs."""


class AnswerTimeoutError(CocomError, TimeoutError):
    """No answer within the time that was given."""


class CheckpointError(CocomError):
    """A model folder that is incomplete, foreign or damaged."""


class StoreError(CocomError):
    """A context store that cannot be used as it is: missing, damaged, read-only or of a newer version."""


class StoreBusyError(StoreError, TimeoutError):
    """Another process writes to the store, and took longer than this one would wait."""


class MissingExtraError(CocomError, ImportError):
    """An optional dependency is not installed; the message gives the pip command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: "
            f"run pip install 'cocom[{extra}]'."
        )
