"""Prompts with slots + context embeddings -> answers: how long they may be, and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cocom.answer_text import AnswerText
from cocom.backbone import Backbone
from cocom.datatypes import Answer
from cocom.errors import InputError, PromptTooLongError
from cocom.fusion.line import FusedLine
from cocom.fusion.request import FusedRequest, Request
from cocom.fusion.runner import FusedRunner, PlainFusedRunner, ScoringRunner
from cocom.generation import GenerationOptions
from cocom.passes import passes_of
from cocom.running.decoding import DecodingRunner
from cocom.running.generating import GenerateRunner
from cocom.running.line import Line, Watcher
from cocom.running.request import ReadRequest
from cocom.running.runner import Runner

__all__ = ["FusedRequest", "ReadRequest", "Reader", "Request", "Watcher"]


class Reader:
    """Answers from prompts in which some passages are context embeddings.

    Attributes:
        ends: Tokens that end an answer.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        # The tokenizer's end of sequence and whatever else the checkpoint's own settings end on.
        ids = getattr(backbone.model.generation_config, "eos_token_id", None)
        extra = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
        self.ends = frozenset({backbone.text.eos_id, *extra})
        self._generating = GenerateRunner(backbone, self.ends)
        self._plainly_fusing = PlainFusedRunner(backbone)
        self.configure()

    def configure(self, *, compile: bool = False, graphs: bool = True) -> None:
        """Set how answers are decoded; those under way end as they began; see `DecodingRunner`."""
        self._options = {"compile": compile, "graphs": graphs}
        self._decoding = DecodingRunner(self._backbone, compile=compile, graphs=graphs)
        self._fusing = FusedRunner(self._backbone, compile=compile, graphs=graphs)

    def forget(self) -> None:
        """Drop what was computed with weights that have changed."""
        self._decoding.forget()
        self._fusing.forget()

    def __getstate__(self) -> dict[str, Any]:
        """The reader without what it holds on the device."""
        return {"backbone": self._backbone, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A reader of its own."""
        Reader.__init__(self, state["backbone"])
        self.configure(**state["options"])

    def read(
        self, requests: Sequence[Request], options: GenerationOptions, *, batch_size: int = 16
    ) -> list[Answer]:
        """Generate an answer for each request, in order.

        Args:
            requests: Prompts with their contexts, any number of contexts each; laid out for `options.fusion`.
            options: How to decode.
            batch_size: Answers written at a time; the longest prompts come first.

        Raises:
            PromptTooLongError: Prompt and answer do not fit the model.
            InputError: `batch_size` is not positive.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}.")
        for request in requests:
            self.check(request, options)
        answers: dict[int, Answer] = {}
        errors: list[BaseException] = []

        def watcher(i: int) -> Watcher:
            return Watcher(
                stopped=lambda: bool(errors),
                on_answer=lambda answer: answers.__setitem__(i, answer),
                on_error=errors.append,
            )

        order = sorted(range(len(requests)), key=lambda i: requests[i].rows)
        runner = self.runner(options)
        most = batch_size if runner.together(options, options) else 1

        def take(writing: Sequence[Line]) -> list[Line]:
            if errors:
                return []
            room = min(most - len(writing), len(order))
            chosen = [order.pop() for _ in range(room)]
            return [self.line(requests[i], options, watcher(i)) for i in chosen]

        runner.run(take)
        if errors:
            raise errors[0]
        return [answers[i] for i in range(len(requests))]

    def runner(self, options: GenerationOptions) -> Runner:
        """What writes answers with these options."""
        if options.fusion != "concat":
            return self._fused_runner()
        if options.beams == 1 and passes_of(self._backbone).usable():
            return self._decoding
        return self._generating

    def line(self, request: Request, options: GenerationOptions, watcher: Watcher) -> Line:
        """An answer to be written by `runner(options)`."""
        if isinstance(request, FusedRequest):
            return FusedLine(request, options, watcher, text=self._backbone.text, ends=self.ends)
        return Line(request, options, watcher, text=self._backbone.text, ends=self.ends)

    def text_of(self, options: GenerationOptions) -> AnswerText:
        """Makes text of an answer's tokens as they come."""
        return AnswerText(self._backbone.text, options.stop)

    def tables(
        self, request: FusedRequest, answers: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Log-probabilities of given answers: for each answer, for each prompt, of each token.

        Args:
            request: What is read.
            answers: Token ids of each, one at least.

        Raises:
            PromptTooLongError: A prompt and an answer do not fit the model.
        """
        size = max(map(len, answers))
        self._check_fused(
            request, size, f"the longest answer has {size} tokens", "a shorter answer"
        )
        return self._fused_runner().tables(request.prompts, answers)

    def check(self, request: Request, options: GenerationOptions) -> None:
        """Make sure that a request can be read with these options.

        Raises:
            PromptTooLongError: Prompt and answer do not fit the model.
            InputError: Passages are to be read apart, but stand in one prompt, or the other way round.
        """
        room = f"max_new_tokens is {options.max_new_tokens}"
        if isinstance(request, FusedRequest):
            if options.fusion == "concat":
                raise InputError(
                    "the passages are laid out apart, but fusion is 'concat', which reads them in one "
                    "prompt: choose 'rag-token' or 'rag-sequence', or lay them out with Cocom.request."
                )
            self._check_fused(request, options.max_new_tokens, room, "a lower max_new_tokens")
            return
        if options.fusion != "concat":
            raise InputError(
                f"fusion {options.fusion!r} reads each passage in a prompt of its own, but this prompt is "
                "one, such as a conversation: ask with answer, answer_batch or stream, which take passages, "
                "or leave fusion out."
            )
        needed, uniform = self._positions(request)
        # Uniform positions are the passages' own: a higher rate would not make them fewer.
        advice = "" if uniform else " a higher rate,"
        self._check_fits(
            "the prompt",
            needed,
            options.max_new_tokens,
            f"{room}, but the model reads {{}}: pass fewer passages,{advice} or a lower max_new_tokens.",
        )

    def _check_fused(self, request: FusedRequest, more: int, room: str, less: str) -> None:
        for i, prompt in enumerate(request.prompts):
            needed, uniform = self._positions(prompt)
            name = f"the prompt of passage {request.places[i]}" if request.places else "the prompt"
            advice = "" if uniform else " a higher rate,"
            self._check_fits(
                name,
                needed,
                more,
                f"{room}, but the model reads {{}}: pass a shorter passage,{advice} or {less}.",
            )

    def _check_fits(self, name: str, needed: int, more: int, rest: str) -> None:
        limit = self._backbone.max_positions
        if limit is not None and needed + more > limit:
            raise PromptTooLongError(f"{name} takes {needed} positions and {rest.format(limit)}")

    def _positions(self, request: ReadRequest) -> tuple[int, bool]:
        """Positions that a prompt takes, and whether its passages' tokens decide that."""
        needed = request.rows
        uniform = self._backbone.config.memory_positions == "uniform"
        if uniform:
            needed += sum(
                sum(w.tokens for w in c.windows) - len(c)
                for c in (request.contexts[c] for _, c in request.prompt.slots)
            )
        return needed, uniform

    def _fused_runner(self) -> ScoringRunner:
        return self._fusing if passes_of(self._backbone).usable() else self._plainly_fusing
