"""What a checkpoint is, told from its files without loading its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cocom.checkpoints.formats import FORMATS, format_of
from cocom.checkpoints.loading import MANIFEST, find
from cocom.checkpoints.parts import LoadOptions
from cocom.checkpoints.source import HubOptions, Source
from cocom.config import CocomConfig
from cocom.errors import CheckpointError, ConfigError
from cocom.persistence import read_manifest

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["CheckpointInfo", "describe"]

_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class CheckpointInfo:
    """What `describe` found.

    Attributes:
        name: As it was given.
        format: "cocom" for our own, else the published format.
        base: Names of the base models a published checkpoint builds on.
        config: Our settings for it.
        megabytes: Size of its weights.
        fingerprint: Of the model, where it is stored; a published checkpoint's is known after loading.
        weights_sha256: Hash over the names and the bytes of the weight files.
    """

    name: str
    format: str
    base: tuple[str, ...]
    config: CocomConfig
    megabytes: float
    fingerprint: str | None
    weights_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        config = self.config
        adapters = {"full": [], "shared_lora": ["shared"], "separate_lora": ["compress", "read"]}
        return {
            "name": self.name,
            "format": self.format,
            "base": list(self.base),
            "rates": list(config.rates),
            "window": config.window,
            "embeddings_per_window": {str(rate): _most(config, rate) for rate in config.rates},
            "embedding_count": config.embedding_count,
            "adapters": adapters[config.weights],
            "lora_r": config.lora.r if config.weights != "full" else None,
            "compressor": "the language model" if config.encoder is None else config.encoder.head,
            "reads_query": config.encoder is not None and bool(config.encoder.query),
            "megabytes": round(self.megabytes, 1),
            "fingerprint": self.fingerprint,
            "weights_sha256": self.weights_sha256,
        }


def describe(
    name_or_path: str | PathLike[str],
    *,
    base: Any = None,
    hub: HubOptions | None = None,
) -> CheckpointInfo:
    """Tell what a checkpoint is.

    Args:
        name_or_path: The shipped model, a folder or a hub repository.
        base: As for `Cocom.from_pretrained`.
        hub: How to reach the hub.

    Raises:
        CheckpointError: It is missing, incomplete or of no known format.
    """
    hub = hub or HubOptions()
    source = find(name_or_path, hub)
    named: tuple[str, ...] = ()
    fingerprint: str | None = None
    weights = sorted(n for n in source.names if n.endswith(_WEIGHTS))
    if source.has(MANIFEST):
        manifest = read_manifest(source.need(MANIFEST).parent)
        try:
            config = CocomConfig.from_dict(manifest["config"])
        except ConfigError as error:
            raise CheckpointError(f"'{source.name}/{MANIFEST}' cannot be used: {error}") from error
        kind, fingerprint = "cocom", str(manifest["fingerprint"])
    else:
        kind, published = format_of(source)
        options = LoadOptions(base=base, hub=hub)
        try:
            config = FORMATS[kind].preview(source, published, options)
        except ConfigError as error:
            raise CheckpointError(f"'{source.name}' cannot be used: {error}") from error
        named = _bases(published)
    return CheckpointInfo(
        name=str(name_or_path),
        format=kind,
        base=named,
        config=config,
        megabytes=sum(source.size(n) for n in weights) / 1e6,
        fingerprint=fingerprint,
        weights_sha256=_hash(source, weights),
    )


def _bases(published: dict[str, Any]) -> tuple[str, ...]:
    trimmed = published.get("compr_model_name") == "mistral_trimmed"
    compressor = "compr_base_model_name" if trimmed else "compr_model_name"
    fields = ("decoder_model_name", compressor, "compressor_model_name")
    return tuple(dict.fromkeys(str(published[f]) for f in fields if published.get(f)))


def _most(config: CocomConfig, rate: int) -> int:
    """Embeddings of a full window."""
    tokens = config.window
    if config.encoder is not None and config.encoder.counts == "row":
        # Two special tokens around the passage, or one before it and one group more.
        tokens += 2
    return config.embeddings_for(tokens, rate)


def _hash(source: Source, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}:{source.sha256(name)}\n".encode())
    return digest.hexdigest()
