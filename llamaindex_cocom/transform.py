"""In an ingestion pipeline: nodes are compressed before anybody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.schema import BaseNode, TransformComponent

from cocom import Cocom, CocomView
from cocom.errors import FingerprintError
from llamaindex_cocom.bound import BoundToModel
from llamaindex_cocom.nodes import passage_text

__all__ = ["CocomTransform"]


class CocomTransform(BoundToModel, TransformComponent):
    """Puts the embeddings of nodes into the store; texts stay, and an id goes into the metadata.

    At question time the `CocomNodePostprocessor` finds the embeddings ready, and makes those again that are
    not there. Embedding models and language models do not see the id.

    Attributes:
        compression_rate: Passage tokens per embedding; None takes the model's first rate.
        metadata_key: Where the id goes.
        batch_tokens: Rows in one forward pass, padding included.
        model: See `BoundToModel`.
        namespace: Whose passages these are; None takes the view's, or "default".
        fingerprint: The model's; the pipeline's cache tells models apart by it.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    compression_rate: int | None = None
    metadata_key: str = "cocom_id"
    batch_tokens: int = Field(default=8192, ge=1)
    fingerprint: str = ""

    def __init__(self, engine: Cocom | CocomView | str | None = None, **settings: Any) -> None:
        """Make a transformation.

        Args:
            engine: A model, a view of one, or a model's name; None takes the one called `model`.
            **settings: The attributes of this class.

        Raises:
            ConfigError: The model does not serve `compression_rate`.
            FingerprintError: `fingerprint` is given and another model's.
        """
        super().__init__(engine, **settings)
        model = self.view.model
        if self.fingerprint not in ("", model.fingerprint):
            raise FingerprintError(
                f"the transformation was made for model {self.fingerprint[:12]}, but {self.model!r} is "
                f"{model.fingerprint[:12]}: give it the model it was made for."
            )
        self.fingerprint = model.fingerprint
        self.compression_rate = model.config.check_rate(self.compression_rate)

    @classmethod
    def class_name(cls) -> str:
        """Name for serialisation."""
        return "CocomTransform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Compress nodes into the store; those without text stay as they are."""
        full = [n for n in nodes if passage_text(n).strip()]
        references = self.view.compress(
            [passage_text(n) for n in full],
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
