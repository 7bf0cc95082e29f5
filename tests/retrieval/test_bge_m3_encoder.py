"""BGE-M3's rules by hand, with a backbone that looks hidden states up; and batches of the tiny model."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError, MissingExtraError, ModelError
from cocom.retrieval.bge_m3_encoder import BgeM3Encoder
from tests.retrieval.bge_m3_tiny import LENGTH, make

# Hidden states of the tokens <s> <pad> </s> <unk>, a, b and c.
STATES = torch.tensor(
    [[3.0, 4.0], [9.0, 9.0], [0.0, 5.0], [7.0, 7.0], [1.0, 0.0], [0.0, 2.0], [-2.0, 1.0]]
)


class Lookup(nn.Module):
    """A backbone whose hidden states depend on the token alone."""

    def __init__(self, states: torch.Tensor = STATES) -> None:
        super().__init__()
        self.states = nn.Parameter(states.clone())
        self.config = SimpleNamespace(
            vocab_size=len(states),
            hidden_size=states.shape[1],
            max_position_embeddings=12,
            pad_token_id=1,
            model_type="xlm-roberta",
        )

    @property
    def device(self) -> torch.device:
        return self.states.device

    @property
    def dtype(self) -> torch.dtype:
        return self.states.dtype

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        assert input_ids.shape == attention_mask.shape
        assert ((input_ids == 1) == (attention_mask == 0)).all()
        return SimpleNamespace(last_hidden_state=self.states[input_ids])


def letters(*pieces: str) -> Any:
    """A tokenizer of words that are single letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {piece: i for i, piece in enumerate(("<s>", "<pad>", "</s>", "<unk>", *pieces))}
    own = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    own.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=own, **names)


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    head = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weight))
        head.bias.copy_(torch.tensor(bias))
    return head


def encoder_of(**settings: Any) -> BgeM3Encoder:
    """Weight of a token: first plus second value less a half. Its vector: the values swapped, plus (0, 1)."""
    parts: Any = (
        settings.pop("backbone", None) or Lookup(),
        settings.pop("tokenizer", None) or letters("a", "b", "c"),
        linear([[1.0, 1.0]], [-0.5]),
        linear([[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0]),
    )
    return BgeM3Encoder(*parts, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("bge-m3"))


@pytest.fixture(scope="module")
def tiny(folder: Path) -> BgeM3Encoder:
    return BgeM3Encoder.from_pretrained(folder, device="cpu")


def test_the_dense_vector_is_the_first_tokens_at_length_one() -> None:
    assert encoder_of().encode(["a b", ""]).dense == pytest.approx(np.array([[0.6, 0.8]] * 2))


def test_a_token_weighs_what_the_head_says_and_not_less_than_nothing() -> None:
    # a: 1 + 0 - .5; b: 0 + 2 - .5; c: -2 + 1 - .5 is below 0.
    found = encoder_of().encode(["c b a"]).sparse
    assert found.shape == (1, 7)
    assert found.toarray()[0].tolist() == [0, 0, 0, 0, 0.5, 1.5, 0]
    assert found.nnz == 2


def test_special_and_unknown_tokens_have_no_weight() -> None:
    # </s> would weigh 4.5, <s> 6.5 and the unknown token 13.5.
    assert encoder_of().encode(["", "zebra", "zebra a </s> <s>"]).sparse.nnz == 1


def test_a_token_that_occurs_twice_has_its_largest_weight() -> None:
    class Growing(Lookup):
        """Later tokens have larger states, up to the third, and smaller ones after it."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            factors = torch.tensor([1.0, 2.0, 4.0, 3.0, 1.0])[:, None]
            return SimpleNamespace(last_hidden_state=self.states[input_ids] * factors)

    found = encoder_of(backbone=Growing()).encode(["a a a"]).sparse
    assert found.toarray()[0].tolist() == [0, 0, 0, 0, 3.5, 0, 0]


def test_token_vectors_are_those_of_all_tokens_but_the_first() -> None:
    made = encoder_of().encode(["b a", ""]).multi_vectors
    assert made is not None
    # b (0, 2) becomes (2, 1), a (1, 0) becomes (0, 2), </s> (0, 5) becomes (5, 1).
    b, a, end = np.array([[2, 1], [0, 2], [5, 1]]) / np.array([[5], [4], [26]]) ** 0.5
    assert made[0] == pytest.approx(np.array([b, a, end]))
    assert made[1] == pytest.approx(np.array([end]))


def test_scores_by_hand() -> None:
    (found,) = encoder_of().scores("a b", ["b"], weights=(1, 2, 3))
    assert found.dense == pytest.approx(1)  # the first token is the same everywhere
    assert found.sparse == pytest.approx(1.5 * 1.5)
    # a (0, 1) with b (2, 1)/√5 and </s> (5, 1)/√26; b and </s> find themselves.
    assert found.multi_vector == pytest.approx((1 / 5**0.5 + 1 + 1) / 3)
    assert found.hybrid == pytest.approx((1 + 2 * 2.25 + 3 * found.multi_vector) / 6)


def test_scores_of_one_question_with_many_passages() -> None:
    encoder = encoder_of()
    texts = ["b", "a a", "", "c"]
    found = encoder.scores("a b", [Passage(text) for text in texts])
    assert found == [encoder.scores("a b", [text])[0] for text in texts]
    assert encoder.scores("a", []) == []
    mean = (found[0].dense + found[0].sparse + found[0].multi_vector) / 3
    assert found[0].hybrid == pytest.approx(mean)


@pytest.mark.parametrize(
    "weights",
    [(1, 1), (1, 1, 1, 1), (0, 0, 0), (1, -1, 1), (1, float("nan"), 1), "abc", 3, (1, 1, None)],
)
def test_weights_that_cannot_be(weights: Any) -> None:
    with pytest.raises(
        InputError, match=r"^weights is .*, but it needs three numbers of 0 or more"
    ):
        encoder_of().scores("a", ["b"], weights=weights)


def test_a_batch_of_one_equals_a_batch_of_many(tiny: BgeM3Encoder, folder: Path) -> None:
    texts = ["the bridge", "", "서울은 한국의 수도 🙂", "zebra " * 15, "the river " * 40, "東京"]
    alone = BgeM3Encoder.from_pretrained(folder, device="cpu", batch_tokens=1).encode(texts)
    together = tiny.encode(texts)
    assert together.dense == pytest.approx(alone.dense, abs=1e-5)
    assert together.sparse.toarray() == pytest.approx(alone.sparse.toarray(), abs=1e-5)
    assert together.multi_vectors is not None
    assert alone.multi_vectors is not None
    for i in range(len(texts)):
        assert together.multi_vectors[i] == pytest.approx(alone.multi_vectors[i], abs=1e-5)


def test_texts_of_similar_length_share_a_batch_that_is_not_too_large() -> None:
    shapes: list[tuple[int, ...]] = []

    class Watched(Lookup):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            shapes.append(tuple(input_ids.shape))
            return super().forward(input_ids, attention_mask)

    texts = ["a", "a b c a b", "", "b", "a b c a", "b c"]
    made = encoder_of(backbone=Watched(), batch_tokens=14).encode(texts)
    assert shapes == [(2, 7), (3, 4), (1, 2)]
    assert made.sparse.toarray() == pytest.approx(encoder_of().encode(texts).sparse.toarray())


def test_no_texts() -> None:
    made = encoder_of().encode([])
    assert len(made) == 0
    assert made.dense.shape == (0, 2)
    assert made.sparse.shape == (0, 7)
    assert made.multi_vectors is not None
    assert len(made.multi_vectors) == 0


def test_forms_that_are_not_needed_and_half_the_memory(tiny: BgeM3Encoder) -> None:
    assert tiny.encode(["the bridge"], multi_vectors=False).multi_vectors is None
    full, half = (
        tiny.encode(["the bridge"], vector_type=kind).multi_vectors
        for kind in ("float32", "float16")
    )
    assert full is not None
    assert half is not None
    assert full.bytes == 2 * half.bytes
    assert half[0] == pytest.approx(full[0], abs=1e-3)


def test_a_text_that_is_too_long_is_refused(tiny: BgeM3Encoder) -> None:
    assert tiny.max_length == LENGTH
    tiny.encode(["the " * (LENGTH - 2)])
    with pytest.raises(
        InputError, match=r"Text 1 \('the the.*'…\) has 129 tokens, but .* at most 128"
    ):
        tiny.encode(["the", "the " * (LENGTH - 1)])


def test_a_text_that_is_too_long_is_cut_if_asked() -> None:
    cut = encoder_of(too_long="truncate", max_length=4).encode(["a b c c c"])
    whole = encoder_of().encode(["a b"])
    assert cut.sparse.toarray().tolist() == whole.sparse.toarray().tolist()
    assert cut.multi_vectors is not None
    assert whole.multi_vectors is not None
    assert cut.multi_vectors[0].tolist() == whole.multi_vectors[0].tolist()  # the end token stays


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 11}, "max_length is 11, but this model reads 3 to 10 tokens"),
        ({"max_length": 2}, "max_length is 2, but"),
        ({"too_long": "split"}, "too_long is 'split', but must be 'error' or 'truncate'"),
        ({"batch_tokens": 0}, "batch_tokens is 0, but must be at least 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder_of(**settings)


def test_texts_that_cannot_be_read() -> None:
    encoder: Any = encoder_of()
    with pytest.raises(InputError, match="texts is a single text: give a list"):
        encoder.encode("a")
    with pytest.raises(InputError, match="Text 1 is a int: give a string"):
        encoder.encode(["a", 3])
    with pytest.raises(InputError, match="Text 0 holds half a surrogate pair"):
        encoder.encode(["a \ud83d"])
    with pytest.raises(InputError, match="passages is a single one: give a list"):
        encoder.scores("a", "b")
    with pytest.raises(InputError, match="vector_type is 'int8', but must be"):
        encoder.encode(["a"], vector_type="int8")


def test_values_that_are_not_finite() -> None:
    broken = Lookup(STATES.clone().fill_(float("inf")))
    with pytest.raises(ModelError, match=r"not finite in torch.float32: load it with dtype="):
        encoder_of(backbone=broken).encode(["a"])


def test_a_tokenizer_of_another_model() -> None:
    with pytest.raises(CheckpointError, match="tokenizer has 8 tokens, but the model knows 7"):
        encoder_of(tokenizer=letters("a", "b", "c", "d"))
    bare = letters("a", "b", "c")
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(
        CheckpointError, match=r"gives \[\] for a text without words, but BGE-M3 needs"
    ):
        encoder_of(tokenizer=bare)
    with pytest.raises(CheckpointError, match="tokenizer is a object, which cannot be shared"):
        encoder_of(tokenizer=object())


def test_settings_of_the_tokenizer_change_nothing() -> None:
    tokenizer = letters("a", "b", "c")
    encoder = encoder_of(tokenizer=tokenizer)
    tokenizer(["a b c a"], truncation=True, max_length=3, padding="max_length")
    assert encoder.encode(["a b c a"]).sparse.nnz == 2
    assert encoder_of(tokenizer=tokenizer).encode(["a b c a"]).sparse.nnz == 2


def test_a_copy_and_a_pickle_encode_the_same(tiny: BgeM3Encoder) -> None:
    expected = tiny.encode(["the bridge"]).dense
    for other in (copy.deepcopy(tiny), pickle.loads(pickle.dumps(tiny))):
        assert other.encode(["the bridge"]).dense.tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16])
def test_the_type_follows(folder: Path, tiny: BgeM3Encoder, dtype: Any) -> None:
    made = BgeM3Encoder.from_pretrained(folder, device="cpu", dtype=dtype).encode(["the bridge"])
    assert made.dense.dtype == np.float32
    expected = tiny.encode(["the bridge"])
    assert made.dense == pytest.approx(expected.dense, abs=0.05)
    assert (made.dense != expected.dense).any()
    with pytest.raises(InputError, match="dtype is 'int8', but must be float32"):
        BgeM3Encoder.from_pretrained(folder, dtype="int8")


def test_without_scipy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(
        MissingExtraError, match=r"BGE-M3 needs .*'scipy'.*pip install 'cocom\[retr"
    ):
        BgeM3Encoder.from_pretrained(folder)
    with pytest.raises(MissingExtraError, match=r"BGE-M3 needs .*'scipy'"):
        encoder_of()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same(folder: Path, tiny: BgeM3Encoder) -> None:
    texts = ["the bridge", "서울은 한국의 수도", "the river " * 40]
    made, expected = BgeM3Encoder.from_pretrained(folder).encode(texts), tiny.encode(texts)
    assert made.dense == pytest.approx(expected.dense, abs=1e-4)
    assert made.sparse.toarray() == pytest.approx(expected.sparse.toarray(), abs=1e-4)
