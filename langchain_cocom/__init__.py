"""Use cocom from LangChain: a compressor behind any retriever, and models that read what it wrote.

Example:
    model = Cocom.from_pretrained("cocom-tiny")
    compressor = CocomDocumentCompressor(engine=model, compression_rate=16)
    llm = ChatCocom(engine=model)
    chain = {"context": retriever | compressor | format_documents, "input": RunnablePassthrough()} | (
        question_prompt(model) | llm | StrOutputParser()
    )
"""

from importlib.util import find_spec

from cocom.errors import MissingExtraError

if find_spec("langchain_core") is None:
    raise MissingExtraError("langchain-core", "langchain", "langchain_cocom")

from langchain_cocom.chains import CocomRetrievalChain
from langchain_cocom.chat_models import ChatCocom
from langchain_cocom.corpus import passages_of
from langchain_cocom.documents import CocomDocumentCompressor, CocomDocumentTransformer
from langchain_cocom.expand import ExpandContexts
from langchain_cocom.llms import CocomLLM
from langchain_cocom.passage_retriever import PassageRetriever
from langchain_cocom.prompts import format_documents, question_prompt
from langchain_cocom.reranker import PassageReranker
from langchain_cocom.retrievers import CocomRetriever

__all__ = [
    "ChatCocom",
    "CocomDocumentCompressor",
    "CocomDocumentTransformer",
    "CocomLLM",
    "CocomRetrievalChain",
    "CocomRetriever",
    "ExpandContexts",
    "PassageReranker",
    "PassageRetriever",
    "format_documents",
    "passages_of",
    "question_prompt",
]
