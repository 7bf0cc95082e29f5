"""A file of rows, on this machine or behind a URL."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from cocom.errors import CocomError, InputError
from cocom.indexing.sources.items import needed, reason

__all__ = ["StoredFile", "find_file", "find_url", "is_url"]


@dataclass(frozen=True)
class StoredFile:
    """A file that exists and is not empty.

    Attributes:
        name: The absolute path, or the URL without a password.
        label: What keys and messages call it: the last part of the name.
        location: The path or the URL to open.
        size: Bytes; None if a server does not tell.
        remote: Whether the location is a URL.
    """

    name: str
    label: str
    location: str
    size: int | None
    remote: bool = False

    def open(self, *, ahead: bool = True) -> BinaryIO:
        """The bytes, from the beginning.

        Args:
            ahead: Whether a URL's bytes are read one after the other, so that it pays to fetch more of
                them than were asked for.

        Raises:
            InputError: The file cannot be opened.
        """
        try:
            if not self.remote:
                return Path(self.location).open("rb")
            system, path = _system(self.location)
            options = {} if ahead else {"cache_type": "none"}
            return cast(BinaryIO, system.open(path, "rb", **options))
        except Exception as error:  # every file system has its own
            raise _not_opened(self.name, error) from error


def is_url(source: str) -> bool:
    """Whether a source is opened through fsspec."""
    return "://" in source


def find_file(path: Path, label: str | None = None) -> StoredFile:
    """A local file.

    Args:
        path: An existing file.
        label: What keys and messages call it, if not its name.

    Raises:
        InputError: The file is empty or cannot be read.
    """
    found = StoredFile(str(path.resolve()), label or path.name, str(path), path.stat().st_size)
    if not path.is_file():
        raise InputError(f"'{path}' is not a regular file: give a file or a folder.")
    found.open().close()
    return _not_empty(found)


def find_url(url: str) -> StoredFile:
    """A file behind a URL.

    Raises:
        MissingExtraError: fsspec is not installed.
        InputError: There is no such file, it is empty, or it cannot be reached.
    """
    name = _without_password(url)
    try:
        system, path = _system(url)
        information = system.info(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(
            f"there is no file '{name}', or it cannot be reached: check the URL."
        ) from error
    except Exception as error:
        raise _not_opened(name, error) from error
    if information.get("type") == "directory":
        raise InputError(f"'{name}' is a folder: give the URL of one file in it.")
    return _not_empty(StoredFile(name, _label(url), url, information.get("size"), remote=True))


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    fsspec = needed("fsspec", "reading passages from a URL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        system, path = fsspec.core.url_to_fs(url)
    return system, path


def _not_empty(file: StoredFile) -> StoredFile:
    if file.size == 0:
        raise InputError(f"'{file.name}' is empty: fill it or give another source.")
    return file


def _not_opened(name: str, error: Exception) -> Exception:
    """What to raise when opening failed."""
    if isinstance(error, CocomError):
        return error
    if isinstance(error, ImportError):
        return InputError(
            f"'{name}' needs a package that is not installed ({reason(error)}): install it, or copy "
            "the file to this machine."
        )
    why = getattr(error, "strerror", None) or reason(error)
    return InputError(f"'{name}' cannot be opened ({why}): check that it can be read.")


def _label(url: str) -> str:
    """The last part of a URL's path; of a chain such as `simplecache::s3://…`, of its first path."""
    link = next(link for link in url.split("::") if is_url(link))
    return unquote(PurePosixPath(urlsplit(link).path or link).name)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1)))
