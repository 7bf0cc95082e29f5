"""Nodes that the model reads as context embeddings and people as text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from llama_index.core.base.llms.types import BaseContentBlock, TextBlock
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, TextNode

from cocom.baselines.spans import kept_text
from cocom.errors import InputError
from cocom.hard_writer import HardWritten, original_of
from cocom.references import escape
from cocom.writer import WrittenPassage

__all__ = [
    "CompressedNode",
    "compressed_node",
    "excluded",
    "note_of",
    "passage_text",
    "plain_node",
    "shortened_node",
    "whole_text",
]

_EXCLUDED = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")


class CompressedNode(TextNode):
    """A text node that gives the language model its reference, and everybody else its text.

    Sources, citations and evaluators read the original. It is written to JSON and into stores as the plain
    node it was made from.
    """

    _written: str | None = PrivateAttr(default=None)
    _reference: str | None = PrivateAttr(default=None)

    @property
    def reference(self) -> str | None:
        """The reference, or None where the node stayed text."""
        return self._reference

    @property
    def _read(self) -> str:
        """What the model reads: its own text, if the node was made again from what was written of it."""
        return escape(self.text) if self._written is None else self._written

    def set_content(self, value: str) -> None:
        """Another text, of which there is no reference."""
        super().set_content(value)
        self._written = self._reference = None

    def __reduce__(self) -> tuple[Any, ...]:
        kind = next(c for c in type(self).__mro__ if not issubclass(c, CompressedNode))
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return (_made_again, (kind, values, self._written, self._reference))

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        """The reference in `MetadataMode.LLM`, the original text in every other mode."""
        if metadata_mode != MetadataMode.LLM:
            return super().get_content(metadata_mode)
        metadata = escape(self.get_metadata_str(metadata_mode).strip())
        if not metadata:
            return self._read
        return self.text_template.format(content=self._read, metadata_str=metadata).strip()

    def get_content_blocks(
        self, metadata_mode: MetadataMode = MetadataMode.NONE
    ) -> list[BaseContentBlock]:
        """As `get_content`, metadata and text in blocks of their own."""
        if metadata_mode != MetadataMode.LLM:
            return super().get_content_blocks(metadata_mode)
        metadata = escape(self.get_metadata_str(metadata_mode).strip())
        texts = [metadata, self._read] if metadata else [self._read]
        return [TextBlock(text=text) for text in texts]


def passage_text(node: BaseNode) -> str:
    """What is compressed of a node: its text, without metadata."""
    return node.get_content(MetadataMode.NONE)


def excluded(node: BaseNode, metadata_key: str) -> dict[str, list[str]]:
    """Fields of the node by which no model reads one more of its metadata."""
    return {name: [*getattr(node, name), metadata_key] for name in _EXCLUDED}


def with_score(node: BaseNode, key: str, score: float | None) -> BaseNode:
    """The node with a score in its metadata, where no model reads it.

    Raises:
        InputError: Its metadata have the key already.
    """
    if key in node.metadata:
        raise InputError(
            f"the metadata of node {node.node_id} have a {key!r} already: choose another key for scores."
        )
    metadata = {**node.metadata, key: None if score is None else float(score)}
    return node.model_copy(update={"metadata": metadata, **excluded(node, key)})


def compressed_node(node: BaseNode, written: WrittenPassage) -> BaseNode:
    """The node as the model reads it; the very node where it reads just what stands there.

    Text nodes of every kind keep their fields; other nodes, such as a `Document`, become text nodes.

    Args:
        node: What a retriever found.
        written: What became of its text.
    """
    text = passage_text(node)
    metadata = node.get_metadata_str(MetadataMode.LLM)
    if written.text == text and escape(metadata) == metadata:
        return node
    kind = type(node) if isinstance(node, TextNode) else TextNode
    values = {n: getattr(node, n) for n in type(node).model_fields if n in kind.model_fields}
    reference = None if written.reference is None else str(written.reference)
    return _made_again(kind, {**values, "text": text}, written.text, reference)


def shortened_node(node: BaseNode, written: HardWritten, metadata_key: str) -> CompressedNode:
    """The node as the model reads it after a hard method, with a note that no model reads.

    Args:
        node: What a retriever found.
        written: What stayed of its text.
        metadata_key: Where the metadata tell of it.
    """
    kind = type(node) if isinstance(node, TextNode) else TextNode
    values = {n: getattr(node, n) for n in type(node).model_fields if n in kind.model_fields}
    values |= {
        "text": passage_text(node),
        "metadata": {**node.metadata, metadata_key: written.note},
        **excluded(node, metadata_key),
    }
    return _made_again(kind, values, written.text, None)


def note_of(node: object, metadata_key: str) -> dict[str, Any] | None:
    """What a hard method noted of a node, or of the one that it was made from; None if none did."""
    note = node.metadata.get(metadata_key) if isinstance(node, TextNode) else None
    return note if isinstance(note, dict) and "method" in note and "spans" in note else None


def whole_text(node: TextNode, note: Mapping[str, Any], namespace: str | None) -> str:
    """The text that a hard method left tokens of.

    Raises:
        MissingContextError: Neither the node nor the store has it.
    """
    return original_of(note, namespace, text=node.text)


def plain_node(node: TextNode, metadata_key: str, namespace: str | None) -> TextNode:
    """The node that `shortened_node` was given; the very node where no hard method noted anything.

    In nodes that others made of it, such as numbered sources, the whole text is put in the place of what
    stayed of it.

    Raises:
        MissingContextError: As `whole_text`.
    """
    note = note_of(node, metadata_key)
    if note is None:
        return node
    whole = whole_text(node, note, namespace)
    kept = escape(kept_text(whole, note["spans"]))
    kind: Any = next(c for c in type(node).__mro__ if not issubclass(c, CompressedNode))
    values = {name: getattr(node, name) for name in type(node).model_fields}
    if whole not in node.text:
        before, found, after = node.text.rpartition(kept)
        values["text"] = before + whole + after if found else whole
    values["metadata"] = {k: v for k, v in node.metadata.items() if k != metadata_key}
    for name in _EXCLUDED:
        values[name] = [key for key in values[name] if key != metadata_key]
    plain: TextNode = kind(**values)
    return plain


@cache
def _compressed_class(kind: type[TextNode]) -> type[CompressedNode]:
    """A compressed node that keeps the further fields of a kind of text node."""
    if issubclass(CompressedNode, kind):
        return CompressedNode
    return type(f"Compressed{kind.__name__}", (CompressedNode, kind), {"__module__": __name__})


def _made_again(
    kind: type[TextNode], values: dict[str, Any], written: str | None, reference: str | None
) -> CompressedNode:
    node = _compressed_class(kind)(**values)
    node._written, node._reference = written, reference
    return node
