"""Passages -> fewer tokens of their text, for adapters: which method, which small model, and the way back."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, Literal, get_args

from cocom.baselines.result import HardCompression, HardCompressor, HardPassage
from cocom.engine import Cocom
from cocom.errors import ConfigError, InputError, MissingContextError
from cocom.hard_loading import is_ready, loaded_compressor
from cocom.identity import ID_CHARACTERS, base32
from cocom.references import escape
from cocom.shared import default_store
from cocom.store import ContextStore, Entry
from cocom.view import CocomView

__all__ = [
    "HardMethod",
    "HardWriter",
    "HardWritten",
    "Method",
    "check_options",
    "original_of",
    "recovered",
    "written_name",
]

_log = logging.getLogger(__name__)

HardMethod = Literal["llmlingua", "longllmlingua", "llmlingua2"]
Method = Literal["cocom", "llmlingua", "longllmlingua", "llmlingua2"]

# Settings of adapters that mean something to one kind of method, and what they are if nobody sets them.
_REFERENCES_ONLY: dict[str, Any] = {
    "as_text": 0,
    "min_tokens": 0,
    "on_error": "raise",
    "batch_tokens": 8192,
}
_HARD_ONLY: dict[str, Any] = {
    "scorer": None,
    "target_tokens": None,
    "method_settings": {},
    "count_tokens": None,
}
_CLASSES = {"LLMLingua": "llmlingua", "LongLLMLingua": "longllmlingua", "LLMLingua2": "llmlingua2"}


@dataclass(frozen=True)
class HardWritten:
    """A passage of which some text stayed.

    Attributes:
        index: Its place among the passages that were given.
        text: What stayed, escaped, so that it is no reference.
        note: What became of it, in plain values, for the metadata.
    """

    index: int
    text: str
    note: dict[str, Any]


@dataclass(frozen=True)
class HardWriter:
    """A hard method as an adapter is given it, and its small model, loaded when it is first needed.

    Equal methods, names and settings share one small model in a process.

    Attributes:
        method: What leaves out tokens.
        scorer: The small model that tells which: a folder or name, or a compressor that is ready; None takes
            the one that ships, which is for trying.
        rate: Tokens for each that is kept.
        target_tokens: Most tokens of all passages together; in the place of `rate`.
        settings: Further arguments of the method's class.
        count_tokens: Counts as the model that reads will; None counts as the small model does.
        namespace: Whose passages these are.
    """

    method: HardMethod
    scorer: Any = None
    rate: float | None = None
    target_tokens: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    count_tokens: Callable[[str], int] | None = None
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(HardMethod):
            raise ConfigError(
                f"method is {self.method!r}: choose one of cocom, {', '.join(get_args(HardMethod))}."
            )
        if (self.rate is None) == (self.target_tokens is None):
            raise ConfigError(
                f"compression_rate is {self.rate} and target_tokens is {self.target_tokens}: give one of the "
                f"two to method {self.method!r}."
            )
        if self.rate is not None and not self.rate >= 1:
            raise ConfigError(
                f"compression_rate must be 1 or more, tokens for each that is kept, got {self.rate}."
            )
        if self.target_tokens is not None and self.target_tokens < 1:
            raise ConfigError(f"target_tokens must be at least 1, got {self.target_tokens}.")
        self._check_scorer()
        if self.count_tokens is not None and not callable(self.count_tokens):
            raise InputError(
                f"count_tokens must be a function from a text to a number, got {self.count_tokens!r}: JSON "
                "does not hold one, give it anew."
            )

    def _check_scorer(self) -> None:
        if isinstance(self.scorer, Cocom | CocomView):
            raise ConfigError(
                f"scorer is a {type(self.scorer).__name__}, which does not leave out tokens: give the small "
                f"model of {self.method!r}."
            )
        if isinstance(self.scorer, str) and self.scorer.startswith("<"):
            raise InputError(
                f"the compressor was made with the scorer {self.scorer}, which JSON does not hold: make it "
                "with scorer=."
            )
        made_for = _CLASSES.get(type(self.scorer).__name__, self.method)
        if made_for != self.method:
            raise ConfigError(
                f"method is {self.method!r} but scorer is a {type(self.scorer).__name__}: say "
                f"method={made_for!r}."
            )
        if is_ready(self.scorer) and (self.settings or self.count_tokens):
            raise ConfigError(
                f"scorer is a {type(self.scorer).__name__} that is ready, but method_settings or "
                "count_tokens are given too: give them where it is made."
            )

    def __deepcopy__(self, memo: object) -> HardWriter:
        """The writer itself: it never changes."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The writer without the compressor it holds."""
        return {name: value for name, value in self.__dict__.items() if name != "_own"}

    @property
    def compressor(self) -> HardCompressor:
        """What leaves out tokens; the first call loads it, with the errors of the method's class."""
        if is_ready(self.scorer):
            return self.scorer
        settings = dict(self.settings)
        if self.count_tokens is not None:
            settings["count_tokens"] = self.count_tokens
        if "_own" not in self.__dict__:  # nothing of what makes it what it is
            self.__dict__["_own"] = loaded_compressor(self.method, self.scorer, settings)
        own: HardCompressor = self.__dict__["_own"]
        return own

    def compress(self, texts: Sequence[str], query: str | None = None) -> HardCompression:
        """Compress the passages of one question together; blank ones are dropped, errors are the method's."""
        if self.method == "longllmlingua" and not (query or "").strip():
            raise InputError(
                "method 'longllmlingua' reads passages for a question, but got none: put the compressor "
                "behind a retriever that hands it on, or give it with query= (query_str= in LlamaIndex)."
            )
        full = [i for i, text in enumerate(texts) if text.strip()]
        blank = sorted({*range(len(texts))} - {*full})
        if not full:
            return HardCompression((), tuple(blank), 0, 0)
        made = self.compressor.compress(
            [texts[i] for i in full],
            question=query if query and query.strip() else None,
            rate=self.rate,
            target_tokens=self.target_tokens,
        )
        kept = tuple(
            HardPassage(full[p.index], p.text, p.source, p.spans, p.score) for p in made.passages
        )
        dropped = sorted([*blank, *(full[i] for i in made.dropped)])
        return HardCompression(kept, tuple(dropped), made.origin_tokens, made.compressed_tokens)

    def write(self, texts: Sequence[str], *, query: str | None = None) -> list[HardWritten]:
        """Write what stays of passages, in the order to read them in, and keep their whole texts.

        Passages of which nothing stays are left out; the log says how many, and so does every note.

        Args:
            texts: The passages, the best first.
            query: What they were retrieved for.

        Raises:
            CocomError: As `compress`.
        """
        made = self.compress(texts, query)
        if made.dropped:
            _log.log(
                logging.INFO if made.passages else logging.WARNING,
                "%s left out %d of %d passages to keep %d of %d tokens",
                self.method,
                len(made.dropped),
                len(texts),
                made.compressed_tokens,
                made.origin_tokens,
            )
        _store(self.namespace).put({_id(p.source): Entry(p.source, rate=1) for p in made.passages})
        return [HardWritten(p.index, escape(p.text), self._note(p, made)) for p in made.passages]

    def _note(self, passage: HardPassage, made: HardCompression) -> dict[str, Any]:
        count = self.count_tokens or getattr(self.compressor, "count_tokens", None)
        return {
            "compressed": True,
            "method": self.method,
            "id": _id(passage.source),
            "spans": [list(span) for span in passage.spans],
            "score": None if passage.score is None else float(passage.score),
            "tokens": None if count is None else count(passage.text),
            "origin_tokens": None if count is None else count(passage.source),
            "together": {  # they share one budget
                "passages": len(made.passages),
                "dropped": len(made.dropped),
                "tokens": made.compressed_tokens,
                "origin_tokens": made.origin_tokens,
            },
        }


def original_of(note: Mapping[str, Any], namespace: str | None = None, *, text: str = "") -> str:
    """The whole text of a passage that `HardWriter.write` kept, by its note.

    Args:
        note: What became of the passage.
        namespace: Whose it is.
        text: What may be the whole text; then no store is asked.

    Raises:
        MissingContextError: The store has dropped it, or it is of another namespace or process.
    """
    if (id := str(note.get("id"))) == _id(text):
        return text
    (entry,) = _store(namespace).get([id])
    if entry is None or entry.text is None:
        raise MissingContextError(
            f"the store has no text of passage {id}: compress the passage again, or keep texts elsewhere."
        )
    return entry.text


def recovered(answer: str, passages: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """An answer in which what was quoted from shortened passages reads as it does in their texts.

    Args:
        answer: What was said by a model that read the passages.
        passages: The text of each that was read, its whole text, and its note.
    """
    from cocom.baselines import recover

    kept = [
        HardPassage(i, text, source, tuple((start, end) for start, end in note["spans"]))
        for i, (text, source, note) in enumerate(passages)
    ]
    return recover(HardCompression(tuple(kept), (), 0, 0), answer)


def check_options(method: str, values: Mapping[str, Any]) -> None:
    """Make sure that nobody set what the method does not look at; raises a `ConfigError`.

    Args:
        method: "cocom", or a hard method.
        values: An adapter's settings.
    """
    foreign = _HARD_ONLY if method == "cocom" else _REFERENCES_ONLY
    for name, default in foreign.items():
        if name in values and values[name] != default:
            whose = "hard methods such as 'llmlingua2'" if method == "cocom" else "method 'cocom'"
            raise ConfigError(
                f"{name} is for {whose}, but method is {method!r}: leave it out, or choose another method."
            )


def written_name(value: Any) -> str | None:
    """How JSON tells of a scorer or a function: a name as it is, an object by its kind."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, PathLike):
        return str(fspath(value))
    return f"<{type(value).__name__}>"


def _store(namespace: str | None) -> ContextStore:
    return default_store().namespace(f"hard:{namespace or 'default'}")


def _id(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    return base32(digest.digest(), ID_CHARACTERS)
