"""Ask documents a question through LangChain; the numbered lines are what cocom changes in a chain."""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnablePassthrough

from cocom import Cocom
from cocom.asking import load_passages
from cocom.retrieval import BM25Retriever
from langchain_cocom import (
    ChatCocom,
    CocomDocumentCompressor,
    PassageRetriever,
    format_documents,
    question_prompt,
)

model = Cocom.from_pretrained("cocom-tiny")
index = BM25Retriever(load_passages(model, ["core/cocom/samples/documents"]))
retriever = PassageRetriever(retriever=index, k=5)  # or the one you have
retriever = retriever | CocomDocumentCompressor(engine=model, compression_rate=4)  # 1
prompt = question_prompt(model)  # 2: the prompt this model was trained with; or keep yours
llm = ChatCocom(engine=model)  # 3
context = retriever | format_documents
chain = {"context": context, "input": RunnablePassthrough()} | prompt | llm | StrOutputParser()
print(chain.invoke("How many elephants did P. T. Barnum lead across the Brooklyn Bridge?"))
