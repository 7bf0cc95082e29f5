"""In an ingestion pipeline: nodes are compressed before anybody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent

from cocom import Cocom, CocomView
from cocom.opening import view_of

__all__ = ["CocomTransform"]


class CocomTransform(TransformComponent):
    """Puts the embeddings of nodes into the store; texts stay, and an id goes into the metadata.

    At question time the `CocomNodePostprocessor` finds the embeddings ready, and makes those again that are
    not there. Embedding models and language models do not see the id.

    Attributes:
        compression_rate: Passage tokens per embedding; None takes the model's first rate.
        metadata_key: Where the id goes.
        batch_tokens: Rows in one forward pass, padding included.
        namespace: Whose passages these are.
        fingerprint: The model's; the pipeline's cache tells models apart by it.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    compression_rate: int | None = None
    metadata_key: str = "cocom_id"
    batch_tokens: int = 8192
    namespace: str = "default"
    fingerprint: str = ""

    _view: CocomView = PrivateAttr()

    def __init__(self, engine: Cocom | CocomView | str = "cocom-tiny", **settings: Any) -> None:
        """Make a transformation.

        Args:
            engine: A model, a view of one, or a model's name.
            **settings: The attributes of this class, but `fingerprint`.

        Raises:
            ConfigError: The model does not serve `compression_rate`.
        """
        super().__init__(**settings)
        self._view = view_of(engine, self.namespace)
        self.namespace = self._view.namespace
        self.compression_rate = self._view.model.config.check_rate(self.compression_rate)
        self.fingerprint = self._view.model.fingerprint

    @classmethod
    def class_name(cls) -> str:
        """Name for serialisation."""
        return "CocomTransform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Compress nodes into the store; those without text stay as they are."""
        full = [n for n in nodes if n.get_content(MetadataMode.NONE).strip()]
        references = self._view.compress(
            [n.get_content(MetadataMode.NONE) for n in full],
            rate=self.compression_rate,
            batch_tokens=self.batch_tokens,
        )
        for node, reference in zip(full, references, strict=True):
            node.metadata[self.metadata_key] = reference.id
            for excluded in (node.excluded_embed_metadata_keys, node.excluded_llm_metadata_keys):
                if self.metadata_key not in excluded:
                    excluded.append(self.metadata_key)
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """The same in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)
