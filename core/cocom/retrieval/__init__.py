"""Finds the passages to compress for a question: by words (BM25) or by meaning (embeddings).

Both retrievers hold their passages in memory and share one interface, ``retrieve(question, k)``.
"""

from __future__ import annotations

from cocom.retrieval.bm25 import BM25Retriever
from cocom.retrieval.dense import DenseRetriever
from cocom.retrieval.hits import Hit, Retriever

__all__ = ["BM25Retriever", "DenseRetriever", "Hit", "Retriever"]
