"""Opens a store by its folder or URL."""

from __future__ import annotations

import os
from typing import Any

from cocom.store.disk import DiskStore

__all__ = ["open_store"]


def open_store(
    where: str | os.PathLike[str], *, read_only: bool = False, **options: Any
) -> DiskStore:
    """Open a store that is there.

    Args:
        where: Its folder, or a URL that fsspec opens, such as `s3://bucket/store`; stores behind URLs can be
            read only.
        read_only: Never change it.
        **options: Of the file system behind a URL: credentials, endpoints and the like.

    Raises:
        StoreError: There is none, it is damaged, or of a newer version.
    """
    if isinstance(where, str) and "://" in where:
        from cocom.store.remote import RemoteStore

        return RemoteStore(where, **options)
    return DiskStore(where, read_only=read_only, **options)
