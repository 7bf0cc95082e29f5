"""How likely a token classifier is to keep each token of a text, many texts at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocom.baselines.model_files import device_of, folder_of, no_bars
from cocom.baselines.model_locks import scoring
from cocom.baselines.plain_encoding import PlainEncoding
from cocom.errors import CheckpointError, ConfigError, ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Pieces", "TokenProbabilities", "load_classifier"]

_LONGEST = 512  # tokens of a window with its special tokens, as in the paper
_LEAST = 0.75  # on a CPU, a window shorter than this share of a batch's longest is not padded to it
_KEEP = frozenset({"keep", "kept", "preserve", "preserved", "retain", "reserve", "true", "yes"})


@dataclass(frozen=True)
class Pieces:
    """A text's tokens.

    Attributes:
        ids: Their ids, none of them special.
        offsets: First character, and behind the last, of each.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


class TokenProbabilities:
    """A token classifier with its tokenizer; threads use it one after the other.

    Attributes:
        model: The classifier.
        tokenizer: Its tokenizer.
        room: Most tokens of a text that it reads in one go, special ones not counted.
        unknown: Id of the token that stands for what the vocabulary does not have, if there is one.
        around: Special tokens before and after a text.
        keep: Number of the label that says to keep a token.
        reads_all: Whether it reads windows as long as the paper's.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_tokens: int
    ) -> None:
        """Wrap a classifier.

        Args:
            model: The classifier.
            tokenizer: Its tokenizer.
            batch_tokens: Tokens in one forward pass, padding included.

        Raises:
            ConfigError: `batch_tokens` is less than 1.
            ModelError: The tokenizer cannot say where tokens stand in the text, or the model has fewer than
                two labels, more of which none says to keep, or no room for text.
        """
        if not batch_tokens >= 1:
            raise ConfigError(f"batch_tokens must be at least 1, got {batch_tokens}.")
        self.model = model
        self.tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._encoding = PlainEncoding(tokenizer)
        self._read_special_tokens()
        self.keep = _keep_label(model)
        self._vocabulary = int(getattr(model.config, "vocab_size", len(tokenizer)))
        self.room = min(_LONGEST, _positions(model)) - sum(map(len, self.around))
        self.reads_all = _positions(model) >= _LONGEST
        if self.room < 1:
            raise ModelError(
                f"the classifier {type(model).__name__} reads {_positions(model)} tokens at most, which "
                "leaves no room beside its special tokens: take one with more positions."
            )

    def _read_special_tokens(self) -> None:
        from tokenizers import Tokenizer

        # What a call with padding or truncation left behind does not say what is around a text.
        backend = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        backend.no_padding()
        backend.no_truncation()
        row = backend.encode("a", add_special_tokens=True)
        own = [i for i, special in enumerate(row.special_tokens_mask) if not special]
        first, last = (own[0], own[-1]) if own else (0, len(row.ids) - 1)
        self.around = (list(row.ids[:first]), list(row.ids[last + 1 :]))
        names = backend.get_added_tokens_decoder()
        self.unknown: int | None = self.tokenizer.unk_token_id
        self._special = {i for i, token in names.items() if token.special} - {self.unknown}

    def pieces(self, text: str) -> Pieces:
        """The tokens of a text, whatever its length; nothing in it is special.

        Raises:
            InputError: The text holds half a surrogate pair.
        """
        ((ids, offsets),) = self._encoding.encode([text])
        if not self._special.isdisjoint(ids):  # a vocabulary may hold `</s>` as ordinary piece too
            if self.unknown is None:
                raise ModelError(
                    "the text spells a special token of a tokenizer that has no unknown token to read in its "
                    "place: set unk_token."
                )
            ids = [self.unknown if i in self._special else i for i in ids]
        if (most := max(ids, default=0)) >= self._vocabulary:
            raise ModelError(
                f"the tokenizer gives token {most} but the model has {self._vocabulary} of them: take the "
                "model's own tokenizer."
            )
        return Pieces(tuple(ids), tuple(offsets))

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return self._encoding.count(text)

    def names(self, ids: Sequence[int]) -> list[str]:
        """What the vocabulary calls some tokens."""
        return [str(self.tokenizer.convert_ids_to_tokens(number)) for number in ids]

    def of(
        self, windows: Sequence[Sequence[int]], *, around: int | None = None
    ) -> list[tuple[float, ...]]:
        """Probability of being kept of each token of some windows.

        Windows of all lengths are read in batches of like length, and each only once.

        Args:
            windows: Token ids, at most `room` each; with one or two more, the special tokens behind them are
                left out.
            around: A token to put in the place of the special tokens.
        """
        rows = sorted({tuple(window) for window in windows}, key=lambda row: (-len(row), row))
        found: dict[tuple[int, ...], tuple[float, ...]] = {(): ()}
        with scoring(self.model):
            for batch in self._batches([row for row in rows if row]):
                found.update(zip(batch, self._forward(batch, around), strict=True))
        return [found[tuple(window)] for window in windows]

    def _batches(self, rows: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        around = sum(map(len, self.around))
        least = _LEAST if self.model.device.type == "cpu" else 0.0
        batch: list[tuple[int, ...]] = []
        for row in rows:  # the longest first
            width = len((batch or [row])[0]) + around
            if batch and (
                width * (len(batch) + 1) > self._batch_tokens or len(row) + around < least * width
            ):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _forward(
        self, batch: Sequence[tuple[int, ...]], around: int | None
    ) -> list[tuple[float, ...]]:
        import torch

        before, after = self.around
        if around is not None:
            before, after = [around] * len(before), [around] * len(after)
        most = len(before) + self.room + len(after)
        rows = [[*before, *row, *after][:most] for row in batch]
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        if pad is None:
            pad = getattr(self.model.config, "pad_token_id", None) or 0  # masked, so any will do
        device = self.model.device
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        logits = self.model(input_ids=ids, attention_mask=mask.to(device)).logits
        kept = logits.float().softmax(-1)[..., self.keep].cpu()
        if bool(kept.isnan().any()):
            raise ModelError(
                f"the classifier {type(self.model).__name__} gives probabilities that are no numbers: its "
                f"weights are damaged, or {logits.dtype} is too short for them; load it with dtype='float32'."
            )
        start = len(before)
        return [
            tuple(row[start : start + len(ids)])
            for row, ids in zip(kept.tolist(), batch, strict=True)
        ]


def load_classifier(
    model: str | Path | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A token classifier and its tokenizer.

    Args:
        model: A folder, a name on the hub, or a model that is loaded.
        tokenizer: Its tokenizer; None takes the one in the same place.
        device: Where to put it; None leaves a loaded model where it is, and else takes CUDA if there is any.
        dtype: What to turn it into; None leaves a loaded model what it is, and else takes the saved type on
            CUDA and float32 on a CPU.

    Raises:
        CheckpointError: There is no such model, or it has no trained token classifier.
        ConfigError: A loaded model without its tokenizer, or a type that there is not.
    """
    import torch

    kind: Any = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not isinstance(kind, torch.dtype):
        raise ConfigError(f"dtype {dtype!r} is unknown: choose float32, bfloat16 or float16.")
    if isinstance(model, str | Path):
        device = device_of(device)
        if kind is None and device.type == "cpu":
            kind = torch.float32
        loaded, found = _load(folder_of(model), _tokenizer_of if tokenizer is None else None)
        tokenizer = tokenizer or found
    else:
        loaded = model
    if tokenizer is None:
        raise ConfigError("a model that is loaded was given without its tokenizer: give both.")
    if device is not None or kind is not None:
        module: torch.nn.Module = loaded
        module.to(device=device, dtype=kind)
    return loaded, tokenizer


def _tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    return found


def _load(
    name: str, tokenizer_of: Callable[[str], PreTrainedTokenizerBase] | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    from transformers import AutoModelForTokenClassification

    try:
        with no_bars():
            model, info = AutoModelForTokenClassification.from_pretrained(
                name, trust_remote_code=False, output_loading_info=True
            )
        tokenizer = tokenizer_of(name) if tokenizer_of else None
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CheckpointError(
            f"the classifier '{name}' cannot be loaded: give the folder of a model for token classification "
            f"or its name on the hub ({reason})."
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"'{name}' has no weights for {missing[0]}, so it is no trained token classifier: give one that "
            "was trained to keep or drop tokens."
        )
    return model.eval(), tokenizer


def _keep_label(model: PreTrainedModel) -> int:
    """Number of the label that says to keep a token: the one with such a name, or else 1 of two."""
    count = int(getattr(model.config, "num_labels", 0))
    if count < 2:
        raise ModelError(
            f"the classifier {type(model).__name__} has {count} label, but needs one for tokens to drop and "
            "one for tokens to keep."
        )
    names = dict(getattr(model.config, "label2id", None) or {})
    said = [int(number) for name, number in names.items() if str(name).strip().lower() in _KEEP]
    if len(said) == 1 and 0 <= said[0] < count:
        return said[0]
    if count > 2:
        raise ModelError(
            f"of the {count} labels of the classifier {type(model).__name__} none, or more than one, is "
            "called 'keep' or the like: take one that was trained to keep or drop tokens, or name its label."
        )
    return 1


def _positions(model: PreTrainedModel) -> int:
    """Tokens that a model can read in one go."""
    most = int(getattr(model.config, "max_position_embeddings", None) or _LONGEST)
    for module in model.modules():
        table: Any = getattr(module, "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        if padding is not None:  # RoBERTa and its kin number positions from behind the padding's
            return int(table.num_embeddings) - int(padding) - 1
    return most
