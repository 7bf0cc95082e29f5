"""A store behind a URL: object storage, a web server, whatever fsspec opens. For reading only."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec

from cocom.errors import StoreError
from cocom.store.disk import INDEX, SHARDS, DiskStore
from cocom.store.files import Span
from cocom.store.index import Index
from cocom.store.manifest import NAME as MANIFEST
from cocom.store.manifest import read_manifest
from cocom.store.protocol import Verified

__all__ = ["RemoteStore"]


class RemoteStore(DiskStore):
    """A copy of a store's folder behind a URL, such as `s3://bucket/store`.

    The index is fetched when the store is opened, and anew when a shard that it lists has vanished. Of the
    shards, nothing is read but the bytes of the passages asked for, those of one call side by side.
    """

    def __init__(self, url: str, **options: Any) -> None:
        """Open a store.

        Args:
            url: Its folder; any that fsspec opens. Packages such as s3fs bring the protocols.
            **options: For the file system: credentials, endpoints and the like.

        Raises:
            StoreError: There is none, it is damaged, of a newer version, or cannot be reached.
        """
        self.url = url.rstrip("/")
        try:
            self._system, root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"'{url}' cannot be opened ({error}): install the package for its protocol, or check the URL."
            ) from error
        self._root = root.rstrip("/")
        self.path = Path(self._root)
        self.name = ""
        content = self._fetch(MANIFEST)
        if content is None:
            raise StoreError(
                f"there is no store at '{self.url}', because it has no {MANIFEST}: copy the whole folder of "
                "one there."
            )
        self.manifest = read_manifest(content, f"{self.url}/{MANIFEST}")
        folder = tempfile.TemporaryDirectory(prefix="cocom-index-")
        self._folder = Path(folder.name)
        self._finalizer = weakref.finalize(self, folder.cleanup)
        self.files = _RemoteFiles(self._system, f"{self._root}/{SHARDS}")
        self.refresh()

    def __str__(self) -> str:
        return f"the store '{self.url}'"

    def namespace(self, name: str) -> RemoteStore:
        """The part of the store under a name; it lives as long as this object's index."""
        part = super().namespace(name)
        assert isinstance(part, RemoteStore)
        part._finalizer = self._finalizer
        part._whole = self  # type: ignore[attr-defined]
        return part

    def refresh(self) -> None:
        """Fetch the index anew, because the store was changed.

        Raises:
            StoreError: It cannot be fetched, or was copied while it was being written.
        """
        if self._fetch(f"{INDEX}-wal"):
            raise StoreError(
                f"{self} was copied while it was open ('{INDEX}-wal' is not empty): close the store, then "
                "copy its folder again."
            )
        content = self._fetch(INDEX)
        if content is None:
            raise StoreError(f"{self} has no {INDEX}: copy the whole folder of the store there.")
        path = self._folder / INDEX
        staging = self._folder / f"{INDEX}.new"
        staging.write_bytes(content)
        if hasattr(self, "index"):
            self.index.close()
        staging.replace(path)
        if hasattr(self, "index"):
            self.index.renew()
        else:
            self.index = Index(path, timeout=60.0, read_only=True, name=str(self))
        self.index.check()

    def verify(self, *, repair: bool = False) -> Verified:
        """Not over a network.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"{self} can be read only: verify the folder that it was copied from.")

    def _fetch(self, name: str) -> bytes | None:
        try:
            content: bytes = self._system.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system has its own
            raise StoreError(f"'{self.url}/{name}' cannot be read ({error}).") from error
        return content


class _RemoteFiles:
    """Shards behind a URL; see `ShardFiles`."""

    def __init__(self, system: Any, folder: str) -> None:
        self._system = system
        self._folder = folder

    def fill(self, spans: Sequence[Span]) -> None:
        """Read all spans; errors as `ShardFiles.fill`."""
        if not spans:
            return
        paths = [f"{self._folder}/{span.name}" for span in spans]
        starts = [span.offset for span in spans]
        ends = [span.offset + len(span.into) for span in spans]
        found = self._system.cat_ranges(paths, starts, ends, on_error="return")
        for span, path, end, data in zip(spans, paths, ends, found, strict=True):
            if isinstance(data, FileNotFoundError):
                raise FileNotFoundError(2, "no such file", path)
            if isinstance(data, Exception):
                raise StoreError(f"'{path}' cannot be read ({data})") from data
            if len(data) != len(span.into):
                raise StoreError(f"'{path}' ends before byte {end}: it is cut off")
            memoryview(span.into)[:] = data

    def remove(self, name: str) -> bool:
        """Nothing can be removed."""
        return False

    def remove_unfinished(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Nothing is open."""
