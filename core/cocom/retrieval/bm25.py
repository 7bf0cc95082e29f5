"""Retrieval by shared words: BM25 over an in-memory index, without a model or a network.

The index is ``bm25s`` (numpy only). Its own tokeniser takes a run of Korean, Chinese or Japanese
characters for one word, so that a noun is not found where a particle follows it. The tokens made
here are words, and in scripts that put no space between words, and in Hangul, single characters
and pairs of characters. English words are stemmed, and those of no meaning are left out of the
question. Accents and vowel signs that writers often omit make no difference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from cocom.datatypes import Passage
from cocom.retrieval.hits import Hit, check_passages, check_request, rank_hits

__all__ = ["BM25Retriever"]

_QUESTION_WORDS = ("who", "whom", "whose", "what", "when", "where", "which", "why", "how")
# The s is what a possessive leaves behind.
_AUXILIARIES = ("do", "does", "did", "has", "have", "had", "were", "been", "s")


class BM25Retriever:
    """Finds passages that share rare words with a question.

    The retriever to start with: it needs no model, and its answers are easy to explain.

    Args:
        passages: What to search, at least one; equal scores are returned in this order.

    Raises:
        InputError: If there are no passages.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        import bm25s

        self._passages = check_passages(passages)
        corpus = [_tokens(passage.text) for passage in self._passages]
        self._index: Any = None
        if any(corpus):  # bm25s cannot index a corpus without a single token
            self._index = bm25s.BM25()
            self._index.index(corpus, show_progress=False)

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """Finds the passages that match a question best.

        Args:
            question: What to look for, in words that the passages use.
            k: How many passages to return; all of them if there are fewer.

        Returns:
            Hits, the best one first; passages that share no word with the question score 0 and
            come last, in the order they were given.

        Raises:
            InputError: If the question is empty or ``k`` is less than 1.
        """
        import numpy as np

        check_request(question, k)
        tokens = _tokens(question)
        # A question of such words only ("Who is it?") is better searched for as it is.
        telling = [token for token in tokens if token not in _stop_tokens()] or tokens
        scores = np.zeros(len(self._passages), dtype=np.float32)
        if self._index is not None and telling:
            scores = self._index.get_scores(telling)
        return rank_hits(self._passages, scores, k)


def _tokens(text: str) -> list[str]:
    """The tokens of a text: stemmed words, or characters and pairs of characters."""
    pattern, stem = _tools()
    tokens: list[str] = []
    for match in pattern.finditer(_fold(text)):
        token = match.group()
        if match.lastgroup == "run":
            tokens += token
            tokens += [token[i : i + 2] for i in range(len(token) - 1)]
        else:
            tokens.append(stem(token) if token.isascii() else token)
    return tokens


def _fold(text: str) -> str:
    """The text without differences of case, width, accents and Arabic vowel signs."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = decomposed.translate(_omitted())
    return unicodedata.normalize("NFC", kept)


@cache
def _omitted() -> dict[int, None]:
    """Combining accents, Arabic vowel signs and the Arabic letter stretcher, for str.translate."""
    return dict.fromkeys([*range(0x300, 0x370), *range(0x64B, 0x660), 0x670, 0x640])


@cache
def _tools() -> tuple[Any, Any]:
    """The pattern of a token and the English stemmer, made once."""
    import regex  # type: ignore[import-untyped]
    import Stemmer  # type: ignore[import-not-found]

    scripts = ("Han", "Hiragana", "Katakana", "Hangul", "Thai", "Lao", "Khmer", "Myanmar")
    # The Japanese lengthening mark belongs to no script.
    unspaced = "".join(rf"\p{{{script}}}" for script in scripts) + "\u30fc"
    pattern = rf"(?V1)(?P<run>[{unspaced}]+)|[[\w\p{{M}}]--[_{unspaced}]]+"
    return regex.compile(pattern), Stemmer.Stemmer("english").stemWord


@cache
def _stop_tokens() -> frozenset[str]:
    """Tokens of English words that tell nothing about what a question is about."""
    from bm25s.stopwords import STOPWORDS_EN

    words = [*STOPWORDS_EN, *_QUESTION_WORDS, *_AUXILIARIES]
    return frozenset(token for word in words for token in _tokens(word))
