"""Where a checkpoint's files are: a folder, or a repository on the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cocom.errors import CheckpointError

__all__ = ["HubOptions", "Source", "first_line"]


@dataclass(frozen=True)
class HubOptions:
    """How to reach the hub.

    Attributes:
        revision: Branch, tag or commit of the checkpoint; base models take their default branch.
        token: Access token; None takes the one of the environment or of `hf auth login`.
        cache_dir: Folder of the download cache; None takes the usual one.
        local_files_only: Never use the network.
        subfolder: Where in the repository (or folder) the checkpoint is.
    """

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    subfolder: str = ""

    def for_base(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` for a base model."""
        return {
            "token": self.token,
            "cache_dir": self.cache_dir,
            "local_files_only": self.local_files_only,
        }


@dataclass(frozen=True)
class Source:
    """A checkpoint's files by their path inside it, downloaded one by one as they are asked for."""

    name: str
    folder: Path | None
    options: HubOptions = field(default_factory=HubOptions)

    @classmethod
    def find(cls, name_or_path: str | os.PathLike[str], options: HubOptions) -> Source:
        """A folder if there is one of that name, else a hub repository.

        Raises:
            CheckpointError: It is a file, or has no such subfolder.
        """
        path = Path(name_or_path)
        name = str(name_or_path)
        if path.is_dir():
            inner = path / options.subfolder
            if not inner.is_dir():
                raise CheckpointError(
                    f"'{name}' has no folder {options.subfolder!r}: check subfolder."
                )
            return cls(name, inner, options)
        if path.exists():
            raise CheckpointError(f"'{name}' is a file, not a folder with a checkpoint.")
        return cls(name, None, options)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every file of the checkpoint, by its path with forward slashes."""
        if self.folder is not None:
            return frozenset(
                p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file()
            )
        prefix = f"{self.options.subfolder.strip('/')}/" if self.options.subfolder else ""
        found = [n.removeprefix(prefix) for n in self._listed() if n.startswith(prefix)]
        if not found:
            raise CheckpointError(
                f"'{self.name}' has no files in {self.options.subfolder!r}: check subfolder."
            )
        return frozenset(found)

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a file."""
        return name in self.names

    def need(self, name: str) -> Path:
        """Path of a file on this machine, downloaded if it must be.

        Raises:
            CheckpointError: The checkpoint has no such file.
        """
        if not self.has(name):
            raise CheckpointError(
                f"'{self.name}' lacks {name}: the folder is incomplete, download it again."
            )
        if self.folder is not None:
            return self.folder / name
        from huggingface_hub import hf_hub_download

        return Path(self._ask(hf_hub_download, filename=self._inside(name)))

    def whole(self) -> Path:
        """Folder with every file of the checkpoint, downloaded if it must be."""
        if self.folder is not None:
            return self.folder
        from huggingface_hub import snapshot_download

        wanted = [self._inside(name) for name in self.names if _is_ours(name)]
        return Path(self._ask(snapshot_download, allow_patterns=wanted)) / self.options.subfolder

    def _inside(self, name: str) -> str:
        folder = self.options.subfolder.strip("/")
        return f"{folder}/{name}" if folder else name

    def need_folder(self, name: str) -> Path:
        """Path of a folder inside the checkpoint, with all its files.

        Raises:
            CheckpointError: The checkpoint has no such folder.
        """
        inside = [n for n in self.names if n.startswith(f"{name}/") and _is_ours(n)]
        if not inside:
            raise CheckpointError(
                f"'{self.name}' lacks {name}/: the folder is incomplete, download it again."
            )
        paths = [self.need(n) for n in inside]
        return next(p for path in paths for p in path.parents if p.name == name)

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object in a file.

        Raises:
            CheckpointError: The file is missing or holds no JSON object.
        """
        path = self.need(name)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(
                f"'{self.name}': {name} is not valid JSON ({error}): the file is damaged."
            ) from error
        if not isinstance(value, Mapping):
            raise CheckpointError(f"'{self.name}': {name} holds {value!r}, not a JSON object.")
        return dict(value)

    def size(self, name: str) -> int:
        """Bytes of a file; nothing is downloaded."""
        if self.folder is not None or self._offline():
            return self.need(name).stat().st_size
        return int(self._about(name).size or 0)

    def sha256(self, name: str) -> str:
        """Hash of a file's bytes; nothing is downloaded."""
        if self.folder is not None or self._offline():
            with self.need(name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        # The hub names large files by this hash.
        return str(self._about(name).etag or "")

    def _about(self, name: str) -> Any:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(self.name, self._inside(name), revision=self.options.revision)
        try:
            return get_hf_file_metadata(url, token=self.options.token)
        except Exception as error:
            raise self._unreachable(error) from error

    def _offline(self) -> bool:
        from huggingface_hub import constants

        return self.options.local_files_only or bool(constants.HF_HUB_OFFLINE)

    def _listed(self) -> list[str]:
        from huggingface_hub import HfApi, snapshot_download

        if self._offline():
            folder = Path(self._ask(snapshot_download))
            return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        api = HfApi(token=self.options.token)
        try:
            return api.list_repo_files(self.name, revision=self.options.revision)
        except Exception as error:
            raise self._unreachable(error) from error

    def _ask(self, function: Any, **arguments: Any) -> str:
        options = self.options
        try:
            return str(
                function(
                    self.name,
                    revision=options.revision,
                    token=options.token,
                    cache_dir=options.cache_dir,
                    local_files_only=options.local_files_only,
                    **arguments,
                )
            )
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"'{self.name}' is no folder here, and the hub gave no such repository: {first_line(error)}"
        )


def _is_ours(name: str) -> bool:
    """Settings, tokenizers and weights that are no pickles; never code."""
    return name.endswith((".json", ".safetensors", ".model", ".txt", ".jinja"))


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
