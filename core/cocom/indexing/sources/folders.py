"""What a folder is: documents, Parquet files, or what a dataset was saved as."""

from __future__ import annotations

import re
from pathlib import Path

from cocom.errors import InputError

__all__ = ["is_divided", "is_saved", "parquet_files", "visible_files", "with_split"]

_SPLIT = re.compile(r"(?P<rest>.+)@(?P<split>\w+(?:\.\w+)*)")


def with_split(source: str) -> tuple[str, str | None]:
    """A source without its `@split`, and the split; a path that exists has none."""
    found = None if Path(source).exists() else _SPLIT.fullmatch(source)
    return (source, None) if found is None else (found["rest"], found["split"])


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` of a dataset, or of a dictionary of them, wrote a folder."""
    return is_divided(folder) or all(
        (folder / name).is_file() for name in ("state.json", "dataset_info.json")
    )


def is_divided(folder: Path) -> bool:
    """Whether a folder has the splits of a dataset that `save_to_disk` wrote."""
    return (folder / "dataset_dict.json").is_file()


def visible_files(folder: Path, hidden: tuple[str, ...] = (".",)) -> list[Path]:
    """The files in a folder and its subfolders, in the order of their names.

    Args:
        folder: Where to look.
        hidden: What the names of hidden files and folders begin with.
    """
    return sorted(
        file
        for file in folder.rglob("*")
        if not any(part.startswith(hidden) for part in file.relative_to(folder).parts)
        and not file.is_dir()
    )


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files in a folder and its subfolders, in the order of their names.

    Hidden files, and those that begin with `_` as `_SUCCESS` does, are passed over.

    Raises:
        InputError: There are other files among them.
    """
    visible = visible_files(folder, (".", "_"))
    found = [file for file in visible if file.suffix.lower() == ".parquet"]
    if found and len(found) < len(visible):
        other = next(file for file in visible if file not in found)
        raise InputError(
            f"the folder '{folder}' has Parquet files and other ones, such as '{other.relative_to(folder)}': "
            f"give a folder of one kind, or 'hf:{folder}' for a dataset as it lies on the Hugging Face Hub."
        )
    return found
