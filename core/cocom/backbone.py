"""The language model in its two roles, *compress* and *read*.

The backbone owns the Hugging Face model, its tokenizer and the control tokens' embeddings. Which
adapter is active and whether dropout is on change only inside `with backbone.role(...)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from cocom.config import CocomConfig
from cocom.errors import ModelError
from cocom.exclusive import ExclusiveModule
from cocom.merging import MergedAdapter, adapted_layers
from cocom.text_tokens import TextTokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Backbone", "Role"]

Role = Literal["compress", "read"]


class Backbone(ExclusiveModule):
    """A causal language model that compresses and reads.

    Attributes:
        model: The Hugging Face model; LoRA layers are injected into it where the configuration asks.
        control: Input embeddings of the control tokens (memory tokens, `<AE>`, `<ENC>`, `<SEP>`),
            shape (control tokens, hidden). They follow the tokenizer's vocabulary.
        text: Text to ids and back.
        merged: Which adapter was folded into the weights, if one was.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: CocomConfig
    ) -> None:
        """Wrap a causal language model and add what `config` asks for.

        Raises:
            ModelError: The model is no decoder with input embeddings, or the tokenizer is not fast.
        """
        super().__init__()
        if (
            getattr(model.config, "is_encoder_decoder", False)
            or model.get_output_embeddings() is None
        ):
            raise ModelError(
                f"{type(model).__name__} is not a causal language model with an output head, which a "
                "backbone must be: load one with AutoModelForCausalLM."
            )
        self.config = config
        names = config.control_token_names()
        self.text = TextTokens(tokenizer, names)
        words: Any = model.get_input_embeddings()
        weight: torch.Tensor = words.weight
        if weight.shape[0] < self.text.vocabulary_size:
            raise ModelError(
                f"the tokenizer has {self.text.vocabulary_size} tokens but the model embeds "
                f"{weight.shape[0]}: give the model its own tokenizer, or call "
                "model.resize_token_embeddings(len(tokenizer)) first."
            )
        self.control = nn.Embedding(
            len(names), weight.shape[1], dtype=weight.dtype, device=weight.device
        )
        with torch.no_grad():
            # Near the vocabulary's mean and spread, so that an untrained token disturbs nothing.
            sample = weight.detach().float()
            generator = torch.Generator().manual_seed(0)
            noise = torch.randn(self.control.weight.shape, generator=generator)
            rows = sample.mean(0) + noise.to(sample.device) * sample.std(0)
            # Gemma 3 scales inside its embedding layer, which the control tokens do not pass.
            scale = float(getattr(words, "embed_scale", 1.0))
            self.control.weight.copy_(rows * scale)
        if config.weights != "full":
            self._add_adapters(model)
        self.model = model
        self.merged = MergedAdapter()
        self._adapted = adapted_layers(model) if self.adapter_names else []
        self._role: Role = "read"
        self._activate(self._role)

    def _add_adapters(self, model: PreTrainedModel) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        shape = self.config.lora
        targets = shape.target_modules
        settings = LoraConfig(
            r=shape.r,
            lora_alpha=shape.alpha,
            lora_dropout=shape.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        )
        configs: dict[str, Any] = {}
        for name in self.adapter_names:
            # peft warns of a second adapter if it finds the first one's settings.
            model.__dict__.pop("peft_config", None)
            inject_adapter_in_model(settings, model, adapter_name=name)
            configs[name] = settings
        model.peft_config = configs

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Names of the LoRA adapters; empty with full weights."""
        return {"full": (), "shared_lora": ("shared",), "separate_lora": ("compress", "read")}[
            self.config.weights
        ]

    @property
    def device(self) -> torch.device:
        """Where inputs must be."""
        return self.control.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the input embeddings."""
        return self.control.weight.dtype

    @property
    def hidden_size(self) -> int:
        """Width of input embeddings and context embeddings."""
        return int(self.control.weight.shape[1])

    @property
    def max_positions(self) -> int | None:
        """Positions the model was made for, if it says."""
        value = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return None if value is None else int(value)

    @property
    def pad_id(self) -> int:
        """Id that fills padding; it is masked, so any will do."""
        return self.text.eos_id

    @contextmanager
    def role(self, role: Role, *, train: bool = False) -> Iterator[None]:
        """Use the model in one role; adapters and train/eval mode are as before afterwards.

        One thread at a time: others wait. Nested use in the same thread is allowed.

        Raises:
            ModelError: The role's adapter went when another's was merged.
        """
        with self.used():
            self.merged.check(role, train=train)
            before = self._role
            try:
                self._activate(role)
                if not train and any(module.training for module in self.modules()):
                    self.eval()
                yield
            finally:
                self._activate(before)

    def _activate(self, role: Role) -> None:
        self._role = role
        if self.config.weights != "separate_lora":
            return
        for layer in self._adapted:
            if layer.active_adapters != [role]:
                # Not by set_adapter, which freezes whatever is not active: both are trained in one step
                # here. It also takes a hundred times as long.
                layer._active_adapter = [role]
                assert layer.active_adapters == [role]

    def merge_adapter(self, role: Role) -> None:
        """Fold a role's adapter into the weights (see `Cocom.merge_adapter`)."""
        if not self.adapter_names:
            return
        with self.used():
            self.merged.merge(
                self.model, "shared" if self.config.weights == "shared_lora" else role
            )
            self._adapted = []

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Input embeddings of ids (..., T), control tokens included, shape (..., T, H)."""
        size = self.text.vocabulary_size
        control = ids >= size
        words: torch.Tensor = self.model.get_input_embeddings()(ids.masked_fill(control, 0))
        rows: torch.Tensor = self.control((ids - size).clamp(min=0))
        return torch.where(control[..., None], rows.to(words.dtype), words)

    def hidden(
        self, ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor
    ) -> torch.Tensor:
        """Last hidden states (W, L, H): no LM head, no other layer's states kept."""
        output = self.decoder()(
            inputs_embeds=self.embed(ids),
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
        )
        states: torch.Tensor = output.last_hidden_state
        return states

    def logits(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        keep: torch.Tensor,
    ) -> torch.Tensor:
        """Logits at the places `keep` of every row, shape (B, kept, vocabulary)."""
        output = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
            logits_to_keep=keep,
        )
        logits: torch.Tensor = output.logits
        return logits

    def render_chat(self, turns: list[dict[str, str]], *, close: bool = False) -> str:
        """Turns -> prompt text through the tokenizer's chat template.

        A template that has no system role gets the system text in front of the first user turn.

        Args:
            turns: Roles and contents.
            close: The last turn is the answer: no generation prompt is put behind it.

        Raises:
            ModelError: The tokenizer has no chat template.
        """
        tokenizer = self.text.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "prompt.chat is on but the tokenizer has no chat_template: set one on the tokenizer, "
                "or turn prompt.chat off."
            )
        from jinja2.exceptions import TemplateError

        thinking = self.config.prompt.enable_thinking
        options = {"add_generation_prompt": not close}
        if thinking is not None:
            options["enable_thinking"] = thinking
        try:
            if turns[0]["role"] == "system":
                system, *rest = turns
                # Some templates refuse a system role, each in its own words; some leave it out.
                with suppress(TemplateError):
                    text = _apply(tokenizer, turns, options)
                    if system["content"].strip() in text:
                        return text
                content = system["content"]
                if rest and rest[0]["role"] == "user":
                    content += f"\n{rest.pop(0)['content']}"
                turns = [{"role": "user", "content": content}, *rest]
            return _apply(tokenizer, turns, options)
        except TemplateError as error:
            raise ModelError(
                f"the tokenizer's chat template refused the turns: {error}."
            ) from error

    def decoder(self) -> nn.Module:
        """The model without its LM head.

        Raises:
            ModelError: It cannot be told apart.
        """
        decoder = self.model.base_model
        if decoder is self.model:
            raise ModelError(f"{type(self.model).__name__} has no base model without a head.")
        return decoder


def _apply(tokenizer: Any, turns: list[dict[str, str]], options: dict[str, Any]) -> str:
    text = tokenizer.apply_chat_template(turns, tokenize=False, **options)
    assert isinstance(text, str)
    return text
