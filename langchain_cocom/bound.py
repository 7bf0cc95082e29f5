"""What every component of this package shares: the model it works with."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from cocom import CocomView
from cocom.errors import InputError
from cocom.opening import LazyView

__all__ = ["BoundToModel"]


class BoundToModel(BaseModel):
    """A component that works with one model of this process; copies work with the same one.

    Attributes:
        engine: A `Cocom` model, a `CocomView` of one, or a model's name; equal names share one model.
        namespace: Whose passages these are; None takes the view's, or "default".
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Any = Field(default="cocom-tiny", exclude=True, repr=False)
    namespace: str | None = None

    _lazy: LazyView = PrivateAttr(default_factory=LazyView)

    @property
    def view(self) -> CocomView:
        """The view it works with; opening it loads the model."""
        return self._lazy.open(self._source(), self.namespace)

    def _source(self) -> Any:
        return self.engine

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        memo[id(self.engine)] = self.engine
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        if not isinstance(self.engine, str | None):
            raise InputError(
                f"{type(self).__name__} works with a model object of this process and cannot go into "
                "another: give it the model's name."
            )
        return super().__getstate__()
