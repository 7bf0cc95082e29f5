"""A LlamaIndex query engine over a store on disk: compressed beforehand, and what is new when asked for.

Needs sentence-transformers.
"""

import os
import tempfile
from collections.abc import Iterator

from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import TextNode
from sentence_transformers import SentenceTransformer

from cocom import Cocom, CocomView, DiskStore, Passage
from cocom.asking import load_passages
from cocom.indexing.build import build_index
from cocom.indexing.sources import open_source
from llama_index.llms.cocom import CocomLLM
from llama_index.postprocessor.cocom import CocomNodePostprocessor
from llamaindex_cocom import configure_settings, passages_of, question_prompt

minilm = SentenceTransformer(
    os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2")
)


class MiniLM(BaseEmbedding):
    """Stands for the embedding model you have."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return list(map(float, minilm.encode(text)))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


model = Cocom.from_pretrained("cocom-tiny")
index = VectorStoreIndex(
    [TextNode(text=p.text) for p in load_passages(model, ["core/cocom/samples/documents"])],
    embed_model=MiniLM(),
)


def passages() -> Iterator[Passage]:
    """What the index holds."""
    return passages_of(index)


with tempfile.TemporaryDirectory() as folder:
    # Offline, or in a shell: cocom index build python:your_app:passages your_store --rate 4
    with DiskStore.create(folder) as store:
        build_index(model, store, open_source(f"python:{__name__}:passages"), rate=4)

    # Online, in another process as well.
    with DiskStore(folder) as store:
        view = CocomView(model, store=store)
        configure_settings(CocomLLM(view))
        postprocessor = CocomNodePostprocessor(view, compression_rate=4)

        def ask(question: str) -> None:
            """Print an answer, and how many passages had to be compressed for it."""
            before = len(store)
            engine = index.as_query_engine(  # made anew: it finds the nodes of when it was made
                similarity_top_k=3,
                node_postprocessors=[postprocessor],
                text_qa_template=question_prompt(model),
            )
            print(f"{question} {engine.query(question)} ({len(store) - before} new in the store)")

        ask("How long is the main span of the Brooklyn Bridge?")
        index.insert_nodes([TextNode(text="The Tower Bridge opened on 30 June 1894.")])
        ask("When did the Tower Bridge open?")
        ask("When did the Tower Bridge open?")
