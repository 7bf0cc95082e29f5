"""What the three components of this package share: the model they work with, and how they are copied."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr

from cocom import Cocom, CocomView
from cocom.errors import InputError
from cocom.opening import LazyView, name_of

__all__ = ["BoundToModel"]

_OBJECT = re.compile(r"cocom-[0-9a-f]{12}")  # the name of a model that was given as an object


class BoundToModel(BaseModel):
    """A component that works with one model of this process.

    LlamaIndex drops from a component what cannot be written down, and makes a new one out of the rest, which
    would then work with another model. So a component that was given a model as an object refuses to go into
    another process, and one that was given a name loads that again.

    Attributes:
        model: Name or folder of the model; "cocom-" and its fingerprint where an object was given.
        namespace: Whose passages these are; None takes the view's, or "default".
    """

    model: str = "cocom-tiny"
    namespace: str | None = None

    _engine: Any = PrivateAttr(default=None)
    _lazy: LazyView = PrivateAttr(default_factory=LazyView)

    def __init__(self, engine: Cocom | CocomView | str | None = None, **settings: Any) -> None:
        """Make a component.

        Args:
            engine: A model, a view of one, or a model's name; None takes the one called `model`.
            **settings: The attributes of the class.

        Raises:
            InputError: `engine` is none of these.
        """
        if engine is not None and "model" in settings and settings["model"] != name_of(engine):
            raise InputError(
                f"engine and model {settings['model']!r} are given, which are two models: give one of them."
            )
        if isinstance(engine, str):
            settings["model"], engine = engine, None
        super().__init__(**settings)
        self._engine = engine
        if engine is not None:
            view = self._lazy.open(engine, self.namespace)
            self.model = name_of(engine)
            self.namespace = view.namespace

    @property
    def view(self) -> CocomView:
        """The view it works with; opening it loads the model.

        Raises:
            InputError: The component was made from JSON, which does not hold the model object it had.
        """
        if self._engine is not None and self.model == name_of(self._engine):
            return self._lazy.open(self._engine, self.namespace)
        if _OBJECT.fullmatch(self.model) and not Path(self.model).exists():
            raise InputError(
                f"{type(self).__name__} was made with the model object {self.model!r}, which JSON does not "
                "hold: make it with engine=."
            )
        return self._lazy.open(self.model, self.namespace)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def __deepcopy__(self, memo: object = None) -> Self:
        return type(self)(self._engine, **self._settings())

    def __reduce__(self) -> tuple[Any, ...]:
        if self._engine is not None:
            raise InputError(
                f"{type(self).__name__} works with a model object of this process and cannot go into "
                "another: give it the model's name, or run the pipeline with num_workers=None."
            )
        settings = self._settings()
        settings.pop("callback_manager", None)
        return (_made, (type(self), settings))


def _made(kind: type[BoundToModel], settings: dict[str, Any]) -> BoundToModel:
    return kind(**settings)
