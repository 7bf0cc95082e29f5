"""What is read: a prompt with slots and the context embeddings for them, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch

from cocom.backbone import Backbone
from cocom.datatypes import Answer, ContextEmbeddings, FinishReason, Usage
from cocom.errors import SlotMismatchError
from cocom.generation import GenerationOptions, before_stop
from cocom.packing import EndToEnd, lay_prompts
from cocom.splice import ReadRow, fill_slots
from cocom.text_tokens import EncodedPrompt, TextTokens

__all__ = ["BuiltPrompts", "ReadRequest", "build_prompts", "with_contexts"]


@dataclass(frozen=True)
class ReadRequest:
    """A prompt and the context embeddings of its slots."""

    prompt: EncodedPrompt
    contexts: tuple[ContextEmbeddings, ...] = ()

    @property
    def context_rows(self) -> int:
        """Rows that are context embeddings."""
        return sum(len(self.contexts[c]) for _, c in self.prompt.slots)

    @property
    def rows(self) -> int:
        """All rows of the prompt."""
        return len(self.prompt.ids) + self.context_rows

    @property
    def replaced_tokens(self) -> int:
        """Text tokens that the embeddings stand for."""
        return sum(self.contexts[c].text_tokens for _, c in self.prompt.slots)

    @property
    def start(self) -> tuple[int, ...]:
        """Ids before the first slot; without slots, all but the last."""
        slots = self.prompt.slots
        return self.prompt.ids[: slots[0][0] if slots else -1]

    def row(self) -> ReadRow:
        """The prompt as `splice` lays it out."""
        return ReadRow(self.prompt, [(c.windows, c.rate) for c in self.contexts])

    def embeddings(self) -> list[torch.Tensor]:
        """What goes into the slots, in their order.

        Raises:
            SlotMismatchError: A context has other embeddings than its windows say.
        """
        for place, context in self.prompt.slots:
            given = self.contexts[context]
            slots = sum(window.embeddings for window in given.windows)
            # Together the contexts of a batch may fit by chance, so each is counted.
            if slots != len(given):
                raise SlotMismatchError(
                    f"the context at place {place} has {slots} slots in its windows but {len(given)} "
                    "context embeddings: do not cut or join context embeddings by hand, compress again."
                )
        return [self.contexts[c].embeddings for _, c in self.prompt.slots]

    def answer(
        self,
        ids: Sequence[int],
        options: GenerationOptions,
        *,
        text: TextTokens,
        ends: Set[int],
    ) -> Answer:
        """The answer that generated ids are."""
        found, stopped = before_stop(text.decode(ids), options.stop)
        ended = bool(ids) and ids[-1] in ends
        finish: FinishReason = "stop" if stopped or ended else "length"
        usage = Usage(self.rows, self.context_rows, self.replaced_tokens, len(ids))
        return Answer(found.strip(), tuple(ids), finish, usage)


@dataclass(frozen=True)
class BuiltPrompts:
    """Prompts ready to run: all that a model, here or on a server, has to be given.

    Attributes:
        rows: Ids, position ids and lengths, end to end.
        embeds: Input embeddings with the context embeddings in their slots, shape (T, H).
        following: Position of the first token of each answer.
    """

    rows: EndToEnd
    embeds: torch.Tensor
    following: list[int]


def build_prompts(
    backbone: Backbone, requests: Sequence[ReadRequest], *, skip: int = 0
) -> BuiltPrompts:
    """Build prompts with their embeddings.

    Args:
        backbone: Embeds their tokens.
        requests: What is read.
        skip: First rows of each prompt to leave out; none of them may be a slot.

    Raises:
        SlotMismatchError: Slots and context embeddings do not fit.
    """
    uniform = backbone.config.memory_positions == "uniform"
    rows, following = lay_prompts(
        [request.row() for request in requests], backbone.pad_id, uniform=uniform, skip=skip
    )
    rows = rows.to(backbone.device)
    embeds = with_contexts(backbone.embed(rows.ids)[None], rows.places, requests)[0]
    return BuiltPrompts(rows, embeds, following)


def with_contexts(
    embeds: torch.Tensor, places: torch.Tensor, requests: Sequence[ReadRequest]
) -> torch.Tensor:
    """Input embeddings (B, T, H) with the requests' context embeddings in their slots.

    Args:
        embeds: Of the prompts.
        places: Of their slots, as `fill_slots` takes them.
        requests: In the order of their prompts.

    Raises:
        SlotMismatchError: Slots and context embeddings do not fit.
    """
    contexts = [part for request in requests for part in request.embeddings()]
    if not contexts:
        return embeds
    embeddings = torch.cat([c.to(embeds.device, embeds.dtype) for c in contexts])
    return fill_slots(embeds, places, embeddings)
