"""Where LlamaIndex's users look for a postprocessor; it is `llamaindex_cocom`'s."""

from llamaindex_cocom import CocomNodePostprocessor

__all__ = ["CocomNodePostprocessor"]
