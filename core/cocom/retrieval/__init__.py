"""Finds the passages to compress for a question: by words, by meaning, by both, and in a better order.

Every retriever holds its passages in memory and has one method, ``retrieve(question, k)``; every
reranker has ``rerank(question, hits, k)``:

    BM25Retriever               shared words; needs no model
    DenseRetriever              one vector a passage (MiniLM, E5, E5-mistral)
    SparseRetriever             weighted terms (SPLADE)
    LateInteractionRetriever    one vector a token (ColBERT)
    BgeM3Retriever              all three forms of BGE-M3
    FusedRetriever              several retrievers as one
    SwappableRetriever          one whose index is replaced while it is in use
    RetrievalPipeline           retrieve many, rerank, keep few, compress
    Reranker                    a cross-encoder; also SimilarityReranker, LateInteractionReranker
    BlendedReranker             one that corrects the retriever's order instead of replacing it

Importing this package loads no model library; the first use of a class does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cocom.retrieval.bge_m3 import BgeM3Retriever
    from cocom.retrieval.bge_m3_encoder import BgeM3Encoder
    from cocom.retrieval.bm25 import BM25Retriever
    from cocom.retrieval.dense import DenseRetriever
    from cocom.retrieval.fusion import BlendedReranker, FusedRetriever
    from cocom.retrieval.hits import Hit, RerankedHit, Retriever, SupportsRerank
    from cocom.retrieval.late_interaction import LateInteractionReranker, LateInteractionRetriever
    from cocom.retrieval.opening import open_reranker, open_retriever
    from cocom.retrieval.pipeline import RetrievalPipeline, RetrievedContexts
    from cocom.retrieval.prompts import Prompts, instruction
    from cocom.retrieval.rerank import Reranker, SimilarityReranker
    from cocom.retrieval.sparse import SharedTerm, SparseRetriever
    from cocom.retrieval.sparse_index import SparseIndex
    from cocom.retrieval.swappable import SwappableRetriever

_HOME = {
    "BM25Retriever": "cocom.retrieval.bm25",
    "BgeM3Encoder": "cocom.retrieval.bge_m3_encoder",
    "BgeM3Retriever": "cocom.retrieval.bge_m3",
    "BlendedReranker": "cocom.retrieval.fusion",
    "DenseRetriever": "cocom.retrieval.dense",
    "FusedRetriever": "cocom.retrieval.fusion",
    "Hit": "cocom.retrieval.hits",
    "LateInteractionReranker": "cocom.retrieval.late_interaction",
    "LateInteractionRetriever": "cocom.retrieval.late_interaction",
    "Prompts": "cocom.retrieval.prompts",
    "RerankedHit": "cocom.retrieval.hits",
    "Reranker": "cocom.retrieval.rerank",
    "RetrievalPipeline": "cocom.retrieval.pipeline",
    "RetrievedContexts": "cocom.retrieval.pipeline",
    "Retriever": "cocom.retrieval.hits",
    "SharedTerm": "cocom.retrieval.sparse",
    "SimilarityReranker": "cocom.retrieval.rerank",
    "SparseIndex": "cocom.retrieval.sparse_index",
    "SparseRetriever": "cocom.retrieval.sparse",
    "SupportsRerank": "cocom.retrieval.hits",
    "SwappableRetriever": "cocom.retrieval.swappable",
    "instruction": "cocom.retrieval.prompts",
    "open_reranker": "cocom.retrieval.opening",
    "open_retriever": "cocom.retrieval.opening",
}

__all__ = [
    "BM25Retriever",
    "BgeM3Encoder",
    "BgeM3Retriever",
    "BlendedReranker",
    "DenseRetriever",
    "FusedRetriever",
    "Hit",
    "LateInteractionReranker",
    "LateInteractionRetriever",
    "Prompts",
    "RerankedHit",
    "Reranker",
    "RetrievalPipeline",
    "RetrievedContexts",
    "Retriever",
    "SharedTerm",
    "SimilarityReranker",
    "SparseIndex",
    "SparseRetriever",
    "SupportsRerank",
    "SwappableRetriever",
    "instruction",
    "open_reranker",
    "open_retriever",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'cocom.retrieval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
