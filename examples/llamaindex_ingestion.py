"""A LlamaIndex ingestion pipeline that compresses before anybody asks, into a FAISS index.

Needs llama-index-vector-stores-faiss, faiss-cpu and sentence-transformers.
"""

import os

import faiss
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.faiss import FaissVectorStore
from sentence_transformers import SentenceTransformer

from cocom import Cocom
from cocom.documents import load_documents
from llama_index.llms.cocom import CocomLLM
from llama_index.postprocessor.cocom import CocomNodePostprocessor
from llamaindex_cocom import CocomTransform, configure_settings, question_prompt

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
configure_settings(CocomLLM(model))
documents = [
    Document(
        text=document.text,
        metadata={"source": document.source},
        excluded_llm_metadata_keys=["source"],  # for people, not for the model
    )
    for document in load_documents(["core/cocom/samples/documents"])
]
pipeline = IngestionPipeline(
    transformations=[
        SentenceSplitter(chunk_size=128, chunk_overlap=0),
        CocomTransform(model, compression_rate=4),
    ]
)
index = VectorStoreIndex(
    pipeline.run(documents=documents),
    embed_model=MiniLM(),
    storage_context=StorageContext.from_defaults(
        vector_store=FaissVectorStore(faiss.IndexFlatIP(384))
    ),
)

engine = index.as_query_engine(
    similarity_top_k=3,
    node_postprocessors=[CocomNodePostprocessor(model, compression_rate=4)],
    text_qa_template=question_prompt(model),
)
response = engine.query("How long is the main span of the Brooklyn Bridge?")
print(response)
for source in response.source_nodes:
    print(f"{source.metadata['source']}: {source.text[:60]!r} ...")
