"""Vectors and ids in Qdrant, context embeddings in a store: built once, opened again to answer.

Needs qdrant-client and sentence-transformers. A server takes `url=` in the place of `path=`.
"""

import os
import tempfile
from pathlib import Path

from qdrant_client import QdrantClient, models
from sentence_transformers import SentenceTransformer

from cocom import Cocom
from cocom.asking import load_passages
from cocom.store import DiskStore

model = Cocom.from_pretrained("cocom-tiny")
minilm = SentenceTransformer(
    os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2")
)


def build(folder: Path) -> None:
    """Offline: every passage is compressed once, and its vector kept with its id."""
    passages = load_passages(model, ["core/cocom/samples/documents"])
    with DiskStore.create(folder / "contexts") as store:
        ids = store.add(model.compress(passages, rate=4))
    vectors = minilm.encode([passage.text for passage in passages], normalize_embeddings=True)
    client = QdrantClient(path=str(folder / "vectors"))
    size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("passages", vectors_config=size)
    client.upload_collection("passages", vectors, payload=[{"id": id} for id in ids])
    client.close()


def answer(folder: Path, question: str) -> str:
    """Online, in another process as well: nothing is compressed."""
    vector = minilm.encode(question, normalize_embeddings=True)
    client = QdrantClient(path=str(folder / "vectors"))
    points = client.query_points("passages", query=vector.tolist(), limit=3).points
    client.close()
    with DiskStore(folder / "contexts", read_only=True) as store:
        entries = store.get([point.payload["id"] for point in points])
    reply = model.answer(question, [entry.contexts for entry in entries])
    return f"{reply.text}\n{entries[0].text}"


with tempfile.TemporaryDirectory() as temporary:
    build(Path(temporary))
    print(answer(Path(temporary), "How long is the main span of the Brooklyn Bridge?"))
