"""A LangChain agent that searches before it answers; the passages stay references in its thread.

A Cocom model answers but calls no tools. What to search for is decided here by a rule; a model that calls
tools can decide it as well: give it to the agent, and ChatCocom to the middleware for the answer.
"""

from typing import Any
from uuid import uuid4

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from cocom import Cocom
from cocom.asking import load_passages
from cocom.retrieval import BM25Retriever
from langchain_cocom import ChatCocom, CocomDocumentCompressor, format_documents

model = Cocom.from_pretrained("cocom-tiny")
index = BM25Retriever(load_passages(model, ["core/cocom/samples/documents"]))
retriever = RunnableLambda(
    lambda question: [Document(hit.passage.text) for hit in index.retrieve(question, k=3)]
)
context = retriever | CocomDocumentCompressor(engine=model, compression_rate=4) | format_documents


@tool
def search(query: str) -> str:
    """Search the documents."""
    return context.invoke(query)


class SearchFirst(AgentMiddleware):
    """Searches for every question, and answers from what was found."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        """Call the tool, or the model once the tool has answered."""
        last = request.messages[-1]
        if isinstance(last, ToolMessage):
            return handler(request.override(tools=[]))
        call = {"name": "search", "args": {"query": last.text}, "id": uuid4().hex}
        return AIMessage(content="", tool_calls=[call])


agent = create_agent(
    ChatCocom(engine=model), [search], middleware=[SearchFirst()], checkpointer=InMemorySaver()
)
thread: Any = {"configurable": {"thread_id": "1"}}
for question in ("Where was Marie Curie born?", "When did the Brooklyn Bridge open?"):
    state = agent.invoke({"messages": [HumanMessage(question)]}, thread)
    print(f"{question} {state['messages'][-1].text}")
