"""What `cocom.retrieval` finds, as LlamaIndex's nodes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Self

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, TextNode

from cocom import Passage
from cocom.errors import InputError
from cocom.retrieval.hits import Hit, RerankedHit, Retriever
from llamaindex_cocom.nodes import passage_text, with_score

__all__ = ["PassageRetriever"]


class PassageRetriever(BaseRetriever):
    """Any retriever of `cocom.retrieval`, or of yours with its `retrieve(question, k)`, for LlamaIndex.

    It gives the very nodes it was made from, with scores; for passages that it was not given as nodes, text
    nodes with their ids and metadata, which no model reads. A `SwappableRetriever` may get another index
    meanwhile. What nodes scored before they were reranked, if they were, is in the metadata, too.

        PassageRetriever.from_nodes(nodes, "bm25", similarity_top_k=5)

    Attributes:
        retriever: Finds passages.
        similarity_top_k: How many nodes to find; None leaves it to the retriever.
        first_score_key: Where the metadata tell what a node scored before it was reranked.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        similarity_top_k: int | None = None,
        nodes: Sequence[BaseNode] = (),
        first_score_key: str = "retrieval_score",
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Wrap a retriever.

        Args:
            retriever: Finds passages.
            similarity_top_k: How many nodes to find; None leaves it to the retriever.
            nodes: What its passages were made from, with their ids.
            first_score_key: Where the metadata tell what a node scored before it was reranked.
            callback_manager: Told about each search.

        Raises:
            InputError: `retriever` cannot retrieve, or `similarity_top_k` is less than 1.
        """
        if not callable(getattr(retriever, "retrieve", None)):
            raise InputError(
                "retriever must have retrieve(question, k), as those of cocom.retrieval, got "
                f"{type(retriever).__name__}: for nodes, call from_nodes()."
            )
        if similarity_top_k is not None and similarity_top_k < 1:
            raise InputError(f"similarity_top_k must be at least 1, got {similarity_top_k}.")
        super().__init__(callback_manager=callback_manager)
        self.retriever = retriever
        self.similarity_top_k = similarity_top_k
        self.first_score_key = first_score_key
        self._nodes = {node.node_id: node for node in nodes}

    @classmethod
    def from_nodes(
        cls,
        nodes: Sequence[BaseNode],
        retriever: str = "bm25",
        *,
        similarity_top_k: int | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> Self:
        """Search in nodes, which are held in memory, by their texts without metadata.

        Args:
            nodes: What to search; those without text are passed over.
            retriever: How: "bm25", or how and with which model, such as "dense:MODEL"; see
                `cocom.retrieval.opening.open_retriever`.
            similarity_top_k: How many nodes to find; None leaves it to the retriever.
            callback_manager: Told about each search.

        Raises:
            InputError: Nothing to search, or two nodes with one id.
            CocomError: As the retriever.
        """
        from cocom.retrieval.opening import open_retriever

        full = [node for node in nodes if passage_text(node).strip()]
        by_id: dict[str, BaseNode] = {}
        for node in full:
            if by_id.setdefault(node.node_id, node) is not node:
                raise InputError(
                    f"two nodes have the id {node.node_id!r}, so that nobody could tell which was found: "
                    "give each its own."
                )
        found = open_retriever(retriever, [_passage(node) for node in full])
        return cls(
            found, similarity_top_k=similarity_top_k, nodes=full, callback_manager=callback_manager
        )

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        k = self.similarity_top_k
        hits = self.retriever.retrieve(query_bundle.query_str, *(() if k is None else (k,)))
        return [NodeWithScore(node=self._node(hit), score=float(hit.score)) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _node(self, hit: Hit) -> BaseNode:
        node = self._found(hit.passage)
        if isinstance(hit, RerankedHit):
            return with_score(node, self.first_score_key, hit.first_score)
        return node

    def _found(self, passage: Passage) -> BaseNode:
        """The node of a passage, unless another passage has come into its place."""
        node = self._nodes.get(passage.id or "")
        if node is not None and _passage(node) == passage:
            return node
        # Without an id of its own, equal texts have equal ones, as what finds duplicates needs them.
        id = passage.id or str(uuid.uuid5(uuid.NAMESPACE_OID, passage.text))
        keys = list(passage.metadata)  # of a passage, a model reads the text
        return TextNode(
            text=passage.text,
            id_=id,
            metadata=dict(passage.metadata),
            excluded_embed_metadata_keys=keys,
            excluded_llm_metadata_keys=keys,
        )


def _passage(node: BaseNode) -> Passage:
    return Passage(passage_text(node), node.node_id, node.metadata)
