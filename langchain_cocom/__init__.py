"""Use cocom from LangChain. Still empty: the adapter will arrive here, and only translate."""

__all__: list[str] = []
