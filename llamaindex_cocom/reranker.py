"""Nodes in a better order, with both scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    field_serializer,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from cocom import Passage
from cocom.errors import InputError
from cocom.hard_writer import written_name
from cocom.retrieval.hits import Hit
from llamaindex_cocom.nodes import passage_text, with_score

__all__ = ["PassageReranker"]


class PassageReranker(BaseNodePostprocessor):
    """Puts nodes into the order in which a cross-encoder finds that they answer the question.

    Their scores are the new ones; the retriever's are in the metadata, which no model reads. Put it before a
    compressor.

    Attributes:
        reranker: A `cocom.retrieval.Reranker` or something else that reranks, or a model, such as
            "cross:MODEL" or "dense:MODEL", loaded when it is first needed.
        top_n: Give this many of the best; None gives all.
        score_key: Where the metadata tell the retriever's score.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    reranker: Any = Field(repr=False)
    top_n: int | None = Field(default=None, ge=1)
    score_key: str = "retrieval_score"

    _opened: tuple[Any, Any] | None = PrivateAttr(default=None)

    def __init__(self, reranker: Any, **settings: Any) -> None:
        """Make a reranker.

        Args:
            reranker: What reranks, or a model's folder or name.
            **settings: The attributes of this class.

        Raises:
            InputError: `reranker` is neither.
        """
        if isinstance(reranker, str) and reranker.startswith("<"):
            raise InputError(
                f"the postprocessor was made with the reranker {reranker}, which JSON does not hold: make it "
                "anew."
            )
        named = isinstance(reranker, str | Path)
        if not named and not callable(getattr(reranker, "rerank", None)):
            raise InputError(
                "reranker must be a model's name or have rerank(question, hits, k), got "
                f"{type(reranker).__name__}."
            )
        super().__init__(**{"reranker": reranker, **settings})

    @classmethod
    def class_name(cls) -> str:
        """Name for serialisation."""
        return "PassageReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None or not query_bundle.query_str.strip():
            raise InputError("the reranker got no question: give it with query_str=.")
        if not nodes:
            return []
        hits = [
            Hit(Passage(passage_text(n.node), str(i)), n.score or 0.0, i + 1)
            for i, n in enumerate(nodes)
        ]
        found = self._open().rerank(query_bundle.query_str, hits, self.top_n)
        order = [(nodes[int(str(hit.passage.id))], float(hit.score)) for hit in found]
        return [
            NodeWithScore(node=with_score(n.node, self.score_key, n.score), score=score)
            for n, score in order
        ]

    def _open(self) -> Any:
        from cocom.retrieval.opening import open_reranker

        if not isinstance(self.reranker, str | Path):
            return self.reranker
        opened = self._opened
        if opened is None or opened[0] != self.reranker:
            self._opened = opened = (self.reranker, open_reranker(str(self.reranker)))
        return opened[1]

    @field_serializer("reranker")
    def _name(self, value: Any) -> str | None:
        return written_name(value)

    def __deepcopy__(self, memo: object = None) -> PassageReranker:
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**settings)
