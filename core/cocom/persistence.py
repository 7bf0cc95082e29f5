"""A model as a folder: plain Hugging Face parts, safetensors only, written whole or not at all.

cocom.json            format version, configuration, fingerprint
backbone/             the language model and its tokenizer, as `from_pretrained` reads them
control.safetensors   input embeddings of the control tokens
adapters.safetensors  LoRA weights of both roles, if there are any
encoder/              the light compressor's encoder and tokenizer, if there is one
encoder.safetensors   its memory tokens and head
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cocom.config import CocomConfig, EncoderConfig
from cocom.errors import CheckpointError, CocomError, ConfigError

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = [
    "FORMAT_VERSION",
    "load",
    "load_weights",
    "placed",
    "quiet",
    "read_manifest",
    "save",
    "settle",
    "start",
]

FORMAT_VERSION = 1
_MANIFEST = "cocom.json"


def save(model: Cocom, folder: str | os.PathLike[str]) -> None:
    """Write `model` into `folder` (see `Cocom.save_pretrained`)."""
    target = Path(folder)
    if getattr(model.backbone.model.config, "quantization_config", None) is not None:
        raise CheckpointError(
            "quantized weights cannot be saved: load the model without quantization, save it, and "
            "quantize when loading."
        )
    if _is_merged(model):
        raise CheckpointError(
            "an adapter was merged into the weights and cannot be taken out exactly: load the model again, "
            "save it, and merge after loading."
        )
    if target.resolve() == Path.cwd():
        raise CheckpointError(
            f"'{folder}' is the working directory, which cannot be replaced: name a folder inside it."
        )
    if target.exists() and (not target.is_dir() or not _may_replace(target)):
        raise CheckpointError(
            f"'{target}' exists and is not a COCOM model folder: choose another folder or remove it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _write(model, staging)
        _open_to_others(staging)
        if target.exists():
            old = staging.with_name(staging.name + ".old")
            target.rename(old)
            staging.rename(target)
            shutil.rmtree(old)
        else:
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_merged(model: Cocom) -> bool:
    own = model.encoder is not None and model.encoder.merged.name
    return bool(own or model.backbone.merged.name)


def _open_to_others(folder: Path) -> None:
    """Give files and folders the usual permissions; temporary ones are private."""
    mask = os.umask(0)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def _may_replace(folder: Path) -> bool:
    return (folder / _MANIFEST).is_file() or not any(folder.iterdir())


def _write(model: Cocom, folder: Path) -> None:
    from safetensors.torch import save_file

    backbone, config = model.backbone, model.config
    with quiet():
        backbone.model.save_pretrained(
            folder / "backbone", state_dict=_without_adapters(backbone.model.state_dict())
        )
        backbone.text.tokenizer.save_pretrained(str(folder / "backbone"))
    save_file(_copied(backbone.control.state_dict()), folder / "control.safetensors")
    adapters = {k: v for k, v in backbone.model.state_dict().items() if _is_adapter(k)}
    if adapters:
        save_file(_copied(adapters), folder / "adapters.safetensors")
    if model.encoder is not None:
        with quiet():
            model.encoder.encoder.save_pretrained(
                folder / "encoder", state_dict=_with_norm(model.encoder.encoder, config.encoder)
            )
            model.encoder.text.tokenizer.save_pretrained(str(folder / "encoder"))
        own = {k: v for k, v in model.encoder.state_dict().items() if _is_added(k)}
        save_file(_copied(own), folder / "encoder.safetensors")
    manifest = {
        "format_version": FORMAT_VERSION,
        "fingerprint": model.fingerprint,
        "config": model.config.to_dict(),
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def load(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    keep_bfloat16: bool = False,
    **options: Any,
) -> Cocom:
    """Read a model folder that `save` wrote.

    Args:
        folder: It.
        device: Where the model goes.
        dtype: Type to compute in; None keeps the saved one.
        keep_bfloat16: Compute in bfloat16 what was saved so, whatever `dtype` is.
        **options: More arguments of `from_pretrained` for the language model.

    Raises:
        CheckpointError: The folder is incomplete, damaged or was changed since it was saved.
    """
    from cocom.engine import Cocom

    manifest = read_manifest(folder)
    try:
        config = CocomConfig.from_dict(manifest["config"])
    except ConfigError as error:
        raise CheckpointError(f"'{folder / _MANIFEST}' cannot be used: {error}") from error
    model, tokenizer = _hugging_face(
        folder / "backbone", dtype, causal=True, keep_bfloat16=keep_bfloat16, **options
    )
    encoder, encoder_tokenizer = (
        _hugging_face(folder / "encoder", dtype, causal=False, keep_bfloat16=keep_bfloat16)
        if config.encoder
        else (None, None)
    )
    cocom = Cocom(model, tokenizer, config, encoder=encoder, encoder_tokenizer=encoder_tokenizer)
    load_weights(cocom, folder, backbone=False)
    settle(cocom, device, options)
    if cocom.fingerprint != manifest["fingerprint"] and "quantization_config" not in options:
        if dtype in (None, torch.float32, torch.bfloat16):
            raise CheckpointError(
                f"the weights in '{folder}' have fingerprint {cocom.fingerprint[:12]} but {_MANIFEST} says "
                f"{str(manifest['fingerprint'])[:12]}: it was changed since it was saved."
            )
        # float16 cannot hold every bfloat16 value; what was saved is what counts.
        cocom._fingerprint = str(manifest["fingerprint"])
    return cocom


def settle(model: Cocom, device: torch.device, options: Mapping[str, Any]) -> None:
    """Put a model where it belongs, ready for use.

    Args:
        model: Changed in place.
        device: Where it goes.
        options: What the language model was loaded with; a device map or quantization has given it
            a place already.
    """
    spread = bool(options.keys() - {"attn_implementation"})
    for name, module in model.modules().items():
        if spread and name == "backbone":
            words: Any = model.backbone.model.get_input_embeddings()
            model.backbone.control.to(words.weight.device)
        else:
            module.to(device)
        module.eval()


def start(
    name_or_path: str | os.PathLike[str],
    config: CocomConfig | None,
    *,
    encoder: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Cocom:
    """Put a new model together from Hugging Face parts (see `Cocom.from_backbone`)."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    from cocom.engine import Cocom

    place, kind = placed(device, dtype)
    parts: list[Any] = []
    for name, factory in ((name_or_path, AutoModelForCausalLM), (encoder, AutoModel)):
        if name is None:
            parts += [None, None]
            continue
        try:
            parts.append(
                factory.from_pretrained(name, dtype=kind or "auto", trust_remote_code=False)
            )
            parts.append(AutoTokenizer.from_pretrained(name, trust_remote_code=False))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"'{name}' cannot be loaded: {error}") from error
    model, tokenizer, encoder_model, encoder_tokenizer = parts
    cocom = Cocom(
        model, tokenizer, config, encoder=encoder_model, encoder_tokenizer=encoder_tokenizer
    )
    for module in cocom.modules().values():
        module.to(place).eval()
    return cocom


def load_weights(model: Cocom, folder: str | os.PathLike[str], *, backbone: bool = True) -> None:
    """Put a folder's weights into a model of the same make, strictly.

    Args:
        model: Receives the weights.
        folder: Written by `save`.
        backbone: Also read the language model and the encoder, not only what was added to them.

    Raises:
        CheckpointError: A file is missing or damaged, or names or shapes differ.
    """
    source = Path(folder)
    if _is_merged(model):
        raise CheckpointError(
            f"an adapter of this model was merged, so the weights in '{source}' have no place: load them "
            "into a model that is not merged."
        )
    _assign(model.backbone.control.state_dict(), _tensors(source / "control.safetensors"))
    adapters = {k: v for k, v in model.backbone.model.state_dict().items() if _is_adapter(k)}
    if adapters:
        _assign(adapters, _tensors(source / "adapters.safetensors"))
    elif (source / "adapters.safetensors").exists():
        raise CheckpointError(
            f"'{source}' holds adapters.safetensors, but this model has no adapters: set weights to what "
            "it was trained with."
        )
    if model.encoder is not None:
        own = {k: v for k, v in model.encoder.state_dict().items() if _is_added(k)}
        _assign(own, _tensors(source / "encoder.safetensors"))
    if backbone:
        parts: list[tuple[Any, str]] = [(model.backbone.model, "backbone")]
        if model.encoder is not None:
            parts.append((model.encoder.encoder, "encoder"))
        for module, name in parts:
            stored, _ = _hugging_face(source / name, None, causal=name == "backbone")
            _assign(_without_adapters(module.state_dict()), stored.state_dict())
    model.weights_changed()


def _assign(targets: Mapping[str, torch.Tensor], stored: Mapping[str, torch.Tensor]) -> None:
    missing, extra = sorted(set(targets) - set(stored)), sorted(set(stored) - set(targets))
    if missing or extra:
        raise CheckpointError(
            f"the stored weights do not fit this model: missing {missing[:3]}, not expected {extra[:3]}."
        )
    with torch.no_grad():
        for name, target in targets.items():
            if target.shape != stored[name].shape:
                raise CheckpointError(
                    f"'{name}' has shape {tuple(stored[name].shape)} in the file but "
                    f"{tuple(target.shape)} in the model."
                )
        for name, target in targets.items():
            target.copy_(stored[name])


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(
            f"'{path.parent}' lacks {path.name}: the folder is incomplete, save it again."
        )
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"'{path}' cannot be read ({error}): the file is damaged.") from error
    return tensors


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a saved model's cocom.json says, checked."""
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format_version"]
        if not {"config", "fingerprint"} <= set(manifest):
            raise KeyError("config or fingerprint")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{path}' cannot be read ({error}): the file is damaged.") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"'{folder}' has format_version {version}, but this cocom reads {FORMAT_VERSION}: "
            "install the version of cocom that wrote it."
        )
    assert isinstance(manifest, dict)
    return manifest


def _hugging_face(
    folder: Path,
    dtype: torch.dtype | None,
    *,
    causal: bool,
    keep_bfloat16: bool = False,
    **options: Any,
) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"'{folder.parent}' lacks {folder.name}/config.json: the folder is incomplete, save it again."
        )
    kind: Any = AutoModelForCausalLM if causal else AutoModel
    try:
        with quiet():
            if keep_bfloat16:
                saved = AutoConfig.from_pretrained(folder, local_files_only=True).dtype
                dtype = saved if saved == torch.bfloat16 else dtype
            model, report = kind.from_pretrained(
                folder,
                dtype=dtype or "auto",
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
            # Not AutoTokenizer, which goes by the model's type and may build another than was saved.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except CocomError:
        raise
    except Exception as error:
        raise CheckpointError(f"'{folder}' cannot be read: {error}") from error
    faults = {k: v for k, v in report.items() if v and k != "error_msgs"} | (
        {"errors": report["error_msgs"]} if report.get("error_msgs") else {}
    )
    if faults:
        raise CheckpointError(f"the weights in '{folder}' do not fit its config.json: {faults}.")
    return model, tokenizer


def placed(
    device: str | torch.device | None, dtype: str | torch.dtype | None
) -> tuple[torch.device, torch.dtype | None]:
    """Device and type by the defaults: CUDA if present; the stored type there, float32 on a CPU."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if dtype == "auto":
        return place, None
    return place, _dtype(dtype) or (None if place.type == "cuda" else torch.float32)


def _dtype(value: str | torch.dtype | None) -> torch.dtype | None:
    if value is None:
        return None
    found = value if isinstance(value, torch.dtype) else getattr(torch, value, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise CheckpointError(
            f"dtype {value!r} is unknown: choose float32, bfloat16, float16 or auto."
        )
    return found


def _with_norm(encoder: Any, shape: EncoderConfig | None) -> dict[str, torch.Tensor]:
    """Weights of an encoder; one without its last normalisation gets a neutral one, for its class."""
    state = _without_adapters(encoder.state_dict())
    if shape is not None and not shape.final_norm:
        state["norm.weight"] = torch.ones(encoder.config.hidden_size, dtype=encoder.dtype)
    return state


def _is_added(name: str) -> bool:
    """Whether a weight of the light compressor is not its encoder's own."""
    return not name.startswith("encoder.") or _is_adapter(name)


def _is_adapter(name: str) -> bool:
    return ".lora_" in name


def _without_adapters(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.replace(".base_layer.", "."): v for k, v in state.items() if not _is_adapter(k)}


def _copied(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what transformers shows while loading: bars for local files, reports that we check."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
