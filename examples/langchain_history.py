"""A chat with history in LangChain: each question gets its own passages, earlier turns stay text."""

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from cocom import Cocom
from cocom.asking import load_passages
from cocom.retrieval import BM25Retriever
from langchain_cocom import ChatCocom, CocomDocumentCompressor, format_documents

model = Cocom.from_pretrained("cocom-tiny")
index = BM25Retriever(load_passages(model, ["core/cocom/samples/documents"]))
retriever = RunnableLambda(
    lambda asked: [Document(hit.passage.text) for hit in index.retrieve(asked["input"], k=3)]
)
prompt = ChatPromptTemplate.from_messages(
    [MessagesPlaceholder("history"), ("system", "{context}"), ("human", "{input}")]
)
context = retriever | CocomDocumentCompressor(engine=model, compression_rate=4) | format_documents
chain = RunnablePassthrough.assign(context=context) | prompt | ChatCocom(engine=model)

history: list[BaseMessage] = []
for question in ("Where was Marie Curie born?", "When did the Brooklyn Bridge open?"):
    answer = ""
    for chunk in chain.stream({"input": question, "history": history}):
        answer += chunk.text
    print(f"{question} {answer}")
    history += [HumanMessage(question), AIMessage(answer)]
