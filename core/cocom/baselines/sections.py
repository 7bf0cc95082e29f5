"""Prompts whose sections are compressed each in its own way, marked by the tags of LLMLingua."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cocom.baselines.parts import Part, compress_parts
from cocom.baselines.result import HardCompressor
from cocom.errors import InputError

__all__ = ["Section", "SectionCompression", "compress_sections", "parse_sections"]

_TAG = re.compile(r"<llmlingua\b([^<>]*)>|</llmlingua\s*>")
_LOOSE = re.compile(r"</?\s*llmlingua", re.IGNORECASE)


@dataclass(frozen=True)
class Section:
    """One tagged stretch of a prompt.

    Attributes:
        text: What stayed of it.
        source: What it was.
        compress: Whether it was allowed to lose words.
    """

    text: str
    source: str
    compress: bool


@dataclass(frozen=True)
class SectionCompression:
    """A prompt compressed section by section.

    Attributes:
        text: The prompt without tags.
        sections: Its sections.
        origin_tokens: Tokens of the prompt without tags, before.
        compressed_tokens: Tokens of `text`.
    """

    text: str
    sections: tuple[Section, ...]
    origin_tokens: int
    compressed_tokens: int

    @property
    def texts(self) -> list[str]:
        """What stayed, section by section."""
        return [section.text for section in self.sections]

    @property
    def rate(self) -> float:
        """Tokens for each that stayed."""
        return self.origin_tokens / max(1, self.compressed_tokens)


def compress_sections(
    compressor: HardCompressor,
    prompt: str,
    *,
    question: str | None = None,
    rate: float | None = None,
    target_tokens: int | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> SectionCompression:
    """Compress a prompt whose sections stand in tags.

        <llmlingua, compress=False>Answer in one word.</llmlingua>
        <llmlingua, rate=0.5>A long passage.</llmlingua>
        <llmlingua>Another one.</llmlingua>

    In a tag, `rate` is what it is in the published package: the share to keep, 0.5 for one half (in the rest
    of this package that is rate 2). Sections with `compress=False` stay as they are, sections with a rate are
    compressed to it, and the others share what the budget of the whole prompt leaves. Only white space may
    stand outside of tags; it stays.

    Args:
        compressor: Any hard compressor.
        prompt: The prompt with tags.
        question: What the prompt is read for.
        rate: Tokens of the whole prompt for each that is kept, at least 1; not needed if every section says
            what becomes of it.
        target_tokens: Most tokens of the whole prompt.
        count_tokens: Tells how many tokens a text has; None counts as the compressor does.

    Raises:
        ConfigError: Both kinds of budget are given, or none although a section needs one.
        InputError: A tag is malformed, text stands outside of tags, or what is to stay exceeds the budget.
    """
    pieces = parse_sections(prompt)
    count = count_tokens or compressor.count_tokens
    parts = [piece for piece in pieces if isinstance(piece, Part)]

    def whole(texts: Sequence[str]) -> str:
        own = iter(texts)
        return "".join(next(own) if isinstance(piece, Part) else piece for piece in pieces)

    texts = compress_parts(
        compressor,
        parts,
        whole,
        count,
        question=question,
        rate=rate,
        target_tokens=target_tokens,
    )
    text = whole(texts)
    return SectionCompression(
        text,
        tuple(
            Section(made, part.text, part.compress) for made, part in zip(texts, parts, strict=True)
        ),
        count(whole([part.text for part in parts])),
        count(text),
    )


def parse_sections(prompt: str) -> list[Part | str]:
    """The sections of a prompt, and the white space between them, in order.

    Raises:
        InputError: A tag is malformed, or text stands outside of tags.
    """
    pieces: list[Part | str] = []
    opened: re.Match[str] | None = None
    at = 0
    for match in [*_TAG.finditer(prompt), None]:
        end = match.start() if match else len(prompt)
        between = prompt[at:end]
        if loose := _LOOSE.search(between):
            raise _malformed(prompt, at + loose.start(), "cannot be read")
        closes = match is not None and match.group(1) is None
        if opened is None:
            if closes:
                raise _malformed(prompt, end, "closes a section that was not opened")
            if between.strip():
                raise InputError(
                    f"{between.strip()[:40]!r} stands outside of any section: put it into <llmlingua>, or "
                    "into <llmlingua, compress=False> to keep it as it is."
                )
            if between:
                pieces.append(between)
            opened = match
        else:
            if not closes:
                raise _malformed(prompt, opened.start(), "is not closed by </llmlingua>")
            pieces.append(_part(prompt, opened, between))
            opened = None
        at = match.end() if match else end
    return pieces


def _part(prompt: str, tag: re.Match[str], text: str) -> Part:
    said: dict[str, str] = {}
    for setting in tag.group(1).split(",")[1:] if tag.group(1).strip() else []:
        name, equals, value = (part.strip() for part in setting.partition("="))
        if name not in ("rate", "compress") or not equals or name in said:
            raise _malformed(prompt, tag.start(), f"says {setting.strip()!r}")
        said[name] = value
    if tag.group(1).split(",")[0].strip():
        raise _malformed(prompt, tag.start(), "has no comma behind its name")
    if said.get("compress", "True") not in ("True", "False"):
        raise _malformed(prompt, tag.start(), f"says compress={said['compress']}")
    rate: float | None = None
    if "rate" in said:
        try:
            share = float(said["rate"])
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise _malformed(prompt, tag.start(), f"says rate={said['rate']}")
        rate = 1 / share
    return Part(text, said.get("compress", "True") == "True", rate)


def _malformed(prompt: str, at: int, what: str) -> InputError:
    line = prompt.count("\n", 0, at) + 1
    return InputError(
        f"the tag {prompt[at : at + 40]!r} in line {line} {what}: write <llmlingua, rate=0.5, "
        "compress=True>text</llmlingua>, with a rate above 0 and up to 1, the share to keep."
    )
