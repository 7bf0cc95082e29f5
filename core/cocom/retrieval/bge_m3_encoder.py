"""BGE-M3 (arXiv 2402.03216): a text's vector, the weights of its tokens, and a vector for each token."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cocom.checkpoints.source import HubOptions, Source
from cocom.datatypes import Passage
from cocom.errors import CheckpointError, InputError, ModelError
from cocom.retrieval.bge_m3_scores import EQUAL_WEIGHTS, BgeM3Scores, check_weights, hybrid
from cocom.retrieval.bge_m3_tokens import BgeM3Tokens, TooLong
from cocom.retrieval.multi_vectors import MultiVectors
from cocom.retrieval.token_weights import TokenWeights, largest, sparse_array, stacked

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["BgeM3Embeddings", "BgeM3Encoder", "VectorType"]

VectorType = Literal["float32", "float16"]


@dataclass(frozen=True, eq=False)
class BgeM3Embeddings:
    """What BGE-M3 makes of texts.

    Attributes:
        dense: Unit vectors, shape (texts, hidden).
        sparse: Weights of the tokens that each text has, a SciPy array of shape (texts, vocabulary).
        multi_vectors: Unit vectors of each text's tokens; None if they were not asked for.
    """

    dense: NDArray[np.float32]
    sparse: Any
    multi_vectors: MultiVectors | None

    def __len__(self) -> int:
        return len(self.dense)


class BgeM3Encoder:
    """Encodes texts in the three forms of BGE-M3; threads may use one at the same time.

    Most programs take it `from_pretrained`. The rules are those of the published code: the dense
    form is the first token's last hidden state; the weight of a token is what `sparse_linear` gives
    for it, not less than 0 and the largest where a token occurs several times, with the tokens for
    beginning, end, padding and the unknown left out; the multi-vector form is what `colbert_linear`
    gives for all tokens but the first, the end token included. Vectors have length 1.

    Args:
        backbone: The encoder; put into eval mode.
        tokenizer: Its tokenizer.
        sparse_linear: From a hidden state to one weight.
        colbert_linear: From a hidden state to a vector, which may be shorter.
        max_length: Most tokens of a text, the two special ones included; None takes the most that
            the encoder can read (8192 for BAAI/bge-m3).
        too_long: What happens to a longer text: "error" refuses it, "truncate" reads its beginning.
        batch_tokens: Tokens in one forward pass, padding included.

    Raises:
        CheckpointError: If the parts do not fit each other.
        InputError: If a setting is impossible.
        MissingExtraError: If SciPy is not installed.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sparse_linear: nn.Linear,
        colbert_linear: nn.Linear,
        *,
        max_length: int | None = None,
        too_long: TooLong = "error",
        batch_tokens: int = 8192,
    ) -> None:
        sparse_array()  # missing packages are told of before anything is loaded
        if batch_tokens < 1:
            raise InputError(f"batch_tokens is {batch_tokens}, but must be at least 1.")
        self._tokens = BgeM3Tokens(tokenizer, backbone.config, max_length, too_long)
        self._backbone = backbone.eval()
        self._sparse_linear = sparse_linear.to(backbone.device, backbone.dtype)
        self._colbert_linear = colbert_linear.to(backbone.device, backbone.dtype)
        self._batch_tokens = batch_tokens

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        **settings: Any,
    ) -> BgeM3Encoder:
        """Load the published format: the backbone, its tokenizer and the two heads.

        Args:
            name_or_path: A folder, or the name of a model on the Hugging Face hub.
            revision: Branch, tag or commit on the hub.
            token: Access token for the hub; None takes the one of the environment.
            cache_dir: Folder of the download cache; None takes the usual one.
            local_files_only: Never use the network.
            device: Where to compute; None takes CUDA if present.
            dtype: Type of the weights; "auto" takes the stored one, None float32 on a CPU and else the
                stored one.
            **settings: `max_length`, `too_long` and `batch_tokens` as in the constructor.

        Raises:
            CheckpointError: If there is no such model, or a file is missing, damaged or contradicts
                another one.
            InputError: If a setting is impossible.
            MissingExtraError: If SciPy is not installed.
        """
        sparse_array()
        import torch

        from cocom.retrieval.bge_m3_heads import (
            MULTI_VECTOR_FILE,
            SPARSE_FILE,
            check_pooling,
            read_backbone,
            read_head,
        )

        kind = _type(dtype)
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        hub = HubOptions(revision, token, cache_dir, local_files_only)
        source = Source.find(name_or_path, hub)
        hidden = source.json("config.json").get("hidden_size")
        if not isinstance(hidden, int):
            raise CheckpointError(f"'{source.name}': config.json has no hidden_size.")
        check_pooling(source, hidden)
        sparse = read_head(source, SPARSE_FILE, hidden, 1)
        colbert = read_head(source, MULTI_VECTOR_FILE, hidden)
        backbone, tokenizer = read_backbone(
            source, torch.float32 if dtype is None and place.type == "cpu" else kind
        )
        moved: Any = backbone.to(place)  # type: ignore[arg-type]
        return cls(moved, tokenizer, sparse, colbert, **settings)

    @property
    def max_length(self) -> int:
        """Most tokens of a text, the two special ones included."""
        return self._tokens.max_length

    def encode(
        self,
        texts: Sequence[str],
        *,
        multi_vectors: bool = True,
        vector_type: VectorType = "float32",
    ) -> BgeM3Embeddings:
        """Encode texts, those of similar length together.

        Args:
            texts: Questions or passages: both are encoded alike, and without an instruction.
            multi_vectors: Whether to make this form, which takes the most memory by far.
            vector_type: Type in which its vectors are kept.

        Returns:
            The texts' embeddings, in their order.

        Raises:
            InputError: If a text is too long or no text, or the type is another.
            ModelError: If the model gave values that are not finite.
        """
        import numpy as np

        if vector_type not in ("float32", "float16"):
            raise InputError(f"vector_type is {vector_type!r}, but must be 'float32' or 'float16'.")
        ids = self._tokens.ids(texts)
        lengths = [len(row) for row in ids]
        starts = np.cumsum([0] + [length - 1 for length in lengths])
        dense = np.empty((len(ids), self._backbone.config.hidden_size), dtype=np.float32)
        width = self._colbert_linear.out_features
        vectors = np.empty((starts[-1] if multi_vectors else 0, width), dtype=vector_type)
        weighted: dict[int, TokenWeights] = {}
        for batch in _batches(lengths, self._batch_tokens):
            first, weights, projected = self._run([ids[i] for i in batch], multi_vectors)
            dense[batch] = first
            for row, i in enumerate(batch):
                found = weights[row, : lengths[i]]
                weighted[i] = largest(ids[i], found, self._tokens.special)
                if projected is not None:
                    vectors[starts[i] : starts[i + 1]] = projected[row, : lengths[i] - 1]
        sparse = stacked([weighted[i] for i in range(len(ids))], self._backbone.config.vocab_size)
        kept = MultiVectors(vectors, np.diff(starts).tolist()) if multi_vectors else None
        return BgeM3Embeddings(dense, sparse, kept)

    def scores(
        self,
        question: str,
        passages: Sequence[str | Passage],
        *,
        weights: Sequence[float] = EQUAL_WEIGHTS,
    ) -> list[BgeM3Scores]:
        """Compare one question with each of some passages in all three forms.

        Args:
            question: What is looked for.
            passages: What it is compared with.
            weights: Of the dense, the sparse and the multi-vector score in the hybrid one.

        Returns:
            Scores in the order of the passages.

        Raises:
            InputError: If a text is too long, or the weights are impossible.
        """
        checked = check_weights(weights)
        if isinstance(passages, str | Passage):
            raise InputError("passages is a single one: give a list, even for one.")
        texts = [p.text if isinstance(p, Passage) else p for p in passages]
        asked, found = self.encode([question]), self.encode(texts)
        assert asked.multi_vectors is not None
        assert found.multi_vectors is not None
        dense = found.dense @ asked.dense[0]
        sparse = (found.sparse @ asked.sparse.T).toarray().reshape(-1)
        multi_vector = found.multi_vectors.scores(asked.multi_vectors[0])
        all_scores = (dense, sparse, multi_vector, hybrid(checked, dense, sparse, multi_vector))
        return [BgeM3Scores(*row) for row in zip(*(s.tolist() for s in all_scores), strict=True)]

    def _run(
        self, rows: Sequence[Sequence[int]], multi_vectors: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Vectors (B, H), weights of all tokens (B, L), vectors of all but the first (B, L - 1, D)."""
        import torch
        from torch.nn.functional import normalize

        longest = max(map(len, rows))
        padded = [[*row, *[self._tokens.padding] * (longest - len(row))] for row in rows]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        device = self._backbone.device
        with torch.inference_mode():
            states = self._backbone(
                input_ids=torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
            ).last_hidden_state
            if not states.isfinite().all():
                raise ModelError(
                    f"The model gave values that are not finite in {self._backbone.dtype}: load it with "
                    "dtype='float32' or 'bfloat16'."
                )
            dense = normalize(states[:, 0].float(), dim=-1)
            weights = self._sparse_linear(states).squeeze(-1).relu().float()
            vectors = None
            if multi_vectors:
                vectors = normalize(self._colbert_linear(states[:, 1:]).float(), dim=-1)
        return (
            dense.cpu().numpy(),
            weights.cpu().numpy(),
            None if vectors is None else vectors.cpu().numpy(),
        )


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Places of texts of similar length, the longest first, so that little is padded."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _type(value: str | torch.dtype | None) -> torch.dtype | None:
    import torch

    if value is None or value == "auto":
        return None
    found = value if isinstance(value, torch.dtype) else getattr(torch, value, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype is {value!r}, but must be float32, bfloat16, float16 or auto.")
    return found
