"""What goes in and what comes out: passages, context embeddings, answers. Frozen, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

__all__ = [
    "Answer",
    "ContextEmbeddings",
    "FinishReason",
    "FusionScores",
    "Passage",
    "Role",
    "Turn",
    "Usage",
    "Window",
]

FinishReason = Literal["stop", "length"]
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Passage:
    """A retrieved text, with the id and the metadata its retriever gave it."""

    text: str
    id: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """One stretch of a passage that was compressed on its own.

    Attributes:
        tokens: Passage tokens in the window, counted by the compressor's tokenizer.
        embeddings: Context embeddings the window became.
    """

    tokens: int
    embeddings: int


@dataclass(frozen=True, eq=False)
class ContextEmbeddings:
    """What a passage becomes: vectors in the reader's input-embedding space.

    Attributes:
        embeddings: The vectors, shape (embeddings, hidden), windows one after the other.
        rate: Compression rate, passage tokens per embedding (the paper's xi).
        windows: How tokens and embeddings divide over the windows of the passage.
        text_tokens: Tokens the reader would have read in place of these embeddings.
        fingerprint: Identifies the model that made them; only that model can read them.
        passage: The passage itself, if it was kept.
    """

    embeddings: torch.Tensor
    rate: int
    windows: tuple[Window, ...]
    text_tokens: int
    fingerprint: str
    passage: Passage | None = None

    def __len__(self) -> int:
        return int(self.embeddings.shape[0])


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        content: What is said: a text, or texts and context embeddings in their order.
    """

    role: Role
    content: str | Sequence[str | ContextEmbeddings]


@dataclass(frozen=True)
class Usage:
    """What an answer cost.

    Attributes:
        prompt_rows: Rows (positions) the reader read: prompt tokens and context embeddings.
        context_rows: Those of them that were context embeddings.
        replaced_tokens: Text tokens that the context embeddings stood for.
        generated_tokens: Tokens written, the end-of-sequence token included.
    """

    prompt_rows: int
    context_rows: int
    replaced_tokens: int
    generated_tokens: int

    @property
    def text_rows(self) -> int:
        """Rows the same prompt would have had with every passage as text."""
        return self.prompt_rows - self.context_rows + self.replaced_tokens


@dataclass(frozen=True)
class FusionScores:
    """What passages that are each read in a prompt of their own say of an answer, together.

    Attributes:
        log_probability: Of the answer's tokens, their end included; natural logarithm.
        shares: How much of the answer each passage accounts for; together 1, empty without passages. By
            sequence it is the probability p(z|x,y) that the passage is the one the answer came from; by token
            the mean of that over the tokens.
    """

    log_probability: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Answer:
    """A generated answer.

    Attributes:
        text: The answer, without special tokens and surrounding whitespace.
        token_ids: The generated ids as they came, the end-of-sequence token included.
        finish_reason: "stop" (end of sequence or stop string) or "length" (`max_new_tokens`).
        usage: Rows read, tokens replaced, tokens generated.
        fusion: How likely it is and what it rests on, if passages were read apart.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    fusion: FusionScores | None = None
