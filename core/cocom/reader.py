"""Prompts with slots + context embeddings -> answers, batched or streamed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from cocom.backbone import Backbone
from cocom.datatypes import Answer, ContextEmbeddings, FinishReason, Usage
from cocom.errors import InputError, PromptTooLongError, SlotMismatchError
from cocom.splice import ReadRow, fill_slots, pack_prompts
from cocom.text_tokens import EncodedPrompt

__all__ = ["AnswerStream", "GenerationOptions", "ReadRequest", "Reader"]


_OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "max_new_tokens": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "seed": (int, type(None)),
    "beams": (int,),
}


@dataclass(frozen=True)
class GenerationOptions:
    """How answers are decoded.

    Attributes:
        max_new_tokens: Most tokens an answer may have.
        temperature: 0 decodes greedily; above, samples.
        top_p: Keep the smallest set of tokens with this probability mass (sampling only).
        top_k: Keep this many tokens; 0 keeps all (sampling only).
        seed: Makes sampling repeatable; None draws from torch's global generator.
        beams: Beams of beam search; 1 is none.
        stop: An answer ends before the first of these strings.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    beams: int = 1
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        object.__setattr__(self, "stop", stop)
        for name, kinds in _OPTION_TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or value != value:
                raise InputError(f"{name} must be a number, got {value!r}.")
        if any(not isinstance(s, str) for s in stop):
            raise InputError(f"stop must be one or more strings, got {stop!r}.")
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")
        if self.temperature < 0:
            raise InputError(f"temperature must be 0 (greedy) or above, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be in (0, 1], got {self.top_p}.")
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (all) or above, got {self.top_k}.")
        if self.beams < 1:
            raise InputError(f"beams must be at least 1, got {self.beams}.")
        if self.beams > 1 and self.temperature > 0:
            raise InputError(
                f"beams {self.beams} and temperature {self.temperature} do not go together: set one."
            )
        if "" in self.stop:
            raise InputError("stop holds an empty string, which would end every answer at once.")


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


class AnswerStream(Iterator[str]):
    """The pieces of one answer's text as they are written; afterwards, the answer.

    Close it (or leave its `with` block) to stop the generation early.
    """

    def __init__(self, pieces: Generator[str, None, Answer]) -> None:
        self._pieces = pieces
        self._answer: Answer | None = None

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            if end.value is not None:
                self._answer = end.value
            raise StopIteration from None

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop generating."""
        self._pieces.close()

    @property
    def answer(self) -> Answer:
        """The whole answer with its usage.

        Raises:
            InputError: The stream has not been read to its end.
        """
        if self._answer is None:
            raise InputError("the stream has not been read to its end: iterate over it first.")
        return self._answer


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
            self._check_length(request, options)
        order = sorted(range(len(requests)), key=lambda i: -requests[i].rows)
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = [requests[i] for i in chosen]
            for i, ids in zip(chosen, self._generate(batch, options), strict=True):
                answers[i] = self._answer(requests[i], ids, options)
        return [answers[i] for i in range(len(requests))]

    def stream(self, request: ReadRequest, options: GenerationOptions) -> AnswerStream:
        """Yield an answer's text piece by piece; together the pieces are the answer's text.

        An error while generating is raised here. Closing the stream stops the generation.

        Raises:
            InputError: Beam search was asked for; its text is known at the end only.
            PromptTooLongError: Prompt and answer do not fit the model.
        """
        if options.beams > 1:
            raise InputError(
                f"streaming cannot use beam search, got beams {options.beams}: set it to 1."
            )
        self._check_length(request, options)
        return AnswerStream(self._stream(request, options))

    def _stream(
        self, request: ReadRequest, options: GenerationOptions
    ) -> Generator[str, None, Answer]:
        tokens: queue.Queue[int | BaseException | None] = queue.Queue()
        cancelled = threading.Event()

        def work() -> None:
            try:
                self._generate([request], options, _QueueStreamer(tokens), cancelled)
            except BaseException as error:
                tokens.put(error)
            finally:
                tokens.put(None)

        thread = threading.Thread(target=work, name="cocom-stream", daemon=True)
        thread.start()
        ids: list[int] = []
        sent = ""
        try:
            while (item := tokens.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                ids.append(item)
                text = self._settled(ids, options)
                if len(text) > len(sent) and text.startswith(sent):
                    yield text[len(sent) :]
                    sent = text
            answer = self._answer(request, ids, options)
            if len(answer.text) > len(sent):
                yield answer.text[len(sent) :]
            return answer
        finally:
            cancelled.set()
            thread.join()

    def _settled(self, ids: Sequence[int], options: GenerationOptions) -> str:
        """Text so far that no later token can change: whole characters, no start of a stop string."""
        text, _ = _before_stop(self._backbone.text.decode_settled(ids), options.stop)
        held = max(
            (
                size
                for stop in options.stop
                for size in range(1, len(stop))
                if text.endswith(stop[:size])
            ),
            default=0,
        )
        return text[: len(text) - held].strip()

    def _check_length(self, request: ReadRequest, options: GenerationOptions) -> None:
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
            raise PromptTooLongError(
                f"the prompt takes {needed} positions and max_new_tokens is {options.max_new_tokens}, but "
                f"the model reads {limit}: pass fewer passages, a higher rate, or a lower max_new_tokens."
            )

    def _generate(
        self,
        requests: Sequence[ReadRequest],
        options: GenerationOptions,
        streamer: BaseStreamer | None = None,
        cancelled: threading.Event | None = None,
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
            criteria: list[StoppingCriteria] = []
            if options.stop:
                criteria.append(_StopStrings(self, options))
            if cancelled is not None:
                criteria.append(_Cancelled(cancelled))
            generator: Any = backbone.model
            output = generator.generate(
                inputs_embeds=embeds,
                attention_mask=batch.attention_mask,
                generation_config=settings,
                stopping_criteria=StoppingCriteriaList(criteria),
                streamer=streamer,
                **extra,
            )
        found = [_until_end(row.tolist(), self._ends) for row in output]
        return [self._until_stop(ids, options) for ids in found]

    def _until_stop(self, ids: list[int], options: GenerationOptions) -> list[int]:
        """Ids up to and including the token that completes a stop string, as one row alone has."""
        decode = self._backbone.text.decode
        if not options.stop or not _before_stop(decode(ids), options.stop)[1]:
            return ids
        size = next(
            (n for n in range(1, len(ids)) if _before_stop(decode(ids[:n]), options.stop)[1]),
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
        text, stopped = _before_stop(self._backbone.text.decode(ids), options.stop)
        ended = bool(ids) and ids[-1] in self._ends
        finish: FinishReason = "stop" if stopped or ended else "length"
        usage = Usage(request.rows, request.context_rows, request.replaced_tokens, len(ids))
        return Answer(text.strip(), tuple(ids), finish, usage)


class _QueueStreamer(BaseStreamer):
    """Hands each new token to the thread that streams."""

    def __init__(self, tokens: queue.Queue[int | BaseException | None]) -> None:
        self._tokens = tokens
        self._prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self._prompt:  # generate() first sends the prompt's ids: none, with embeddings
            self._prompt = False
            if value.numel() == 0 or value.dim() > 1:
                return
        for token in value.flatten().tolist():
            self._tokens.put(int(token))

    def end(self) -> None:
        return None


class _Cancelled(StoppingCriteria):
    def __init__(self, flag: threading.Event) -> None:
        self._flag = flag

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full(
            (input_ids.shape[0],), self._flag.is_set(), dtype=torch.bool, device=input_ids.device
        )


class _StopStrings(StoppingCriteria):
    """Ends a row once its text holds a stop string, however tokens divide it."""

    def __init__(self, reader: Reader, options: GenerationOptions) -> None:
        self._decode = reader._backbone.text.decode
        self._stop = options.stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        done = [_before_stop(self._decode(row), self._stop)[1] for row in input_ids.tolist()]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)


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


def _before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _until_end(ids: Sequence[int], ends: Set[int]) -> list[int]:
    """Ids up to and including the first end-of-sequence token; what follows is padding."""
    for i, token in enumerate(ids):
        if token in ends:
            return list(ids[: i + 1])
    return list(ids)


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
