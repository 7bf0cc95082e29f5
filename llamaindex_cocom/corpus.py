"""What a retriever searches, as passages: to compress it before anybody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.storage.docstore import BaseDocumentStore

from cocom import Passage
from cocom.errors import InputError
from llamaindex_cocom.nodes import passage_text

__all__ = ["passages_of"]

# What retrievers, and engines around them, call what they search; a storage context first, which has the
# parents that an AutoMergingRetriever gives.
_ONE = ("_storage_context", "_index", "_vector_retriever", "_retriever")
_SEVERAL = "_retrievers"


def passages_of(holder: Any) -> Iterator[Passage]:
    """The passages that a `CocomNodePostprocessor` behind a retriever would be given, all of them.

    Their texts are the nodes' without metadata, so that what `cocom index build` compresses is found when a
    question is asked. Nodes without text are passed over, as the postprocessor leaves them as they are. What
    stands between retriever and postprocessor and writes texts anew is not known here.

    Example:
        def passages():  # cocom index build python:my_app:passages index/
            return passages_of(index)

    Args:
        holder: An index, a document store, a retriever or query engine around one of these, or nodes. Of an
            index, all nodes of its document store count.

    Returns:
        The passages, with the ids and metadata of their nodes; a node that two retrievers hold comes
        twice.

    Raises:
        InputError: The nodes cannot be listed, as those that only a vector store has, or are none.
    """
    return (
        Passage(passage_text(node), node.node_id, node.metadata)
        for node in _nodes(holder)
        if passage_text(node).strip()
    )


def _nodes(holder: Any) -> Iterator[BaseNode]:
    docstore = (
        holder if isinstance(holder, BaseDocumentStore) else getattr(holder, "docstore", None)
    )
    if isinstance(docstore, BaseDocumentStore):
        return _stored(docstore, holder)
    for name in _ONE:
        inner = getattr(holder, name, None)
        if inner is not None:
            return _nodes(inner)
    several = getattr(holder, _SEVERAL, None)
    if isinstance(several, list | tuple):
        return chain.from_iterable([_nodes(inner) for inner in several])
    # A node is iterable too: pydantic models give their fields.
    if isinstance(holder, Iterable) and not isinstance(holder, str | bytes | Mapping | BaseModel):
        return _checked(holder)
    raise InputError(
        f"the nodes of {type(holder).__name__} cannot be listed, because it holds neither them nor an index "
        "that does: give the nodes themselves, as an iterable."
    )


def _stored(docstore: BaseDocumentStore, holder: Any) -> Iterator[BaseNode]:
    nodes = docstore.docs
    if not nodes:
        raise InputError(
            f"the nodes of {type(holder).__name__} cannot be listed, because its document store has none, as "
            "where the vector store keeps the texts: give the nodes themselves, as an iterable."
        )
    return iter(nodes.values())


def _checked(nodes: Iterable[Any]) -> Iterator[BaseNode]:
    for i, node in enumerate(nodes):
        found = node.node if isinstance(node, NodeWithScore) else node
        if not isinstance(found, BaseNode):
            raise InputError(
                f"node {i} must be a node, got {type(found).__name__}: give what a retriever would find."
            )
        yield found
