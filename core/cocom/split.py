"""Cuts long texts into passages that fit a number of tokens.

Where to cut is mostly the work of ``semantic-text-splitter`` (Rust, no dependencies of its own): it
knows Unicode's word and sentence boundaries and Markdown's structure, and asks the given counter
how long a piece is. This module adds what the library leaves open: a heading stays with the text
below it, no piece is ever longer than allowed, and nothing is lost or repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from cocom.errors import InputError

__all__ = ["split_text"]

_Counter = Callable[[str], int]

# Markdown headings, `# like this` or underlined with `===`, one below the other.
_HEADINGS = re.compile(
    r"(?:^[ ]{0,3}(?:\#{1,6}[ \t][^\n]*|\S[^\n]*\n[ ]{0,3}=+[ \t]*)(?:\n\s*|\Z))+", re.MULTILINE
)
# A heading that takes more than this part of a passage is cut like any other text.
_LARGEST_HEADING = 0.75
# Characters that the library is given at a time.
_WINDOW = 8192


def split_text(text: str, max_tokens: int, *, count_tokens: Callable[[str], int]) -> list[str]:
    """Cuts a text into passages of at most ``max_tokens`` tokens each.

    Cuts are made between sections and paragraphs where possible, else between sentences, words and
    at last characters. A Markdown heading goes with the beginning of the text below it. The
    passages hold every character of the text that is not white space, once and in order.

    Args:
        text: Plain text or Markdown in any script.
        max_tokens: The most tokens that a passage may have, at least 1.
        count_tokens: Tells how many tokens a text has, for instance
            ``lambda text: len(tokenizer(text).input_ids)``.

    Returns:
        The passages in the order of the text; none for a text of white space only.

    Raises:
        InputError: If ``max_tokens`` is less than 1, or too few for one of the characters.
    """
    if max_tokens < 1:
        raise InputError(
            f"max_tokens is {max_tokens}, but a passage needs at least 1 token: give a larger one."
        )
    passages: list[str] = []
    for heading, body in _sections(text):
        pieces = _cut_section(heading, body, max_tokens, count_tokens)
        if passages and pieces and count_tokens(passages[-1] + pieces[0].rstrip()) <= max_tokens:
            pieces[0] = passages.pop() + pieces[0]
        passages.extend(pieces)
    return [part for passage in passages for part in _fit(passage, max_tokens, count_tokens)]


def _sections(text: str) -> list[tuple[str, str]]:
    """The text as pairs of headings and what is below them; the first pair may have no heading."""
    found = list(_HEADINGS.finditer(text))
    if not found:
        return [("", text)]
    ends = [match.start() for match in found[1:]] + [len(text)]
    below = [(m.group(), text[m.end() : end]) for m, end in zip(found, ends, strict=True)]
    return [("", text[: found[0].start()]), *below]


def _cut_section(heading: str, body: str, max_tokens: int, count_tokens: _Counter) -> list[str]:
    """Cuts one section so that its heading and the beginning of its body share a piece."""
    taken = count_tokens(heading.rstrip()) if heading else 0
    if 0 < taken <= _LARGEST_HEADING * max_tokens and body.strip():
        # Counts need not add up exactly, so that a little less room may be needed than computed.
        for room in range(max_tokens - taken, max(0, max_tokens - taken - 4), -1):
            first = _pieces(body, room, count_tokens)[0]
            if count_tokens((heading + first).rstrip()) <= max_tokens:
                rest = body[len(first) :]
                return [heading + first, *_pieces(rest, max_tokens, count_tokens)]
    return _pieces(heading + body, max_tokens, count_tokens)


def _pieces(text: str, max_tokens: int, count_tokens: _Counter) -> list[str]:
    """The library's chunks, with the white space between them, so that they add up to the text.

    The library's time grows with the square of a stretch without any break, so it sees the text
    through a window; the last chunk there may be cut short and begins the next window instead.
    """
    from semantic_text_splitter import MarkdownSplitter

    splitter = MarkdownSplitter.from_callback(count_tokens, max_tokens)
    pieces: list[str] = []
    begin, size = 0, _WINDOW
    while begin < len(text):
        window = text[begin : begin + size]
        at_end = begin + size >= len(text)
        starts = [start for start, _ in splitter.chunk_indices(window)]
        if not at_end and len(starts) < 2:
            size *= 2
            continue
        bounds = [0, *starts[1:]] + ([len(window)] if at_end else [])
        pieces += [window[a:b] for a, b in pairwise(bounds)]
        begin, size = begin + bounds[-1], _WINDOW
    return [piece for piece in pieces if piece.strip()]


def _fit(passage: str, max_tokens: int, count_tokens: _Counter) -> list[str]:
    """The passage without the white space around it, cut further where it is still too long."""
    passage = passage.strip()
    tokens = count_tokens(passage)
    if tokens <= max_tokens:
        return [passage] if passage else []
    if len(passage) == 1:
        raise InputError(
            f"The character {passage!r} alone takes {tokens} tokens, but max_tokens is "
            f"{max_tokens}: give a larger one."
        )
    middle = len(passage) // 2
    spaces = [i for i, character in enumerate(passage) if character.isspace()]
    cut = min(spaces, key=lambda i: abs(i - middle), default=middle)
    return [
        part
        for half in (passage[:cut], passage[cut:])
        for part in _fit(half, max_tokens, count_tokens)
    ]
