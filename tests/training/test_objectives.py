"""The objectives: what carries loss, what does not, and shared prefixes equal to separate rows."""

from __future__ import annotations

import pytest
import torch

from cocom import CocomConfig, EncoderConfig
from cocom.errors import InputError
from cocom.splice import IGNORE
from cocom.testing import tiny_cocom
from cocom.training.objectives import Objectives
from cocom.training.step import Collator, TrainingModule

UNIFORM = CocomConfig(rates=(4, 16), memory_positions="uniform", memory_tokens="per_rate")
PASSAGES = ["Ada was born in London.", "Bo lives in Rome, near the river.", "Nothing here."]
QUESTIONS = ["Where was Ada born?", "Where does Bo live?", "Who lives near the river?"]
ANSWERS = ["London", "Rome", "Bo"]


def loss_of(model, examples):
    module = TrainingModule(model)
    module.eval()
    return module(**Collator(model.backbone.pad_id, model.config)(examples))["loss"]


@pytest.mark.parametrize("config", [CocomConfig(rates=(4, 16)), UNIFORM])
@pytest.mark.parametrize("rates", [[4, 4, 4], [None, 16, 4], [None, None, None]])
def test_shared_prefix_equals_separate_rows(config, rates):
    model = tiny_cocom(config)
    arguments = (QUESTIONS, ANSWERS, PASSAGES, rates)
    apart = Objectives(model).question_answering(*arguments)
    shared = Objectives(model, share_prefix=True).question_answering(*arguments)
    assert (len(apart), len(shared)) == (3, 1)
    torch.testing.assert_close(loss_of(model, apart), loss_of(model, shared), atol=1e-5, rtol=0)
    for loss_a, loss_b in [(loss_of(model, apart), loss_of(model, shared))]:
        first = torch.autograd.grad(loss_a, model.backbone.control.weight)[0]
        second = torch.autograd.grad(loss_b, model.backbone.control.weight)[0]
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_labels_are_the_answer_only():
    model = tiny_cocom(UNIFORM)
    (example,) = Objectives(model).question_answering(
        QUESTIONS[:1], ANSWERS[:1], PASSAGES, [4, 4, 4]
    )
    read = Collator(model.backbone.pad_id, model.config)([example])["read"][0]
    labelled = read.labels[read.labels != IGNORE].tolist()
    assert labelled == [*model.backbone.text.encode_text(" London"), model.backbone.text.eos_id]


def test_masked_labels_carry_no_gradient():
    model = tiny_cocom(UNIFORM)
    examples = Objectives(model).question_answering(QUESTIONS, ANSWERS, PASSAGES, [4] * 3)
    inputs = Collator(model.backbone.pad_id, model.config)(examples)
    for batch in inputs["read"]:
        batch.labels.fill_(IGNORE)
    inputs["read"][0].labels[0, -1] = 5
    one = TrainingModule(model)(**inputs)["loss"]
    others = Collator(model.backbone.pad_id, model.config)(examples[:1])
    others["read"][0].labels.fill_(IGNORE)
    assert torch.isfinite(one)
    assert torch.isnan(TrainingModule(model)(**others)["loss"])  # nothing to average over


def test_auto_encoding_asks_for_the_text_itself():
    model = tiny_cocom(UNIFORM)
    example = Objectives(model).auto_encoding("hello world", 4)
    ids = model.backbone.text.encode_text("hello world")
    assert example.row.branches[0][1] == [*ids, model.backbone.text.eos_id]
    assert example.row.prompt.ids[0] == model.backbone.text.control_ids["<AE>"]
    assert example.windows[0].window.embeddings == 3


def test_continuation_compresses_the_first_part_only():
    model = tiny_cocom(UNIFORM)
    example = Objectives(model).continuation("hello world", 5, 4)
    assert example.windows[0].window.tokens == 5
    assert model.backbone.text.decode(example.row.branches[0][1]) == " world"


def test_recall_shows_the_start_of_one_passage():
    model = tiny_cocom(UNIFORM)
    example = Objectives(model).recall(PASSAGES, [4, 4, None], [1, 2], given=4)
    assert len(example.windows) == 2
    for (ids, labels), passage in zip(example.row.branches, PASSAGES[1:], strict=True):
        assert labels[:4] == [IGNORE] * 4
        assert labels[4:] == ids[4:]
        assert model.backbone.text.decode(ids) == passage


@pytest.mark.parametrize("head", ["concat", "mean", "memory_mlp"])
def test_light_compressor_gets_gradients(head):
    model = tiny_cocom(CocomConfig(rates=(4,), encoder=EncoderConfig(head)))
    module = TrainingModule(model, frozen_reader=True)
    inputs = Collator(model.backbone.pad_id, model.config)(
        [Objectives(model).auto_encoding("hello world", 4)]
    )
    module(**inputs)["loss"].backward()
    weights = dict(module.named_parameters())
    head_weight = "head.0.weight" if head == "memory_mlp" else "head.weight"
    gradient = weights[f"parts.encoder.{head_weight}"].grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert all(p.grad is None for n, p in weights.items() if n.startswith("parts.backbone.model"))


def test_slots_after_the_question_cannot_be_shared():
    from cocom import PromptTemplate

    config = CocomConfig(rates=(4,), prompt=PromptTemplate(user="{question} {passages}"))
    with pytest.raises(InputError, match="prefixes can be shared only where the question follows"):
        Objectives(tiny_cocom(config), share_prefix=True).question_answering(
            QUESTIONS, ANSWERS, PASSAGES, [4] * 3
        )
