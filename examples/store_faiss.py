"""Vectors in FAISS and ids beside it, context embeddings in a store: built once, opened again to answer.

Needs faiss-cpu and sentence-transformers.
"""

import json
import os
import tempfile
from pathlib import Path

import faiss
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
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / "vectors.faiss"))
    (folder / "ids.json").write_text(json.dumps(ids))  # FAISS itself knows numbers only


def answer(folder: Path, question: str) -> str:
    """Online, in another process as well: nothing is compressed."""
    vector = minilm.encode([question], normalize_embeddings=True)
    _, rows = faiss.read_index(str(folder / "vectors.faiss")).search(vector, 3)
    ids = json.loads((folder / "ids.json").read_text())
    with DiskStore(folder / "contexts", read_only=True) as store:
        entries = store.get([ids[row] for row in rows[0]])
    reply = model.answer(question, [entry.contexts for entry in entries])
    return f"{reply.text}\n{entries[0].text}"


with tempfile.TemporaryDirectory() as temporary:
    build(Path(temporary))
    print(answer(Path(temporary), "How long is the main span of the Brooklyn Bridge?"))
