"""The paper's objectives: each turns text into windows to compress and a row to predict.

Auto-encoding and continuation from context embeddings (section 3.2), question answering with the loss
on the answer only (section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cocom.datatypes import Window
from cocom.engine import Cocom
from cocom.errors import EmptyPassageError, InputError
from cocom.prompt import Slot, UserText, build_prompt, fill_template, lay_out_passages
from cocom.splice import IGNORE, ReadRow, WindowRow
from cocom.text_tokens import EncodedPrompt

__all__ = ["Example", "Objectives"]


@dataclass(frozen=True)
class Example:
    """Windows to compress, and the row that reads them; their slots are in the same order."""

    windows: tuple[WindowRow, ...]
    row: ReadRow


class Objectives:
    """Builds examples for one model."""

    def __init__(self, model: Cocom, *, share_prefix: bool = False) -> None:
        """Build for `model`.

        Args:
            model: Gives tokenizer, prompts and window layout.
            share_prefix: Let several questions on the same passages share one reading of them. Equal
                to separate rows, in less time; needs attention that takes a mask of its own (sdpa).
        """
        self._model = model
        self._text = model.backbone.text
        self._prompt = model.config.prompt
        self._share = share_prefix

    def auto_encoding(self, text: str, rate: int) -> Example:
        """Write a text back from its embeddings: -sum log p(x_t | E(x), x_<t)."""
        rows, contexts = self._compress([text], [rate])
        prompt = self._text.encode(
            fill_template(self._prompt.auto_encoding, {"passages": [Slot(0)]})
        )
        target = [*self._text.encode_text(text), self._text.eos_id]
        return Example(rows, ReadRow(prompt, contexts, [(target, target)]))

    def continuation(self, text: str, split: int, rate: int) -> Example:
        """Write what follows the first part of a text: -sum log p(x_t | E(X_A), x_<t) over B.

        Args:
            text: X.
            split: Characters of X_A.
            rate: Compression rate of X_A.
        """
        rows, contexts = self._compress([text[:split]], [rate])
        prompt = self._text.encode(
            fill_template(self._prompt.continuation, {"passages": [Slot(0)]})
        )
        target = [*self._text.encode_text(text[split:]), self._text.eos_id]
        return Example(rows, ReadRow(prompt, contexts, [(target, target)]))

    def recall(
        self, passages: Sequence[str], rates: Sequence[int | None], asked: Sequence[int], given: int
    ) -> Example:
        """Continuation with many passages: finish the one that starts with `given` tokens.

        Args:
            passages: Texts; those with a rate are compressed, those with None are read as text.
            rates: One for each passage.
            asked: Which passages to finish, by index.
            given: Tokens of it that are shown.
        """
        parts, rows, contexts = self._passages(passages, rates)
        laid = lay_out_passages(self._prompt.passage, parts)
        prompt = self._text.encode(fill_template(self._prompt.continuation, {"passages": laid}))
        branches = []
        for index in asked:
            ids = [*self._text.encode_text(passages[index]), self._text.eos_id]
            shown = min(given, len(ids) - 1)
            branches.append((ids, [IGNORE] * shown + ids[shown:]))
        return Example(rows, ReadRow(prompt, contexts, branches))

    def question_answering(
        self,
        questions: Sequence[str],
        answers: Sequence[str],
        passages: Sequence[str],
        rates: Sequence[int | None],
    ) -> list[Example]:
        """Answer from passages: -sum log p(r_t | I(E, q), r_<t), on the answer only.

        Args:
            questions: Asked on the same passages.
            answers: One for each question.
            passages: Texts; those with a rate are compressed, those with None are read as text.
            rates: One for each passage.

        Returns:
            One example a question, or one for all of them if prefixes are shared.
        """
        parts, rows, contexts = self._passages(passages, rates)
        prompts: list[EncodedPrompt] = []
        targets: list[list[int]] = []
        for question, answer in zip(questions, answers, strict=True):
            pieces = build_prompt(
                self._prompt, question.strip(), parts, self._model.backbone.render_chat
            )
            prompts.append(self._text.encode(pieces))
            ids = self._text.encode_text(self._prompt.answer_prefix + answer.strip())
            targets.append([*ids, self._text.eos_id])
        if not self._share or len(prompts) == 1:
            return [
                Example(rows, ReadRow(prompt, contexts, [(target, target)]))
                for prompt, target in zip(prompts, targets, strict=True)
            ]
        # A branch must start with a token of its own prompt: the one before it is another branch's.
        shared = min(_common([p.ids for p in prompts]), *(len(p.ids) - 1 for p in prompts))
        last = max((place for place, _ in prompts[0].slots), default=0)
        if shared < last:
            raise InputError(
                f"the prompt puts slots up to place {last} but questions differ from place {shared} on: "
                "prefixes can be shared only where the question follows the passages."
            )
        branches = [
            ([*p.ids[shared:], *t], [IGNORE] * (len(p.ids) - shared) + t)
            for p, t in zip(prompts, targets, strict=True)
        ]
        prefix = EncodedPrompt(prompts[0].ids[:shared], prompts[0].slots)
        return [Example(rows, ReadRow(prefix, contexts, branches))]

    def _passages(
        self, passages: Sequence[str], rates: Sequence[int | None]
    ) -> tuple[list[UserText | Slot], tuple[WindowRow, ...], list[tuple[list[Window], int]]]:
        parts: list[UserText | Slot] = []
        compressed: list[tuple[str, int]] = []
        for text, rate in zip(passages, rates, strict=True):
            if rate is None:
                parts.append(UserText(text))
            else:
                parts.append(Slot(len(compressed)))
                compressed.append((text, rate))
        rows, contexts = self._compress([t for t, _ in compressed], [r for _, r in compressed])
        return parts, rows, contexts

    def _compress(
        self, texts: Sequence[str], rates: Sequence[int]
    ) -> tuple[tuple[WindowRow, ...], list[tuple[list[Window], int]]]:
        compressor = self._model.window_compressor
        rows: list[WindowRow] = []
        contexts: list[tuple[list[Window], int]] = []
        for text, rate in zip(texts, rates, strict=True):
            own = [compressor.row(w.ids, rate) for w in compressor.windows(text) if w.ids]
            if not own:
                raise EmptyPassageError(f"a passage has no text to compress, got {text[:20]!r}.")
            rows += own
            contexts.append(([row.window for row in own], rate))
        return tuple(rows), contexts


def _common(rows: Sequence[Sequence[int]]) -> int:
    """Number of ids that all rows start with."""
    for at, ids in enumerate(zip(*rows, strict=False)):
        if len(set(ids)) > 1:
            return at
    return min(map(len, rows))
