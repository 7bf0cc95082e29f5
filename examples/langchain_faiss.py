"""A FAISS index that is there already: its retriever stays as it is, with compression behind it.

Needs faiss-cpu, langchain-classic, langchain-community and sentence-transformers.
"""

import os

from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.chains.retrieval import create_retrieval_chain
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from sentence_transformers import SentenceTransformer

from cocom import Cocom
from cocom.asking import load_passages
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    CocomDocumentTransformer,
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
documents = [
    Document(passage.text, metadata={"source": passage.id})
    for passage in load_passages(model, ["core/cocom/samples/documents"])
]
# Not needed, but then nothing is compressed while somebody waits.
documents = list(
    CocomDocumentTransformer(engine=model, compression_rate=4).transform_documents(documents)
)
retriever = FAISS.from_documents(documents, MiniLM()).as_retriever(search_kwargs={"k": 3})

compressor = CocomDocumentCompressor(engine=model, compression_rate=4)
found = ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
answer = create_stuff_documents_chain(ChatCocom(engine=model), question_prompt(model))
chain = create_retrieval_chain(found, answer)
result = chain.invoke({"input": "How long is the main span of the Brooklyn Bridge?"})
print(result["answer"])
for document in compressor.restore_documents(result["context"]):
    print(f"{document.metadata['source']}: {document.page_content[:60]} ...")
