"""Loads models of sentence-transformers, and refuses what it would complete with random weights.

The library turns every checkpoint into every kind of model. Where the checkpoint has no head for the
kind that was asked for it makes one up, and the scores then mean nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from cocom.errors import CheckpointError, InputError, MissingExtraError

__all__ = ["Checkpoint", "Kind", "check_kind", "describe", "first_line", "load_model", "lock_of"]

Kind = Literal["SentenceTransformer", "SparseEncoder", "MultiVectorEncoder", "CrossEncoder"]

# What each kind is for, and the ends of the names of plain transformers that have its head.
_USES: Mapping[Kind, str] = {
    "SentenceTransformer": "retrieval by meaning",
    "SparseEncoder": "retrieval by weighted terms (SPLADE)",
    "MultiVectorEncoder": "late interaction",
    "CrossEncoder": "reranking of question and passage together",
}
_HEADS: Mapping[Kind, tuple[str, ...]] = {
    "SparseEncoder": ("ForMaskedLM",),
    "MultiVectorEncoder": ("HF_ColBERT", "ForRetrieval"),
    "CrossEncoder": ("ForSequenceClassification", "ForCausalLM"),
}

_locks: WeakKeyDictionary[object, threading.RLock] = WeakKeyDictionary()
_locking = threading.Lock()


@dataclass(frozen=True)
class Checkpoint:
    """What the files of a model say of it.

    Attributes:
        kind: Which class of sentence-transformers wrote it; None for a plain transformer.
        architectures: Names of the transformer's classes; none if there is no `config.json`.
        backbone: What kind of transformer it is; None if there is no `config.json`.
    """

    kind: str | None
    architectures: tuple[str, ...]
    backbone: str | None


def describe(kind: Kind, name: str) -> Checkpoint:
    """Reads what a checkpoint is, before its weights are.

    Args:
        kind: The class that is going to load it, which decides where on the hub short names are.
        name: A folder or the name of a model on the hub.

    Raises:
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If a file cannot be read.
    """
    place = name
    organization = getattr(_library_class(kind), "default_huggingface_organization", None)
    if organization and "/" not in name and not Path(name).is_dir():
        place = f"{organization}/{name}"
    config = _read_json(place, "config.json") or {}
    saved = None
    if _read_json(place, "modules.json") is not None:
        settings = _read_json(place, "config_sentence_transformers.json") or {}
        saved = str(settings.get("model_type", "SentenceTransformer"))
        saved = "MultiVectorEncoder" if saved == "ColBERT" else saved  # as PyLate calls it
    architectures = config.get("architectures") or ()
    return Checkpoint(saved, tuple(map(str, architectures)), config.get("model_type"))


def load_model(
    kind: Kind,
    name: str | Path,
    *,
    device: str | None = None,
    checkpoint: Checkpoint | None = None,
) -> Any:
    """Loads a model as one kind, if its checkpoint is complete for that.

    Args:
        kind: The class of sentence-transformers to load it with.
        name: A folder or the name of a model on the hub.
        device: Where it computes; None takes a GPU if there is one.
        checkpoint: What `describe` says of it, if that was asked before.

    Raises:
        MissingExtraError: If sentence-transformers is not installed.
        CheckpointError: If there is no such model, it cannot be loaded, or it is of another kind.
    """
    name = str(name)
    if not name.strip():
        raise CheckpointError(
            f"The name of the retrieval model is empty: give the folder of a {kind} or its name on the hub."
        )
    _check_checkpoint(kind, name, checkpoint or describe(kind, name))
    try:
        return _library_class(kind)(name, device=device)
    except Exception as error:  # what the library and those below it raise has nothing in common
        raise CheckpointError(
            f"The retrieval model '{name}' cannot be loaded: give the folder of a {kind} or its name on the "
            f"hub ({first_line(error)})."
        ) from error


def check_kind(kind: Kind, model: object) -> None:
    """Makes sure that a model which was loaded already is of the right kind.

    Raises:
        InputError: If it is another class of sentence-transformers.
    """
    classes = {base.__name__ for base in type(model).__mro__}
    if kind not in classes and classes & _USES.keys():
        raise InputError(
            f"The model is a {type(model).__name__}, but {_USES[kind]} needs a {kind}: load it with "
            "that class, if its checkpoint has the head for it."
        )


def lock_of(model: object) -> threading.RLock:
    """The lock to hold while a model counts or reads tokens, the same for all who use the model.

    A tokenizer keeps how it cuts and pads in itself, so two threads disturb each other.
    """
    with _locking:
        return _locks.setdefault(model, threading.RLock())


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _check_checkpoint(kind: Kind, name: str, checkpoint: Checkpoint) -> None:
    if checkpoint.kind is not None:
        fits, what = checkpoint.kind == kind, f"a {checkpoint.kind}"
    elif not checkpoint.architectures:
        return  # nothing is known of it; loading tells
    else:
        first = checkpoint.architectures[0]
        others = tuple(end for each, ends in _HEADS.items() if each != kind for end in ends)
        if kind == "SentenceTransformer":
            fits = not first.endswith(others) or first.endswith(("ForMaskedLM", "ForCausalLM"))
        else:
            fits = first.endswith(_HEADS[kind])
        what = f"a plain {first}"
    if not fits:
        raise CheckpointError(
            f"The model '{name}' is {what}, but {_USES[kind]} needs a {kind}: its checkpoint has no head "
            "for that, and a random one would give meaningless scores."
        )


def _library_class(kind: Kind) -> Any:
    try:
        import sentence_transformers
    except ImportError as error:
        use = _USES[kind]
        raise MissingExtraError(
            "sentence-transformers", "retrieval", use[0].upper() + use[1:]
        ) from error
    try:
        return getattr(sentence_transformers, kind)
    except AttributeError as error:
        raise CheckpointError(
            f"sentence-transformers {sentence_transformers.__version__} has no {kind}, which "
            f"{_USES[kind]} needs: install version 6 or later."
        ) from error


def _read_json(place: str, file: str) -> Any:
    """A JSON file of a checkpoint; None where it has no such file."""
    from sentence_transformers.util import load_file_path

    try:
        path = load_file_path(place, file)
        return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} of the retrieval model '{place}' cannot be read: check the name, the network or the "
            f"file ({first_line(error)})."
        ) from error
