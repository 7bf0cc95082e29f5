"""How a COCOM model is put together: one frozen, validated value that is saved beside the weights."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cocom.errors import ConfigError

__all__ = ["CocomConfig", "EncoderConfig", "LoraSettings", "PromptTemplate"]

MemoryPositions = Literal["end", "uniform"]
MemoryTokens = Literal["shared", "per_rate", "distinct"]
EmbeddingCount = Literal["proportional", "fixed"]
Weights = Literal["full", "shared_lora", "separate_lora"]
EncoderHead = Literal["concat", "mean", "memory", "memory_mlp"]
EncoderCounts = Literal["text", "row"]
EncoderPadding = Literal["none", "left", "right"]


@dataclass(frozen=True)
class PromptTemplate:
    """The text around passages and question.

    `{passages}` stands for all passages, each laid out by `passage` (where `{passage}` is the slot or
    the text, `{number}` counts from 1 and `{index}` from 0), `{question}` for the question, `{bos}` and
    `{eos}` for the tokenizer's own tokens. Special tokens and the control tokens `<AE>`, `<ENC>`, `<SEP>` are
    recognised in templates only, never in passages or questions.

    Attributes:
        user: The prompt, or the user's turn if `chat`.
        system: The system turn; folded into the user's where the chat template has none.
        chat: Whether turns go through the tokenizer's chat template.
        enable_thinking: Handed to the chat template under this name; None hands over nothing.
        passage: Layout of one passage.
        answer_prefix: What stands between the prompt and an answer in training.
        compress_prefix: What the compressor reads before a passage.
        compress_suffix: What the compressor reads after a passage, before the memory tokens.
        auto_encoding: Prompt that asks for the passage itself (the paper's `<AE>`, section 3.2).
        continuation: Prompt that asks for what follows the passage (section 3.2).
    """

    user: str = "{bos}{passages}Question: {question}\nAnswer:"
    system: str = ""
    chat: bool = False
    enable_thinking: bool | None = None
    passage: str = "{passage}<SEP>"
    answer_prefix: str = " "
    compress_prefix: str = "<ENC>{bos}"
    compress_suffix: str = "{eos}"
    auto_encoding: str = "<AE>{bos}{passages}"
    continuation: str = "{bos}{passages}"

    @classmethod
    def instruct(cls) -> PromptTemplate:
        """The template for instruction-tuned models: a system and a user turn, as PISCO's."""
        return cls(
            chat=True,
            system="You answer questions from the background you are given, as briefly as possible.",
            user="Background:\n{passages}\n\nQuestion: {question}",
            answer_prefix="",
        )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            kinds: tuple[type, ...] = (str,)
            if setting.name in ("chat", "enable_thinking"):
                kinds = (bool,) if setting.name == "chat" else (bool, type(None))
            if not isinstance(getattr(self, setting.name), kinds):
                names = " or ".join("None" if k is type(None) else k.__name__ for k in kinds)
                raise ConfigError(
                    f"prompt.{setting.name} must be {names}, got {getattr(self, setting.name)!r}."
                )
        for name, needed in (
            ("user", ("passages", "question")),
            ("passage", ("passage",)),
            ("auto_encoding", ("passages",)),
            ("continuation", ("passages",)),
        ):
            for placeholder in needed:
                found = len(re.findall(r"\{" + placeholder + r"\}", getattr(self, name)))
                if found != 1:
                    raise ConfigError(
                        f"prompt.{name} must contain {{{placeholder}}} exactly once, but has it "
                        f"{found} times: {getattr(self, name)!r}."
                    )
        if self.chat and re.search(r"\{(bos|eos)\}", self.user):
            raise ConfigError(
                f"prompt.chat is on, so the chat template writes bos and eos, but prompt.user has them too: "
                f"{self.user!r}; take them out of prompt.user."
            )
        misplaced = re.search(r"\{(passages|question)\}", self.system)
        if misplaced:
            raise ConfigError(
                f"prompt.system holds {misplaced.group()}, which belongs into prompt.user: {self.system!r}."
            )
        if self.system and not self.chat:
            raise ConfigError(
                f"prompt.system is {self.system!r} but prompt.chat is off: put the text into "
                "prompt.user, or turn prompt.chat on."
            )


@dataclass(frozen=True)
class LoraSettings:
    """The LoRA adapters' shape; the defaults are the paper's (section 4.1)."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.1
    target_modules: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        if not _is_count(self.r) or not _is_count(self.alpha):
            raise ConfigError(
                f"lora.r and lora.alpha must be at least 1, got {self.r!r}, {self.alpha!r}."
            )
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout must be in [0, 1), got {self.dropout!r}.")


@dataclass(frozen=True)
class EncoderConfig:
    """The light compressor (section 3.4): another, smaller model in place of the language model.

    A BERT-like encoder, or, with memory tokens, any model that gives hidden states. All but `head` and
    `mlp_hidden` is there to follow published checkpoints.

    Attributes:
        head: "concat" (rate hidden states flattened through one linear map), "mean" (one linear map,
            then the mean over rate states), "memory" (states of memory tokens as they are), or
            "memory_mlp" (memory tokens, then a two-layer MLP).
        mlp_hidden: Width of the MLP's hidden layer; 0 takes the reader's hidden size.
        counts: What embeddings are counted and grouped by: the passage's tokens ("text"), or the whole
            row with special tokens and query ("row": `concat` and `mean` fill its last group with
            padding, memory tokens are floor(row / rate) + 1).
        query: How a query stands before a passage: a text with `{query}`, "pair" for the tokenizer's
            own way with two texts, or "" for a compressor that reads no query.
        query_window: Most tokens of query and passage together.
        padding: Published rows are filled up to their longest; "left" moves positions on, "right" puts
            masked padding between text and memory tokens.
        final_norm: Whether the model's last normalisation is kept.
        rotary_bfloat16: In bfloat16, round the frequencies of rotary positions too, as some were trained.
        distinct_memory: Each place has a memory token of its own, whatever the reader's have.
        lora_r: Rank of the encoder's own LoRA adapter (alpha is twice that); 0 for none.
    """

    head: EncoderHead = "concat"
    mlp_hidden: int = 0
    counts: EncoderCounts = "text"
    query: str = ""
    query_window: int = 0
    padding: EncoderPadding = "none"
    final_norm: bool = True
    rotary_bfloat16: bool = False
    distinct_memory: bool = False
    lora_r: int = 0

    def __post_init__(self) -> None:
        _check_choice("encoder.head", self.head, EncoderHead)
        _check_choice("encoder.counts", self.counts, EncoderCounts)
        _check_choice("encoder.padding", self.padding, EncoderPadding)
        if not isinstance(self.query, str):
            raise ConfigError(f"encoder.query must be a text, got {self.query!r}.")
        if self.query and not self.memory_tokens:
            raise ConfigError(
                f"encoder.query is {self.query!r}, but head {self.head!r} has no memory tokens to take "
                "what the query asks for: choose 'memory' or 'memory_mlp'."
            )
        if self.query not in ("", "pair") and self.query.count("{query}") != 1:
            raise ConfigError(
                f"encoder.query must hold {{query}} exactly once, or be 'pair', got {self.query!r}."
            )
        if bool(self.query) != _is_count(self.query_window):
            raise ConfigError(
                f"encoder.query is {self.query!r} but encoder.query_window {self.query_window!r}: "
                "give both or neither."
            )
        if self.mlp_hidden != 0 and not _is_count(self.mlp_hidden):
            raise ConfigError(
                f"encoder.mlp_hidden must be 0 (the reader's width) or more, got {self.mlp_hidden!r}."
            )

    @property
    def memory_tokens(self) -> bool:
        """Whether embeddings are states of memory tokens, not of the passage's."""
        return self.head in ("memory", "memory_mlp")


@dataclass(frozen=True)
class CocomConfig:
    """Everything about a COCOM model except its weights.

    Attributes:
        rates: Compression rates the model serves, passage tokens per embedding.
        window: Passage tokens compressed at a time; longer passages become several windows.
        embedding_count: "proportional" gives ceil(tokens / rate) embeddings a window; "fixed" gives
            ceil(window / rate) whatever the length, as published models do; a number gives just that.
        memory_positions: Position ids of memory tokens: "end" (consecutive, after the passage) or
            "uniform" (spread over the passage, EPL, arXiv 2409.14364). The reader's slots follow.
        memory_tokens: One memory token for all ("shared"), one for each rate ("per_rate"), or one
            for each place ("distinct", as PISCO).
        weights: One set of full weights for both roles, one LoRA for both, or one LoRA each.
        lora: Shape of the adapters, if `weights` has any.
        encoder: The light compressor; None lets the language model compress.
        prompt: The text around passages and question.
        extra_tokens: Further tokens a checkpoint adds behind `<SEP>`; nothing here uses them.
    """

    rates: tuple[int, ...] = (4, 16, 128)
    window: int = 128
    embedding_count: EmbeddingCount | int = "proportional"
    memory_positions: MemoryPositions = "end"
    memory_tokens: MemoryTokens = "shared"
    weights: Weights = "full"
    lora: LoraSettings = field(default_factory=LoraSettings)
    encoder: EncoderConfig | None = None
    prompt: PromptTemplate = field(default_factory=PromptTemplate)
    extra_tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.rates, list):
            object.__setattr__(self, "rates", tuple(self.rates))
        if isinstance(self.extra_tokens, list):
            object.__setattr__(self, "extra_tokens", tuple(self.extra_tokens))
        if (
            not isinstance(self.rates, tuple)
            or not self.rates
            or any(not _is_count(rate) for rate in self.rates)
        ):
            raise ConfigError(
                f"rates must be one or more whole numbers from 1, got {self.rates!r}."
            )
        if len(set(self.rates)) != len(self.rates):
            raise ConfigError(f"rates holds a rate twice: {self.rates!r}.")
        if not _is_count(self.window):
            raise ConfigError(f"window must be at least 1 token, got {self.window!r}.")
        if not isinstance(self.extra_tokens, tuple) or not all(
            isinstance(token, str) for token in self.extra_tokens
        ):
            raise ConfigError(f"extra_tokens must be names of tokens, got {self.extra_tokens!r}.")
        counts_row = isinstance(self.encoder, EncoderConfig) and self.encoder.counts == "row"
        if max(self.rates) > self.window and not counts_row and not _is_count(self.embedding_count):
            raise ConfigError(
                f"rate {max(self.rates)} exceeds window {self.window}: a window could not fill one "
                "embedding; raise window or drop the rate."
            )
        if not _is_count(self.embedding_count):
            _check_choice("embedding_count", self.embedding_count, EmbeddingCount)
        elif len(self.rates) > 1:
            raise ConfigError(
                f"embedding_count {self.embedding_count} fixes the rate, but rates has several, "
                f"{self.rates!r}: give one rate."
            )
        _check_choice("memory_positions", self.memory_positions, MemoryPositions)
        _check_choice("memory_tokens", self.memory_tokens, MemoryTokens)
        _check_choice("weights", self.weights, Weights)
        for name, kind in (("lora", LoraSettings), ("prompt", PromptTemplate)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"{name} must be {kind.__name__}, got {getattr(self, name)!r}.")
        if not isinstance(self.encoder, EncoderConfig | None):
            raise ConfigError(f"encoder must be EncoderConfig or None, got {self.encoder!r}.")
        if self.memory_positions == "uniform" and self.embedding_count != "proportional":
            raise ConfigError(
                f"memory_positions 'uniform' needs embedding_count 'proportional', got "
                f"{self.embedding_count!r}: a short window would have more embeddings than positions."
            )
        if self.encoder is not None and not self.encoder.memory_tokens:
            if self.embedding_count != "proportional" and self.encoder.counts == "text":
                raise ConfigError(
                    f"encoder.head {self.encoder.head!r} groups the tokens there are and needs "
                    f"embedding_count 'proportional', got {self.embedding_count!r}."
                )
            if self.encoder.head == "concat" and len(self.rates) > 1:
                raise ConfigError(
                    f"encoder.head 'concat' has one linear map and serves one rate, got "
                    f"{self.rates!r}; use 'mean' or 'memory_mlp' for several."
                )

    def embeddings_for(self, tokens: int, rate: int) -> int:
        """Number of context embeddings for a window of `tokens` tokens at `rate`."""
        if isinstance(self.embedding_count, int):
            return self.embedding_count
        size = self.window if self.embedding_count == "fixed" else tokens
        return -(-size // rate)

    @property
    def most_embeddings(self) -> int:
        """Largest number of context embeddings a window can have."""
        return self.embeddings_for(self.window, min(self.rates))

    def check_rate(self, rate: int | None) -> int:
        """Return `rate`, or the model's first rate for None.

        Raises:
            ConfigError: The model was not made for this rate.
        """
        if rate is None:
            return self.rates[0]
        if isinstance(rate, bool) or rate not in self.rates:
            raise ConfigError(
                f"rate {rate!r} is not among the rates this model serves, "
                f"{', '.join(map(str, self.rates))}: choose one of them, or train the model for it."
            )
        return int(rate)

    def memory_token_names(self) -> tuple[str, ...]:
        """Names of the memory tokens, in the order of their rows."""
        if self.memory_tokens == "shared":
            return ("<MEM>",)
        if self.memory_tokens == "per_rate":
            return tuple(f"<MEM@{rate}>" for rate in self.rates)
        return tuple(f"<MEM{i}>" for i in range(self.most_embeddings))

    def encoder_memory_names(self) -> tuple[str, ...]:
        """Names of the light compressor's own memory tokens, in the order of their rows."""
        if self.encoder is None or not self.encoder.memory_tokens:
            return ()
        if self.encoder.distinct_memory:
            return tuple(f"<MEM{i}>" for i in range(self.most_embeddings))
        return self.memory_token_names()

    def encoder_memory_run(self, rate: int, count: int) -> tuple[str, ...]:
        """Names of the `count` memory tokens that follow a window in the light compressor."""
        if self.encoder is not None and self.encoder.distinct_memory:
            return self.encoder_memory_names()[:count]
        return self.memory_token_run(rate, count)

    def memory_token_run(self, rate: int, count: int) -> tuple[str, ...]:
        """Names of the `count` memory tokens that follow a window compressed at `rate`."""
        if self.memory_tokens == "distinct":
            return self.memory_token_names()[:count]
        name = "<MEM>" if self.memory_tokens == "shared" else f"<MEM@{rate}>"
        return (name,) * count

    def control_token_names(self) -> tuple[str, ...]:
        """Every token this method adds to the vocabulary, in the order of their rows."""
        return (*self.memory_token_names(), "<AE>", "<ENC>", "<SEP>", *self.extra_tokens)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CocomConfig:
        """Build a configuration from `to_dict`'s values.

        Raises:
            ConfigError: An unknown name, or a value that cannot be.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"a configuration must be a mapping of settings, got {values!r}.")
        parts = dict(values)
        for name, kind in (
            ("lora", LoraSettings),
            ("prompt", PromptTemplate),
            ("encoder", EncoderConfig),
        ):
            if isinstance(parts.get(name), Mapping):
                part = dict(parts[name])
                if isinstance(part.get("target_modules"), list):
                    part["target_modules"] = tuple(part["target_modules"])
                parts[name] = _build(kind, part, f"{name}.")
        config = _build(cls, parts, "")
        assert isinstance(config, cls)
        return config


def _build(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"unknown setting {where}{unknown[0]}: expected one of {', '.join(sorted(known))}."
        )
    return kind(**values)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in get_args(choices):
        raise ConfigError(f"{name} must be one of {get_args(choices)}, got {value!r}.")
