"""Behind a retriever: nodes become references."""

from __future__ import annotations

from typing import Any, Literal

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from cocom import Cocom, CocomView
from cocom.writer import PassageWriter
from llamaindex_cocom.bound import BoundToModel
from llamaindex_cocom.nodes import CompressedNode, compressed_node, passage_text

__all__ = ["CocomNodePostprocessor"]


class CocomNodePostprocessor(BoundToModel, BaseNodePostprocessor):
    """Gives the model a reference in the place of each node's text; a `CocomLLM` reads it as embeddings.

    The nodes keep order, scores, ids, relationships and metadata, and read as before in sources. Put it last
    among the postprocessors. A `CitationQueryEngine` writes nodes of its own: it needs
    `metadata_mode=MetadataMode.LLM`, or it reads the passages as text.

    Attributes:
        compression_rate: Passage tokens per embedding; None takes the model's first rate.
        as_text: The best this many nodes, by score, stay text.
        min_tokens: Nodes with fewer tokens stay text.
        on_error: What becomes of a node that cannot be compressed: "raise", or "passthrough" leaves it as
            text.
        batch_tokens: Rows in one forward pass, padding included.
        model: See `BoundToModel`.
        namespace: Whose passages these are; None takes the view's, or "default".
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    compression_rate: int | None = None
    as_text: int = Field(default=0, ge=0)
    min_tokens: int = Field(default=0, ge=0)
    on_error: Literal["raise", "passthrough"] = "raise"
    batch_tokens: int = Field(default=8192, ge=1)

    def __init__(self, engine: Cocom | CocomView | str | None = None, **settings: Any) -> None:
        """Make a postprocessor.

        Args:
            engine: A model, a view of one, or a model's name; None takes the one called `model`.
            **settings: The attributes of this class.

        Raises:
            ConfigError: The model does not serve `compression_rate`.
            InputError: `engine` is none of these.
        """
        super().__init__(engine, **settings)
        _ = self._writer  # checks the rate

    @property
    def _writer(self) -> PassageWriter:
        return PassageWriter(
            self.view,
            self.compression_rate,
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

    def restore_nodes(self, nodes: list[NodeWithScore]) -> list[NodeWithScore]:
        """Nodes with the passages in the place of their references.

        For nodes that others made out of references, such as the numbered sources of a `CitationQueryEngine`.

        Raises:
            MissingContextError: A passage whose text the store does not have.
        """
        return [NodeWithScore(node=self._restored(n.node), score=n.score) for n in nodes]

    def _restored(self, node: Any) -> Any:
        if not isinstance(node, TextNode):
            return node
        return node.model_copy(update={"text": self.view.expand(node.text)})
