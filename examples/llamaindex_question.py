"""Ask documents a question through LlamaIndex; the numbered lines are what cocom changes."""

from llama_index.core.query_engine import RetrieverQueryEngine

from cocom import Cocom
from cocom.asking import load_passages
from cocom.retrieval import BM25Retriever
from llama_index.llms.cocom import CocomLLM
from llama_index.postprocessor.cocom import CocomNodePostprocessor
from llamaindex_cocom import PassageRetriever, configure_settings, question_prompt

model = Cocom.from_pretrained("cocom-tiny")
index = BM25Retriever(load_passages(model, ["core/cocom/samples/documents"]))
configure_settings(CocomLLM(model))  # 1: the model, and how its rows are counted
engine = RetrieverQueryEngine.from_args(
    PassageRetriever(index, similarity_top_k=5),  # or the one you have
    node_postprocessors=[CocomNodePostprocessor(model, compression_rate=4)],  # 2
    text_qa_template=question_prompt(model),  # 3: the prompt it was trained with; or keep yours
)
response = engine.query("How many elephants did P. T. Barnum lead across the Brooklyn Bridge?")
print(response)
print(response.source_nodes[0].text)
