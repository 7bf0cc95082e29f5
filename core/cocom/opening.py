"""What adapters are given for an engine, and the view of it that they work with."""

from __future__ import annotations

from typing import Any

from cocom.engine import Cocom
from cocom.errors import InputError
from cocom.shared import loaded
from cocom.view import CocomView

__all__ = ["LazyView", "name_of", "view_of"]


def view_of(
    source: Cocom | CocomView | str, namespace: str | None = None, **settings: Any
) -> CocomView:
    """The view that an adapter works with.

    Args:
        source: A view as it is, a model, or a model's name; equal names mean one model, loaded once.
        namespace: Whose passages these are; None takes the view's, or "default".
        **settings: Further arguments of `CocomView`.

    Raises:
        InputError: `source` is none of these, or a view is given together with settings.
        CheckpointError: The model cannot be loaded.
    """
    if isinstance(source, CocomView):
        if settings or namespace not in (None, source.namespace):
            raise InputError(
                f"engine is a view of namespace {source.namespace!r} already, but "
                f"{', '.join(['namespace', *settings])} is given too: give the model itself."
            )
        return source
    model = loaded(source) if isinstance(source, str) else _model(source)
    return CocomView(model, namespace=namespace or "default", **settings)


def name_of(source: Cocom | CocomView | str) -> str:
    """A name as it is; of a model that is given as an object, "cocom-" and its fingerprint.

    Raises:
        InputError: `source` is none of these.
    """
    if isinstance(source, str):
        return source
    model = source.model if isinstance(source, CocomView) else source
    return f"cocom-{_model(model).fingerprint[:12]}"


def _model(source: object) -> Cocom:
    if not isinstance(source, Cocom):
        raise InputError(
            f"engine must be a Cocom model, a CocomView or a model's name, got {type(source).__name__}."
        )
    return source


class LazyView:
    """A view that is opened when it is first needed, and anew when what it is opened for changes."""

    def __init__(self) -> None:
        self._opened: tuple[tuple[object, str | None], CocomView] | None = None

    def open(self, source: Cocom | CocomView | str, namespace: str | None) -> CocomView:
        """The view of a source for a namespace; errors as `view_of`."""
        key = (source if isinstance(source, str) else id(source), namespace)
        opened = self._opened
        if opened is None or opened[0] != key:
            # One assignment: copies of an adapter may share this, and each must get its own.
            self._opened = opened = (key, view_of(source, namespace))
        return opened[1]

    def __deepcopy__(self, memo: object) -> LazyView:
        """A copy opens its view itself."""
        return LazyView()

    def __reduce__(self) -> tuple[type[LazyView], tuple[()]]:
        """So does one in another process."""
        return (LazyView, ())
