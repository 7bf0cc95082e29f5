"""Prompts with slots + context embeddings -> answers, in batches whose rows can be followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from cocom.backbone import Backbone
from cocom.datatypes import Answer, ContextEmbeddings, FinishReason, Usage
from cocom.errors import InputError, PromptTooLongError, SlotMismatchError
from cocom.exclusive import leaving
from cocom.generation import GenerationOptions, before_stop, started_stop, until_end
from cocom.splice import ReadRow, fill_slots, pack_prompts
from cocom.text_tokens import EncodedPrompt

__all__ = ["ReadRequest", "Reader", "Watcher"]


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


@dataclass(frozen=True)
class Watcher:
    """Who follows one row while it is generated.

    Attributes:
        stopped: Asked after every token; True ends the row.
        on_token: Told every token, the last one included; not with beam search.
        on_answer: Told the answer when its row ends before others of the batch; not with beam search.
    """

    stopped: Callable[[], bool]
    on_token: Callable[[int], None] | None = None
    on_answer: Callable[[Answer], None] | None = None


class Reader:
    """Answers from prompts in which some passages are context embeddings."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._uniform = backbone.config.memory_positions == "uniform"
        # The tokenizer's end of sequence and whatever else the checkpoint's own settings end on.
        ids = getattr(backbone.model.generation_config, "eos_token_id", None)
        extra = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
        self._ends = frozenset({backbone.text.eos_id, *extra})

    def read(
        self, requests: Sequence[ReadRequest], options: GenerationOptions, *, batch_size: int = 16
    ) -> list[Answer]:
        """Generate an answer for each request, in order.

        Args:
            requests: Prompts with their contexts; any number of contexts each.
            options: How to decode.
            batch_size: Prompts decoded at a time; like lengths go together.

        Raises:
            PromptTooLongError: Prompt and answer do not fit the model.
            InputError: `batch_size` is not positive.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}.")
        for request in requests:
            self.check_length(request, options)
        order = sorted(range(len(requests)), key=lambda i: -requests[i].rows)
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = [requests[i] for i in chosen]
            for i, ids in zip(chosen, self._generate(batch, options), strict=True):
                answers[i] = self._answer(requests[i], ids, options)
        return [answers[i] for i in range(len(requests))]

    def read_watched(
        self,
        requests: Sequence[ReadRequest],
        options: GenerationOptions,
        watchers: Sequence[Watcher | None],
    ) -> list[Answer]:
        """Generate answers as one batch, each row's tokens told as they come.

        Args:
            requests: Prompts with their contexts.
            options: How to decode.
            watchers: For each request, who is told of its tokens and may stop it, or None.

        Raises:
            PromptTooLongError: Prompt and answer do not fit the model.
        """
        rows = self._generate(requests, options, watchers)
        return [self._answer(r, ids, options) for r, ids in zip(requests, rows, strict=True)]

    def settled(self, ids: Sequence[int], options: GenerationOptions) -> str:
        """Text so far that no later token can change: whole characters, no start of a stop string."""
        text, _ = before_stop(self._backbone.text.decode_settled(ids), options.stop)
        return text[: len(text) - started_stop(text, options.stop)].strip()

    def check_length(self, request: ReadRequest, options: GenerationOptions) -> None:
        """Make sure that prompt and answer fit the model.

        Raises:
            PromptTooLongError: They do not.
        """
        limit = self._backbone.max_positions
        if limit is None:
            return
        needed = request.rows
        if self._uniform:
            needed += sum(
                sum(w.tokens for w in c.windows) - len(c)
                for c in (request.contexts[c] for _, c in request.prompt.slots)
            )
        if needed + options.max_new_tokens > limit:
            # Uniform positions are the passages' own: a higher rate would not make them fewer.
            advice = "" if self._uniform else " a higher rate,"
            raise PromptTooLongError(
                f"the prompt takes {needed} positions and max_new_tokens is {options.max_new_tokens}, but "
                f"the model reads {limit}: pass fewer passages,{advice} or a lower max_new_tokens."
            )

    def _generate(
        self,
        requests: Sequence[ReadRequest],
        options: GenerationOptions,
        watchers: Sequence[Watcher | None] = (),
    ) -> list[list[int]]:
        backbone = self._backbone
        for request in requests:
            _check_counts(request)
        rows = [ReadRow(r.prompt, [(c.windows, c.rate) for c in r.contexts]) for r in requests]
        batch = pack_prompts(rows, backbone.pad_id, uniform=self._uniform, left=True).to(
            backbone.device
        )
        contexts = [r.contexts[c].embeddings for r in requests for _, c in r.prompt.slots]
        settings = self._generation_config(options)
        with (
            torch.no_grad(),
            backbone.role("read"),
            _seeded(options, backbone.device),
            self._own_settings_only(),
        ):
            embeds = backbone.embed(batch.ids)
            embeddings = (
                torch.cat([c.to(embeds.device, embeds.dtype) for c in contexts])
                if contexts
                else embeds.new_empty((0, embeds.shape[-1]))
            )
            embeds = fill_slots(embeds, batch.slot_index, embeddings)
            extra: dict[str, Any] = {}
            if self._uniform:
                extra["position_ids"] = batch.position_ids
            criteria = StoppingCriteriaList([_Leaving()])
            if options.stop or any(watchers):

                def ended(row: int, ids: list[int]) -> None:
                    watcher = watchers[row] if watchers else None
                    if watcher is not None and watcher.on_answer is not None:
                        watcher.on_answer(self._answer(requests[row], ids, options))

                rows_seen = _Rows(
                    watchers or [None] * len(requests),
                    options,
                    self._ends,
                    backbone.text.decode,
                    ended,
                )
                criteria.append(rows_seen)
            generator: Any = backbone.model
            output = generator.generate(
                inputs_embeds=embeds,
                attention_mask=batch.attention_mask,
                generation_config=settings,
                stopping_criteria=criteria,
                **extra,
            )
        found = [until_end(row.tolist(), self._ends) for row in output]
        return [self._until_stop(ids, options) for ids in found]

    def _until_stop(self, ids: list[int], options: GenerationOptions) -> list[int]:
        """Ids up to and including the token that completes a stop string, as one row alone has."""
        decode = self._backbone.text.decode
        if not options.stop or not before_stop(decode(ids), options.stop)[1]:
            return ids
        size = next(
            (n for n in range(1, len(ids)) if before_stop(decode(ids[:n]), options.stop)[1]),
            len(ids),
        )
        return ids[:size]

    @contextmanager
    def _own_settings_only(self) -> Iterator[None]:
        """Without the checkpoint's generation settings, which would fill in for ours."""
        model: Any = self._backbone.model
        before = model.generation_config
        model.generation_config = GenerationConfig()
        try:
            yield
        finally:
            model.generation_config = before

    def _generation_config(self, options: GenerationOptions) -> GenerationConfig:
        sampling = options.temperature > 0
        settings: dict[str, Any] = {
            "max_new_tokens": options.max_new_tokens,
            "num_beams": options.beams,
            "do_sample": sampling,
            "eos_token_id": sorted(self._ends),
            "pad_token_id": self._backbone.pad_id,
        }
        if sampling:
            settings |= {
                "temperature": options.temperature,
                "top_p": options.top_p,
                "top_k": options.top_k,
            }
        return GenerationConfig(**settings)

    def _answer(
        self, request: ReadRequest, ids: Sequence[int], options: GenerationOptions
    ) -> Answer:
        text, stopped = before_stop(self._backbone.text.decode(ids), options.stop)
        ended = bool(ids) and ids[-1] in self._ends
        finish: FinishReason = "stop" if stopped or ended else "length"
        usage = Usage(request.rows, request.context_rows, request.replaced_tokens, len(ids))
        return Answer(text.strip(), tuple(ids), finish, usage)


class _Leaving(StoppingCriteria):
    """Ends every row when the program ends."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), leaving.is_set(), device=input_ids.device)


class _Rows(StoppingCriteria):
    """Sees every row after every token: tells its watcher, and ends it where it is to end."""

    def __init__(
        self,
        watchers: Sequence[Watcher | None],
        options: GenerationOptions,
        ends: Set[int],
        decode: Callable[[Sequence[int]], str],
        ended: Callable[[int, list[int]], None],
    ) -> None:
        self._watchers = watchers
        self._stop = options.stop
        self._beams = options.beams
        self._ends = ends
        self._decode = decode
        self._ended = ended
        self._done = [False] * len(watchers)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        rows = input_ids.tolist()
        if self._beams == 1:
            for i, ids in enumerate(rows):
                if not self._done[i] and self._ends_now(ids, self._watchers[i]):
                    self._done[i] = True
                    self._ended(i, ids)
        else:  # several candidates a prompt, which others may replace and so undo
            share = len(rows) // len(self._watchers)
            self._done = [
                self._ends_now(ids, self._watchers[i // share]) for i, ids in enumerate(rows)
            ]
        return torch.tensor(self._done, dtype=torch.bool, device=input_ids.device)

    def _ends_now(self, ids: list[int], watcher: Watcher | None) -> bool:
        """Whether a row ends with its last token: a stop string however tokens divide it, or stopped."""
        if watcher is not None and watcher.on_token is not None:
            watcher.on_token(ids[-1])
        stopped = watcher is not None and watcher.stopped()
        if stopped or ids[-1] in self._ends:
            return stopped or self._beams == 1
        return bool(self._stop) and before_stop(self._decode(ids), self._stop)[1]


def _check_counts(request: ReadRequest) -> None:
    """Together the contexts of a batch may fit by chance, so each is counted."""
    for place, context in request.prompt.slots:
        given = request.contexts[context]
        slots = sum(window.embeddings for window in given.windows)
        if slots != len(given):
            raise SlotMismatchError(
                f"the context at place {place} has {slots} slots in its windows but {len(given)} context "
                "embeddings: do not cut or join context embeddings by hand, compress again."
            )


class _seeded:  # noqa: N801 - used as a function
    """Seed torch for one generation and put its generators back afterwards."""

    def __init__(self, options: GenerationOptions, device: torch.device) -> None:
        self._seed = options.seed if options.temperature > 0 else None
        self._device = device
        self._fork = torch.random.fork_rng(
            devices=[device] if device.type == "cuda" else [], enabled=self._seed is not None
        )

    def __enter__(self) -> None:
        self._fork.__enter__()
        if self._seed is not None:
            torch.default_generator.manual_seed(self._seed)
            if self._device.type == "cuda":
                with torch.cuda.device(self._device):
                    torch.cuda.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)
