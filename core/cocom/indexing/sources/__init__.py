"""What an index is built from: documents, rows, datasets, URLs and running programs."""

from cocom.indexing.sources.items import Item, Source
from cocom.indexing.sources.opening import open_source

__all__ = ["Item", "Source", "open_source"]
