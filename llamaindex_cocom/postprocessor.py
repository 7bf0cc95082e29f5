"""Behind a retriever: nodes become references."""

from __future__ import annotations

from typing import Any, Literal

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from cocom import Cocom, CocomView
from cocom.errors import InputError
from cocom.hard_writer import recovered
from cocom.writer import PassageWriter
from llamaindex_cocom.methods import WithMethod
from llamaindex_cocom.nodes import (
    CompressedNode,
    compressed_node,
    note_of,
    passage_text,
    plain_node,
    shortened_node,
    whole_text,
)

__all__ = ["CocomNodePostprocessor"]


class CocomNodePostprocessor(WithMethod, BaseNodePostprocessor):
    """Gives the model a reference in the place of each node's text; a `CocomLLM` reads it as embeddings.

    The nodes keep order, scores, ids, relationships and metadata, and read as before in sources. Put it last
    among the postprocessors. A `CitationQueryEngine` writes nodes of its own: it needs
    `metadata_mode=MetadataMode.LLM`, or it reads the passages as text.

    With a hard `method` it leaves out tokens of the texts instead, which any language model can read.
    The nodes come in the order that the method gives them, and those of which nothing stays are left
    out: the metadata of the others tell how many, and so does the log.

    Attributes:
        as_text: The best this many nodes, by score, stay text ("cocom").
        min_tokens: Nodes with fewer tokens stay text ("cocom").
        on_error: What becomes of a node that cannot be compressed: "raise", or "passthrough" leaves it as
            text ("cocom").
        batch_tokens: Rows in one forward pass, padding included ("cocom").
        metadata_key: Where the metadata tell what a hard method left of the text; no model reads it.
        model: See `BoundToModel`.
        namespace: Whose passages these are; None takes the view's, or "default".
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    as_text: int = Field(default=0, ge=0)
    min_tokens: int = Field(default=0, ge=0)
    on_error: Literal["raise", "passthrough"] = "raise"
    batch_tokens: int = Field(default=8192, ge=1)
    metadata_key: str = "cocom"

    def __init__(self, engine: Cocom | CocomView | str | None = None, **settings: Any) -> None:
        """Make a postprocessor.

        Args:
            engine: A model, a view of one, or a model's name; None takes the one called `model`.
            **settings: The attributes of this class.

        Raises:
            ConfigError: The model does not serve `compression_rate`, or settings that do not go together.
            InputError: `engine` is none of these.
        """
        super().__init__(engine, **settings)
        _ = self._hard_writer if self._is_hard else self._writer  # they check the settings

    @property
    def _writer(self) -> PassageWriter:
        return PassageWriter(
            self.view,
            self._soft_rate,
            self.as_text,
            self.min_tokens,
            self.on_error,
            self.batch_tokens,
        )

    @classmethod
    def class_name(cls) -> str:
        """Name for serialisation."""
        return "CocomNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if self._is_hard:
            return self._shortened(nodes, None if query_bundle is None else query_bundle.query_str)
        fresh = [n for n in nodes if not isinstance(n.node, CompressedNode)]
        written = iter(
            self._writer.write(
                [passage_text(n.node) for n in fresh],
                query=None if query_bundle is None else query_bundle.query_str,
                scores=[n.score for n in fresh],
            )
        )
        return [
            n
            if isinstance(n.node, CompressedNode)
            else NodeWithScore(node=compressed_node(n.node, next(written)), score=n.score)
            for n in nodes
        ]

    def _shortened(self, nodes: list[NodeWithScore], query: str | None) -> list[NodeWithScore]:
        """Nodes of which a hard method left out tokens."""
        for i, n in enumerate(nodes):
            if isinstance(n.node, CompressedNode):
                raise InputError(
                    f"node {i} was compressed before: put method {self.method!r} before what compressed it."
                )
            if self.metadata_key in n.node.metadata:
                raise InputError(
                    f"the metadata of node {i} have a {self.metadata_key!r} already: choose another "
                    "metadata_key for what the postprocessor notes."
                )
        written = self._hard_writer.write([passage_text(n.node) for n in nodes], query=query)
        return [
            NodeWithScore(
                node=shortened_node(nodes[one.index].node, one, self.metadata_key),
                score=nodes[one.index].score,
            )
            for one in written
        ]

    def recover(self, answer: str, nodes: list[NodeWithScore]) -> str:
        """An answer in which what was quoted from shortened nodes reads as it does in their texts.

        Args:
            answer: What a model said that read what a hard method left.
            nodes: What it read, such as the `source_nodes` of its response.

        Raises:
            MissingContextError: A passage whose text neither its node nor the store has.
        """
        passages = [
            (node.text, whole_text(node, note, self.namespace), note)
            for node in (n.node for n in nodes)
            if isinstance(node, TextNode) and (note := note_of(node, self.metadata_key)) is not None
        ]
        return recovered(answer, passages)

    def restore_nodes(self, nodes: list[NodeWithScore]) -> list[NodeWithScore]:
        """Nodes with the whole passages in the place of their references, or of what a hard method left.

        For nodes that others made out of references, such as the numbered sources of a `CitationQueryEngine`.

        Raises:
            MissingContextError: A passage whose text the store does not have.
        """
        return [NodeWithScore(node=self._restored(n.node), score=n.score) for n in nodes]

    def _restored(self, node: Any) -> Any:
        if not isinstance(node, TextNode):
            return node
        if self._is_hard:
            return plain_node(node, self.metadata_key, self.namespace)
        return node.model_copy(update={"text": self.view.expand(node.text)})
