"""Prompts: order of pieces, braces and jinja of users stay text, chat templates of all kinds."""

from __future__ import annotations

import pytest

from cocom import CocomConfig, PromptTemplate
from cocom.errors import ModelError
from cocom.prompt import Slot, Template, UserText, build_prompt, fill_template
from cocom.testing import tiny_cocom

WITH_SYSTEM = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ALTERNATING = (  # Mistral-7B-Instruct-v0.2, the paper's model
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endfor %}"
)
SILENT = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
REFUSES_ALL = "{{ raise_exception('no turns today') }}"

CHAT = CocomConfig(
    prompt=PromptTemplate(
        chat=True,
        system="Be brief.",
        user="{passages}Q: {question}",
        passage="{number}. {passage}\n",
    )
)


def prompt_text(template: str | None, question: str, passages: list[str]) -> str:
    model = tiny_cocom(CHAT)
    model.backbone.text.tokenizer.chat_template = template
    ids = model.request(question, passages).prompt.ids
    return str(model.backbone.text.tokenizer.decode(list(ids)))


def test_pieces_in_order() -> None:
    template = PromptTemplate(user="A{passages}B{question}C", passage="<{number}:{passage}>")
    pieces = build_prompt(template, "q", [UserText("x"), Slot(0), UserText("y")])
    assert pieces == [
        Template("A"),
        *(Template("<"), Template("1"), Template(":"), UserText("x"), Template(">")),
        *(Template("<"), Template("2"), Template(":"), Slot(0), Template(">")),
        *(Template("<"), Template("3"), Template(":"), UserText("y"), Template(">")),
        *(Template("B"), UserText("q"), Template("C")),
    ]


def test_no_passages_leave_nothing_behind() -> None:
    assert build_prompt(PromptTemplate(user="{passages}{question}"), "q", []) == [UserText("q")]


def test_other_braces_of_a_template_stay() -> None:
    assert fill_template('{"a": {passage}} {x}', {"passage": [Slot(0)]}) == [
        Template('{"a": '),
        Slot(0),
        Template("} {x}"),
    ]


HOSTILE = (
    "{question} {passages} {passage} {number} {bos} {{ 7*7 }} {% for %} {0} \ue000question\ue001"
)


@pytest.mark.parametrize("chat", [False, True])
def test_braces_and_jinja_of_users_stay_text(chat: bool) -> None:
    layout = PromptTemplate(user="P:{passages} Q:{question} .", passage="{passage}\n", chat=chat)
    model = tiny_cocom(CocomConfig(prompt=layout))
    ids = model.request(HOSTILE, [HOSTILE, HOSTILE]).prompt.ids
    text = model.backbone.text.tokenizer.decode(list(ids))
    body = f"P:{HOSTILE}\n{HOSTILE}\n Q:{HOSTILE} ."
    assert text == (f"[INST] {body} [/INST]" if chat else body)


def test_chat_template_with_a_system_role() -> None:
    expected = "<system>Be brief.</system><user>1. One.\n2. Two.\nQ: Why?</user><assistant>"
    assert prompt_text(WITH_SYSTEM, "Why?", ["One.", "Two."]) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (ALTERNATING, "<s>[INST] Be brief.\n1. One.\nQ: Why? [/INST]"),
        (SILENT, "Be brief.\n1. One.\nQ: Why?"),
    ],
)
def test_a_system_text_is_folded_where_there_is_no_role(template: str, expected: str) -> None:
    assert prompt_text(template, "Why?", ["One."]) == expected


def test_the_tiny_template_refuses_a_system_role_and_folds() -> None:
    model = tiny_cocom(CHAT)
    ids = model.request("Why?", []).prompt.ids
    assert model.backbone.text.tokenizer.decode(list(ids)) == "[INST] Be brief.\nQ: Why? [/INST]"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "prompt.chat is on but the tokenizer has no chat_template"),
        (REFUSES_ALL, "chat template refused the turns: no turns today"),
    ],
)
def test_chat_templates_that_cannot_be_used(template: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        prompt_text(template, "Why?", [])
