"""Use cocom from LlamaIndex. Still empty: the adapter will arrive here, and only translate."""

__all__: list[str] = []
