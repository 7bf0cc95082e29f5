"""RAG-Token and RAG-Sequence (arXiv 2005.11401): each passage in a prompt of its own, weighed together."""
