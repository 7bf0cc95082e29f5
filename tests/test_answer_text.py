"""The text of an answer while it is written: at every token, what decoding all tokens anew gives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cocom import Cocom
from cocom.answer_text import AnswerText
from cocom.generation import before_stop, started_stop
from cocom.testing import tiny_tokenizer
from cocom.text_tokens import TextTokens
from cocom.token_forms import forms_of

CONTROL = ("<MEM>", "<SEP>")
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = [*SPECIAL.values(), *BYTES, "▁", "▁▁", "▁a", "a", "b", "ab", "##a", "##", "n't", ".", "\n"]
PIECES += ["\ufffd", "é", "한", "🙂", "a b ", " ", "", "x\ufffd", "<0xzz>", "▁do▁not", "a</w>"]
SPACE = decoders.Replace("▁", " ")
BYTE, FUSE = decoders.ByteFallback(), decoders.Fuse()
Decoder = Any


def wrapped(tokenizer: Tokenizer, kind: type = PreTrainedTokenizerFast) -> TextTokens:
    return TextTokens(kind(tokenizer_object=tokenizer, **SPECIAL), CONTROL)


def with_decoder(decoder: Decoder, kind: type = PreTrainedTokenizerFast) -> TextTokens:
    """A vocabulary of awkward tokens."""
    # Elsewhere than with `ByteFallback`, names of bytes are text as any other: see below.
    pieces = PIECES if "ByteFallback" in repr(decoder) else [p for p in PIECES if p not in BYTES]
    vocabulary = {token: i for i, token in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    tokenizer.add_tokens(["<0x20>▁", "added é"])
    return wrapped(tokenizer, kind)


def byte_level() -> TextTokens:
    """With merges inside characters and over their edges, and tokens that spell no bytes."""
    tokenizer: Any = tiny_tokenizer()
    tokenizer.add_tokens(["Ġé", "<é한>", "ìĦ", "ľë", "ðŁĻ", "Ġ\ufffd", "ï¿½", "Ċ Ċ"])
    tokenizer.add_tokens([AddedToken("<|end|>", special=True)], special_tokens=True)
    return TextTokens(tokenizer, CONTROL)


LOCAL: dict[str, Any] = {
    "tiny": lambda: TextTokens(tiny_tokenizer(), CONTROL),
    "byte level": byte_level,
    "none": lambda: with_decoder(None),
    "WordPiece": lambda: with_decoder(decoders.WordPiece(cleanup=False)),
    "WordPiece, cleaned up": lambda: with_decoder(decoders.WordPiece(cleanup=True)),
    "Metaspace": lambda: with_decoder(decoders.Metaspace(prepend_scheme="always")),
    "Metaspace, never": lambda: with_decoder(decoders.Metaspace(prepend_scheme="never")),
    "Llama": lambda: with_decoder(
        decoders.Sequence([SPACE, BYTE, FUSE, decoders.Strip(" ", 1, 0)])
    ),
    "Gemma": lambda: with_decoder(decoders.Sequence([SPACE, BYTE, FUSE])),
    "Metaspace and bytes": lambda: with_decoder(
        decoders.Sequence([decoders.Metaspace(), BYTE, FUSE])
    ),
    "bytes": lambda: with_decoder(BYTE),
    "three letters less": lambda: with_decoder(
        decoders.Sequence([decoders.Sequence([SPACE, BYTE]), FUSE, decoders.Strip(" ", 3, 0)])
    ),
    "each token stripped": lambda: with_decoder(
        decoders.Sequence([SPACE, decoders.Strip(" ", 1, 0), decoders.Replace(Regex("b+"), "")])
    ),
    "byte level, stripped": lambda: with_decoder(
        decoders.Sequence([SPACE, decoders.ByteLevel(), decoders.Strip("a", 2, 0), FUSE])
    ),
}


class OwnDecode(PreTrainedTokenizerFast):
    """As some tokenizers of the hub do."""

    def _decode(self, *args: Any, **options: Any) -> str:
        return super()._decode(*args, **options).replace("a a", "b")


OTHER: dict[str, Any] = {
    "BPE": lambda: with_decoder(decoders.BPEDecoder()),
    "CTC": lambda: with_decoder(decoders.CTC()),
    "replaced in the whole": lambda: with_decoder(
        decoders.Sequence([FUSE, decoders.Replace("ab", "b")])
    ),
    "stripped after bytes": lambda: with_decoder(
        decoders.Sequence([BYTE, decoders.Strip(" ", 1, 0)])
    ),
    "Metaspace after bytes": lambda: with_decoder(decoders.Sequence([BYTE, decoders.Metaspace()])),
    "two strips": lambda: with_decoder(
        decoders.Sequence([FUSE, decoders.Strip(" ", 1, 0), decoders.Strip("a", 1, 0)])
    ),
    "fused before bytes": lambda: with_decoder(decoders.Sequence([FUSE, decoders.ByteLevel()])),
    "a decode of its own": lambda: with_decoder(decoders.WordPiece(), OwnDecode),
}


@cache
def named(name: str) -> TextTokens:
    return (LOCAL | OTHER)[name]()


class Anew:
    """Everything decoded at every token."""

    def __init__(self, tokens: TextTokens, stop: Sequence[str]) -> None:
        self.tokens = tokens
        self.stop = stop
        self.ids: list[int] = []
        self.sent = ""

    def grow(self, text: str) -> str:
        if len(text) <= len(self.sent) or not text.startswith(self.sent):
            return ""
        piece, self.sent = text[len(self.sent) :], text
        return piece

    def add(self, token: int) -> str:
        self.ids.append(token)
        text, _ = before_stop(self.tokens.decode_settled(self.ids), self.stop)
        return self.grow(text[: len(text) - started_stop(text, self.stop)].strip())

    def so_far(self) -> tuple[str, bool]:
        return before_stop(self.tokens.decode(self.ids), self.stop)


def check(tokens: TextTokens, ids: Sequence[int], stop: Sequence[str]) -> None:
    """Also after a stop string, whether or not its text settles."""
    anew, text = Anew(tokens, stop), AnswerText(tokens, stop)
    for token in ids:
        assert text.add(token) == anew.add(token)
        assert (text.text, text.stopped) == anew.so_far()
    final = anew.so_far()[0].strip()
    assert text.finish(final) == anew.grow(final)
    assert text.finish(final) == ""


@cache
def interesting(tokens: TextTokens) -> list[int]:
    """Tokens that spaces, bytes, the start of a text or special tokens have to do with."""
    names = [tokens.tokenizer.convert_ids_to_tokens(i) for i in range(tokens.vocabulary_size)]
    found = [i for i, name in enumerate(names) if name and not str(name).isalnum()]
    return [*found, *tokens.control_ids.values(), tokens.vocabulary_size + 99]


@st.composite
def answers(draw: st.DrawFn, tokens: TextTokens) -> tuple[list[int], list[str]]:
    """Ids, and stop strings that often are in their text."""
    any_id = st.integers(0, tokens.vocabulary_size + 2)
    few = st.sampled_from(draw(st.lists(any_id, min_size=1, max_size=4)))
    written = st.text("ab \n한🙂é\ufffd.", max_size=3).map(lambda t: tuple(tokens.encode_text(t)))
    one = (any_id | few | st.sampled_from(interesting(tokens))).map(lambda i: (i,))
    ids = [i for part in draw(st.lists(one | written, max_size=14)) for i in part]
    text = tokens.decode(ids)
    cut = st.tuples(st.integers(0, len(text)), st.integers(1, 6)).map(
        lambda p: text[p[0] :][: p[1]]
    )
    stop = st.lists(cut | st.text("ab \n\ufffd한", min_size=1, max_size=3), max_size=3)
    return ids, [string for string in draw(stop) if string]


@pytest.mark.parametrize("name", [*LOCAL, *OTHER])
@settings(max_examples=100)
@given(data=st.data())
def test_text_is_what_decoding_anew_gives(name: str, data: st.DataObject) -> None:
    check(named(name), *data.draw(answers(named(name))))


@given(data=st.data())
def test_with_the_shipped_tokenizer(cocom_tiny: Cocom, data: st.DataObject) -> None:
    tokens = cocom_tiny.backbone.text
    assert forms_of(tokens) is not None
    check(tokens, *data.draw(answers(tokens)))


@pytest.mark.parametrize(
    "name",
    [
        "bases/tiny-bert-a",
        "bases/tiny-mistral-a",
        "bases/tiny-mistral-c",
        "naver_pisco_2026/checkpoint/compressor_tokenizer",
        "naver_pisco_2026/checkpoint/decoder_tokenizer",
    ],
)
@given(data=st.data())
def test_with_the_golden_tokenizers(shared: Path, name: str, data: st.DataObject) -> None:
    tokens = golden(shared / "formats" / name)
    assert forms_of(tokens) is not None
    check(tokens, *data.draw(answers(tokens)))


@cache
def golden(folder: Path) -> TextTokens:
    return TextTokens(AutoTokenizer.from_pretrained(folder), CONTROL)


def test_every_golden_tokenizer_is_tested(shared: Path) -> None:
    found = {p.parent.relative_to(shared / "formats") for p in shared.rglob("tokenizer.json")}
    [mark] = [m for m in test_with_the_golden_tokenizers.pytestmark if m.name == "parametrize"]
    assert {str(p) for p in found} == set(mark.args[1])


@pytest.mark.parametrize("name", ["tiny", "Llama"])
def test_all_bytes_that_utf_8_tells_apart(name: str) -> None:
    tokens = named(name)
    kinds = bytes.fromhex("41 80 8f 90 9f a0 bf c1 c2 df e0 e1 ec ed ee f0 f1 f4 f5")
    spelled = [byte_id(tokens, byte) for byte in kinds]
    for ids in product(spelled, repeat=3):
        text = AnswerText(tokens)
        for token in ids:
            text.add(token)
        assert text.text == tokens.decode(ids)


@given(st.binary(max_size=12), st.sampled_from([(), ("\ufffd",), ("a\ufffd", "\ufffd" * 3)]))
def test_any_bytes(text: bytes, stop: tuple[str, ...]) -> None:
    for name in ("tiny", "Llama", "Gemma"):
        check(named(name), [byte_id(named(name), byte) for byte in text], stop)


def byte_id(tokens: TextTokens, byte: int) -> int:
    """The token of a byte; those of GPT-2's alphabet are in no public function."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letter = chr(byte if byte in visible else 0x100 + len({*range(byte)} - visible))
    vocabulary = tokens.tokenizer.get_vocab()
    return vocabulary.get(BYTES[byte], vocabulary.get(letter, -1))


@pytest.mark.parametrize("name", LOCAL)
def test_known_decoders_decode_no_token_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = named(name)
    text = AnswerText(tokens, ["never said"])
    monkeypatch.setattr(TextTokens, "decode", None)
    for token in range(tokens.vocabulary_size):
        text.add(token)
        assert not text.stopped


@pytest.mark.parametrize("name", OTHER)
def test_other_decoders_are_left_to_their_tokenizer(name: str) -> None:
    assert forms_of(named(name)) is None


def test_a_decoder_that_strips_the_end_is_left_to_its_tokenizer() -> None:
    tokens = with_decoder(decoders.Sequence([FUSE, decoders.Strip(" ", 0, 1)]))
    assert forms_of(tokens) is None  # and fails on empty texts, so it is not among those above


def test_names_of_bytes_are_text_where_the_decoder_says_so() -> None:
    vocabulary = {"<unk>": 0, "<0x41>": 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.decoder = FUSE
    text = AnswerText(wrapped(tokenizer))
    assert [text.add(1), text.text] == ["<0x41>", "<0x41>"]


def test_pieces_hold_whole_characters_and_no_start_of_a_stop_string() -> None:
    tokens = named("tiny")
    text = AnswerText(tokens, ["\n\n", "end"])
    pieces = [text.add(token) for token in tokens.encode_text(" é e\n x \nenough\n\nmore")]
    assert [piece for piece in pieces if piece] == ["é", " e", "\n x", " \neno", "u", "g", "h"]
    assert text.stopped
    assert text.text == " é e\n x \nenough"


@pytest.mark.parametrize(
    ("stop", "cuts"),
    [
        (["bc"], [None, None, 1, 1, 1]),
        (["c", "abcd"], [None, None, 2, 0, 0]),  # the longer one starts earlier and ends later
        (["d", "cde", "e"], [None, None, None, 3, 2]),
        (["abcdef"], [None] * 5),
    ],
)
def test_the_first_stop_string_counts(stop: list[str], cuts: list[int | None]) -> None:
    tokens = named("tiny")
    text = AnswerText(tokens, stop)
    for n, (token, cut) in enumerate(zip(tokens.encode_text("abcde"), cuts, strict=True), 1):
        text.add(token)
        assert text.text == "abcde"[:n][:cut]
        assert text.stopped == (cut is not None)


@pytest.mark.parametrize("name", ["tiny", "Llama"])
@pytest.mark.parametrize("said", ["\n", "한", "e", "\ufffd", " a"])
def test_long_answers_of_one_thing(name: str, said: str) -> None:
    tokens = named(name)
    ids = [tokens.encode_text(said)[-1]] * 3000
    text = AnswerText(tokens, ["stop", "\n" * 40 + "."])
    pieces = "".join(text.add(i) for i in ids)
    whole = tokens.decode(ids)
    assert (text.text, text.stopped) == (whole, False)
    assert pieces + text.finish(whole.strip()) == whole.strip()


def test_an_answer_that_is_not_what_was_written_adds_nothing() -> None:
    tokens = named("tiny")
    text = AnswerText(tokens)
    assert [text.add(i) for i in tokens.encode_text("ab")] == ["a", "b"]
    assert text.finish("ac and more") == ""
    assert text.finish("abc") == "c"
