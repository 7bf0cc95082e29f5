"""A chat with history in LlamaIndex, streamed."""

from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from cocom import Cocom
from cocom.asking import load_passages
from cocom.retrieval import BM25Retriever
from llama_index.llms.cocom import CocomLLM
from llama_index.postprocessor.cocom import CocomNodePostprocessor
from llamaindex_cocom import configure_settings

model = Cocom.from_pretrained("cocom-tiny")
index = BM25Retriever(load_passages(model, ["core/cocom/samples/documents"]))


class Retriever(BaseRetriever):
    """Stands for the retriever you have."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = index.retrieve(query_bundle.query_str, k=3)
        return [NodeWithScore(node=TextNode(text=h.passage.text), score=h.score) for h in hits]


configure_settings(CocomLLM(model))
engine = ContextChatEngine.from_defaults(
    Retriever(),
    memory=ChatMemoryBuffer.from_defaults(token_limit=500),
    node_postprocessors=[CocomNodePostprocessor(model, compression_rate=4)],
    context_template="{context_str}",
)
for question in ("Where was Marie Curie born?", "When did the Brooklyn Bridge open?"):
    answer = "".join(engine.stream_chat(question).response_gen)
    print(f"{question} {answer}")
