"""Where LlamaIndex's users look for an LLM; it is `llamaindex_cocom`'s."""

from llamaindex_cocom import CocomLLM

__all__ = ["CocomLLM"]
