"""What chat model and text model have in common: which model, and how it decodes."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from langchain_core.utils import from_env
from pydantic import AliasChoices, ConfigDict, Field, SecretStr, model_validator

from cocom import Answer, CocomView
from cocom.errors import InputError
from cocom.generation import call_options
from cocom.opening import name_of
from cocom.shared import loaded
from langchain_cocom.bound import BoundToModel

__all__ = ["Decoding", "usage_of"]

_OPTIONS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "beams",
    "length_penalty",
    "timeout",
)
_IGNORED = ("stream", "ls_structured_output_format")  # what LangChain passes for itself


class Decoding(BoundToModel):
    """Fields of both models.

    Attributes:
        engine: A `Cocom` model or a `CocomView` of one; None loads `model` when it is first used.
        model: Name or folder of a model to load; equal names share one model. If not given, the environment
            variable COCOM_MODEL, or "cocom-tiny".
        namespace: Whose references are read; None takes the view's, or "default".
        temperature: 0 decodes greedily; above, samples.
        max_tokens: Most tokens of an answer.
        top_p: Keep the smallest set of tokens with this probability mass (sampling only).
        top_k: Keep this many tokens; 0 keeps all (sampling only).
        seed: Makes sampling repeatable.
        beams: Beams of beam search; 1 is none.
        length_penalty: Compares answers of a search; see `GenerationOptions`.
        stop: An answer ends before the first of these strings.
        timeout: Seconds an answer may take.
        max_retries: For callers that give it to every model; nothing here fails by chance.
        api_key: For callers that give it to every model; a local one needs none.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    engine: Any = Field(default=None, exclude=True, repr=False)
    model: str = Field(
        default_factory=from_env("COCOM_MODEL", default="cocom-tiny"),
        validation_alias=AliasChoices("model", "model_name"),
    )
    temperature: float = 0.0
    max_tokens: int = Field(
        default=256, ge=1, validation_alias=AliasChoices("max_tokens", "max_new_tokens")
    )
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    beams: int = 1
    length_penalty: float | None = None
    stop: str | list[str] | None = Field(
        default=None, validation_alias=AliasChoices("stop", "stop_sequences")
    )
    timeout: float | None = Field(default=None, gt=0)
    max_retries: int | None = None
    api_key: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_fusion(cls, values: Any) -> Any:
        if isinstance(values, dict) and "fusion" in values and "fusion" not in cls.model_fields:
            raise _one_prompt()
        return values

    def _source(self) -> Any:
        return self.model if self.engine is None else self.engine

    def _view_for(self, options: dict[str, Any]) -> CocomView:
        """The view for one call, which may name another model; namespace, key and store stay."""
        other = options.get("model")
        if other in (None, self._model_name()):
            return self.view
        return self.view.with_model(loaded(str(other)))

    async def _open(self) -> None:
        """Load the model, and work out its fingerprint, without blocking the event loop."""
        await asyncio.to_thread(lambda: self.view.model.fingerprint)

    def _options(self, stop: str | list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        """Options of one call: the fields, and over them what the call gives."""
        if "fusion" in given:
            raise _one_prompt()
        own = {name: getattr(self, name) for name in _OPTIONS}
        given = {k: v for k, v in given.items() if k not in ("model", *_IGNORED)}
        texts = self.stop or () if stop is None else stop
        stops = (texts,) if isinstance(texts, str) else tuple(texts)
        return {**call_options(own), **call_options(given), "stop": stops}

    def _name_for(self, options: dict[str, Any]) -> str:
        """Name of the model that one call is for."""
        return str(options.get("model") or self._model_name())

    def _tell(self, params: Any, stop: list[str] | None, options: dict[str, Any]) -> None:
        """Fill in what traces say of a call."""
        params["ls_provider"] = "cocom"
        params["ls_model_name"] = self._name_for(options)
        params["ls_max_tokens"] = options.get("max_tokens", self.max_tokens)
        params["ls_temperature"] = options.get("temperature", self.temperature)
        stops = self._options(stop, {})["stop"]
        if stops:
            params["ls_stop"] = list(stops)

    def _model_name(self) -> str:
        return name_of(self._source())

    def _identity(self) -> dict[str, Any]:
        """All that an answer depends on, for caches and traces."""
        view = self.view
        options = self._options(None, {})
        options["stop_sequences"] = options.pop("stop")  # a call's own are called stop
        prompt = (view.model.config.prompt, view.model.backbone.text.tokenizer.chat_template)
        return {
            "model_name": self._model_name(),
            "fingerprint": view.model.fingerprint,
            "prompt": hashlib.sha256(repr(prompt).encode()).hexdigest()[:12],
            "dtype": str(view.model.backbone.dtype),
            "namespace": view.namespace,
            **options,
        }


def usage_of(answer: Answer) -> dict[str, Any]:
    """What an answer cost, and what it would have cost as text, for a response's metadata."""
    return {
        "finish_reason": answer.finish_reason,
        "prompt_rows": answer.usage.prompt_rows,
        "context_rows": answer.usage.context_rows,
        "replaced_tokens": answer.usage.replaced_tokens,
    }


def _one_prompt() -> InputError:
    return InputError(
        "fusion reads each passage in a prompt of its own, but what is given here is one prompt: use "
        "CocomRetrievalChain(fusion=...)."
    )
