"""Use cocom from LlamaIndex: a postprocessor behind any retriever, and an LLM that reads what it wrote.

Example:
    model = Cocom.from_pretrained("cocom-tiny")
    engine = index.as_query_engine(
        llm=CocomLLM(model), node_postprocessors=[CocomNodePostprocessor(model, compression_rate=16)]
    )
"""

from importlib.util import find_spec

from cocom.errors import MissingExtraError

if find_spec("llama_index.core") is None:
    raise MissingExtraError("llama-index-core", "llamaindex", "llamaindex_cocom")

from llamaindex_cocom.corpus import passages_of
from llamaindex_cocom.errors import CocomLLMError
from llamaindex_cocom.llm import CocomLLM
from llamaindex_cocom.nodes import CompressedNode
from llamaindex_cocom.passage_retriever import PassageRetriever
from llamaindex_cocom.postprocessor import CocomNodePostprocessor
from llamaindex_cocom.prompts import configure_settings, make_prompt_helper, question_prompt
from llamaindex_cocom.reranker import PassageReranker
from llamaindex_cocom.synthesizer import CocomSynthesizer
from llamaindex_cocom.transform import CocomTransform

__all__ = [
    "CocomLLM",
    "CocomLLMError",
    "CocomNodePostprocessor",
    "CocomSynthesizer",
    "CocomTransform",
    "CompressedNode",
    "PassageReranker",
    "PassageRetriever",
    "configure_settings",
    "make_prompt_helper",
    "passages_of",
    "question_prompt",
]
