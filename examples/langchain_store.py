"""A LangChain chain over a store on disk: compressed beforehand, and what is new when somebody asks.

Needs sentence-transformers.
"""

import os
import tempfile
from collections.abc import Iterator

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from sentence_transformers import SentenceTransformer

from cocom import Cocom, CocomView, DiskStore, Passage
from cocom.asking import load_passages
from cocom.indexing.build import build_index
from cocom.indexing.sources import open_source
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    format_documents,
    passages_of,
    question_prompt,
)


class MiniLM(Embeddings):
    """Stands for the embedding model you have."""

    def __init__(self) -> None:
        name = os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2")
        self.model = SentenceTransformer(name)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts."""
        return [vector.tolist() for vector in self.model.encode(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Vector of a question."""
        return self.embed_documents([text])[0]


model = Cocom.from_pretrained("cocom-tiny")
vectors = InMemoryVectorStore(MiniLM())
vectors.add_documents(
    [Document(p.text) for p in load_passages(model, ["core/cocom/samples/documents"])]
)


def passages() -> Iterator[Passage]:
    """What the retriever searches."""
    return passages_of(vectors)


with tempfile.TemporaryDirectory() as folder:
    # Offline, or in a shell: cocom index build python:your_app:passages your_store --rate 4
    with DiskStore.create(folder) as store:
        build_index(model, store, open_source(f"python:{__name__}:passages"), rate=4)

    # Online, in another process as well.
    with DiskStore(folder) as store:
        view = CocomView(model, store=store)
        compressor = CocomDocumentCompressor(engine=view, compression_rate=4)
        found = vectors.as_retriever(search_kwargs={"k": 3}) | compressor | format_documents
        chain = (
            {"context": found, "input": RunnablePassthrough()}
            | question_prompt(model)
            | ChatCocom(engine=view)
            | StrOutputParser()
        )

        def ask(question: str) -> None:
            """Print an answer, and how many passages had to be compressed for it."""
            before = len(store)
            print(f"{question} {chain.invoke(question)} ({len(store) - before} new in the store)")

        ask("How long is the main span of the Brooklyn Bridge?")
        vectors.add_documents([Document("The Tower Bridge opened on 30 June 1894.")])
        ask("When did the Tower Bridge open?")
        ask("When did the Tower Bridge open?")
