"""The published format of BGE-M3: an XLM-R, and beside it the heads of two of its three forms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cocom.checkpoints.source import Source, first_line
from cocom.checkpoints.tensors import Tensors, read_pth
from cocom.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["MULTI_VECTOR_FILE", "SPARSE_FILE", "check_pooling", "read_backbone", "read_head"]

SPARSE_FILE = "sparse_linear.pt"
MULTI_VECTOR_FILE = "colbert_linear.pt"

_POOLING_FILE = "1_Pooling/config.json"
_TOKENIZER_FILES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")


def read_backbone(
    source: Source, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder and its tokenizer, from local files alone; every weight must be there.

    Raises:
        CheckpointError: If files are missing or damaged, or do not fit each other.
    """
    from transformers import AutoModel, AutoTokenizer

    if not any(source.has(name) for name in _TOKENIZER_FILES):
        # transformers would make up a tokenizer that knows no word.
        raise CheckpointError(
            f"'{source.name}' lacks {_TOKENIZER_FILES[0]}: the folder is incomplete, download it again."
        )
    folder = _folder(source)
    try:
        with _quiet():
            model, found = AutoModel.from_pretrained(
                folder, dtype=dtype or "auto", output_loading_info=True, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise CheckpointError(
            f"'{source.name}' cannot be loaded as an encoder and its tokenizer "
            f"({first_line(error).rstrip('.')}): give the folder of a BGE-M3 model or its name on the hub."
        ) from error
    # Whatever is made for the first token alone is of no use here; nor is what was trained on top.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise CheckpointError(
            f"'{source.name}' lacks {len(missing)} weights of its {type(model).__name__}, "
            f"{missing[0]} first: the folder is incomplete, download it again."
        )
    return model.eval(), tokenizer


def read_head(source: Source, name: str, hidden: int, outputs: int | None = None) -> nn.Linear:
    """A linear map from its file, in float32; nothing in the file is executed.

    Args:
        source: Where the file is.
        name: Of the file.
        hidden: What the map must take.
        outputs: What it must give; None takes what the file has.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds anything but such a map.
    """
    if not source.has(name):
        raise CheckpointError(
            f"'{source.name}' lacks {name}, without which a BGE-M3 model would be random in part: download "
            "it again, or use DenseRetriever if it is another kind of model."
        )
    tensors = Tensors(f"'{source.name}': {name}", read_pth(source, name))
    weight, bias = tensors.take("weight"), tensors.take("bias")
    tensors.finish()
    given = outputs or (weight.shape[0] if weight.ndim == 2 else 0)
    if tuple(weight.shape) != (given, hidden) or tuple(bias.shape) != (given,) or given < 1:
        raise CheckpointError(
            f"'{source.name}': {name} has a weight of shape {tuple(weight.shape)} and a bias of shape "
            f"{tuple(bias.shape)}, but the model needs ({outputs or 'any'}, {hidden}) and as many biases: "
            "the head belongs to another model."
        )
    for key, tensor in (("weight", weight), ("bias", bias)):
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise CheckpointError(
                f"'{source.name}': {name} has a {key} that is not made of finite numbers: "
                "the file is damaged, download it again."
            )
    head = nn.Linear(hidden, given)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head.eval()


def check_pooling(source: Source, hidden: int) -> None:
    """Make sure that the dense form is the first token's, where the format says what it is.

    Raises:
        CheckpointError: If it says something else.
    """
    if not source.has(_POOLING_FILE):
        return
    settings = source.json(_POOLING_FILE)
    modes = settings.get("pooling_mode")
    if modes is None:  # as it was written before version 6 of sentence-transformers
        prefix = "pooling_mode_"
        modes = [name.removeprefix(prefix) for name, on in settings.items() if on is True]
        modes = [mode.removesuffix("_token") for mode in modes if f"{prefix}{mode}" in settings]
    modes = [modes] if isinstance(modes, str) else modes
    width = settings.get("word_embedding_dimension", settings.get("embedding_dimension", hidden))
    if modes != ["cls"] or width != hidden:
        raise CheckpointError(
            f"'{source.name}': {_POOLING_FILE} asks for pooling {modes} of {width} values, but BGE-M3's "
            f"dense form is ['cls'] of {hidden}: load such a model with DenseRetriever."
        )


def _folder(source: Source) -> Path:
    """The folder with the encoder and the tokenizer, downloaded if it must be; weights only once."""
    if source.folder is not None:
        return source.folder
    inside = [name for name in source.names if "/" not in name]
    safe = any(name.endswith(".safetensors") for name in inside)
    suffixes = (".json", ".model", ".txt", ".safetensors" if safe else ".bin")
    source.need("config.json")
    paths = [source.need(name) for name in sorted(inside) if name.endswith(suffixes)]
    return paths[0].parent


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what transformers shows while loading: bars for local files, reports that we check."""
    from transformers.utils import logging

    logs: Any = logging
    shown, level = logs.is_progress_bar_enabled(), logs.get_verbosity()
    logs.disable_progress_bar()
    logs.set_verbosity_error()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if shown:
            logs.enable_progress_bar()
