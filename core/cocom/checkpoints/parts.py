"""What every reader needs: the base model it builds on, adapters, the rows of added tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cocom.checkpoints.source import HubOptions, Source, first_line
from cocom.checkpoints.tensors import Tensors, read_safetensors
from cocom.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "LoadOptions",
    "base_config",
    "base_model",
    "base_tokenizer",
    "built_model",
    "complete_model",
    "full_model",
    "grown_model",
    "setting",
    "stripped_tokenizer",
]


@dataclass(frozen=True)
class LoadOptions:
    """How to load a published checkpoint.

    Attributes:
        base: Where the base models are: one folder or hub name for the language model, or a mapping
            from the names in the checkpoint's config.json; None takes those names.
        layout: Which of the format's input layouts to use; None takes the one of its training.
        window: Passage tokens compressed at a time, where the checkpoint does not say.
        hub: How to reach the hub.
        dtype: Type to compute in; None keeps the stored one.
        keep_bfloat16: Compute in bfloat16 what is stored so, whatever `dtype` is.
        model: More arguments of `from_pretrained` for the language model (device_map,
            attn_implementation, quantization_config).
    """

    base: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None
    layout: str | None = None
    window: int | None = None
    hub: HubOptions = field(default_factory=HubOptions)
    dtype: torch.dtype | None = None
    keep_bfloat16: bool = False
    model: Mapping[str, Any] = field(default_factory=dict)

    def type_for(self, stored: torch.dtype | None) -> torch.dtype | str:
        """Type to load weights in that are stored in one; "auto" is theirs."""
        if self.keep_bfloat16 and stored == torch.bfloat16:
            return stored
        return self.dtype or stored or "auto"

    def for_encoder(self) -> LoadOptions:
        """The same without what is meant for the language model only."""
        return replace(self, base=None, layout=None, window=None, model={})

    def base_of(self, name: Any, *, decoder: bool = True) -> str:
        """Folder or hub name of a base model that a checkpoint calls `name`.

        Raises:
            CheckpointError: The checkpoint names none, and none was given.
        """
        if isinstance(self.base, Mapping):
            found = self.base.get(name, name) if isinstance(name, str) else name
        else:
            found = self.base if self.base is not None and decoder else name
        if not isinstance(found, str | os.PathLike) or not str(found):
            raise CheckpointError(
                f"the checkpoint names its base model as {name!r}: say where it is with base=."
            )
        return str(found)


def setting(
    config: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any = ...
) -> Any:
    """A value of a published config.json, checked.

    Raises:
        CheckpointError: It is missing and has no default, or is of another type.
    """
    value = config.get(name)
    if value is None and default is not ...:
        return default
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(k.__name__ for k in kinds)
        found = "is missing" if value is None else f"is {value!r}"
        raise CheckpointError(f"config.json: {name} {found}, but must be of type {wanted}.")
    if int in kinds and isinstance(value, int) and not isinstance(value, bool) and value < 1:
        raise CheckpointError(f"config.json: {name} is {value}, but must be at least 1.")
    return value


def base_config(base: str, options: LoadOptions) -> PretrainedConfig:
    """Settings of a base model, without its weights."""
    from transformers import AutoConfig

    found: PretrainedConfig = _loaded(
        base, "the base model's config", AutoConfig.from_pretrained, options
    )
    return found


def base_tokenizer(base: str, options: LoadOptions) -> PreTrainedTokenizerBase:
    """Tokenizer of a base model."""
    from transformers import AutoTokenizer

    found: PreTrainedTokenizerBase = _loaded(
        base, "the base model's tokenizer", AutoTokenizer.from_pretrained, options
    )
    return found


def _loaded(
    base: str, what: str, load: Callable[..., Any], options: LoadOptions, **more: Any
) -> Any:
    try:
        # Without it, transformers asks on the terminal whether to run a base model's own code.
        return load(base, trust_remote_code=False, **options.hub.for_base(), **more)
    except Exception as error:
        raise CheckpointError(
            f"{what} '{base}' cannot be loaded ({first_line(error)}): say where it is with base=."
        ) from error


def _complete(model: Any, report: dict[str, Any], base: str) -> Any:
    """The model, if no weight of it was missing and made up."""
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    missing = [
        name
        for name in report["missing_keys"]
        if "pooler" not in name and not (tied and name == "lm_head.weight")
    ]
    if missing:
        raise CheckpointError(
            f"the base model '{base}' lacks {len(missing)} tensors, among them '{min(missing)}': "
            "download it again."
        )
    return model


def _base_type(base: str, options: LoadOptions) -> torch.dtype | str:
    """Type to load a base model in; its config.json tells what it is stored in."""
    stored: Any = base_config(base, options).dtype if options.keep_bfloat16 else None
    return options.type_for(stored)


def grown_model(base: str, rows: int, options: LoadOptions) -> PreTrainedModel:
    """A base language model with its weights, its vocabulary grown (or cut) to `rows`."""
    from transformers import AutoModelForCausalLM

    model, report = _loaded(
        base,
        "the base model",
        AutoModelForCausalLM.from_pretrained,
        options,
        output_loading_info=True,
        dtype=_base_type(base, options),
        **options.model,
    )
    model = _complete(model, report, base)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return model  # type: ignore[no-any-return]


def full_model(
    base: str, rows: int, tensors: Tensors, name_of: Callable[[str], str], options: LoadOptions
) -> PreTrainedModel:
    """A language model of a base's architecture whose weights are all in the checkpoint.

    Args:
        base: Gives the architecture only.
        rows: Size of the vocabulary with added tokens.
        tensors: The checkpoint's tensors; those of the model are taken out.
        name_of: From a parameter's name in the base model to its name in the checkpoint.
        options: How to load.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, GenerationConfig

    config: Any = base_config(base, options)
    config.vocab_size = rows
    try:
        kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError as error:
        raise CheckpointError(
            f"the base model '{base}' is a {config.model_type}, not a causal language model."
        ) from error
    model = built_model(kind, config, tensors, name_of, options)
    with suppress(OSError):  # many bases have none
        model.generation_config = GenerationConfig.from_pretrained(base, **options.hub.for_base())
    return model


def built_model(
    kind: Any, config: Any, tensors: Tensors, name_of: Callable[[str], str], options: LoadOptions
) -> PreTrainedModel:
    """A model of a class and its settings, with tensors of the checkpoint, strictly."""
    with torch.device("meta"):
        wanted = {k: tuple(v.shape) for k, v in kind(config).state_dict().items()}
    tied = bool(getattr(config, "tie_word_embeddings", False))
    state: dict[str, torch.Tensor] = {}
    for name, shape in wanted.items():
        stored = name_of(name)
        if tied and name == "lm_head.weight" and stored not in tensors:
            continue
        state[name] = tensors.take(stored, shape)
    stored_type = next(t.dtype for t in state.values() if t.is_floating_point())
    try:
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=state,
            output_loading_info=True,
            dtype=options.type_for(stored_type),
            **options.model,
        )
    except Exception as error:
        raise CheckpointError(
            f"{tensors.where} cannot be put into {kind.__name__}: {first_line(error)}"
        ) from error
    missing = [k for k in report["missing_keys"] if not (tied and k == "lm_head.weight")]
    if missing or report["unexpected_keys"]:
        raise CheckpointError(
            f"{tensors.where}: the weights do not fit {kind.__name__}: missing {missing[:3]}, not "
            f"expected {list(report['unexpected_keys'])[:3]}."
        )
    return model  # type: ignore[no-any-return]


def base_model(base: str, options: LoadOptions) -> PreTrainedModel:
    """A base model without a head, in the type asked for, on the CPU."""
    from transformers import AutoModel

    model, report = _loaded(
        base,
        "the compressor's base model",
        AutoModel.from_pretrained,
        options,
        output_loading_info=True,
        dtype=_base_type(base, options),
    )
    return _complete(model, report, base)  # type: ignore[no-any-return]


def complete_model(source: Source, folder: str, options: LoadOptions) -> PreTrainedModel:
    """A model without a head from a folder inside a checkpoint, strictly."""
    from transformers import MODEL_MAPPING, AutoConfig

    where = source.need(f"{folder}/config.json").parent
    try:
        shape = AutoConfig.from_pretrained(where, local_files_only=True, trust_remote_code=False)
        kind = MODEL_MAPPING[type(shape)]
    except Exception as error:
        raise CheckpointError(
            f"'{source.name}/{folder}' is no model this can read ({first_line(error)})."
        ) from error
    tensors = read_safetensors(source, f"{folder}/model")
    tensors.drop("lm_head.weight")

    def stored(name: str) -> str:
        return f"model.{name}" if f"model.{name}" in tensors else name

    model = built_model(kind, shape, tensors, stored, options.for_encoder())
    tensors.finish()
    return model


def stripped_tokenizer(folder: Path, added: tuple[str, ...]) -> PreTrainedTokenizerBase:
    """A checkpoint's tokenizer without the tokens that this method adds and keeps by itself.

    Raises:
        CheckpointError: They do not stand at the end of its vocabulary, or it cannot be read.
    """
    import json

    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        whole = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception as error:
        raise CheckpointError(f"'{folder}' cannot be read: {first_line(error)}") from error
    kept = [t for t in whole["added_tokens"] if t["content"] not in added]
    gone = [t["id"] for t in whole["added_tokens"] if t["content"] in added]
    size = len(tokenizer) - len(gone)
    if sorted(gone) != list(range(size, size + len(gone))):
        raise CheckpointError(
            f"'{folder}': {', '.join(added)} have the ids {sorted(gone)}, not the last ones of "
            f"{len(tokenizer)}."
        )
    plain = Tokenizer.from_str(json.dumps({**whole, "added_tokens": kept}))
    named = {
        name: token
        for name, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str) and token not in added
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        chat_template=tokenizer.chat_template,
        padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        **named,
    )
