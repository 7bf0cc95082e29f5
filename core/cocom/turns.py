"""The turns of a conversation -> pieces of a prompt. Pure.

Any turn may hold context embeddings. Each stands there in the passage layout the model was trained with;
white space between two of them is left out, since that layout separates them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cocom.config import PromptTemplate
from cocom.datatypes import Role
from cocom.errors import InputError, ModelError
from cocom.prompt import ChatRenderer, Piece, Slot, Template, UserText, fill_template

__all__ = ["LaidTurn", "lay_out_turns"]

# As in `prompt`: characters that chat templates leave alone. The rare spaces around them tell whether
# the template trims.
_MARK = "\u2003\ue000turn{}\ue001\u2003"
_MARKED = re.compile("(\u2003?)\ue000turn(\\d+)\ue001(\u2003?)")


@dataclass(frozen=True)
class LaidTurn:
    """A turn whose passages are slots already."""

    role: Role
    content: tuple[UserText | Slot, ...]

    @property
    def blank(self) -> bool:
        """Whether there is nothing to read, as in a turn that only calls a tool."""
        return all(isinstance(part, UserText) and not part.text.strip() for part in self.content)


def lay_out_turns(
    template: PromptTemplate, turns: Sequence[LaidTurn], render_chat: ChatRenderer | None = None
) -> list[Piece]:
    """Lay out a conversation up to where the model's next turn begins.

    With a chat template, turns keep their roles as far as the template knows them: a tool's turn becomes
    the user's, neighbours of one role become one turn, if it refuses them otherwise. Without one, every
    exchange is laid out as a question in training: what system and tools say (and the assistant with its
    call) are its passages, and so are the references that the user's turn begins with; the rest of that
    turn is its question.

    Args:
        template: The text around them.
        turns: The conversation; blank turns are passed over.
        render_chat: Applies the tokenizer's chat template; needed if `template.chat`.

    Raises:
        InputError: No turn has anything to read.
        ModelError: The chat template refuses the turns, or leaves one out.
    """
    said = [turn for turn in turns if not turn.blank]
    if not said:
        raise InputError("the prompt is empty: give at least one turn with text.")
    if template.chat:
        assert render_chat is not None
        return _number(_render(said, render_chat), template.passage)
    return _number(_lay_out_plainly(template, said), template.passage)


def _number(pieces: Sequence[Piece], layout: str) -> list[Piece]:
    """Put every slot into the passage layout, and drop white space between two of them."""
    laid: list[Piece] = []
    number = 0
    for i, piece in enumerate(pieces):
        if isinstance(piece, Slot):
            number += 1
            laid += fill_template(
                layout,
                {
                    "passage": [piece],
                    "number": [Template(str(number))],
                    "index": [Template(str(number - 1))],
                },
            )
        elif not (_is_space(piece) and _is_slot(pieces, i - 1) and _is_slot(pieces, i + 1)):
            laid.append(piece)
    return laid


def _is_space(piece: Piece) -> bool:
    return isinstance(piece, UserText) and not piece.text.strip()


def _is_slot(pieces: Sequence[Piece], i: int) -> bool:
    return 0 <= i < len(pieces) and isinstance(pieces[i], Slot)


def _render(turns: Sequence[LaidTurn], render_chat: ChatRenderer) -> list[Piece]:
    """Pieces through a chat template, which sees a mark in place of each turn's content."""
    marked = [(turn.role, _MARK.format(i)) for i, turn in enumerate(turns)]
    refusal = None
    for attempt in (marked, _alternating(marked)):
        try:
            text = render_chat([{"role": role, "content": content} for role, content in attempt])
        except ModelError as error:
            refusal = error
            continue
        found = [int(match.group(2)) for match in _MARKED.finditer(text)]
        if found == list(range(len(turns))):
            return _fill_marks(text, turns)
        left_out = next((i for i in range(len(turns)) if found.count(i) != 1), 0)
        refusal = ModelError(
            f"the tokenizer's chat template leaves out turn {left_out + 1} of {len(turns)} "
            f"({turns[left_out].role}) or moves it: put its text into a user turn."
        )
    assert refusal is not None
    raise refusal


def _alternating(turns: Sequence[tuple[Role, str]]) -> list[tuple[Role, str]]:
    """Turns for templates that know one system turn, then user and assistant in alternation."""
    merged: list[tuple[Role, str]] = []
    for i, (given, content) in enumerate(turns):
        role: Role = given if given == "assistant" or (given == "system" and i == 0) else "user"
        if merged and merged[-1][0] == role:
            merged[-1] = (role, f"{merged[-1][1]}\n\n{content}")
        else:
            merged.append((role, content))
    return merged


def _fill_marks(text: str, turns: Sequence[LaidTurn]) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for match in _MARKED.finditer(text):
        if match.start() > at:
            pieces.append(Template(text[at : match.start()]))
        content = list(turns[int(match.group(2))].content)
        # Where the template took our space away, it would have trimmed the content.
        if not match.group(1) and isinstance(content[0], UserText):
            content[0] = UserText(content[0].text.lstrip())
        if not match.group(3) and isinstance(content[-1], UserText):
            content[-1] = UserText(content[-1].text.rstrip())
        pieces += content
        at = match.end()
    if at < len(text):
        pieces.append(Template(text[at:]))
    return pieces


def _lay_out_plainly(template: PromptTemplate, turns: Sequence[LaidTurn]) -> list[Piece]:
    """One filled question template for each exchange, as the model was trained on single ones."""
    pieces: list[Piece] = []
    exchange: list[LaidTurn] = []
    for i, turn in enumerate(turns):
        answers = turn.role == "assistant" and not _calls_a_tool(turns, i)
        if not answers:
            exchange.append(turn)
            continue
        # What system and tools say before anybody asks belongs to the first question.
        if any(earlier.role == "user" for earlier in exchange):
            pieces += _lay_out_exchange(template, exchange, first=not pieces)
            exchange = []
        if not pieces and "{bos}" in template.user:
            pieces.append(Template("{bos}"))
        pieces += [Template(template.answer_prefix), *turn.content]
        if i + 1 < len(turns):  # else the model goes on with what it is given
            pieces.append(Template("{eos}"))
    if exchange:
        pieces += _lay_out_exchange(template, exchange, first=not pieces)
    return pieces


def _calls_a_tool(turns: Sequence[LaidTurn], i: int) -> bool:
    """Whether what the assistant says goes with a call, and a tool answers next."""
    return i + 1 < len(turns) and turns[i + 1].role == "tool"


def _lay_out_exchange(
    template: PromptTemplate, turns: Sequence[LaidTurn], *, first: bool
) -> list[Piece]:
    layout = template.user if first else template.user.replace("{bos}", "")
    # Somebody must ask: where no user does, whoever speaks last.
    asks = "user" if any(turn.role == "user" for turn in turns) else turns[-1].role
    passages: list[Piece] = []
    question: list[Piece] = []
    for turn in turns:
        if turn.role != asks:
            _append(passages, turn.content)
            continue
        first_word = _leading_slots(turn.content)
        _append(passages, turn.content[:first_word])
        _append(question, turn.content[first_word:])
    if passages and not isinstance(passages[-1], Slot):
        passages.append(Template("\n"))
    return fill_template(layout, {"passages": passages, "question": question})


def _leading_slots(parts: Sequence[Piece]) -> int:
    """How many parts at the beginning are references, with nothing but white space between them."""
    count = 0
    for i, part in enumerate(parts):
        if isinstance(part, Slot):
            count = i + 1
        elif not _is_space(part):
            break
    return count


def _append(pieces: list[Piece], more: Sequence[Piece]) -> None:
    """Add what another turn says, on a line of its own unless a passage's layout sets it apart."""
    more = _strip(more)
    if pieces and more and not (isinstance(pieces[-1], Slot) and isinstance(more[0], Slot)):
        pieces.append(Template("\n"))
    pieces += more


def _strip(parts: Sequence[Piece]) -> list[Piece]:
    """Without white space at both ends."""
    kept = list(parts)
    if kept and isinstance(kept[0], UserText):
        kept[0] = UserText(kept[0].text.lstrip())
    if kept and isinstance(kept[-1], UserText):
        kept[-1] = UserText(kept[-1].text.rstrip())
    return [part for part in kept if not (isinstance(part, UserText) and not part.text)]
