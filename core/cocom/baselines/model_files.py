"""Small models as files: those that ship with the package, and loading without a bar."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["device_of", "folder_of", "no_bars"]


def folder_of(model: str | os.PathLike[str]) -> str:
    """The folder of a model that ships, by its name; anything else, or a folder of that name, as it is."""
    shipped = Path(str(files("cocom"))) / "models" / os.fspath(model)
    ships = Path(model).name == os.fspath(model) and shipped.is_dir()
    return str(shipped if ships and not Path(model).is_dir() else model)


def device_of(device: str | torch.device | None) -> torch.device:
    """Where to load a model; None takes CUDA if there is any.

    Raises:
        ConfigError: There is no such kind of device.
    """
    import torch

    try:
        return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"device {device!r} is unknown: choose cpu, cuda or a device of torch."
        ) from error


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep the bar off that transformers shows for the weights."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
